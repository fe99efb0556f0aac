import os
import re

import pytest

import run
from pipeline import RequestError, __main__, settings


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A path that stands for that of pyproject.toml."""
    path = tmp_path / "pyproject.toml"
    monkeypatch.setattr(settings, "PYPROJECT", path)
    return path


@pytest.fixture
def table(file):
    """Write a [tool.covertype] table that stands for the one in pyproject.toml."""
    return lambda text: file.write_text(f"[tool.covertype]\n{text}")


def test_flag_wins_over_variable_and_variable_over_file(table, monkeypatch):
    table('label = "from_file"\ndata = "from_file"\nidentifier = "from-file"')
    monkeypatch.setenv("COVERTYPE_DATA", "from_variable")
    monkeypatch.setenv("COVERTYPE_IDENTIFIER", "from-variable")
    settled = settings.settle(identifier="from-flag", data=None, label=None)
    assert (settled.identifier, settled.data, settled.label) == ("from-flag", "from_variable", "from_file")


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(RequestError, match=r"--identifier 'X': expected 1 to 40.*\n--label '\{\{\$\}\}': KFP would"):
        settings.settle(identifier="X", label="{{$}}")


def test_all_that_is_missing_is_told_at_once_with_the_ways_to_set_it():
    with pytest.raises(RequestError) as missing:
        settings.settle(identifier="x").require("identifier", "project", "bucket")
    assert str(missing.value).splitlines() == [
        "--project is missing: give the flag, set GOOGLE_CLOUD_PROJECT, "
        "or write project under [tool.covertype] in pyproject.toml.",
        "--bucket is missing: give the flag, set COVERTYPE_BUCKET, "
        "or write bucket under [tool.covertype] in pyproject.toml.",
    ]


def test_vertex_is_the_engine_where_a_project_and_a_bucket_are_set(monkeypatch):
    assert settings.settle().chosen_engine() == ("local", "no project and bucket are set")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("COVERTYPE_BUCKET", "gs://trees/")
    assert settings.settle().chosen_engine() == ("vertex", "project p and bucket trees are set")
    assert settings.settle(engine="local").chosen_engine() == ("local", "asked for")


def test_plain_http_is_for_addresses_of_this_machine_only():
    assert settings.settle(api_endpoint="http://127.0.0.1:8080").api_endpoint == "http://127.0.0.1:8080"
    with pytest.raises(RequestError, match=r"--api-endpoint 'http://example\.com': plain http:// is"):
        settings.settle(api_endpoint="http://example.com")


def test_unknown_name_in_the_file_is_told(table):
    table('lable = "kind"')
    with pytest.raises(RequestError, match=r"has 'lable', which is no setting\. Near it: label, "):
        settings.settle(identifier="x")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{{{", "Invalid statement (at line 1, column 1)"),
        (b'[tool.covertype]\nlabel = "cu', "(at end of document)"),
        (bytes(range(256)), "it is no text: invalid start byte at byte 128"),
        (b'[tool.covertype]\nlabel = "\xff"', "it is no text: invalid start byte at byte 26"),
        (b'[tool.covertype]\nlabel = "a"\nlabel = "b"\n', "Cannot overwrite a value (at line 3, column 12)"),
        (b"[tool.covertype]\ndata = " + b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b"[tool.covertype]\npoll_seconds = " + b"9" * 5_000, "Exceeds the limit"),
        (b"[tool]\n\ncovertype = 5", ", line 3: expected a table of settings, [tool.covertype], not covertype = 5"),
        (b"tool = 3", ", line 1: expected a table of settings, [tool.covertype], not tool = 3"),
        (b"[[tool.covertype]]\na = 1", "expected a table of settings"),
        (b"[tool.covertype]\n\ndata = 5", ", line 3: data = 5: Input should be a valid string"),
        (b'[tool.covertype]\nproject = ["a", "b"]', ", line 2: project = ['a', 'b']: Input should be a valid string"),
        (b"[tool.covertype]\nruns_dir = 1979-05-27", ", line 2: runs_dir = datetime.date(1979, 5, 27): Input"),
        (b'[tool.covertype]\nruns_dir = "a\\u0000b"', r", line 2: runs_dir = 'a\x00b': expected the path"),
        (b'[tool.covertype]\n"\\u001b[31m" = 1', r"has '\x1b[31m', which is no setting"),
        (b"[tool.covertype]\npoll_seconds = nan", ", line 2: poll_seconds = nan: Input should be a finite number"),
        (b"[tool.covertype]\n" + b"".join(b"a%d = 1\n" % number for number in range(9)), "and 5 more."),
    ],
)
@pytest.mark.parametrize("main", [run.main, __main__.main])
def test_file_that_is_no_table_of_settings_is_told_with_its_place(file, capsys, main, content, told):
    file.write_bytes(content)
    assert main(["--identifier", "x"] if main is run.main else ["runs", "x"]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert printed.count("\n") <= 5
    assert max(map(len, printed.splitlines())) < 400


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.symlink_to("nothing"), "it is missing"),
        (os.mkfifo, "it is no regular file"),
        (os.mkdir, "it is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    ],
)
def test_file_that_is_none_is_told(file, make, told):
    make(file)
    with pytest.raises(RequestError, match=f"The settings in {file} cannot be read: .*{told}"):
        settings.settle()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("POLL_SECONDS", "nan", "COVERTYPE_POLL_SECONDS 'nan': Input should be a finite number."),
        ("POLL_SECONDS", "1e9", "COVERTYPE_POLL_SECONDS '1e9': Input should be less than or equal to 3600."),
        ("POLL_SECONDS", "0", "COVERTYPE_POLL_SECONDS '0': Input should be greater than 0."),
        ("LABEL", "\udcff", r"COVERTYPE_LABEL '\udcff': expected some text in UTF-8"),
        ("PROJECT", "a b", "COVERTYPE_PROJECT 'a b': expected 1 to 250 of A-Z"),
        ("REGION", "\x1b[31m", r"COVERTYPE_REGION '\x1b[31m': expected 1 to 250"),
        ("SERVICE_ACCOUNT", "a" * 300, "COVERTYPE_SERVICE_ACCOUNT 'aaa"),
        ("RUNS_DIR", "a\x07", r"COVERTYPE_RUNS_DIR 'a\x07': expected the path of a folder"),
        ("ENGINE", "9" * 5_000, "COVERTYPE_ENGINE '999"),
        ("API_ENDPOINT", "http://[", "COVERTYPE_API_ENDPOINT 'http://[': Invalid IPv6 URL."),
        ("SCHEDULE", "9" * 5_000, "COVERTYPE_SCHEDULE '999"),
        ("TIMEZONE", "../" * 1_000, "expected the name of a time zone"),
        ("TIMEZONE", "Europe", "expected the name of a time zone"),
    ],
)
def test_variable_of_an_odd_value_is_told_by_its_name(monkeypatch, name, value, told):
    monkeypatch.setenv(f"COVERTYPE_{name}", value)
    with pytest.raises(RequestError, match=re.escape(told)) as refused:
        settings.settle()
    assert len(str(refused.value)) < 400


def test_empty_variable_is_not_given_and_an_empty_flag_is_refused(monkeypatch):
    for name in ("COVERTYPE_RUNS_DIR", "COVERTYPE_PROJECT", "GOOGLE_CLOUD_PROJECT", "COVERTYPE_DATA"):
        monkeypatch.setenv(name, "")
    settled = settings.settle()
    assert (settled.runs_dir, settled.project, settled.data) == (settings.ROOT / "runs", None, "sample")
    for name in ("identifier", "data", "label", "project", "region", "bucket", "service_account", "timezone"):
        with pytest.raises(RequestError, match=f"^--{name.replace('_', '-')} '': expected"):
            settings.settle(**{name: ""})


def test_folder_of_runs_is_a_whole_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", "some/../runs")
    assert settings.settle().runs_dir == tmp_path / "runs"


def test_image_of_vertex_is_the_one_of_docker_hub_through_the_project_s_own_repository(monkeypatch):
    settled = settings.settle(project="example.com:trees", region="europe-west4")
    image = "europe-west4-docker.pkg.dev/example.com/trees/docker-hub/library/python:3.11-slim"
    assert settled.image_of_vertex == image
    assert settled.address_of_vertex == "https://europe-west4-aiplatform.googleapis.com"
    monkeypatch.setenv("COVERTYPE_SERVING_IMAGE", "us-docker.pkg.dev/p/own/python@sha256:0a1b")
    assert settings.settle().image_of_vertex == "us-docker.pkg.dev/p/own/python@sha256:0a1b"
    monkeypatch.setenv("COVERTYPE_SERVING_IMAGE", "none")
    assert settings.settle().image_of_vertex == ""


@pytest.mark.parametrize("image", ["python", "Python:3.11", "a b:1", "-x:1", "x:1\n"])
def test_what_is_no_image_is_told(monkeypatch, image):
    monkeypatch.setenv("COVERTYPE_SERVING_IMAGE", image)
    with pytest.raises(RequestError, match=r"COVERTYPE_SERVING_IMAGE .*: expected the place of a container image with"):
        settings.settle()
