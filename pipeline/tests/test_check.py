import contextlib
import dataclasses
import json
import re
from pathlib import Path
from typing import List  # noqa: UP035

import pandas as pd
import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from pipeline import RequestError, check, compiler, graph, memory
from pipeline.check import Check, Failed
from pipeline.fusing.joining import fuse
from pipeline.sources import Source
from pipeline.target import Target
from steps.prepare_data import prepare_data
from steps.split_data import split_data
from steps.tables.schema import Schema

AT_HOME = "a module's constant"


@dsl.component(base_image="python:3.11", packages_to_install=["pandas"])
def loose(rows: Output[Dataset]):
    print("any version of pandas")


@dsl.component(base_image="python:3.11")
def homesick() -> str:
    return AT_HOME


@dsl.component(base_image="python")
def untagged():
    print("any Python")


@dsl.component(base_image="python:3.11")
def fine(number: int) -> int:
    return number


@dsl.component(base_image="python:3.11")
def write(number: int, rows: Output[Dataset]) -> int:
    with open(rows.path, "w") as file:
        file.write(str(number))
    return number


@dsl.component(base_image="python:3.11")
def gather(parts: Input[list[Dataset]]):
    print(len(parts))


@dsl.component(base_image="python:3.11")
def total(numbers: list):
    print(numbers)


@dsl.component(base_image="python:3.11")
def consume(rows: Input[Dataset]):
    print(rows.path)


@dsl.pipeline(name="wrong")
def wrong(name: str, count: int = 1):
    with dsl.ParallelFor(list(range(100))) as number:
        written = write(number=number)
    gather(parts=dsl.Collected(written.outputs["rows"]))
    loose()
    homesick()
    untagged()


@pytest.fixture
def spec(tmp_path):
    def of(pipeline):
        compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml", Target("vertex"))
        return graph.load(tmp_path / "spec.yaml")

    return of


@pytest.fixture
def source(rows, tmp_path):
    rows.to_parquet(tmp_path / "rows")
    return Source("rows", str(tmp_path / "rows"), "", 1, "", (tmp_path / "rows",))


def test_training_pipeline_passes_every_check(spec, source):
    parameters = {"source": "x", "fingerprint": "x", "label": "Cover_Type"}
    checks = check.of_spec(spec(compiler.load("training")), parameters, check.describe(source, parameters))
    assert {made.name: made.state for made in checks} == dict.fromkeys(
        ("spec", "steps", "packages", "images", "parameters", "arguments", "table"), "passed"
    )


@pytest.mark.parametrize(
    ("pipeline", "n_classes", "given", "told"),
    [
        ("search", 7, {"candidates": 71}, ""),  # 71, 24 of the second rung, and five besides
        ("search", 7, {"candidates": 72}, "choose-models has 101 artifacts, 96 of them collected from loops"),
        ("search", 7, {"candidates": 150}, "choose-candidates has 153 artifacts, 150 of them collected from loops"),
        ("training", 97, {}, ""),
        ("training", 97, {"preset": "balanced"}, "combine-models has 101 artifacts, 98 of them collected from loops"),
        ("fused training", 87, {}, ""),
        ("fused training", 88, {}, "combine-models-to-promote-model has 101 artifacts, 88 of them collected"),
    ],
)
def test_artifacts_of_loops_over_what_steps_find_are_counted(spec, pipeline, n_classes, given, told):
    compiled = spec(compiler.load(pipeline.removeprefix("fused ")))
    compiled = fuse(compiled) if pipeline.startswith("fused") else compiled
    classes = {f"class {place}": 10 for place in range(n_classes)}
    described = check.Description(Schema(rows=10 * n_classes, label="Cover_Type", classes=classes))
    made = check.of_spec(compiled, given, described)[0]
    assert (made.name, made.state) == ("spec", "failed" if told else "passed")
    assert told in made.detail
    here = check.of_spec(compiled, given, described, is_here=True)[0]
    assert here == (dataclasses.replace(made, state="warning") if told else made)


def test_each_fault_of_a_spec_is_told_with_what_mends_it(spec, source):
    parameters = {"nome": "x", "label": "Elevation", "task": "classification"}
    checks = check.of_spec(spec(wrong), parameters, check.describe(source, parameters))
    assert {made.name: (made.state, made.detail) for made in checks} == {
        "spec": (
            "failed",
            "gather has 100 artifacts, 100 of them collected from loops; the service allows a task 100, 99 of loops. "
            "Loop over fewer, or let each iteration return a parameter.",
        ),
        "steps": (
            "failed",
            "homesick names AT_HOME, which its shipped source does not have. "
            "Import or define it inside the function, or name the function in additional_funcs.",
        ),
        "packages": ("failed", "loose installs pandas in any version. Pin it: packages_to_install=pinned('pandas')."),
        "images": ("failed", "untagged has the image 'python', without a tag. Name one as base_image."),
        "parameters": ("failed", "unknown: label, nome, task; without a value: name."),
        "arguments": ("passed", "the largest --executor_input has about 100,002 of 131,071 bytes, of gather"),
        "table": ("failed", checks[-1].detail),
    }
    assert re.match(r"The label 'Elevation' has \d+ different values; at most 97 classes can be tr", checks[-1].detail)
    with pytest.raises(RequestError, match=r"spec: gather has 100 artifacts.*\nsteps: homesick names") as told:
        check.require(checks)
    assert str(told.value).count("\n") <= 4


def test_too_many_parameter_bytes_are_refused(spec, source):
    parameters = {"source": "x", "fingerprint": "x" * 200_000, "label": "Cover_Type"}
    checks = check.of_spec(spec(compiler.load("training")), parameters, check.describe(source, parameters))
    failed, of_task = [made for made in checks if made.state == "failed"]
    assert failed.detail.startswith("the parameters have 200,011 bytes, the service takes 131,072.")
    assert of_task.detail.startswith("prepare-data is given about 20")


def test_step_with_more_source_than_a_command_takes_is_refused(spec, source):
    large = spec(compiler.load("training"))
    large["deploymentSpec"]["executors"]["exec-split-data"]["container"]["command"][-1] += "#" * 131_072
    described = check.describe(source, {"label": "Cover_Type"})
    failed = check.of_spec(large, {"label": "Cover_Type"}, described)[1]
    assert failed.state == "failed"
    assert failed.detail.startswith("split-data ships 1")
    assert "Linux takes 131,071 as one argument" in failed.detail


def test_task_with_too_many_artifacts_is_refused(spec, source):
    large = spec(compiler.load("training"))
    artifacts = large["components"]["comp-split-data"]["outputDefinitions"]["artifacts"]
    artifacts |= {f"part_{number}": artifacts["train"] for number in range(100)}
    described = check.describe(source, {"label": "Cover_Type"})
    assert check.of_spec(large, {"label": "Cover_Type"}, described)[0] == Check(
        "spec", "failed", "split-data has more than 100 artifacts. Put several into one folder."
    )


@dsl.pipeline(name="sub")
def sub(count: int = 2) -> int:
    with dsl.ParallelFor([[i, i, i] for i in range(7)]), dsl.ParallelFor(list(range(15))) as inner:
        made = write(number=inner)
    total(numbers=dsl.Collected(made.outputs["Output"]))
    return fine(number=count).output


@dsl.pipeline(name="nested-collected")
def nested_collected():
    with dsl.ParallelFor(list(range(10))), dsl.ParallelFor(list(range(10))) as inner:
        made = write(number=inner)
    gather(parts=dsl.Collected(made.outputs["rows"]))


@dsl.pipeline(name="in-sub")
def in_sub():
    nested_collected()


@dsl.pipeline(name="dicts")
def dicts():
    with dsl.ParallelFor([{"a": i, "b": "x,y", "c": [1, 2], "d": {}} for i in range(30)]) as item:
        made = write(number=item.a)
    gather(parts=dsl.Collected(made.outputs["rows"]))


@dsl.pipeline(name="many")
def many():
    with dsl.ParallelFor(list(range(400))) as number:
        made = write(number=number)
    total(numbers=dsl.Collected(made.outputs["Output"]))


@dsl.pipeline(name="some")
def some():
    with dsl.ParallelFor(list(range(400))) as number, dsl.If(number > 390):
        made = write(number=number)
    gather(parts=dsl.Collected(made.outputs["rows"]))


@dsl.container_component
def listing():
    return dsl.ContainerSpec(image="alpine:3.20", command=["ls"])


@dsl.component(base_image="python:3.11")
def mail(recipients: List[str]):  # noqa: UP006
    print(recipients)


@dsl.pipeline(name="kinds")
def kinds(recipients: List[str] = ["a@example.com"]):  # noqa: B006, UP006
    done = mail(recipients=recipients)
    with dsl.ExitHandler(done):
        listing()
        sub()
        table = dsl.importer(artifact_uri="gs://b/x", artifact_class=Dataset)
        consume(rows=table.output)


@dsl.pipeline(name="containers")
def containers():
    listing()


@pytest.mark.parametrize("pipeline", [sub, dicts, many, some, kinds, containers])
def test_right_pipeline_of_any_kind_passes(spec, pipeline):
    checks = check.of_spec(spec(pipeline), {}, check.Description(reason="no table"))
    assert [made for made in checks if made.state == "failed"] == []


@pytest.mark.parametrize("pipeline", [nested_collected, in_sub])
def test_artifacts_are_counted_over_nested_loops_and_in_sub_pipelines(spec, pipeline):
    first = check.of_spec(spec(pipeline), {}, check.Description(reason="no table"))[0]
    assert first.state == "failed"
    assert first.detail.startswith("gather has 100 artifacts, 100 of them collected from loops;")


def test_tasks_of_any_kind_are_named(spec):
    assert sorted(node.name for node in graph.nodes(spec(kinds))) == [
        "consume",
        "fine",
        "importer",
        "listing",
        "mail",
        "total",
        "write",
    ]


@pytest.mark.parametrize(
    ("job_id", "display_name", "labels", "message"),
    [
        ("1-job", "x", {}, "the job id '1-job' is not 1 to 128 of a-z, 0-9 and -"),
        ("j" * 129, "x", {}, "is not 1 to 128 of"),
        ("job", "x" * 129, {}, "is longer than 128 characters"),
        ("job", "x", {"Key": "x"}, "the label Key=x is not at most 63 of"),
        ("job", "x", {"key": "x" * 64}, "is not at most 63 of"),
    ],
)
def test_names_are_held_to_the_limits_of_the_service(job_id, display_name, labels, message):
    assert check.of_names("job-1", "name", {"key": "value_1"}) == "job job-1, 1 labels"
    with pytest.raises(Failed, match=message):
        check.of_names(job_id, display_name, labels)


@dsl.pipeline(name="nested")
def nested():
    with dsl.ParallelFor(["a", "b"]) as outer, dsl.ParallelFor([1, 2]) as inner:
        made = fine(number=inner)
        loose().after(made)
    print(outer)


def test_graph_names_the_tasks_in_their_order_with_their_loops(spec):
    training = graph.nodes(spec(compiler.load("training")))
    assert [(node.name, node.display_name, node.in_loop, node.item_input) for node in training] == [
        ("prepare-data", "Prepare data", False, None),
        ("split-data", "Split data", False, None),
        ("preprocess", "Preprocess", False, None),
        ("train-model", "Train class model", True, "class_code"),
        ("combine-models", "Combine models", False, None),
        ("evaluate-model", "Evaluate model", False, None),
        ("promote-model", "Promote model", False, None),
    ]
    loops = graph.nodes(spec(nested))
    assert [(node.name, node.in_loop, node.item_input) for node in loops] == [
        ("fine", True, "number"),
        ("loose", True, None),
    ]


def test_check_shows_the_table_before_anything_is_started(local_run, rows, tmp_path):
    rows["id"] = range(len(rows))
    rows.loc[:7, "Slope"] = None
    rows.to_csv(tmp_path / "rows.csv", index=False, sep=";")
    done = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--check")
    assert done.status == 0, done.err
    shown = done.out.splitlines()
    assert shown[0].startswith(f"{tmp_path / 'rows.csv'}: 1,400 rows, 14 columns, ")
    assert re.search(r"^Elevation +number +feature +\d+ … \d+", done.out, re.M)
    assert re.search(r"^Slope +number +feature +0\.6%", done.out, re.M)
    assert re.search(r"^Wilderness_Area +category +feature +Rawah, .* and 1 more", done.out, re.M)
    assert re.search(r"^id +number +dropped +0 … 1399 +identifier: another value on every row", done.out, re.M)
    assert "7 classes in 'Cover_Type'" in shown
    assert re.search(r"^  1 +6\d\d  4\d\.\d%  █{30}$", done.out, re.M)
    assert "note: rows.csv: columns separated by semicolon" in shown
    assert "memory of a run here: about 0.5 GB" in shown
    assert re.search(r"^profile small: [\d,]+ bytes of data$", done.out, re.M)
    assert "passed       table: 1,400 rows, 12 columns to learn from, 7 classes in 'Cover_Type'" in shown
    assert shown[-1] == "passed       this machine: runs every task"
    assert done.record is None


def test_check_of_a_table_that_cannot_be_learned_from_fails(local_run, rows, tmp_path):
    rows["Cover_Type"] = rows["Elevation"] / 7
    rows.to_csv(tmp_path / "rows.csv", index=False)
    asked = ("--set", "task=classification")
    done = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--check", *asked)
    assert done.status == 2
    assert re.search(
        r"^failed +table: The label 'Cover_Type' has .* Estimate it as a quantity with --set task=regr", done.out, re.M
    )
    assert "Traceback" not in done.out + done.err


def test_check_of_very_many_columns_shows_the_first_and_says_how_many_more(local_run, tmp_path):
    names = ",".join(f"column_{place}" for place in range(300))
    lines = [",".join(str((row + place) % 3) for place in range(300)) for row in range(6)]
    text = "\n".join([f"{names},kind", *(f"{line},{row % 2}" for row, line in enumerate(lines))])
    (tmp_path / "wide.csv").write_text(text)
    done = local_run("--identifier", "x", "--data", str(tmp_path / "wide.csv"), "--label", "kind", "--check")
    assert done.status == 0
    assert "column_39 " in done.out
    assert "column_40 " not in done.out
    assert "… and 261 more columns" in done.out


def test_large_table_is_described_by_its_first_rows(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(check, "MAX_BYTES_READ", 10_000)
    rows.to_parquet(tmp_path / "rows")
    size = (tmp_path / "rows").stat().st_size
    source = Source("rows", str(tmp_path / "rows"), "", size, "", (tmp_path / "rows",))
    described = check.describe(source, {"label": "Cover_Type"})
    assert described.is_part
    assert 1000 <= described.schema.rows < 1400


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"kind": ["old"] * 50 + ["other"] * 30 + ["new"] * 20}, {"split_by": "day"}, "no row of the class new. Take"),
        # as prepare-data writes them: dates of text, rows of rare classes and without a label left out
        (
            {
                "kind": ["rare", None, *["old"] * 48, *["other"] * 30, *["new"] * 20],
                "day": [f"{1 + row % 28} {month} 2026" for row, month in enumerate(["May"] * 80 + ["June"] * 20)],
            },
            {"split_by": "day", "min_class_rows": 2, "drop_unlabeled": True},
            "no row of the class new. Take",
        ),
        ({"day": 1}, {"split_by": "day"}, "All rows have the same time in 'day' (split_by)."),
        ({}, {"split_by": "day", "group_by": "who"}, "Name one of split_by and group_by."),
        ({"who": ["a", "b"] * 50}, {"group_by": "who"}, "Each group in 'who' (group_by) has all rows of some class"),
        ({"who": 1}, {"group_by": "who"}, "All rows are of one group in 'who'"),
        (
            {"who": [0] * 99 + [1], "kind": ["a"] * 90 + ["b"] * 10},
            {"weight": "who"},
            "a weight above 0 of the class a",
        ),
        ({}, {"split_by": "day"}, ""),
        ({"w": 2}, {"group_by": "who", "weight": "w"}, ""),
        ({"kind": ["old"] * 50 + ["other"] * 30 + ["new"] * 20}, {"split_by": "day", "test_size": 0.1}, ""),
        ({"kind": ["old"] * 50 + ["other"] * 30 + ["new"] * 20}, {}, ""),
    ],
)
def test_split_that_cannot_be_made_is_known_before(spec, tmp_path, artifact, change, settings, message):
    frame = pd.DataFrame(
        {"size": [1, 2, 3, 4] * 25, "day": range(100), "who": [*range(10)] * 10, "kind": ["a", "b"] * 50}
    )
    frame.assign(**change).to_csv(tmp_path / "rows.csv", index=False)
    source = Source("rows", str(tmp_path / "rows.csv"), "", 1, "", (tmp_path / "rows.csv",))
    pipeline = compiler.load("training")
    parameters = compiler.resolved(pipeline, {"source": "x", "fingerprint": "x", "label": "kind"} | settings)
    described = check.describe(source, parameters)
    told = check.of_spec(spec(pipeline), parameters, described)[-1]
    assert told.state == ("failed" if message else "passed")
    assert message in told.detail

    share = parameters["test_size"]
    taken = {name: value for name, value in settings.items() if name != "test_size"}
    dataset, train, test = (artifact(Dataset) for _ in range(3))
    prepare_data.python_func(source.uri, "kind", "", dataset, artifact(Artifact), **taken)
    with pytest.raises(ValueError, match=re.escape(told.detail)) if message else contextlib.nullcontext():
        split_data.python_func(dataset, train, test, test_size=share)


def test_split_is_judged_where_the_whole_table_was_read_and_split_data_splits_it(spec, tmp_path, monkeypatch):
    frame = pd.DataFrame({"size": [1, 2, 3, 4] * 500, "day": range(2000), "kind": ["a", "b"] * 900 + ["c"] * 200})
    frame.to_parquet(tmp_path / "rows")
    source = Source("rows", str(tmp_path / "rows"), "", 1, "", (tmp_path / "rows",))
    parameters = compiler.resolved(compiler.load("training"), {"label": "kind", "split_by": "day", "test_size": 0.2})
    described = check.describe(source, parameters)
    assert "no row of the class c" in described.split_problem
    assert check.of_spec(spec(wrong), {}, described)[-1].state == "passed"
    monkeypatch.setattr(check, "MAX_BYTES_READ", 1000)
    described = check.describe(source, parameters)
    assert (described.is_part, described.split_problem) == (True, "")


@pytest.mark.slow
def test_later_run_is_held_to_the_schema_of_an_earlier_one(local_run, rows, tmp_path):
    def run(*arguments):
        rows.to_csv(tmp_path / "rows.csv", index=False)
        return local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--set", "max_iter=1", *arguments)

    refused = run("--set", "schema_from=latest")
    assert refused.status == 2
    assert "There are no runs of 'x'" in refused.err
    first = run()
    assert first.status == 0, first.err
    assert json.loads(Path(first.record["schema"]).read_text())["rows"] == 1400

    rows["more"] = rows["Slope"] // 2
    rows["Soil_Type"] = rows["Soil_Type"].astype(str)
    rows.loc[0, "Soil_Type"] = "C9999"
    second = run("--set", f"schema_from={first.record['run_id'][:-2]}")
    assert second.status == 0, second.err
    assert second.record["parameters"]["schema_from"] == first.record["schema"]
    assert (
        "note: warning: 'Soil_Type' has new categories, which count as missing to that run's model: 'C9999'"
        in second.err
    )
    assert "note: left out: the column 'more' is new" in second.err
    assert "more" not in pd.read_parquet(second.folder / "artifacts" / "prepare-data" / "dataset")

    del rows["Aspect"]
    rows["Slope"] = "steep"
    third = run("--set", "schema_from=latest", "--check")
    assert third.status == 2
    assert "error: the column 'Aspect' (number) is missing; the column 'Slope' was number and is category" in third.out
    failed = run("--set", "schema_from=latest")
    assert failed.status == 1
    assert "Error: prepare-data failed: The table differs from the earlier run's:\nerror: the column" in failed.err
    refused = run("--set", "schema_from=latest")
    assert refused.status == 2
    assert "of x has no schema: its prepare-data did not succeed" in refused.err


@pytest.mark.parametrize(("profile", "n_rows", "told"), [("small", 1_000, ""), ("small", 50_000_000, "preprocess")])
def test_memory_that_the_machines_of_a_profile_lack_is_a_warning(rows, tmp_path, source, profile, n_rows, told):
    pipeline = compiler.load("training")
    compiler.compile_pipeline(pipeline, tmp_path / "spec.yaml", Target("vertex", profile=profile))
    described = check.describe(source, {"label": "Cover_Type"})
    described = dataclasses.replace(described, n_values=memory.values_of(described.schema, n_rows))
    made = check.of_memory(graph.load(tmp_path / "spec.yaml"), {}, described, is_here=False)
    assert made.state == ("warning" if told else "passed")
    assert told in made.detail
    check.require([made])  # it is an estimate, and refuses nothing


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"label": "Cover_Type"}, r"GB, and"),
        ({"label": "Cover_Type", "preset": "balanced"}, r"GB, its forest not counted, and"),
        ({"label": "Elevation"}, r"GB, its forest of up to 0\.9 GB not counted, and"),
    ],
)
def test_forest_that_the_estimate_leaves_out_is_told(rows, tmp_path, source, settings, told):
    compiler.compile_pipeline(compiler.load("training"), tmp_path / "spec.yaml", Target())
    described = check.describe(source, settings)
    made = check.of_memory(graph.load(tmp_path / "spec.yaml"), settings, described, is_here=True)
    assert re.match(rf"a run takes about \d\.\d {told} this machine has", made.detail)


def test_run_here_that_takes_more_memory_than_there_is_is_warned_of_before(local_run, rows, tmp_path, monkeypatch):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.setattr(memory, "of_machine", lambda: 400_000_000)
    asked = ("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--set", "max_iter=2")
    done = local_run(*asked, "--check")
    assert done.status == 0
    assert re.search(
        r"^warning +memory: a run takes about 0\.5 GB, and this machine has 0\.4 GB\. Take ", done.out, re.M
    )
    monkeypatch.setattr(memory, "MOST_PER_BYTE", 1e6)
    done = local_run(*asked)
    assert done.status == 0, done.err
    assert "warning      memory: a run takes about" in done.out


def test_memory_follows_the_whole_table_where_only_its_beginning_is_read(rows, tmp_path, monkeypatch):
    rows.to_parquet(tmp_path / "rows")
    n_bytes = (tmp_path / "rows").stat().st_size
    whole = Source("rows", str(tmp_path / "rows"), "", n_bytes, "", (tmp_path / "rows",))
    read = check.describe(whole, {"label": "Cover_Type"})
    monkeypatch.setattr(check, "MAX_BYTES_READ", n_bytes * 3 // 4)
    part = check.describe(whole, {"label": "Cover_Type"})
    assert (read.is_part, part.is_part) == (False, True)
    assert part.n_values == pytest.approx(read.n_values, rel=0.01)
    assert memory.rows_of(100, 1_000, "rows.csv.GZ", 400) == 1_000
