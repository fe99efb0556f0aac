"""The pipeline new_pipeline runs by its name, as python run.py runs it."""


def test_pipeline_runs_on_a_table(local_run, rows, tmp_path):
    table = tmp_path / "rows.csv"
    rows.to_csv(table, index=False)
    done = local_run("--identifier", "x", "--pipeline", "new_pipeline", "--data", str(table))
    assert done.status == 0, done.err
    assert {task["state"] for task in done.record["tasks"]} == {"succeeded"}
