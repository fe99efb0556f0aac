import pytest

from pipeline import RequestError, runs
from pipeline.runs import Data, load


@pytest.fixture
def recorded(tmp_path):
    """Records of three runs that have begun, oldest first."""
    (tmp_path / "spec.yaml").write_text("{}")
    made = []
    for day in (1, 2, 3):
        run = runs.new(
            tmp_path, "x", pipeline="training", engine="local", parameters={}, data=Data(source="none", fingerprint="")
        )
        run.run_id = f"2026010{day}T000000-abcd"
        run._folder = tmp_path / "x" / run.run_id
        run.begin(tmp_path / "spec.yaml")
        made.append(run)
    return made


def test_run_is_found_by_its_id_the_beginning_of_it_latest_and_previous(recorded, tmp_path):
    first, second, third = (run.run_id for run in recorded)
    for name, run_id in ((first, first), ("20260102", second), ("previous", second), ("latest", third)):
        assert load("x", name, tmp_path).run_id == run_id


@pytest.mark.parametrize(
    ("identifier", "name", "message"),
    [
        ("y", "latest", "There are no runs of 'y' in .*There are runs of: x\\."),
        ("x", "20270101", "x has no run '20270101'\\. Its runs are, newest first: 20260103T000000-abcd, 20260102"),
        ("x", "2026", "x has 3 runs '2026'"),
        ("x", "", "x has no run ''"),
    ],
)
def test_unknown_run_is_told_with_those_that_exist(recorded, tmp_path, identifier, name, message):
    with pytest.raises(RequestError, match=message):
        load(identifier, name, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "it is missing"), ("{", "Invalid JSON"), ("{}", "identifier: Field required")]
)
def test_damaged_record_is_told_with_what_is_left(recorded, tmp_path, content, reason):
    record = recorded[-1].folder / "run.json"
    record.unlink() if content is None else record.write_text(content)
    with pytest.raises(RequestError, match=reason) as told:
        load("x", "latest", tmp_path)
    assert "logs, pipeline.yaml" in str(told.value)
    assert runs.of_job(tmp_path, "any") is None  # others are still looked through
