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


def test_missing_identifier_is_told_with_the_ways_to_set_it():
    with pytest.raises(
        RequestError, match="--identifier is missing: give the flag, set COVERTYPE_IDENTIFIER"
    ):
        settings.settle()


def test_unknown_name_in_the_file_is_told(table):
    table('lable = "kind"')
    with pytest.raises(
        RequestError, match=r"has 'lable', which is no setting\. The settings are: identifier"
    ):
        settings.settle(identifier="x")
