"""The cache is right or it misses: what of a task its key holds, and what a hit gives back."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from kfp import dsl

from pipeline import files
from pipeline.engines.interpreter import cache
from pipeline.tests.conformance.steps import address, read, say, variable, write
from pipeline.tests.test_process import execute  # noqa: F401


@pytest.fixture
def run(execute):  # noqa: F811
    """Run a pipeline with the cache on; return what its tasks have returned, and those that were found in it."""

    def twice(pipeline, **parameters):
        record = execute(pipeline, caching=True, **parameters)
        assert record.status == "succeeded", [task.error for task in record.tasks]
        return record.outputs, {task.name for task in record.tasks if task.cached}, record

    return twice


@dsl.pipeline(name="importing")
def importing(uri: str, version: str = "1") -> str:
    data = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"version": version})
    return address(data=data.output).output


def test_address_and_metadata_of_what_is_imported_are_in_the_key(run):
    for uri, version in (("gs://b/one", "1"), ("gs://b/two", "1"), ("gs://b/two", "2")):
        outputs, cached, _ = run(importing, uri=uri, version=version)
        assert outputs == {"Output": f"Dataset {uri} [('version', '{version}')]"}
        assert cached == set()
    assert run(importing, uri="gs://b/two", version="2")[1] == {"address"}


@dsl.pipeline(name="importing-a-file")
def importing_file(uri: str) -> str:
    return read(file=dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset).output).output


def test_content_of_a_file_that_is_imported_is_in_the_key(run, tmp_path):
    file = tmp_path / "file"
    for text in ("one", "two"):
        file.write_text(text)
        assert run(importing_file, uri=str(file))[:2] == ({"Output": text}, set())
    assert run(importing_file, uri=str(file))[1] == {"read"}


@dsl.component(base_image="python:3.11")
def register(elsewhere: str, registered: dsl.Output[dsl.Model], local: dsl.Output[dsl.Model]):
    registered.uri = "gs://models/seven"
    with open(elsewhere, "w") as stream:
        stream.write("kept elsewhere")
    local.uri = elsewhere


@dsl.pipeline(name="registering")
def registering(elsewhere: str) -> str:
    made = register(elsewhere=elsewhere)
    return address(data=made.outputs["registered"]).set_caching_options(False).output


def test_address_that_a_step_sets_comes_back_and_what_it_names_is_checked(run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    told = {"Output": "Model gs://models/seven []"}
    assert run(registering, elsewhere=str(elsewhere))[:2] == (told, set())
    outputs, cached, record = run(registering, elsewhere=str(elsewhere))
    assert (outputs, cached) == (told, {"register"})
    assert record.task("register").outputs["local"] == str(elsewhere)
    elsewhere.write_text("changed")
    assert run(registering, elsewhere=str(elsewhere))[1] == set()
    elsewhere.unlink()
    assert run(registering, elsewhere=str(elsewhere))[1] == set()


@dsl.component(base_image="python:3.11")
def leave_files(model: dsl.Output[dsl.Model]):
    import os

    folder = os.path.dirname(model.path)
    os.makedirs(os.path.join(folder, "empty"))
    os.makedirs(model.path)
    with open(os.path.join(model.path, "weights"), "w") as stream:
        stream.write("w")
    with open(os.path.join(folder, "beside"), "w") as stream:
        stream.write("b")
    os.symlink("model/weights", os.path.join(folder, "link"))
    model.uri = os.path.join(model.uri, "weights")


@dsl.component(base_image="python:3.11")
def read_beside(model: dsl.Input[dsl.Model]) -> str:
    import os
    import pathlib

    folder = pathlib.Path(model.path).parent.parent
    texts = [path.read_text() for path in (pathlib.Path(model.path), folder / "beside", folder / "link")]
    return f"{texts} {sorted(os.listdir(folder))}"


@dsl.pipeline(name="leaving-files")
def leaving_files() -> str:
    return read_beside(model=leave_files().outputs["model"]).set_caching_options(False).output


def test_hit_brings_all_that_the_task_has_written_in_its_folder(run):
    first = run(leaving_files)[0]
    second, cached, record = run(leaving_files)
    assert cached == {"leave-files"}
    assert second["Output"].replace("'executor_output.json', ", "") == first["Output"].replace(
        "'executor_output.json', ", ""
    )
    assert (record.folder / "artifacts" / "leave-files" / "link").is_symlink()


@dsl.component(base_image="python:3.11")
def where(file: dsl.Input[dsl.Dataset]) -> str:
    return file.path


@dsl.pipeline(name="telling-where")
def telling_where() -> str:
    return where(file=write(text="a").outputs["file"]).output


def test_task_that_tells_a_place_of_its_run_is_not_kept(run):
    for _ in range(2):
        outputs, cached, record = run(telling_where)
        assert Path(outputs["Output"]).is_relative_to(record.folder)
    assert cached == {"write"}


@dsl.pipeline(name="identifying")
def identifying() -> str:
    say(text="always the same")
    return say(text=dsl.PIPELINE_JOB_ID_PLACEHOLDER).output


def test_placeholder_that_differs_in_each_run_is_in_the_key(run):
    (first, _, one), (second, _, two) = run(identifying), run(identifying)
    assert (first["Output"], second["Output"]) == (one.run_id, two.run_id)
    assert [task.name for task in two.tasks if task.cached] == ["say"]


def with_mode(mode):
    @dsl.pipeline(name="varying")
    def varying() -> str:
        return variable(name="MODE").set_env_variable("MODE", mode).output

    return varying


def test_variables_that_the_pipeline_sets_are_in_the_key(run):
    for mode in ("fast", "slow"):
        assert run(with_mode(mode))[:2] == ({"Output": mode}, set())
    assert run(with_mode("slow"))[:2] == ({"Output": "slow"}, {"variable"})


@dsl.pipeline(name="saying")
def saying() -> str:
    return say(text="a").output


def kept(folder):
    """The files of the entries in a folder, by the step: the first word of the folder that each names."""
    files = [*(folder / ".cache").glob("*.json")]
    return {Path(json.loads(file.read_text())["folder"]).name: file for file in files}


def signed(**changes):
    """An entry with other values, which its digest fits."""

    def change(file):
        entry = cache._Entry.model_validate_json(file.read_text()).model_copy(update=changes)
        return json.dumps(entry.model_copy(update={"sha256": entry.digest()}).model_dump())

    return change


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "[]",
        "[" * 100_000 + "]" * 100_000,
        '{"x": ' * 100_000 + "1" + "}" * 100_000,
        "\0\xff",
        '{"folder": "/", "files": {}, "elsewhere": {}, "parameters": {"Output": 3}, "artifacts": {}}',
        '{"folder": "/", "files": {}, "elsewhere": {}, "parameters": {"other": "a"}, "artifacts": {}}',
        '{"folder": "/", "files": {"../x": "folder"}, "elsewhere": {}, "parameters": {"Output": "b"}, "artifacts": {}}',
        '{"folder": "/", "files": {}, "elsewhere": {}, "parameters": {}, "artifacts": {"model": []}}',
        lambda file: file.read_text().replace('"a"', '"b"'),  # one character, of a result
        lambda file: file.read_text()[:-10],
        signed(parameters={"Output": 3}),
        signed(parameters={"Output": {"value": "abc"}}),
        signed(parameters={"other": "b"}),
        signed(key="0" * 64, parameters={"Output": "b"}),
        signed(folder="/usr", parameters={"Output": "b"}),
        signed(folder="/usr/../usr", parameters={"Output": "b"}),
        signed(folder="no\0name", parameters={"Output": "b"}),
        signed(folder="x" * 5000, parameters={"Output": "b"}),
        signed(files={"../x": "folder"}, parameters={"Output": "b"}),
        signed(files={"x": "link /usr"}, parameters={"Output": "b"}),
        signed(files={"x": "link .", "w": "link x/.."}, parameters={"Output": "b"}),
        signed(files={"x": "link /tmp", "x/planted-by-the-cache": "folder"}, parameters={"Output": "b"}),
        signed(files={"x": "0" * 64}, parameters={"Output": "b"}),
        signed(artifacts={"model": []}, parameters={"Output": "b"}),
    ],
)
def test_damaged_or_foreign_entry_is_a_miss_and_replaced(run, tmp_path, entry):
    run(saying)
    (file,) = (tmp_path / ".cache").glob("*.json")
    file.write_text(entry if isinstance(entry, str) else entry(file))
    assert run(saying)[:2] == ({"Output": "a"}, set())
    assert json.loads(file.read_text())["parameters"] == {"Output": "a"}
    assert run(saying)[1] == {"say"}
    assert not Path("/tmp/planted-by-the-cache").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_entry_that_is_no_file_is_a_miss(run, tmp_path, make):
    run(saying)
    (file,) = (tmp_path / ".cache").glob("*.json")
    file.unlink()
    make(file)
    assert run(saying)[:2] == ({"Output": "a"}, set())
    assert file.is_dir() or run(saying)[1] == {"say"}


@dsl.pipeline(name="saying-twice")
def saying_twice() -> str:
    say(text="a")
    return say(text="b").output


def test_entries_that_changed_places_are_misses(run, tmp_path):
    run(saying_twice)
    one, two = kept(tmp_path).values()
    text = one.read_text()
    one.write_text(two.read_text())
    two.write_text(text)
    assert run(saying_twice)[:2] == ({"Output": "b"}, set())
    assert run(saying_twice)[1] == {"say", "say-2"}


@dsl.pipeline(name="writing")
def writing() -> str:
    return read(file=write(text="a").outputs["file"]).set_caching_options(False).output


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir])
def test_file_of_a_former_run_that_is_none_any_more_is_a_miss(run, make):
    record = run(writing)[2]
    file = record.folder / "artifacts" / "write" / "file"
    file.unlink()
    make(file)
    assert run(writing)[:2] == ({"Output": "a"}, set())
    assert run(writing)[1] == {"write"}


@dsl.component(base_image="python:3.11")
def leave_pipe(file: dsl.Output[dsl.Dataset]):
    import os

    with open(file.path, "w") as stream:
        stream.write("a")
    os.mkfifo(file.path + "-pipe")


@dsl.pipeline(name="leaving-a-pipe")
def leaving_pipe() -> str:
    return read(file=leave_pipe().outputs["file"]).output


def test_task_that_leaves_a_pipe_is_not_kept_and_not_waited_for(run):
    for _ in range(2):
        assert run(leaving_pipe)[0] == {"Output": "a"}
    assert run(leaving_pipe)[1] == {"read"}


def test_what_is_done_to_the_files_of_one_run_is_done_to_no_other_s(run):
    first, second, third = (run(writing)[2] for _ in range(3))
    files = [record.folder / "artifacts" / "write" / "file" for record in (first, second, third)]
    files[1].write_text("changed in place")
    assert [file.read_text() for file in files] == ["a", "changed in place", "a"]
    assert len({file.stat().st_ino for file in files}) == 3


@pytest.mark.parametrize("umask", [0o002, 0o027])
def test_entries_and_copies_follow_the_umask(run, tmp_path, umask):
    former = os.umask(umask)
    try:
        run(writing)
        record = run(writing)[2]
    finally:
        os.umask(former)
    files = [*(tmp_path / ".cache").glob("*.json"), record.folder / "artifacts" / "write" / "file"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o666 & ~umask}


@pytest.mark.parametrize("is_file", [False, True])
def test_cache_that_cannot_be_written_costs_no_result_and_is_told_once(execute, tmp_path, monkeypatch, is_file):  # noqa: F811
    if is_file:
        (tmp_path / ".cache").touch()
    else:  # a test may run as a user to whom no folder is closed

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        write = files.write
        monkeypatch.setattr(
            files, "write", lambda path, *a: full() if path.parent.name == ".cache" else write(path, *a)
        )
    record = execute(saying_twice, caching=True)
    assert record.status == "succeeded"
    told = [line for line in record._told.notes if "not kept" in line]
    assert len(told) == 1
    assert told[0].startswith("Results are not kept for later runs: ")


def test_leftovers_of_a_process_that_was_killed_are_swept_after_a_day(run, tmp_path):
    run(saying)
    old, new = tmp_path / ".cache" / ".00.tmp", tmp_path / ".cache" / ".11.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    run(saying)
    assert (old.exists(), new.exists()) == (False, True)


@dsl.component(base_image="python:3.11")
def spoil(file: dsl.Input[dsl.Dataset]) -> str:
    with open(file.path, "a") as stream:
        stream.write("!")
    return open(file.path).read()


@dsl.pipeline(name="spoiling")
def spoiling() -> str:
    return spoil(file=write(text="a").outputs["file"]).set_caching_options(False).output


def test_artifact_that_a_reader_has_changed_is_made_anew(run):
    for _ in range(2):
        assert run(spoiling)[:2] == ({"Output": "a!"}, set())


def test_entry_outlives_the_run_that_made_it(run):
    _, _, first = run(telling_where)
    _, _, second = run(telling_where)
    shutil.rmtree(first.folder)
    assert run(telling_where)[1] == {"write"}
    shutil.rmtree(second.folder)
    assert run(telling_where)[1] == {"write"}
