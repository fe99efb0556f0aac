"""Champions of real runs: which model is meant, promotion by hand and back, and what a run tells of its own."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import run
from pipeline import RequestError, __main__, models, runs
from pipeline.settings import settle
from steps.champions import FILE

FAST = ("--identifier", "x", "--data", "sample:300", "--set", "max_iter=1")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder of runs with two runs, of which the first is the champion, and a copy of it."""
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVERTYPE_RUNS_DIR", str(folder / "runs"))
        assert run.main([*FAST]) == run.main([*FAST, "--set", "learning_rate=0.1"]) == 0
    shutil.copytree(folder / "runs", folder / "copy", symlinks=True)
    return folder


@pytest.fixture
def two(ran, local_run, monkeypatch):
    """The records of the two runs; the folder of runs is as it was after them."""
    shutil.rmtree(ran / "runs", ignore_errors=True)
    shutil.copytree(ran / "copy", ran / "runs", symlinks=True)
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(ran / "runs"))
    folders = sorted(path for path in (ran / "runs" / "x").iterdir() if path.name[0] == "2")
    return [SimpleNamespace(folder=path, record=json.loads((path / "run.json").read_text())) for path in folders]


@pytest.fixture
def again(two, capsys):
    """Run the command line once more on the folder of the two runs."""

    def command(*arguments):
        status = run.main([*FAST, *arguments])
        folder = (two[0].folder.parent / "latest").resolve()
        captured = capsys.readouterr()
        record = json.loads((folder / "run.json").read_text())
        return SimpleNamespace(status=status, out=captured.out, err=captured.err, folder=folder, record=record)

    return command


def champion_of(done):
    return json.loads((done.folder.parent / FILE).read_text())


def test_champion_latest_and_each_run_are_found(two, tmp_path, monkeypatch):
    settings = settle(identifier="x")
    first, second = (str(done.folder / "artifacts/promote-model/model") for done in two)
    assert models.find(settings).folder == first
    assert models.find(settings, "latest").folder == second
    assert models.find(settings, "previous").folder == first
    assert models.find(settings, two[1].folder.name).sha256 == models.find(settings, "latest").sha256
    for name in (second, f"{second}/", f"{second}/model.joblib"):
        assert models.find(settings, name).folder == second
        assert models.find(settings, name).sha256 == two[1].record["sha256"][f"{second}/model.joblib"]
    monkeypatch.chdir(second)
    assert models.find(settings, ".").sha256 == models.find(settings, "latest").sha256


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("champion", "y has no champion yet. Train one: python run.py --identifier y"),
        ("latest", "there are no runs|no run"),
        ("no/where", "no/where is no folder of a model: it has no model.json"),
    ],
)
def test_model_that_is_not_there_is_told(tmp_path, name, message):
    with pytest.raises(RequestError, match=message):
        models.find(settle(identifier="y", runs_dir=tmp_path), name)


def test_run_without_a_model_is_told(two, tmp_path):
    record = two[1].folder / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"model": None}))
    with pytest.raises(RequestError, match="has handed on no model"):
        models.find(settle(identifier="x"), "latest")


def test_run_is_promoted_by_hand_and_rolled_back(two, capsys):
    first, second = (done.folder.name for done in two)
    assert __main__.main(["promote", "x", "latest"]) == 0
    assert re.search(rf"champion +{second}, accuracy 0\.\d+, macro-F1 0\.\d+\nbefore +{first}", capsys.readouterr().out)
    assert champion_of(two[0])["reason"] == "promoted by hand"
    assert [each["run"] for each in champion_of(two[0])["before"]] == [first]
    assert __main__.main(["promote", "x", "latest"]) == 2
    assert "is the champion of x already" in capsys.readouterr().err
    assert __main__.main(["rollback", "x"]) == 0
    assert re.search(rf"champion +{first}.*\nwithdrawn +{second}", capsys.readouterr().out)
    assert __main__.main(["rollback", "x"]) == 2
    assert f"There is no champion before {first}" in capsys.readouterr().err
    assert __main__.main(["rollback", "unknown"]) == 2
    assert "There is no champion at " in capsys.readouterr().err


def test_verdict_is_told_on_the_console_in_the_record_and_in_the_report(two, again):
    first, second = two[0], again("--set", "learning_rate=0.1")
    assert first.record["verdict"]["verdict"] == "promoted"
    told = second.record["verdict"]
    assert told["champion"] == first.folder.name
    assert f"{told['verdict']}: {told['reasons'][0]}" in second.out.replace("\n", " ").replace("  ", " ")
    page = (second.folder / "report.html").read_text("utf-8")
    assert '<a href="#promotion">Promotion</a>' in page
    section = page.partition('id="promotion"')[2].partition("</section>")[0]
    assert told["reasons"][0][1:] in section
    assert first.folder.name in section
    for name, (former, new) in told["f1"].items():
        row = section.partition(f'<th scope="row">{name}</th>')[2].partition("</tr>")[0]
        assert re.findall(r">([-+]?\d\.\d{3})<", row) == [f"{former:.3f}", f"{new:.3f}", f"{new - former:+.3f}"]


def test_replay_of_a_promotion_promotes_nothing(two, capsys):
    before = (two[0].folder.parent / FILE).read_bytes()
    assert __main__.main(["replay", "x", "latest/promote-model"]) == 0
    assert re.search(r"Output +(tie|kept|promoted)", capsys.readouterr().out)
    assert (two[0].folder.parent / FILE).read_bytes() == before


def test_damaged_champion_fails_the_promotion_and_says_what_to_do(two, again, capsys):
    place = two[0].folder.parent / FILE
    place.write_text("{")
    failed = again()
    assert failed.status == 1
    assert "champion.json is damaged" in failed.err
    assert failed.record["metrics"]["accuracy"] > 0
    assert __main__.main(["promote", "x", "latest"]) == 2
    assert "champion.json is damaged" in capsys.readouterr().err


def test_folder_of_runs_that_was_moved_keeps_its_champion(two, tmp_path, monkeypatch):
    shutil.move(two[0].folder.parent.parent, tmp_path / "moved")
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "moved"))
    found = models.find(settle(identifier="x"))
    assert Path(found.folder).is_relative_to(tmp_path / "moved")
    assert Path(found.folder, "model.joblib").is_file()


def test_identifier_with_a_champion_lists_its_runs(two):
    assert len(runs.folders(two[0].folder.parent.parent, "x")) == 2


def test_check_tells_the_champion_and_what_it_will_lack(two, again):
    first = two[0].folder.name
    same = again("--check")
    assert re.search(rf"passed +champion: of {first}; a new model is compared with it", same.out)
    fewer = again("--set", "drop=Elevation", "--check")
    assert "it needs columns that are not there, so it stays uncompared: ['Elevation']" in fewer.out.replace("\n", " ")
    dropped = again("--set", "drop=Elevation")
    assert dropped.record["verdict"]["verdict"] == "kept"
    assert "does not have: ['Elevation']" in dropped.record["verdict"]["reasons"][0]
    shutil.rmtree(two[0].folder / "artifacts" / "promote-model")
    gone = again("--check")
    assert gone.status == 2
    assert "is no folder of a model" in gone.out
