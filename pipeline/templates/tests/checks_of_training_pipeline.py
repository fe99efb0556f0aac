"""The pipeline new_pipeline runs by its name, as python run.py runs it."""


def test_pipeline_trains_measures_and_promotes_a_model(local_run, rows, tmp_path):
    rows.to_csv(tmp_path / "rows.csv", index=False)
    given = ("--data", str(tmp_path / "rows.csv"), "--label", "Cover_Type", "--set", "max_iter=10")
    done = local_run("--identifier", "x", "--pipeline", "new_pipeline", *given)
    assert done.status == 0, done.err
    assert {task["state"] for task in done.record["tasks"]} == {"succeeded"}
    assert done.record["verdict"]["verdict"] == "promoted"
    assert done.record["metrics"]["accuracy"] > 0.5
