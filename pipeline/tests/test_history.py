from pipeline import __main__ as verbs


def test_runs_are_listed_newest_first_with_what_changed_a_failed_and_a_damaged_one_too(local_run, tmp_path, capsys):
    arguments = ("--identifier", "x", "--data", "sample:100", "--set")
    first = local_run(*arguments, "max_iter=1")
    (tmp_path / "rows.csv").write_text("x,kind\n1,a\n2,a\n3,\n")
    failed = local_run("--identifier", "x", "--data", str(tmp_path / "rows.csv"), "--label", "kind")
    third = local_run(*arguments, "max_iter=2")
    (tmp_path / "runs" / "x" / "20200101T000000-abcd").mkdir()

    assert verbs.main(["runs", "x"]) == 0
    shown = capsys.readouterr()
    text = " ".join(shown.out.split())
    places = [text.index(run.folder.name) for run in (third, failed, first)]
    assert places == sorted(places)
    assert "failed" in text
    assert "label" in text
    assert f"{first.record['metrics']['macro_f1']:.4f}" in text
    assert "20200101T000000-abcd/run.json cannot be read: it is missing" in shown.err

    assert verbs.main(["runs", "y"]) == 2
    assert "There are runs of: x." in capsys.readouterr().err
