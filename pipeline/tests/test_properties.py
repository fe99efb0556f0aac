"""Whatever the table: a run ends with finite figures or with a sentence of ours, never with a traceback.

COVERTYPE_EXAMPLES=500 tries as many tables, others each time.
"""

import json
import linecache
import math
import os
import re
import traceback
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import joblib
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Metrics, Model
from pyarrow import csv, parquet
from threadpoolctl import threadpool_limits

import run
from pipeline import ROOT
from steps.combine_models import combine_models
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.split_data import split_data
from steps.train_model import train_model

EXAMPLES = int(os.environ.get("COVERTYPE_EXAMPLES", "0"))
COMMON = {"deadline": None, "derandomize": not EXAMPLES, "suppress_health_check": list(HealthCheck), "database": None}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
SPECIAL = [
    "python3",
    "{{$}}",
    "<b>",
    'say "hi"',
    "a,b",
    "a/b",
    " x ",
    "🌲",
    "東京",
    "None",
    "nan",
    "0",
    "date",
    "date_year",
]
KINDS = {
    "ints": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small ints": (pa.int8(), st.integers(-3, 3)),
    "floats": (pa.float64(), st.floats()),
    "halves": (pa.float32(), st.floats(width=32)),
    "booleans": (pa.bool_(), st.booleans()),
    "text": (pa.string(), TEXT | st.sampled_from(SPECIAL)),
    "large text": (pa.large_string(), TEXT),
    "categories": (pa.dictionary(pa.int32(), pa.string()), TEXT | st.sampled_from(SPECIAL)),
    "codes": (pa.dictionary(pa.int8(), pa.int64()), st.integers(-5, 5)),
    "dates as categories": (pa.dictionary(pa.int32(), pa.string()), st.dates().map(str)),
    "dates as text": (pa.string(), st.dates().map("{:%d.%m.%Y}".format)),
    "numbers as text": (pa.string(), st.integers().map(str) | st.just("?")),
    "dates": (pa.date32(), st.dates()),
    "moments": (pa.timestamp("us"), st.datetimes()),
    "seconds": (pa.timestamp("s"), st.datetimes().map(lambda moment: moment.replace(microsecond=0))),
    "zoned": (
        pa.timestamp("us", "Europe/Berlin"),
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    ),
    "times": (pa.time64("us"), st.times()),
    "durations": (pa.duration("us"), st.timedeltas(timedelta(days=-9999), timedelta(days=9999))),
    "decimals": (pa.decimal128(12, 3), st.decimals(-(10**6), 10**6, places=3)),
    "nothing": (pa.null(), st.none()),
    "lists": (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=3)),
    "records": (pa.struct({"a": pa.int64()}), st.fixed_dictionaries({"a": st.integers(0, 9)})),
    "bytes": (pa.binary(), st.binary(max_size=3)),
}
ORDERED = ["ints", "small ints", "dates", "moments", "seconds", "zoned", "durations"]
UNREADABLE = ["lists", "records", "bytes"]
IN_CSV = sorted(set(KINDS) - set(UNREADABLE) - {"large text", "nothing", "durations", "categories", "text", "codes"})
UNIQUE = {"ints": lambda i: i, "text": lambda i: f"row {i}", "dates": lambda i: date(2026, 1, 1) + timedelta(days=i)}
CLASSES = [
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=6, unique=True),
    st.lists(TEXT.filter(str.strip) | st.sampled_from(SPECIAL), min_size=2, max_size=6, unique=True),
    st.just([False, True]),
]


class Table(NamedTuple):
    """A table to train on, and what a user says of it."""

    rows: pa.Table
    label: str
    parameters: dict
    format: str


def column(draw, kind: str, n: int, random: np.random.Generator, missing: float = 0, least: int = 1) -> pa.Array:
    """Draw a few values and spread them over the rows; or give each row a value of its own."""
    type_, values = KINDS[kind]
    if kind in UNIQUE and draw(st.booleans()):
        filled = [UNIQUE[kind](i) for i in range(n)]
    else:
        pool = draw(st.lists(values, min_size=least, max_size=6))
        filled = [pool[i] for i in random.integers(len(pool), size=n)]
    filled = [None if random.random() < missing else value for value in filled]
    if pa.types.is_dictionary(type_):
        return pa.array(filled, type_.value_type).dictionary_encode().cast(type_)
    return pa.array(filled, type_)


@st.composite
def tables(draw, unreadable: bool = True) -> Table:
    as_csv = draw(st.booleans())
    kinds = IN_CSV if as_csv else sorted(set(KINDS) - set(() if unreadable else UNREADABLE))
    n = draw(st.integers(1, 60) | st.integers(300, 400))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    name = (LINES if as_csv else TEXT) | st.sampled_from(SPECIAL)
    names = draw(st.lists(name, min_size=2, max_size=7, unique=True))
    label, *features = names
    columns = {}
    for feature in features:
        kind = draw(st.sampled_from(kinds))
        columns[feature] = column(draw, kind, n, random, draw(st.sampled_from([0, 0, 0.3, 1])))
    classes = draw(st.one_of(CLASSES))
    if as_csv and isinstance(classes[0], str):
        classes = ["".join(c for c in name if c.isprintable()).strip() or "c" for name in classes]
    columns[label] = pa.array([classes[i] for i in random.integers(len(classes), size=n)])

    parameters = {"test_size": draw(st.floats(0.01, 0.99)), "seed": draw(st.integers(0, 2**32 - 1))}
    parameters["balance_classes"] = draw(st.booleans())
    if draw(st.booleans()):
        parameters["split_by"] = "the time"
        ordered = sorted(set(ORDERED) & set(kinds))
        columns["the time"] = column(draw, draw(st.sampled_from(ordered)), n, random, least=3)
    elif draw(st.booleans()):
        parameters["group_by"] = "the group"
        columns["the group"] = column(draw, draw(st.sampled_from(["small ints", "dates"])), n, random, least=3)
    if draw(st.booleans()):
        parameters["weight"] = "the weight"
        weights = draw(st.lists(st.floats(0, 1e300), min_size=2, max_size=4))
        columns["the weight"] = pa.array([weights[i] for i in random.integers(len(weights), size=n)])
    for name in ("drop", "keep"):
        parameters[name] = draw(st.lists(st.sampled_from(features), max_size=2))
    return Table(pa.table(columns), label, parameters, "csv" if as_csv else "parquet")


def write(table: Table, path: str) -> None:
    if table.format == "parquet":
        parquet.write_table(table.rows, path)
        return
    plain = [
        chunked.cast(chunked.type.value_type) if pa.types.is_dictionary(chunked.type) else chunked
        for chunked in table.rows.columns
    ]
    as_text = [pa.array([None if v is None else str(v) for v in c.to_pylist()], pa.string()) for c in plain]
    csv.write_csv(pa.table(as_text, names=table.rows.column_names), path, csv.WriteOptions(quoting_style="needed"))


def said_by_a_step(error: Exception) -> bool:
    """Whether a step raised the error itself, in its own words."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno).strip()
    return type(error) is ValueError and (ROOT / "steps") in Path(frame.filename).parents and line.startswith("raise")


def train(table: Table, folder: str) -> tuple[dict, object]:
    """Run the steps one after another, as the pipeline does; returns the figures and the model."""
    made = iter(range(1000))

    def new(kind: type[Artifact]) -> Artifact:
        return kind(uri=os.path.join(folder, f"artifact-{next(made)}"))

    given = {"split_by": "", "group_by": "", "weight": "", "drop": [], "keep": []} | table.parameters
    seed, label = given["seed"], table.label
    source = os.path.join(folder, "source")
    write(table, source)
    dataset, train_part, test_part, features, preprocessor = map(new, (Dataset, Dataset, Dataset, Dataset, Artifact))
    chosen = {name: given[name] for name in ("split_by", "group_by", "weight", "drop", "keep")}
    codes = prepare_data.python_func(source, label, "", dataset, new(Artifact), **chosen)
    split_data.python_func(dataset, train_part, test_part, test_size=given["test_size"], seed=seed)
    preprocess.python_func(train_part, test_part, features, new(Dataset), preprocessor, seed=seed)
    class_models = [new(Model) for _ in codes]
    for code, class_model in zip(codes, class_models, strict=True):
        balance = given["balance_classes"]
        train_model.python_func(features, code, class_model, max_iter=2, balance_classes=balance, seed=seed)
    model, metrics = new(Model), new(Metrics)
    combine_models.python_func(class_models, preprocessor, train_part, model)
    outputs = metrics, new(ClassificationMetrics), new(HTML), new(Dataset)
    evaluate_model.python_func(model, test_part, *outputs)
    classifier = joblib.load(os.path.join(model.path, "model.joblib"))
    raw = parquet.read_table(dataset.path).replace_schema_metadata(None).to_pandas()
    predicted = classifier.predict(raw[raw.columns[::-1]])
    assert set(predicted.tolist()) <= set(raw[label].tolist())
    return metrics.metadata, classifier


@pytest.mark.slow
@settings(**COMMON, max_examples=EXAMPLES or 120)
@given(tables())
def test_steps_end_with_finite_figures_or_with_a_sentence(table):
    with TemporaryDirectory() as folder, threadpool_limits(1):  # tables so small that threads only wait
        try:
            figures, _ = train(table, folder)
        except Exception as error:
            if not said_by_a_step(error):
                raise
            event(str(error)[:40])
            return
    event("trained")
    assert figures
    assert all(math.isfinite(value) for value in figures.values())


LOCATED = re.compile(r"^\w+: .*\n  \S+:\d+ in ", re.DOTALL)  # an error that is not a step's own word


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in run.json")


@pytest.mark.slow
@settings(**COMMON, max_examples=max(8, EXAMPLES // 20))
@given(tables(unreadable=False))
def test_run_ends_with_finite_figures_or_with_a_sentence(table):
    assignments = {"max_iter": 2} | table.parameters
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVERTYPE_RUNS_DIR", folder)
        source = os.path.join(folder, f"rows.{table.format}")
        write(table, source)
        as_text = {name: json.dumps(value) if isinstance(value, list) else value for name, value in assignments.items()}
        sets = [part for name, value in as_text.items() for part in ("--set", f"{name}={value}")]
        status = run.main(["--identifier", "any", "--data", source, f"--label={table.label}", *sets])
        records = list(Path(folder).glob("any/2*/run.json"))
        assert status in ((0, 1) if records else (2,))
        for record in records:
            tasks = json.loads(record.read_text("utf-8"), parse_constant=refuse)["tasks"]
            failed = [task["error"] for task in tasks if task["state"] == "failed"]
            assert bool(failed) == (status == 1)
            assert not any(LOCATED.search(error) for error in failed), failed
