"""What was read is what was fingerprinted: a table that is replaced in between fails the run, and is kept nowhere."""

import os
import shutil
import subprocess
import sys
import threading

import pytest
from kfp.dsl import Artifact, Dataset

from pipeline import ROOT, RequestError, sources, storage
from pipeline.request import Request
from pipeline.settings import Settings
from pipeline.tests.test_bigquery import TABLE, bigquery  # noqa: F401
from steps.prepare_data import prepare_data
from steps.tables import fingerprints, globs, reading
from steps.tables.files import file_marks, require_unchanged

REPLACED = r"was replaced between the look at it and its reading: expected .* [0-9a-f]{12}…, came [0-9a-f]{12}…"


@pytest.fixture
def look(tmp_path):
    return lambda data: sources.resolve(str(data), "Cover_Type", tmp_path / ".data")


@pytest.fixture
def read(artifact):
    """Run the first step on a source."""
    return lambda source: prepare_data.python_func(
        source.uri, "Cover_Type", source.fingerprint, artifact(Dataset), artifact(Artifact)
    )


def by_move(path, content):
    new = path.with_name("new")
    new.write_bytes(content)
    new.rename(path)


def in_place(path, content):
    """Of the same size and time of change."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("replace", [by_move, in_place])
@pytest.mark.parametrize("kind", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_file_that_is_replaced_after_the_look_is_told(rows, tmp_path, look, read, replace, kind):
    path = tmp_path / kind
    write = (lambda: rows.to_parquet(path)) if "parquet" in kind else (lambda: rows.to_csv(path, index=False))
    rows.iloc[0, 0] = 2001
    write()
    other = path.read_bytes()
    rows.iloc[0, 0] = 2002
    write()
    source = look(path)
    assert read(source) == [*range(7)]
    replace(path, other)
    with pytest.raises(ValueError, match=f"{path} {REPLACED}"):
        read(source)
    assert read(look(path)) == [*range(7)]


def more(folder):
    shutil.copy(folder / "a.parquet", folder / "c.parquet")


def fewer(folder):
    (folder / "a.parquet").unlink()


def swapped(folder):
    (folder / "a.parquet").rename(folder / "x")
    (folder / "b.parquet").rename(folder / "a.parquet")
    (folder / "x").rename(folder / "b.parquet")


@pytest.mark.parametrize("change", [more, fewer, swapped])
@pytest.mark.parametrize("data", ["", "*.parquet"])
def test_folder_and_glob_whose_files_change_after_the_look_are_told(rows, tmp_path, look, read, data, change):
    folder = tmp_path / "rows"
    folder.mkdir()
    rows[::2].to_parquet(folder / "a.parquet")
    rows[1::2].to_parquet(folder / "b.parquet")
    source = look(folder / data)
    assert read(source) == [*range(7)]
    change(folder)
    with pytest.raises(ValueError, match=REPLACED):
        read(source)


def test_name_of_a_folder_with_one_file_is_in_the_fingerprint(rows, tmp_path, look, read):
    (tmp_path / "rows" / "year=1").mkdir(parents=True)
    rows.to_parquet(tmp_path / "rows" / "year=1" / "a.parquet")
    source = look(tmp_path / "rows")
    (tmp_path / "rows" / "year=1").rename(tmp_path / "rows" / "year=2")
    assert look(tmp_path / "rows").fingerprint != source.fingerprint
    with pytest.raises(ValueError, match=REPLACED):
        read(source)


def put_back(path):
    path.rename(path.with_name("away"))
    path.with_name("away").rename(path)


def rewritten(path):
    in_place(path, path.read_bytes())


def linked_anew(path):
    link = path.with_name("link")
    link.unlink()
    link.symlink_to(path)


@pytest.mark.parametrize("change", [put_back, rewritten, linked_anew])
def test_file_that_is_replaced_while_it_is_read_and_put_back_is_told(tmp_path, change):
    path, link = tmp_path / "rows.csv", tmp_path / "link"
    path.write_text("a,b\n1,2\n")
    link.symlink_to(path)
    marks = file_marks([str(link)])
    require_unchanged(marks)
    while file_marks([str(link)]) == marks:  # the clock of a file system goes by milliseconds
        change(path)
    with pytest.raises(ValueError, match="link changed while it was read"):
        require_unchanged(marks)


def test_step_tells_a_file_that_was_replaced_while_it_was_read(rows, tmp_path, look, read, monkeypatch):
    path = tmp_path / "rows.csv"
    rows.to_csv(path, index=False)
    source = look(path)

    def replace(*arguments):
        by_move(path, path.read_bytes())
        return checked(*arguments)

    checked = reading.require_same_files
    monkeypatch.setattr(reading, "require_same_files", replace)
    with pytest.raises(ValueError, match="changed while it was read"):
        read(source)


@pytest.mark.parametrize("own", ["", "x", "2026-11-25", "f" * 63, "F" * 64])
def test_mark_of_one_s_own_is_not_compared(rows, tmp_path, artifact, own):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    dataset = artifact(Dataset)
    prepare_data.python_func(str(tmp_path / "rows.csv"), "Cover_Type", own, dataset, artifact(Artifact))
    assert dataset.metadata["fingerprint"] == own


def test_run_on_a_replaced_file_fails_and_nothing_of_it_is_kept(rows, tmp_path):
    path, other = tmp_path / "rows.csv", tmp_path / "other.csv"
    rows.to_csv(path, index=False)
    rows.head(1000).to_csv(other, index=False)
    command = [sys.executable, "run.py", "--identifier", "x", "--data", str(path), "--set", "max_iter=1"]
    environment = os.environ | {"COVERTYPE_RUNS_DIR": str(tmp_path / "runs")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("Data") for line in process.stderr)
        other.rename(path)
        told = process.stderr.read()
    assert process.returncode == 1, told
    assert f"{path} was replaced between the look at it and its reading: expected SHA-256" in told
    assert "Traceback" not in told
    assert not [*(tmp_path / "runs" / ".cache").glob("*.json")]


def test_schedule_reads_what_is_there_at_its_time(rows, tmp_path):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    given = {"identifier": "x", "data": str(tmp_path / "rows.csv"), "runs_dir": tmp_path, "label": "Cover_Type"}
    assert Request.of(Settings(**given), "training").parameters["fingerprint"]
    assert Request.of(Settings(**given, schedule="0 6 * * 1"), "training").parameters["fingerprint"] == ""


# objects


def put(name, content):
    blob = storage.client().bucket("trees").blob(name)
    blob.upload_from_string(content)


def test_object_that_is_replaced_after_the_look_is_not_kept(vertex, rows, tmp_path, look):
    put("late/rows.csv", rows.to_csv(index=False))
    source = look("gs://trees/late/rows.csv")
    put("late/rows.csv", rows.head(1000).to_csv(index=False))
    with pytest.raises(RequestError, match="was replaced between the look at it and its download"):
        sources.download(source, tmp_path / ".data")
    assert not (tmp_path / ".data").exists()


def test_object_that_is_replaced_while_it_is_fetched_is_not_kept(vertex, rows, tmp_path, look, monkeypatch):
    put("during/rows.csv", rows.to_csv(index=False))
    source, fetch = look("gs://trees/during/rows.csv"), storage.fetch_found

    def late(blob, path):
        put("during/rows.csv", rows.head(1000).to_csv(index=False))
        return fetch(blob, path)

    monkeypatch.setattr(storage, "fetch_found", late)
    with pytest.raises(RequestError, match=r"gs://trees/during/rows.csv was replaced between .* Run again"):
        sources.download(source, tmp_path / ".data")
    assert not [path for path in (tmp_path / ".data").rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", ["gs://trees/there/*.csv", "gs://trees/there/b.csv"])
def test_what_was_downloaded_is_compared_by_the_step_and_fetched_again_where_it_was_damaged(
    vertex, rows, tmp_path, look, read, data
):
    put("there/a.csv", rows[::2].to_csv(index=False))
    put("there/b.csv", rows[1::2].to_csv(index=False))
    put("there/below/c.csv", "nothing that a glob of files would name")
    source = look(data)
    here = sources.download(source, tmp_path / ".data")
    assert read(here) == [*range(7)]
    kept = here.files[-1].read_bytes()
    here.files[-1].write_bytes(kept.replace(b"\n2", b"\n3"))
    with pytest.raises(ValueError, match=REPLACED):
        read(here)
    assert sources.download(source, tmp_path / ".data") == here
    assert here.files[-1].read_bytes() == kept


def test_object_without_a_checksum_is_told_by_its_generation(rows, tmp_path, artifact):
    marks = [fingerprints.of_objects([generation], [None]) for generation in (1, 1, 2)]
    assert marks[0] == marks[1] != marks[2]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    prepare_data.python_func(str(tmp_path / "rows.csv"), "Cover_Type", marks[0], artifact(Dataset), artifact(Artifact))


def test_file_that_is_replaced_before_its_upload_is_not_sent(vertex, rows, tmp_path, look):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    source = look(tmp_path / "rows.csv")
    by_move(tmp_path / "rows.csv", rows.head(1000).to_csv(index=False).encode())
    with pytest.raises(RequestError, match="was replaced between the look at it and its upload"):
        sources.upload(source, "trees")
    assert not [*storage.client().list_blobs("trees", prefix=f"data/{source.fingerprint}")]


def test_files_of_a_glob_keep_their_order_in_a_bucket_in_a_folder_of_their_own(vertex, rows, tmp_path, look, read):
    for place, name in enumerate(("one/z.csv", "two/a.csv")):
        (tmp_path / name).parent.mkdir()
        rows[place::2].to_csv(tmp_path / name, index=False)
    source = look(tmp_path / "*" / "*.csv")
    there, _ = sources.upload(source, "trees")
    (tmp_path / "two" / "a.csv").rename(tmp_path / "two" / "b.csv")
    renamed, _ = sources.upload(look(tmp_path / "*" / "*.csv"), "trees")
    assert renamed.uri != there.uri
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    for blob in storage.find(there.uri):
        storage.fetch_found(blob, bucket / blob.name.rpartition("/")[2])
    mounted = sources.dataclasses.replace(source, uri=str(bucket / "*"))
    assert read(mounted) == [*range(7)]  # it has the fingerprint


@pytest.mark.parametrize(
    "name",
    [
        "/abs/owned",
        "../../../evil",
        "a/../../evil",
        "./evil",
        "a//evil",
        "back\\slash",
        "tab\t",
        "x" * 256,
        "a.parquet/x",
        f"{'long/' * 900}x",
    ],
)
def test_object_whose_name_leaves_its_folder_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(RequestError, match=r"gs://B/rows/: the name of the object .* Rename it") as told:
        storage.places("gs://B/rows/", ["a.parquet", name, "z.parquet"], tmp_path)
    assert len(str(told.value)) < 600


def test_names_that_files_can_have_are_taken(tmp_path):
    names = ["a.parquet", "A.parquet", "..a", "a..b/c d", "ä/x", "…", "x" * 255]
    assert storage.places("gs://B/", names, tmp_path) == [tmp_path / name for name in names]


def test_run_on_a_bucket_with_such_a_name_is_refused(vertex, rows, local_run, tmp_path):
    bucket = storage.client().bucket("trees")
    bucket.blob("hostile/!a.parquet").upload_from_string(rows.to_parquet())
    bucket.blob("hostile//abs/owned").upload_from_string("owned")
    done = local_run("--identifier", "x", "--engine", "local", "--data", "gs://trees/hostile/")
    assert done.status == 2
    assert "leads out of the folder" in done.err
    with pytest.raises(RequestError, match="leads out of the folder"):
        storage.fetch_all("gs://trees/hostile", tmp_path / "fetched")
    assert not [*tmp_path.rglob("owned")]
    assert not (tmp_path / "fetched").exists()


# BigQuery


def test_bigquery_table_that_changes_after_the_look_or_while_it_is_read_is_told(
    bigquery,  # noqa: F811
    rows,
    look,
    read,
    monkeypatch,
):
    bigquery.add(TABLE, rows)
    source = look(f"bq://{TABLE}")
    assert read(source) == [*range(7)]
    answer = bigquery.answer

    def replaced(path):
        if "/data" in path:
            monkeypatch.setattr(bigquery, "answer", answer)
            bigquery.add(TABLE, rows)
        return answer(path)

    monkeypatch.setattr(bigquery, "answer", replaced)
    with pytest.raises(ValueError, match=rf"bq://{TABLE} was replaced between the look .* \(changed .*, 1,400 rows\)"):
        read(source)
    with pytest.raises(ValueError, match="was replaced between the look"):
        read(source)


# what is no table


@pytest.fixture
def soon():
    """Call within two seconds, and return what it raised."""

    def call(function, *arguments):
        raised = []

        def caught():
            try:
                function(*arguments)
            except RequestError as error:
                raised.append(str(error))

        thread = threading.Thread(target=caught, daemon=True)
        thread.start()
        thread.join(2)
        assert not thread.is_alive()
        return raised[0]

    return call


@pytest.mark.parametrize("data", ["/", "/dev/zero", "/dev", "/proc/kmsg", "/proc/cpuinfo", "/proc", "/dev/*", "/**"])
def test_what_is_no_table_of_this_machine_is_refused_at_once(soon, look, data):
    assert soon(look, data).count("\n") < 5


def fifo(folder):
    os.mkfifo(folder / "b.parquet")


def device(folder):
    (folder / "b.parquet").symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [fifo, device])
@pytest.mark.parametrize("data", ["", "*", "b.parquet"])
def test_pipe_and_device_are_refused_wherever_they_are(soon, rows, tmp_path, look, make, data):
    folder = tmp_path / "rows"
    folder.mkdir()
    rows.to_parquet(folder / "a.parquet")
    make(folder)
    assert f"{folder}/b.parquet is a " in (told := soon(look, folder / data))
    assert ", no regular file. Name a file" in told


def test_first_strange_file_of_many_ends_the_look(soon, tmp_path, look, monkeypatch):
    seen = []
    folder = tmp_path / "rows"
    folder.mkdir()
    for number in range(500):
        (folder / f"{number:03}.txt").write_text("strange")
    monkeypatch.setattr("steps.tables.files.first_bytes", lambda path: seen.append(path) or b"strange")
    assert "holds 000.txt, which is no Parquet file" in soon(look, folder)
    assert len(seen) == 1


@pytest.mark.parametrize("pattern", ["rows/**/*.parquet", "**/a.parquet", "rows/**", "rows/*/**/a.*"])
def test_glob_follows_no_circle_of_links(soon, rows, tmp_path, look, pattern):
    (tmp_path / "rows" / "below").mkdir(parents=True)
    rows.to_parquet(tmp_path / "rows" / "below" / "a.parquet")
    for name in ("one", "two"):
        (tmp_path / "rows" / name).symlink_to(".")
    assert [path.name for path in look(tmp_path / pattern).files] == ["a.parquet"]
    assert "there is no such file" in soon(look, tmp_path / "rows" / "**" / "*.csv")


def test_glob_of_the_whole_machine_is_refused(soon, look, monkeypatch):
    monkeypatch.setattr(globs, "MOST_NAMES", 5000)
    assert "looks through more than 5,000 files. Name a folder nearer" in soon(look, "/**/*.no-such-ending")


@pytest.mark.parametrize(
    ("name", "pattern", "is_named"),
    [
        ("a/b.csv", "a/*.csv", True),
        ("a/b/c.csv", "a/*.csv", False),
        ("a/b/c.csv", "a/**/*.csv", True),
        ("a/c.csv", "a/**/*.csv", True),
        ("a/.c.csv", "a/*.csv", False),
        ("a/.b/c.csv", "**/*.csv", False),
        ("a/.b/c.csv", "a/.b/*", True),
        ("a/b/c.csv", "a/**", True),
        ("a/b", "a/[ab]", True),
        ("/".join("a" * 500), "**/" * 20 + "b", False),
    ],
)
def test_objects_are_named_by_a_glob_as_files_are(name, pattern, is_named):
    assert globs.matches(name.split("/"), pattern.split("/")) is is_named


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("sample:" + "9" * 5000, "takes a whole number of rows from 14 .* to 10,000,000, not '9"),
        ("sample:9999999999999999999999", "to 10,000,000, not '9999999999999999999999'"),
        ("sample:10000001", "to 10,000,000, not '10000001'"),
        ("gs://", "expected gs://bucket/object"),
        ("gs://a", "expected gs://bucket/object"),
        ("gs:///x", "expected gs://bucket/object"),
        ("gs:", "expected gs://bucket/object"),
        ("gs://bucket/a\nb", "expected gs://bucket/object"),
        ("gs://buc\x1b[31mket/a", "expected gs://bucket/object"),
        ("gs://" + "x" * 5000, "expected gs://bucket/object"),
        ("bq://", r"expected bq://project\.dataset\.table"),
        ("bq://a..b", r"expected bq://project\.dataset\.table"),
        ("bq://a.b.c\x07", r"expected bq://project\.dataset\.table"),
        ("bq://..", r"expected bq://project\.dataset\.table"),
        ("no\udcff.csv", "is not in UTF-8"),
    ],
)
def test_data_that_names_nothing_is_refused_in_a_few_words(look, data, told):
    with pytest.raises(RequestError, match=told) as refused:
        look(data)
    assert len(str(refused.value)) < 500
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("data", ["gs://trees/nothing/", "gs://trees/nothing", "gs://no-such-bucket/"])
def test_bucket_and_folder_without_a_table_are_told(vertex, look, data):
    with pytest.raises(RequestError, match=r"there is no such object|cannot be read|is no|has "):
        look(data)


# folders that people share


@pytest.mark.parametrize("umask", [0o002, 0o027])
def test_simulated_and_downloaded_tables_follow_the_umask(vertex, rows, tmp_path, look, umask):
    put("shared-by/rows.csv", rows.to_csv(index=False))
    former = os.umask(umask)
    try:
        files = [*look("sample:50").files, *sources.download(look("gs://trees/shared-by/rows.csv"), tmp_path).files]
    finally:
        os.umask(former)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}


@pytest.mark.slow
def test_importing_skrub_makes_no_folder_at_home(tmp_path):
    code = "import pipeline, skrub"
    environment = {name: value for name, value in os.environ.items() if name != "SKB_DATA_DIRECTORY"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not (tmp_path / "skrub_data").exists()


def test_actions_are_pinned_by_commit():
    text = "\n".join(path.read_text() for path in (ROOT / ".github" / "workflows").iterdir())
    used = [line.split("uses: ")[1] for line in text.splitlines() if "uses: " in line]
    assert used
    assert all(len(line.split("@")[1].split(" # v")[0]) == 40 for line in used)
