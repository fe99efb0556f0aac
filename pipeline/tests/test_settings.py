import pytest
from pydantic_settings import PyprojectTomlConfigSettingsSource

from pipeline import RequestError, settings


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a [tool.covertype] table that stands for the one in pyproject.toml."""

    def write(text):
        path = tmp_path / "pyproject.toml"
        path.write_text(f"[tool.covertype]\n{text}")
        monkeypatch.setattr(
            settings, "PyprojectTomlConfigSettingsSource", lambda cls, _: PyprojectTomlConfigSettingsSource(cls, path)
        )

    return write


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
    with pytest.raises(RequestError, match=r"has 'lable', which is no setting\. The settings are: identifier"):
        settings.settle(identifier="x")
