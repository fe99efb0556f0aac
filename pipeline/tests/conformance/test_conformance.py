"""What a compiled PipelineSpec means, feature by feature: see pipelines.py."""

import json
import os
import threading

import pytest
from google.protobuf import json_format
from kfp import local

from pipeline import compiler
from pipeline.engines import worker
from pipeline.engines.interpreter import FAILED, SKIPPED, SUCCEEDED, Hooks, run
from pipeline.tests.conformance.pipelines import CASES


class InProcess(Hooks):
    """Executes each task through kfp's executor in this process, one at a time, and remembers how it ended."""

    def __init__(self, folder):
        self.folder, self.ran, self.states = folder, {}, {SKIPPED: set(), FAILED: set()}
        self._one = threading.Lock()

    def execute(self, task, command, width):
        work = worker.Work(
            source=command.source,
            function=command.function,
            executor_input=command.executor_input,
            log=str(self.folder / "log"),
            environment={},
            threads=1,
            origins={},
            user_folder=str(self.folder),
        )
        with self._one:
            before = dict(os.environ)
            os.environ.update(command.environment)
            try:
                worker.call(work)
            except (Exception, SystemExit) as error:
                if not worker.is_success(error):
                    task.error = str(error)
                    return False
            finally:
                os.environ.clear()
                os.environ.update(before)
        return True

    def ended(self, task, how):
        if how.state == SUCCEEDED:
            values = tuple(value for _, value in sorted(how.outputs.parameters.items()))
            self.ran[task.path] = values[0] if len(values) == 1 else values or None
        else:
            self.states[how.state].add(task.path)


@pytest.mark.parametrize("name", CASES)
def test_pipeline_runs_as_its_spec_says(name, tmp_path):
    case, hooks = CASES[name], InProcess(tmp_path)
    spec = json_format.MessageToDict(case.pipeline.pipeline_spec)
    given = {
        key: str(tmp_path / "counter") if value == "<counter>" else value for key, value in case.parameters.items()
    }
    how = run(spec, given, tmp_path, hooks, slots=1)
    assert hooks.ran == case.ran
    assert hooks.states == {SKIPPED: case.skipped, FAILED: case.failed}
    assert how.state == (FAILED if case.failed else SUCCEEDED)
    assert how.outputs.parameters == ({} if case.failed else case.returns)


SAME_IN_KFP_LOCAL = (
    "order_without_data",
    "if_elif_else",
    "sub_pipeline_in_a_sub_pipeline",
    "loop_over_an_output",
    "exit_handler_after_failure",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_IN_KFP_LOCAL)
def test_kfp_local_as_it_comes_returns_the_same_where_it_is_right(name, tmp_path):
    case = CASES[name]
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "outputs"), raise_on_error=False)
    case.pipeline(**case.parameters)
    written = [json.loads(path.read_text()) for path in (tmp_path / "outputs").rglob("executor_output.json")]
    returned = [value for each in written for value in each.get("parameterValues", {}).values()]
    assert sorted(map(str, returned)) == sorted(map(str, case.ran.values()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["outputs_of_tasks", "if_elif_else", "collected_values", "exit_handler_after_failure"])
def test_played_vertex_ai_runs_the_same_tasks(name, vertex, local_run, tmp_path):
    case = CASES[name]
    compiler.compile_pipeline(case.pipeline, tmp_path / "spec.yaml")
    done = local_run("--identifier", "x", "--pipeline", str(tmp_path / "spec.yaml"))
    assert done.record["status"] == ("failed" if case.failed else "succeeded"), done.err
    succeeded = [task["name"] for task in done.record["tasks"] if task["state"] == "succeeded"]
    assert sorted(succeeded) == sorted(path.rpartition("/")[2] for path in case.ran)


def test_there_are_at_least_sixty_pipelines():
    assert len(CASES) >= 60
