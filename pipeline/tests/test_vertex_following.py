"""What following a job tells: why tasks fail, how often they are tried, what they wait for, and which item is which."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from google.cloud import aiplatform
from google.cloud.aiplatform_v1.types import CustomJob, ListPipelineJobsResponse, PipelineJob
from google.protobuf import json_format

from pipeline import __main__, compiler
from pipeline.engines import vertex_logs, vertex_tasks, vertex_waiting
from pipeline.engines.vertex_failures import raised

PIPELINE = """
from kfp import dsl
from kfp.dsl import Dataset, Output

@dsl.component(base_image="python:3.11")
def spell(item: str, out: Output[Dataset]) -> str:
    import time
    time.sleep(0.2)
    with open(out.path, "w") as file:
        file.write(item)
    return item * 2

@dsl.component(base_image="python:3.11")
def third_time(out: Output[Dataset]) -> int:
    import os
    os.makedirs(out.path, exist_ok=True)
    number = len(os.listdir(out.path))  # what the attempts before have left
    open(os.path.join(out.path, str(number)), "w").close()
    if number < 2:
        {}["not yet"]
    return number

@dsl.component(base_image="python:3.11")
def add(a: int, file: str) -> int:
    return a + 1

@dsl.component(base_image="python:3.11")
def need(a: int, file: str):
    import os
    if not os.path.exists(file):
        raise ValueError(f"there is no {os.path.basename(file)}")

@dsl.component(base_image="python:3.11")
def divide(a: int):
    for line in range(150):
        print("line", line)
    try:
        1 / a
    except ZeroDivisionError as error:
        error.add_note("in the step divide")
        raise
    print("never", a)

@dsl.pipeline(name="spelling")
def spelling(words: list = ["a", "b", "c"], spoken: bool = False):
    with dsl.ParallelFor(words) as word:
        spell(item=word)
    with dsl.If(spoken == True):
        spell(item="aloud").set_display_name("aloud")

@dsl.pipeline(name="trying")
def trying():
    third_time().set_retry(2, "60s")

@dsl.pipeline(name="needing")
def needing(file: str):
    need(a=add(a=1, file=file).output, file=file).set_retry(0)

@dsl.pipeline(name="dividing")
def dividing():
    divide(a=0).set_caching_options(False).set_retry(0)
"""


@pytest.fixture
def submit(vertex, local_run, tmp_path, monkeypatch):
    """Run one of the pipelines above on the played service."""
    monkeypatch.setenv("COVERTYPE_POLL_SECONDS", "0.05")
    (tmp_path / "p.py").write_text(PIPELINE)
    return lambda name, *arguments: local_run("--identifier", "x", "--pipeline", f"{tmp_path}/p.py:{name}", *arguments)


def only(done):
    (task,) = done.record["tasks"]
    return task


def parsed(kind, reply):
    """Parse a reply, which may hold nothing that the proto does not have."""
    return json_format.ParseDict(reply, kind.pb(kind()))


def test_what_the_played_service_answers_is_what_the_protos_say(submit, vertex):
    job = submit("trying", "--no-wait").record["job"]
    base, seen = "/v1/projects/demo/locations/us-central1", []
    while not seen or seen[-1]["state"] not in ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED"):
        seen.append(vertex._ask(f"/v1/{job}"))
        parsed(PipelineJob, seen[-1])
        time.sleep(0.02)
    details = [detail for reply in seen for detail in reply["jobDetail"]["taskDetails"]]
    root = details[0]
    assert (root["execution"]["schemaTitle"], "parentTaskId" in root) == ("system.Run", False)
    task = seen[-1]["jobDetail"]["taskDetails"][-1]
    assert task["parentTaskId"] == root["taskId"]
    container = task["executorDetail"]["containerDetail"]
    assert len({container["mainJob"], *container["failedMainJobs"]}) == 3
    assert "PENDING" in {detail["state"] for detail in details}
    parsed(CustomJob, vertex._ask(f"/v1/{container['mainJob']}"))
    parsed(ListPipelineJobsResponse, vertex._ask(f"{base}/pipelineJobs?pageSize=3"))
    submit("spelling", "--set", 'words=["d"]')
    numbers = [int(detail["taskId"]) for detail in details]
    assert all(-(2**63) <= number < 2**63 for number in numbers)


def test_items_of_a_loop_are_settled_when_the_inputs_are_there(submit):
    done = submit("spelling", "--no-cache")
    assert done.status == 0, done.err
    spelt = [task for task in done.record["tasks"] if task["name"] == "spell"]
    assert {task["item"]: task["values"]["Output"] for task in spelt} == {"a": "aa", "b": "bb", "c": "cc"}
    assert {task["path"] for task in spelt} == {f"for-loop-1/{number}/spell" for number in range(3)}
    for task in spelt:
        kept = json.loads((done.folder / "inputs" / f"{task['path']}.json").read_text())
        assert [*kept["parameterValues"].values()] == [task["item"]]
    for item in "abc":
        assert len(re.findall(rf"spell\[{item}\] +(started|succeeded)", done.err)) == 2
    assert "aloud" not in {task["name"] for task in done.record["tasks"]}  # it was not triggered


def test_retries_are_told_with_their_reason_and_recorded(submit):
    done = submit("trying")
    assert done.status == 0, done.err
    task = only(done)
    assert (task["state"], task["retries"], task["values"]) == ("succeeded", 2, {"Output": 2})
    assert task["retried_for"].startswith("KeyError: 'not yet'")
    assert "third-time retried 2×: KeyError: 'not yet'" in done.err  # noqa: RUF001
    assert re.search(r"third-time +succeeded, retried 2× ", done.err)  # noqa: RUF001


def test_task_whose_machine_was_lost_is_tried_again_by_the_system(submit, vertex):
    vertex.play("lost", "divide")
    vertex.play("lost", "spell", times=1)
    done = submit("spelling", "--set", 'words=["a"]')
    assert done.status == 0, done.err
    assert "retried 1×: Internal error occurred for the current attempt. System is retrying." in done.err  # noqa: RUF001
    assert only(done)["retries"] == 1


def test_reason_is_what_the_step_raised_at_the_users_line(submit, tmp_path):
    done = submit("dividing")
    assert done.status == 1
    error = only(done)["error"]
    assert error.splitlines()[:2] == ["ZeroDivisionError: division by zero", "in the step divide"]
    line = PIPELINE.splitlines().index("        1 / a") + 1
    assert re.search(rf"\n  \S*p\.py:{line} in divide: 1 / a$", error)
    assert f"Error: divide failed: {error}\nLog: https://console.cloud.google.com/logs/query" in done.err
    assert "Tearing down" not in done.err
    assert "Traceback" in (done.folder / "logs" / "divide.log").read_text()


def test_value_error_of_a_step_stands_alone(submit):
    done = submit("needing", "--set", "file=/nowhere/x.csv")
    assert done.status == 1
    failed = done.record["tasks"][-1]
    assert (failed["error"], failed["retries"], failed["advice"]) == ("there is no x.csv", 0, None)
    assert "Error: need failed: there is no x.csv\nLog: " in done.err
    assert "Again: python -m pipeline replay x" in done.err


@pytest.mark.parametrize(
    ("kind", "error", "advice"),
    [
        (
            "quota",
            "RESOURCE_EXHAUSTED: The following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_mod",
            "--parallelism N. Or take smaller machines: --profile small.\nSee the quota, and ask for more: https://",
        ),
        ("image", "Failed to pull image 'python:3.11': denied: ", "--base-image names another."),
        ("memory", "Replicas low on memory: workerpool0. Specify a machine", "Give it more memory: a larger --profile"),
    ],
)
def test_failure_that_is_not_the_steps_is_told_with_what_to_do(submit, vertex, kind, error, advice):
    vertex.play(kind, "divide", times=9)
    done = submit("dividing")
    assert done.status == 1
    assert f"Error: divide failed: {error}" in done.err
    assert advice in done.err
    assert "--pdb" not in done.err
    assert (only(done)["log"] is None) == (kind == "quota")


def test_log_that_is_refused_is_said_to_be(submit, vertex):
    vertex.fail("POST", "/v2/entries:list", 403, times=9, message="Permission 'logging.logEntries.list' denied.")
    done = submit("dividing")
    vertex.mend()
    assert "Error: divide failed: The replica workerpool0-0 exited with a non-zero status of 1" in done.err
    assert "\nIts log is refused: Permission 'logging.logEntries.list' denied.\nAsk for the right to" in done.err
    assert "add-iam-policy-binding demo --member=user:YOU --role=roles/logging.viewer" in done.err


def test_refused_account_is_told_with_the_right_that_is_missing(submit, vertex):
    message = "You do not have permission to act as service_account: runner@demo.iam.gserviceaccount.com."
    vertex.fail("POST", "/pipelineJobs?", 400, message=message)
    done = submit("dividing", "--service-account", "runner@demo.iam.gserviceaccount.com")
    assert done.status == 2
    assert (
        f"the submission failed: {message}\nAsk for the right to use it: gcloud iam service-accounts add-" in done.err
    )
    assert "runner@demo.iam.gserviceaccount.com --member=user:YOU --role=roles/iam.serviceAccountUser" in done.err


def test_job_that_takes_longer_than_the_timeout_is_cancelled(submit, vertex):
    vertex.play("waits 20", "divide")
    done = submit("dividing", "--timeout", "0.0001")
    assert (done.status, done.record["status"]) == (1, "cancelled")
    assert done.err.count("The job takes longer than --timeout 0.0001 hours. Cancelling it.") == 1
    assert "Error: the job took longer than --timeout 0.0001 hours and was cancelled." in done.err


def test_timeout_of_a_job_that_is_not_followed_is_said_to_have_no_effect(submit, capsys):
    done = submit("dividing", "--timeout", "2", "--no-wait")
    assert "note: --timeout has no effect on a job that nothing follows." in done.err
    assert __main__.main(["follow", done.record["job"], "--timeout", "2"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_task_that_waits_for_a_machine_or_is_silent_is_told_once(submit, vertex, monkeypatch):
    for name in ("WAITING", "SILENT", "PAUSE", "LOG_PAUSE"):
        monkeypatch.setattr(vertex_waiting, name, 0.0)
    vertex.play("waits 0.5", "spell")
    done = submit("spelling", "--set", 'words=["a"]', "--no-cache")
    assert done.status == 0, done.err
    assert len(re.findall(r": waiting for a machine since \d\d:\d\d\.", done.err)) == 1
    assert "quota: https://console.cloud.google.com/iam-admin/quotas?project=demo" in done.err
    assert len(re.findall(r"spell\[a\] has logged nothing since \d\d:\d\d\. Look at its log: https://", done.err)) == 1


def test_rerun_takes_over_what_has_succeeded_and_is_a_run_of_its_own(submit, tmp_path, capsys):
    file = tmp_path / "needed.csv"
    failed = submit("needing", "--set", f"file={file}")
    assert failed.status == 1
    file.touch()
    job = failed.record["job"]
    assert __main__.main(["rerun", job.rpartition("/")[2]]) == 0
    shown = capsys.readouterr()
    assert re.search(r"add +cached", shown.err)
    assert re.search(r"need +succeeded", shown.err)
    first, second = sorted((tmp_path / "runs" / "x").glob("2*/run.json"))
    former, record = json.loads(first.read_text()), json.loads(second.read_text())
    assert (former["status"], record["status"]) == ("failed", "succeeded")
    assert former["job"] != record["job"]
    assert record["job"].endswith(record["run_id"].lower())
    same = ("identifier", "pipeline", "profile", "parameters", "git")
    assert [record[name] for name in same] == [former[name] for name in same]


def test_rerun_of_a_job_of_elsewhere_is_recorded_by_its_labels(submit, vertex, tmp_path, monkeypatch, capsys):
    done = submit("spelling", "--set", 'words=["a"]')
    monkeypatch.setenv("COVERTYPE_RUNS_DIR", str(tmp_path / "other"))
    assert __main__.main(["rerun", done.record["job"], "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["identifier"], record["pipeline"], record["git"]) == ("x", "p-spelling", done.record["git"])
    assert [task["cached"] for task in record["tasks"]] == [True]
    labels = dict.fromkeys(("identifier", "pipeline", "profile", "run_id", "git_commit"), "")
    vertex.fail("GET", "/pipelineJobs/", 200, merge={"labels": labels})
    assert __main__.main(["rerun", done.record["job"], "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["identifier"], record["pipeline"], record["profile"]) == ("elsewhere", "elsewhere", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Caching is off in the job {job}, as by --no-cache or a schedule: nothing of it can be taken over."),
        (("no-such-job",), "the job no-such-job cannot be read: "),
    ],
)
def test_rerun_that_cannot_be_is_told_and_starts_nothing(submit, vertex, tmp_path, capsys, arguments, message):
    job = submit("dividing", "--no-cache", "--no-wait").record["job"]
    before, known = [*tmp_path.rglob("run.json")], vertex.jobs()
    assert __main__.main(["rerun", *(arguments or (job,))]) == 2
    assert message.format(job=job) in capsys.readouterr().err
    assert [*tmp_path.rglob("run.json")] == before
    assert vertex.jobs().keys() == known.keys()


def test_experiment_has_the_job(submit, vertex):
    done = submit("spelling", "--set", 'words=["a"]', "--experiment")
    assert done.status == 0, done.err
    assert "not in the experiment" not in done.err
    store = "/v1/projects/demo/locations/us-central1/metadataStores/default/contexts"
    experiment = vertex._ask(f"{store}/x")
    of_job = vertex._ask(f"{store}/{done.record['job'].rpartition('/')[2]}")
    parsed(aiplatform.gapic.Context, experiment)
    assert experiment["schemaTitle"] == "system.Experiment"
    assert of_job["parentContexts"] == [experiment["name"]]
    again = submit("spelling", "--set", 'words=["a"]', "--experiment", "--no-wait")  # it is there by now
    assert again.status == 0, again.err


def frames(*files):
    lines = ["Traceback (most recent call last):"]
    for file, line, code in files:
        lines += [f'  File "{file}", line {line}, in f', f"    {code}"]
    return lines


OWN = ("/tmp/tmp.abc/ephemeral_component.py", 3, "raise ValueError(1)")
KFP = ("/usr/lib/python3.11/site-packages/kfp/dsl/executor.py", 412, "result = self.func(**func_kwargs)")
SOURCE = "import kfp\ndef f():\n    raise ValueError(1)\n"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ""),
        (["[KFP Executor 2026 INFO]: Looking", "ERROR: No matching distribution"], ""),
        ([*frames(KFP, OWN), "ValueError: 3 rows are empty"], "3 rows are empty"),
        (
            [
                *frames(KFP, OWN),
                "ValueError: 3 rows",
                "  the first is 7",
                "in the step split-data",
                "Task completed. Exit code (1).",
            ],
            "3 rows\n  the first is 7\nin the step split-data",
        ),
        (
            [
                *frames(KFP, OWN, ("/usr/lib/python3.11/json/decoder.py", 1, "raise ValueError(1)")),
                "ValueError: no JSON",
            ],
            "ValueError: no JSON\n  <f>:3 in f: raise ValueError(1)",
        ),
        (
            [*frames(KFP, ("steps/tables/reading.py", 9, "open(x)")), "pandas.errors.ParserError: odd"],
            "ParserError: odd\n  steps/tables/reading.py:9 in f: open(x)",
        ),
        (
            [
                *frames(OWN),
                "KeyError: 'a'",
                "",
                "During handling of the above exception, another exception occurred:",
                *frames(OWN),
                "RuntimeError",
            ],
            "RuntimeError\n  <f>:3 in f: raise ValueError(1)",
        ),
        ([*frames(KFP), "MemoryError"], "MemoryError"),
        (frames(OWN), ""),
    ],
    ids=str,
)
def test_what_was_raised_is_read_from_the_log(lines, told):
    assert raised(lines, SOURCE) == told


def test_log_is_read_back_to_the_traceback(submit, monkeypatch):
    monkeypatch.setattr(vertex_logs, "PAGE", 3)
    done = submit("dividing")
    assert only(done)["error"].startswith("ZeroDivisionError: division by zero\nin the step divide")


def detail(number, name, parent, begun):
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=begun)
    return SimpleNamespace(task_id=number, task_name=name, parent_task_id=parent, create_time=moment)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("for-loop-1", "for-loop-1"), (0, 1)),
        (("for-loop-1-iteration-1", "for-loop-1-iteration-0"), (1, 0)),
        (("another", "another"), (0, 1)),
    ],
    ids=str,
)
def test_iterations_are_numbered_by_their_names_or_their_beginning(names, numbers):
    listed = [
        detail(-1, "root", 0, 0),
        detail(-2, "for-loop-1", -1, 1),
        detail(4, names[1], -2, 9),
        detail(3, names[0], -2, 5),
        detail(-5, "condition-1", 3, 6),
        detail(7, "train", -5, 7),
        detail(8, "train", 4, 10),
    ]
    details = {each.task_id: each for each in listed}
    groups = vertex_tasks._Groups(details, {"for-loop-1"})
    assert groups.around(details[7]) == ([numbers[0]], ["for-loop-1", str(numbers[0]), "condition-1"])
    assert groups.around(details[8]) == ([numbers[1]], ["for-loop-1", str(numbers[1])])


def test_task_that_waits_for_another_is_not_said_to_wait_for_a_machine(tmp_path):
    (tmp_path / "p.py").write_text(PIPELINE)
    compiler.compile_pipeline(compiler.load(f"{tmp_path}/p.py:needing"), tmp_path / "pipeline.yaml")
    tasks = vertex_tasks.JobTasks(SimpleNamespace(folder=tmp_path), [], None, None, None)
    add, need = (
        SimpleNamespace(task_name=name, parent_task_id=1, state=SimpleNamespace(name=state))
        for name, state in (("add", "RUNNING"), ("need", "PENDING"))
    )
    assert not tasks._is_next(need, {2: add, 3: need})
    add.state.name = "SUCCEEDED"
    assert tasks._is_next(need, {2: add, 3: need})
    assert not tasks._is_next(need, {3: need})


@pytest.mark.slow
def test_training_comes_through_where_each_step_loses_its_machine(vertex, local_run):
    steps = ("prepare-data", "split-data", "preprocess", "train-model", "combine-models", "evaluate-model")
    for step in steps:
        vertex.play("lost", step)
    fast = ("--data", "sample:1400", "--set", "max_iter=3")
    there = local_run("--identifier", "trees", *fast)
    assert there.status == 0, there.err
    assert {task["name"] for task in there.record["tasks"] if task["retries"]} == {*steps}
    here = local_run("--identifier", "here", "--engine", "local", *fast)
    assert there.record["metrics"] == here.record["metrics"]
