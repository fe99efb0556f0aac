"""The pipeline churn runs by its name, as python run.py runs it."""

from make_customers import make_customers


def test_pipeline_trains_a_model_and_chooses_whom_to_call(local_run, tmp_path):
    make_customers(2_000).to_csv(tmp_path / "rows.csv", index=False)
    table = ("--data", str(tmp_path / "rows.csv"), "--label", "churned")
    done = local_run("--identifier", "x", "--pipeline", "churn", *table, "--set", "cost_of_call=20")
    assert done.status == 0, done.err
    assert {task["state"] for task in done.record["tasks"]} == {"succeeded"}
    assert done.record["verdict"]["verdict"] == "promoted"
    assert done.record["metrics"]["accuracy"] > 0.8
    assert 0 < done.record["outputs"]["Output"] < 400
