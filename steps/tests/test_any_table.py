"""Any table in, no surprise out: what a user may bring, and what comes of it.

Each case is a table and either the message that refuses it or what is found in it. All go through prepare-data itself;
those that can be known before anything is started go through the command line, too.
"""

import contextlib
import gzip
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kfp.dsl import Artifact, Dataset
from pyarrow import parquet

from pipeline import RequestError, sources
from steps.prepare_data import prepare_data

N = 24  # rows of the tables that are made column by column
KINDS = ["cat", "dog"] * (N // 2)
SIZES = [round(1.5 * (row % 7), 2) for row in range(N)]


@dataclass
class Case:
    """A table, and what comes of it."""

    name: str
    table: Any  # bytes of a file, columns of a CSV file, or a function that makes the source in a folder
    message: str = ""  # of the refusal, a part of it
    before: bool = False  # the command line refuses it, too, before anything is started
    label: str = "kind"
    settings: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, int] | None = None
    types: dict[str, str] = field(default_factory=dict)  # by column
    dropped: dict[str, str] = field(default_factory=dict)  # columns, each with the beginning of its note
    notes: dict[str, str] = field(default_factory=dict)  # columns that are kept, each with a part of its note
    told: str = ""  # a part of what was seen of the whole table


def columns(**of_csv: Any) -> Callable[[Path], Path]:
    """A CSV file of these columns beside the size and the kind of the rows."""

    def make(folder: Path) -> Path:
        frame = pd.DataFrame({"size": SIZES, **of_csv})
        if "kind" not in frame:
            frame["kind"] = KINDS
        frame.to_csv(folder / "table.csv", index=False)
        return folder / "table.csv"

    return make


def arrow(**of_parquet: Any) -> Callable[[Path], Path]:
    """A Parquet file of these columns beside the size and the kind of the rows."""

    def make(folder: Path) -> Path:
        parquet.write_table(pa.table({"size": SIZES, "kind": KINDS} | of_parquet), folder / "table.parquet")
        return folder / "table.parquet"

    return make


def files(pattern: str, **contents: bytes) -> Callable[[Path], str]:
    """Several files, named by a glob."""

    def make(folder: Path) -> str:
        for name, content in contents.items():
            (folder / name.replace("__", ".")).write_bytes(content)
        return str(folder / pattern)

    return make


def labels(*names: Any) -> Callable[[Path], Path]:
    """A CSV file with classes of these names, two rows each at least."""
    return lambda folder: columns(
        size=[*range(2 * len(names))], kind=[*names] * 2, other=[1, 2, 2, 1] * (len(names) // 2)
    )(folder)


def as_csv(frame: pd.DataFrame, **how: Any) -> bytes:
    return frame.to_csv(index=False, **how).encode(how.get("encoding", "utf-8"))


SMALL = b"size,kind\n1,cat\n2,dog\n2,cat\n1,dog\n"
FRAME = pd.DataFrame({"size": SIZES, "place": ["Zürich", "Málaga", "Oslo"] * (N // 3), "kind": KINDS})
HALF = {"cat": N // 2, "dog": N // 2}
TWO = {"cat": 2, "dog": 2}


def cut_parquet(folder: Path) -> Path:
    path = arrow()(folder)
    os.truncate(path, path.stat().st_size // 2)
    return path


def damaged_parquet(folder: Path) -> Path:
    path = arrow()(folder)
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    return path


def partitioned(folder: Path) -> Path:
    for year in (2025, 2026):
        part = folder / "rows" / f"year={year}"
        part.mkdir(parents=True)
        parquet.write_table(pa.table({"size": SIZES, "kind": KINDS}), part / "part-0.parquet")
    (folder / "rows" / "_SUCCESS").touch()
    return folder / "rows"


def folder_of_csv(folder: Path) -> Path:
    (folder / "rows").mkdir()
    (folder / "rows" / "one.csv").write_bytes(SMALL)
    return folder / "rows"


def link_loop(folder: Path) -> Path:
    (folder / "a.csv").symlink_to(folder / "b.csv")
    (folder / "b.csv").symlink_to(folder / "a.csv")
    return folder / "a.csv"


def two_types(folder: Path) -> str:
    parquet.write_table(pa.table({"size": SIZES, "kind": KINDS}), folder / "1.parquet")
    parquet.write_table(pa.table({"size": pa.array(map(bool, SIZES)), "kind": KINDS}), folder / "2.parquet")
    return str(folder / "*.parquet")


def odd_path(folder: Path) -> Path:
    path = folder / "данные 2026" / "таблица (1) [neu].csv"
    path.parent.mkdir()
    path.write_bytes(SMALL)
    return path


def wide(folder: Path) -> Path:
    n_columns = 10_000
    header = ",".join([*(f"c{place}" for place in range(n_columns)), "kind"])
    rows = "".join(
        f"{','.join(str((row * place) % 3) for place in range(n_columns))},{KINDS[row]}\n" for row in range(6)
    )
    (folder / "wide.csv").write_text(f"{header}\n{rows}")
    return folder / "wide.csv"


CASES = [
    # how a file is written
    Case("comma", SMALL, classes=TWO),
    Case("semicolon", SMALL.replace(b",", b";"), classes=TWO, told="columns separated by semicolon"),
    Case("tab", SMALL.replace(b",", b"\t"), classes=TWO, told="columns separated by tab"),
    Case("bar", SMALL.replace(b",", b"|"), classes=TWO, told="columns separated by bar"),
    Case("delimiter in quotes", b'note;kind\n"a, b";cat\n"c; d";dog\n"a, b";cat\nx,y;dog\n', classes=TWO),
    Case(
        "decimal comma",
        as_csv(FRAME, sep=";", decimal=","),
        classes=HALF,
        types={"size": "number"},
        told="numbers with a decimal comma",
    ),
    Case(
        "comma that may group thousands",
        b"size;kind\n1,500;cat\n2,250;dog\n1,500;cat\n3,125;dog\n",
        types={"size": "number"},
        notes={"size": "numbers such as '1,500', read as 1500"},
    ),
    Case("byte order mark", b"\xef\xbb\xbf" + SMALL, classes=TWO, types={"size": "number"}),
    Case("Latin-1", as_csv(FRAME, encoding="latin-1"), classes=HALF, told="read as Windows-1252 (Latin-1)"),
    Case("UTF-16", as_csv(FRAME, encoding="utf-16"), classes=HALF, told="is UTF-16"),
    Case("line ends of Windows", SMALL.replace(b"\n", b"\r\n"), classes=TWO),
    Case("line ends of old Macs", SMALL.replace(b"\n", b"\r"), classes=TWO),
    Case("no line end at the end", SMALL[:-1], classes=TWO),
    Case("line breaks in quotes", b'note,kind\n"a\nb",cat\nc,dog\n"a\nb",cat\nc,dog\n', classes=TWO),
    Case("quotes that open nothing", b"note,kind\n5'11\",cat\n6'0\",dog\n5'11\",cat\n6'0\",dog\n", classes=TWO),
    Case("gzip", gzip.compress(SMALL), classes=TWO),
    Case("zstd", pa.compress(SMALL * 1, codec="zstd", asbytes=True), classes=TWO),
    Case("Parquet", arrow(), classes=HALF, types={"size": "number"}),
    Case("folder of Parquet", partitioned, classes={"cat": N, "dog": N}, types={"year": "number"}),
    Case("glob", files("*.csv", one__csv=SMALL, two__csv=SMALL), classes={"cat": 4, "dog": 4}),
    Case(
        "glob of other columns",
        files("*.csv", one__csv=SMALL, two__csv=SMALL.replace(b"size", b"height")),
        classes={"cat": 4, "dog": 4},
        told="not in every one of the 2 files, and missing there: 'size', 'height'",
    ),
    Case("path with spaces, brackets and other letters", odd_path, classes=TWO),
    # files that are no tables
    Case("no file", lambda folder: folder / "none.csv", "there is no such file", before=True),
    Case("0 bytes", b"", "table.csv is empty, 0 bytes. Export it again, or leave it out.", before=True),
    Case("blank lines", b"\n\n\n", "has only blank lines", before=True),
    Case(
        "0 bytes in a glob",
        files("*.csv", one__csv=SMALL, two__csv=b""),
        "two.csv is empty, 0 bytes. Export it again, or leave it out.",
        before=True,
    ),
    Case("header only", b"size,kind\n", "no rows. Add the rows to learn from.", before=True),
    Case(
        "ragged",
        SMALL + b"1,2,cat\n",
        "line 6 has 3 fields, the header has 2: '1,2,cat'.\nPut a field that holds the delimiter ',' or a line break",
        before=True,
    ),
    Case(
        "ragged far below",
        SMALL + b'"1\n1",dog\n' * 300_000 + b"1\n",
        "line 600,006 has 1 field, the header has 2: '1'.",
    ),
    Case(
        "quotes that never close",
        SMALL + b'"3,cat\n4,dog\n',
        'the quote that opens in line 6 never closes. Close it, or write "" for a quote inside',
        before=True,
    ),
    Case("NUL bytes", SMALL + b"\0\0,cat\n", "has a NUL byte in line 6: ", before=True),
    Case("NUL bytes far below", SMALL * 300_000 + b"\0,cat\n", "has a NUL byte in line 1,500,001: "),
    Case("program", b"\x7fELF\x02\x01\x01" + bytes(100), "is a program, a binary file. A table is", before=True),
    Case("Excel workbook", b"PK\x03\x04" + bytes(100), "it was cut short or is damaged (File is not a", before=True),
    Case("7z", b"7z\xbc\xaf" + bytes(100), "is a 7z archive. A table is a CSV file", before=True),
    Case(
        "gzip cut in half",
        lambda folder: cut(folder / "t.csv.gz", gzip.compress(as_csv(FRAME))),
        "t.csv.gz is not a table that can be read: it was cut short or is damaged (Truncated compressed stream). "
        "Check the file, or export it again.",
        before=True,
    ),
    Case("Parquet file cut in half", cut_parquet, "it was cut short or is damaged (Parquet magic bytes", before=True),
    Case("Parquet file with damaged values", damaged_parquet, "table.parquet is not a table that can be read: "),
    Case("column of two types", two_types, "The column 'size' is bool in one file and double in another. Write it in"),
    Case("folder of CSV", folder_of_csv, "holds one.csv, which is no Parquet file. A folder is read", before=True),
    Case("symbolic link loop", link_loop, "is a symbolic link that leads nowhere or in a circle.", before=True),
    # names of columns
    Case(
        "names twice", b"a,a,kind\n1,2,cat\n2,2,dog\n", "columns occur more than once: 'a'. Rename them.", before=True
    ),
    Case("no such label", SMALL, "Did you mean 'kind'?", label="kinds", before=True),
    Case("label with spaces around", b"size, kind\n1,a\n2,b\n", "Did you mean ' kind'?", before=True),
    Case("one column", b"kind\ncat\ndog\n", "The table has no column but the label 'kind'."),
    Case(
        "spaces around names",
        b" size ,kind\n1,cat\n2,dog\n2,cat\n1,dog\n",
        classes=TWO,
        types={" size ": "number"},
    ),
    Case("line break in a name", b'"si\nze",kind\n1,cat\n2,dog\n2,cat\n1,dog\n', types={"si\nze": "number"}),
    Case(
        "dots and brackets in names",
        columns(**{"a.b": SIZES, "c[0]": SIZES}),
        types={"a.b": "number", "c[0]": "number"},
    ),
    Case(
        "names of our own",
        columns(**dict.fromkeys(("__index_level_0__", "rest", "true", "predicted", "class_code", "index"), SIZES)),
        types={"__index_level_0__": "number", "rest": "number", "predicted": "number"},
    ),
    Case(
        "label under another case",
        columns(Kind=[name.upper() for name in KINDS]),
        notes={"Kind": "its name differs from the label 'kind' only in case or spaces; each of its values stands for"},
    ),
    Case("10,000 columns", wide, classes={"cat": 3, "dog": 3}, dropped={"c0": "constant"}),
    # values
    Case(
        "numbers, text, truth values, dates",
        lambda folder: everything(folder),
        types={"number": "number", "flag": "boolean", "day": "date", "time": "time", "word": "category"},
    ),
    Case(
        "nullable and Arrow types",
        arrow(
            whole=pa.array([None, *range(1, N)], pa.int8()),
            half=pa.array(np.arange(N) % 5, pa.float16()),
            price=pa.array([*range(N)], pa.int64()).cast(pa.decimal128(22, 2)),
            word=pa.array(["a", None, "b"] * (N // 3), pa.large_string()),
            view=pa.array(["a", None, "b"] * (N // 3), pa.string_view()),
            coded=pa.array(["x", "y"] * (N // 2)).dictionary_encode(),
            zoned=pa.array([*range(0, N * 10**6, 10**6)], pa.timestamp("us", "Europe/Berlin")),
            took=pa.array([*range(N)], pa.duration("s")),
            bits=pa.array([True, None, False] * (N // 3)),
        ),
        types={
            "whole": "number",
            "half": "number",
            "price": "number",
            "word": "category",
            "view": "category",
            "coded": "category",
            "zoned": "date",
            "took": "duration",
            "bits": "boolean",
        },
    ),
    Case(
        "lists and records",
        arrow(tags=[["a"], []] * (N // 2), place=[{"x": 1}] * N),
        dropped={
            "tags": "holds lists, which are no single values",
            "place": "holds records, which are no single values",
        },
    ),
    Case(
        "mixed types in a column",
        columns(mixed=["1", "2", "seven"] + ["3"] * (N - 3)),
        types={"mixed": "category"},
        notes={"mixed": "1 of 24 values are not numbers, such as 'seven': read as text"},
    ),
    Case(
        "mixed types far below",
        lambda folder: drifting(folder),
        types={"x": "text", "y": "number"},
        notes={"x": "1 of 2,900,002 values are not numbers, such as 'seven': read as text"},
    ),
    Case(
        "infinite numbers",
        columns(x=["inf", "-inf", *SIZES[2:]]),
        types={"x": "number"},
        notes={"x": "2 infinite values: taken as missing"},
    ),
    Case(
        "whole numbers beyond 64 bits",
        columns(x=[10**25 + row % 5 * 10**23 for row in range(N)]),
        types={"x": "number"},
        notes={"x": "whole numbers beyond 64 bits: read as decimal numbers, their last digits are lost"},
    ),
    Case("constant column", columns(x=7), dropped={"x": "constant: every row has the same value"}),
    Case("column without values", columns(x=None), dropped={"x": "every value is missing"}),
    Case("running number", columns(id=range(1000, 1000 + N)), dropped={"id": "identifier: another value on every row"}),
    Case("keys", columns(id=[f"{row * 7919 % 1000:04x}-x" for row in range(N)]), dropped={"id": "identifier"}),
    Case("hashes", columns(id=[(row * 0x9E3779B97F4A7C15) % 2**62 for row in range(N)]), dropped={"id": "identifier"}),
    Case(
        "measure that never repeats",
        columns(height=[(row * 7919) % 4001 for row in range(N)]),
        types={"height": "number"},
    ),
    Case("text to read", columns(x=[f"the {row} trees are tall and old" for row in range(N)]), types={"x": "category"}),
    Case(
        "thousands of categories",
        lambda folder: many(folder, 3000),
        types={"word": "text"},
        notes={"word": "3,000 different values: learned from their letters and words"},
    ),
    Case(
        "copy of the label",
        columns(code=[5, 9] * (N // 2)),
        notes={"code": "each of its values stands for one class: it reveals the label 'kind'; --set drop=COLUMN"},
    ),
    Case(
        "columns left out as asked",
        columns(code=[5, 9] * (N // 2), word=["a", "b", "c"] * (N // 3), seven=7),
        settings={"drop": ["code", "seven"]},
        dropped={"code": "as asked", "seven": "as asked"},
        types={"word": "category"},
    ),
    Case(
        "identifiers that stay as asked",
        columns(day=range(N), key=[f"{row:04x}-x" for row in range(N)]),
        settings={"keep": ["day"]},
        types={"day": "number"},
        dropped={"key": "identifier: another value on every row; --set keep=COLUMN keeps it"},
    ),
    Case(
        "unknown column to leave out",
        SMALL,
        "No column 'zzz' in the table; it has size, kind. Name the columns to leave out with --set drop=COLUMN.",
        settings={"drop": ["zzz"]},
    ),
    Case(
        "label left out",
        SMALL,
        "The column 'kind' is named as label and as dropped. Name another one with --set drop=",
        settings={"drop": ["kind"]},
    ),
    Case("only identifiers", columns(size=range(N)), "No column is left to learn from: 'size' (identifier: another"),
    # labels
    Case(
        "one row", b"size,kind\n1,cat\n", "The label 'kind' has only the value 'cat'; a classifier needs at least two"
    ),
    Case("one class", b"size,kind\n1,cat\n2,cat\n", "The label 'kind' has only the value 'cat'; a classifier needs"),
    Case("all labels missing", columns(kind=None), "None of the 24 rows has a label in 'kind'. Name another column"),
    Case(
        "some labels missing",
        columns(kind=["cat", None, *KINDS[2:]]),
        "1 of 24 rows have no label in 'kind', the first is data row 2. Fill them in, or leave these rows out with "
        "--set drop_unlabeled=true. Empty cells and words such as NA, null and nan count as missing; "
        "--set na_values=WORDS says which words do (a JSON list; [] for none, so that NA can be North America).",
    ),
    Case(
        "rows without a label, left out",
        columns(kind=["cat", None, *KINDS[2:-1], "nan"]),
        settings={"drop_unlabeled": True},
        classes={"cat": N // 2, "dog": N // 2 - 2},
        told="2 of 24 rows have no label in 'kind' and are left out",
    ),
    Case(
        "rows without a label, a weight or a group, left out with a rare class",
        columns(
            kind=["cat", None, "eel", *KINDS[3:]],
            w=[1, None, 2, *[3] * (N - 3)],
            g=[1, None, 1, *range(N - 3)],
            word=["a", "never", "b", *"abc" * (N // 3 - 1)],
        ),
        settings={"drop_unlabeled": True, "min_class_rows": 2, "weight": "w", "group_by": "g"},
        classes={"cat": N // 2 - 1, "dog": N // 2 - 1},
        types={"w": "number", "g": "number", "word": "category"},
        told="classes of too few rows are left out with their rows: 'eel' (1)",
    ),
    Case(
        "numbers without a label, left out",
        arrow(kind=pa.array([0.5, None, float("nan"), *[0.5, 1.5] * (N // 2 - 2), 1.5])),
        settings={"drop_unlabeled": True},
        classes={"0.5": N // 2 - 1, "1.5": N // 2 - 1},
        told="2 of 24 rows have no label in 'kind' and are left out",
    ),
    Case(
        "categories without a label, left out",
        arrow(kind=pa.array(["cat", None, *KINDS[2:]]).dictionary_encode()),
        settings={"drop_unlabeled": True},
        classes={"cat": N // 2, "dog": N // 2 - 1},
    ),
    Case(
        "one class beside rows without a label",
        columns(kind=["cat", None] * (N // 2)),
        "The label 'kind' has only the value 'cat'; a classifier needs at least two",
        settings={"drop_unlabeled": True},
    ),
    Case(
        "no label at all, rows without one left out",
        columns(kind=None),
        "None of the 24 rows has a label in 'kind'. Name another column",
        settings={"drop_unlabeled": True},
    ),
    Case(
        "unsigned labels",
        arrow(kind=pa.array([2**63 + 1, 2**64 - 1] * (N // 2), pa.uint64())),
        classes={str(2**63 + 1): N // 2, str(2**64 - 1): N // 2},
    ),
    Case(
        "labels beyond 64 bits in a text file",
        columns(kind=[2**64 - 1, 2**64 - 2] * (N // 2)),
        "The label 'kind' holds numbers beyond 64 bits, whose last digits are lost, and classes that differ in",
    ),
    Case(
        "labels of decimals",
        arrow(kind=pa.array([15, 20] * (N // 2), pa.int64()).cast(pa.decimal128(22, 1))),
        classes={"15": N // 2, "20": N // 2},
    ),
    Case("infinite labels", arrow(kind=[float("inf")] * N), "The label 'kind' has only the value inf"),
    Case(
        "class of one row",
        SMALL + b"1,eel\n",
        "Only one row has the label eel in 'kind'; each class needs at least two",
    ),
    Case(
        "class of one row, left out",
        SMALL + b"1,eel\n",
        settings={"min_class_rows": 2},
        classes=TWO,
        told="classes of too few rows are left out with their rows: 'eel' (1)",
    ),
    Case(
        "all classes left out",
        SMALL,
        "The label 'kind' has no class that has enough rows; 2 were removed; a classifier",
        settings={"min_class_rows": 3},
    ),
    Case(
        "100 classes",
        labels(*(f"class {place}" for place in range(100))),
        "The label 'kind' has 100 different values; at most 97 classes can be trained, "
        "because a task of the service takes at most 100 artifacts. Name a column of classes with --label",
    ),
    Case(
        "100 numbers as classes",
        labels(*range(100)),
        "because a task of the service takes at most 100 artifacts. Estimate it as a quantity with --set "
        "task=regression, name a column of classes with --label",
        settings={"task": "classification"},
    ),
    Case(
        "60 classes", labels(*(f"class {place}" for place in range(60))), classes={f"class {p}": 2 for p in range(60)}
    ),
    Case(
        "quantity as label",
        columns(kind=[row / 7 for row in range(N)]),
        classes={},
        told="'kind' is a quantity, 24 different numbers from 0 to 3.28571: estimated by regression; --set "
        "task=classification learns classes",
    ),
    Case(
        "quantity as classes",
        columns(kind=[row / 7 for row in range(N)]),
        "If it is a quantity, estimate it with --set task=regression.",
        settings={"task": "classification"},
    ),
    Case("dates as label", columns(kind=["2026-01-01", "2026-01-02"] * (N // 2)), "The label 'kind' holds dates."),
    Case("whole labels written as decimals", columns(kind=[1.0, 2.0] * (N // 2)), classes={"1": N // 2, "2": N // 2}),
    Case("truth values as labels", columns(kind=[True, False] * (N // 2)), classes={"False": N // 2, "True": N // 2}),
    Case(
        "labels of any characters",
        labels("a b", '"quoted"', "a/b", "a,b", "🌲", "python3", "{{$}}", "<b>"),
        classes=dict.fromkeys(sorted(["a b", '"quoted"', "a/b", "a,b", "🌲", "python3", "{{$}}", "<b>"]), 2),
    ),
    Case(
        "labels that differ by case",
        labels("cat", "Cat ", "dog", "eel"),
        told="The classes 'Cat ' and 'cat' differ only in case or spaces; each is learned on its own.",
    ),
    Case(
        "categories of pandas, of which some have no rows",
        lambda folder: unused_categories(folder),
        settings={"min_class_rows": 2},
        classes={"cat": N // 2, "dog": N // 2 - 1},
        types={"word": "category"},
        told="classes of too few rows are left out with their rows: 'eel' (1)",
    ),
    # roles
    Case(
        "no such weight",
        SMALL,
        "No column 'sise' in the table; it has size, kind. Did you mean 'size'? Name the column "
        "of the weights with --set weight=COLUMN.",
        settings={"weight": "sise"},
    ),
    Case(
        "weight that is text",
        columns(w=["a", "b"] * (N // 2)),
        "--set weight=w: the column holds no numbers.",
        settings={"weight": "w"},
    ),
    Case(
        "weight below 0",
        columns(w=[-1, 1] * (N // 2)),
        "--set weight=w: a weight is -1; each must be 0 or above.",
        settings={"weight": "w"},
    ),
    Case("weights all 0", columns(w=0), "--set weight=w: every weight is 0.", settings={"weight": "w"}),
    Case(
        "weight missing",
        columns(w=[None, "inf", *SIZES[2:]]),
        "--set weight=w: 2 of 24 values are missing or infinite.",
        settings={"weight": "w"},
    ),
    Case("constant weight is kept", columns(w=2.5), settings={"weight": "w"}, types={"w": "number"}),
    Case(
        "split by text that is no date",
        columns(day=["2026-01-01", "soon"] * (N // 2)),
        "--set split_by=day: 'soon' is no date and no number.",
        settings={"split_by": "day"},
    ),
    Case(
        "split by dates in text",
        columns(day=["3 May 2026", "4 June 2026"] * (N // 2)),
        settings={"split_by": "day"},
        types={"day": "date"},
    ),
    Case(
        "group missing",
        columns(g=[None, *range(N - 1)]),
        "--set group_by=g: 1 of 24 values are missing",
        settings={"group_by": "g"},
    ),
    Case("identifier as group is kept", columns(g=range(N)), settings={"group_by": "g"}, types={"g": "number"}),
    Case(
        "column of two roles", SMALL, "The column 'kind' is named as label and as group.", settings={"group_by": "kind"}
    ),
]


def cut(path: Path, content: bytes) -> Path:
    path.write_bytes(content[: len(content) // 2])
    return path


def everything(folder: Path) -> Path:
    days = pd.date_range("2026-01-01", periods=N, freq="h")
    return columns(
        number=SIZES,
        flag=["true", "false"] * (N // 2),
        day=days,
        time=days.strftime("%H:%M:%S"),
        word=["a", "b", "c"] * (N // 3),
    )(folder)


def unused_categories(folder: Path) -> Path:
    words = pd.Categorical(["a", "b"] * (N // 2), [*"abcdef", *(f"word {place}" for place in range(300))])
    kinds = pd.Categorical([*KINDS[:-1], "eel"], ["eel", "dog", "cat", "fox"])
    pd.DataFrame({"size": SIZES, "word": words, "kind": kinds}).to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def drifting(folder: Path) -> Path:
    """Numbers for more than one block of the reader, then a word."""
    block = b"".join(b"%d,%d,%s\n" % (row, row % 5, b"cat" if row % 2 else b"dog") for row in range(100_000))
    with (folder / "long.csv").open("wb") as file:
        file.write(b"x,y,kind\nseven,1,cat\n")
        while file.tell() < 1 << 25:
            file.write(block)
        file.write(b"8,1.5,dog\n")
    return folder / "long.csv"


def many(folder: Path, n_words: int) -> Path:
    words = [f"word {place} of all" for place in range(n_words)] * 2
    frame = pd.DataFrame({"size": np.arange(len(words)) % 7, "word": words, "kind": ["cat", "dog"] * n_words})
    frame.to_csv(folder / "many.csv", index=False)
    return folder / "many.csv"


@contextlib.contextmanager
def made(table: Any, folder: Path) -> Iterator[str]:
    if isinstance(table, bytes):
        (folder / "table.csv").write_bytes(table)
        yield str(folder / "table.csv")
    else:
        yield str(table(folder))


def prepare(source: str, folder: Path, label: str = "kind", **settings: Any) -> tuple[Dataset, dict[str, Any]]:
    dataset, schema = Dataset(uri=str(folder / "dataset")), Artifact(uri=str(folder / "schema"))
    codes = prepare_data.python_func(
        source=source, label=label, fingerprint="f", dataset=dataset, schema=schema, **settings
    )
    described = json.loads(Path(schema.path).read_text("utf-8"), parse_constant=pytest.fail)
    n_models = 3 if described["task"] == "regression" else len(described["classes"])
    assert codes == ([1] if n_models == 2 else [*range(n_models)])
    return dataset, described


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_table_is_taken_or_refused_with_a_sentence(case, tmp_path, local_run, capsys):
    (tmp_path / "in").mkdir()
    with made(case.table, tmp_path / "in") as source:
        if case.message:
            if case.before:
                refused = local_run("--identifier", "x", "--data", source, "--label", case.label)
                assert refused.status == 2
                assert case.message in refused.err
                assert "Traceback" not in refused.err
                assert refused.err.count("\n") <= 6
            if "no such file" in case.message or "Did you mean" in case.message:
                return  # the same in other words
            with pytest.raises(ValueError, match=r"\S") as refused:
                prepare(source, tmp_path, case.label, **case.settings)
            assert type(refused.value) is ValueError
            assert case.message in str(refused.value)
            assert str(refused.value).count("\n") < 5
            return
        dataset, schema = prepare(source, tmp_path, case.label, **case.settings)
    by_name = {column["name"]: column for column in schema["columns"]}
    if case.classes is not None:
        assert schema["classes"] == case.classes
    assert {name: by_name[name]["type"] for name in case.types} == case.types
    for name, note in case.dropped.items():
        assert by_name[name]["role"] == "dropped"
        assert by_name[name]["note"].startswith(note)
    for name, note in case.notes.items():
        assert by_name[name]["role"] != "dropped"
        assert note in by_name[name]["note"]
    assert case.told in capsys.readouterr().out
    frame = pd.read_parquet(dataset.path)
    assert [*frame] == [name for name in by_name if by_name[name]["role"] != "dropped"]
    assert len(frame.columns) == dataset.metadata["columns"]
    assert not case.types.keys() - {*frame}
    assert len(frame) == schema["rows"] == dataset.metadata["rows"]
    if schema["task"] == "regression":
        assert frame[case.label].dtype == "float64"
    else:
        assert {str(name): count for name, count in frame[case.label].value_counts().items()} == schema["classes"]


def test_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(SMALL * 100_000)
    stop = threading.Event()

    def touch():
        place = 0
        while not stop.is_set():
            os.utime(path, (place := place + 1, place))

    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        with pytest.raises(
            ValueError, match=r"table\.csv changed while it was read\. Run again when nothing writes to"
        ):
            prepare(str(path), tmp_path)
    finally:
        stop.set()
        toucher.join()


def test_file_without_permission_is_refused():
    folder = Path(tempfile.mkdtemp())  # pytest's own folder is for its user alone
    try:
        folder.chmod(0o755)
        path = folder / "secret.csv"
        path.write_bytes(SMALL)
        path.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read everything
        try:
            with pytest.raises(ValueError, match=r"secret\.csv cannot be read: Permission denied\. Check the file"):
                prepare(str(path), folder)
            with pytest.raises(RequestError, match=r"secret\.csv cannot be read: Permission denied\."):
                sources.resolve(str(path), "kind", folder)
        finally:
            os.seteuid(user)
    finally:
        shutil.rmtree(folder)
