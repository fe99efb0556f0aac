"""The benchmark of the server: that it measures, and what it says."""

import re

import pytest

from pipeline.__main__ import main
from pipeline.benchmark import serving
from pipeline.benchmark.measuring import ContestantFailed
from pipeline.benchmark.serving import Served, markdown
from steps.tests.test_serve import NAMES, table, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.mark.slow
def test_server_is_measured_at_a_rate_beside_the_model_and_with_many_clients(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "SECONDS_AT_RATE", 0.5)
    monkeypatch.setattr(serving, "N_LONG", 2)
    monkeypatch.setattr(serving, "LONG", 200)
    table(500)[NAMES].to_csv(tmp_path / "rows.csv", index=False)
    found = serving._measured(folder, tmp_path / "rows.csv", tmp_path, runs=2, seconds=1.5, asked="--data rows.csv")
    assert (len(found.single), len(found.long), len(found.plain)) == (20, 4, 4)
    assert 0 < found.ready < 60
    assert found.errors == 0
    assert len(found.clients) > 16
    assert found.memory[0] > 50e6
    text = markdown(found)
    assert "- Command: `python -m pipeline benchmark --serving --data rows.csv --runs 2`" in text
    assert re.search(r"\| single row, 20 a second, p50 \| [\d,.]+ ms \| 15 ms \|", text)


def test_requests_that_are_due_and_not_answered_count_as_late(monkeypatch):
    """Of a server that stands still for 0.3 seconds, each request that was due meanwhile is late."""
    asked = []

    class Standing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __call__(self, body):
            asked.append(body)
            if len(asked) == 2:
                serving.time.sleep(0.3)

    monkeypatch.setattr(serving, "_asking", lambda port: Standing())
    monkeypatch.setattr(serving, "SECONDS_AT_RATE", 0.5)
    taken = serving._at_rate(0, ["a", "b"])
    assert asked == ["a", "b"] * 5
    assert [seconds > 0.1 for seconds in taken[:5]] == [False, True, True, True, True]


def test_server_that_does_not_start_is_told_with_what_it_printed(tmp_path):
    with (
        pytest.raises(ContestantFailed, match=r"does not answer. It printed:\nError: .* is no folder of a model"),
        serving._server(str(tmp_path), tmp_path / "log"),
    ):
        pass


def test_figures_stand_beside_what_is_asked_of_them():
    found = Served(
        {"Machine": "two cores"}, 1.5, [0.01, 0.03], [0.2, 0.2], [0.1, 0.05], [0.1], 2, 10.0, [5_000_000] * 9
    )
    text = markdown(found)
    assert "| ready, its packages being installed | 1.5 s | 5 s |" in text
    assert "| their ratio, median of the requests | 3.00 | 3 |" in text
    assert "| 16 clients, errors in 10 s | 2 | 0 |" in text
    assert "| memory at the end, MB | 5 | the same |" in text
    assert "not quiet" not in text
    found.others = 1.2
    assert "- The machine was not quiet: others kept 1.2 cores busy. Do not trust the times." in markdown(found)
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "500"], "--serving takes the data as it is, and no --rows, --stock or --prediction."),
        (["--stock"], "--serving takes the data as it is, and no --rows, --stock or --prediction."),
        (["--runs", "0"], "--runs 0: expected at least 1"),
        (["--data", "missing.csv"], "there is no such file"),
    ],
)
def test_wrong_request_is_refused_before_anything_is_trained(arguments, message, capsys):
    assert main(["benchmark", "--serving", *arguments]) == 2
    assert message in capsys.readouterr().err
