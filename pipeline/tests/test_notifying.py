"""Messages of the end of a run, to a real server of this machine, from here and from the played Vertex AI."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from pipeline import ROOT, RequestError, graph, settings
from pipeline.notifying import Notice, check, notifying
from steps import notices
from steps.notices import Ending, Undelivered

TOKEN = "T000-very-secret"
ENDED = Ending("training", "oaks", "20261126", "failed", "fit failed: <!channel> & more", 75.0, {"accuracy": 0.5})
OWN = """
from kfp import dsl


@dsl.component(base_image="python:3.11")
def work(how: str) -> str:
    import time

    if how == "waits":
        print("waits", flush=True)
        time.sleep(60)
    if how == "fails":
        raise ValueError("the well is dry")
    return how


@dsl.pipeline(name="own")
def own(how: str = "works") -> str:
    return work(how=how).set_caching_options(False).output
"""


@pytest.fixture
def hook():
    """A server that takes messages; it answers with the statuses in `answers` first, then 200."""
    got, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = answers.pop(0) if answers else 200
            if status == "never":
                time.sleep(1)
                return
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/services/{TOKEN}"
    yield SimpleNamespace(url=url, got=got, answers=answers)
    server.shutdown()
    server.server_close()


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return f"{path}:own"


def leaks(folder):
    return [path for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_run_that_succeeds_and_one_that_fails_tell(local_run, hook, own):
    done = local_run("--identifier", "oaks", "--pipeline", own, "--notify", hook.url)
    failed = local_run("--identifier", "oaks", "--pipeline", own, "--notify", hook.url, "--set", "how=fails")
    assert (done.status, failed.status) == (0, 1), done.err
    first, second = hook.got
    assert first["text"].startswith("own-own of oaks has succeeded after ")
    assert (first["state"], first["run"]) == ("succeeded", done.record["run_id"])
    assert second["error"].startswith("work failed: ")
    assert "the well is dry" in second["text"]
    assert TOKEN not in done.out + done.err + failed.out + failed.err
    assert not leaks(done.folder.parent)


def test_training_tells_its_figures_and_a_variable_holds_the_address(local_run, hook, monkeypatch):
    monkeypatch.setenv("HOOK", hook.url)
    flags = ("--data", "sample:700", "--set", "max_iter=2")
    done = local_run("--identifier", "oaks", *flags, "--notify", "env:HOOK")
    (told,) = hook.got
    assert told["figures"]["accuracy"] == done.record["metrics"]["accuracy"]
    assert f"accuracy {told['figures']['accuracy']:.4f}" in told["text"]


def test_run_that_ctrl_c_ends_tells(hook, own, tmp_path):
    runs_dir = tmp_path / "runs"
    command = [sys.executable, "run.py", "--identifier", "oaks", "--pipeline", own, "--set", "how=waits"]
    variables = os.environ | {"COVERTYPE_RUNS_DIR": str(runs_dir), "COVERTYPE_NOTIFY": hook.url}
    with subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any("waits" in log.read_text() for log in runs_dir.rglob("work.log")):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=30)[1]
    assert process.returncode == 130, printed
    (told,) = hook.got
    assert told["text"].startswith("own-own of oaks has been cancelled after ")
    assert told["error"] == "interrupted by Ctrl-C"


def test_what_passes_is_tried_again_and_what_does_not_is_told(hook):
    hook.answers += [500, 503, 429]
    notices.send(hook.url, ENDED, pause=0.01)
    assert len(hook.got) == 4
    for answers, told, n_tries in (
        ([404], "answered 404", 1),
        ([302], "answered 302", 1),
        ([500] * 3, "answered 500", 3),
    ):
        hook.got.clear()
        hook.answers[:] = answers
        with pytest.raises(Undelivered) as why:
            notices.send(hook.url, ENDED, tries=3, pause=0.01)
        assert str(why.value) == f"http://127.0.0.1/… {told}"
        assert len(hook.got) == n_tries
    hook.answers[:] = ["never"]
    with pytest.raises(Undelivered, match=r"did not answer in 0\.2 s"):
        notices.send(hook.url, ENDED, tries=1, time_limit=0.2)
    with pytest.raises(Undelivered, match="was not reached: ConnectionError") as why:
        notices.send(f"http://127.0.0.1:9/{TOKEN}", ENDED, tries=1)
    assert TOKEN not in str(why.value)


def test_message_that_is_not_delivered_changes_no_status_and_is_told(local_run, hook, own):
    hook.answers += [403]
    done = local_run("--identifier", "oaks", "--pipeline", own, "--notify", hook.url)
    assert done.status == 0
    assert "a message of the end was not delivered: http://127.0.0.1/… answered 403" in done.err
    assert TOKEN not in done.err


def test_forms_of_slack_and_teams_take_the_text_as_text():
    slack = notices.body_of("https://hooks.slack.com/services/x", ENDED)
    assert slack["text"].splitlines() == [
        "training of oaks has failed after 1 min 15 s: 20261126",
        "fit failed: &lt;!channel&gt; &amp; more",
        "accuracy 0.5000",
    ]
    (card,) = notices.body_of("https://x.webhook.office.com/y", ENDED)["attachments"]
    assert card["content"]["body"][1]["inlines"][0]["text"] == "fit failed: <!channel> & more"
    assert "attachments" not in notices.body_of("https://webhook.office.com.example/y", ENDED)


@pytest.mark.parametrize("address", [f"http://example.com/{TOKEN}", f"htps://x/{TOKEN}", "secret:nothing", "a@b", ""])
def test_what_is_no_address_is_refused_and_not_shown(address):
    with pytest.raises(RequestError, match="--notify: expected the https:// address of a webhook") as refused:
        settings.settle(notify=[address])
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("engine", "address", "told"),
    [
        ("local", "a@b.example", "e-mails are sent by Vertex AI only"),
        ("local", "env:NOT_SET", "the variable NOT_SET is not set"),
        (
            "vertex",
            f"https://hooks.slack.com/{TOKEN}",
            "https://hooks.slack.com/…: on Vertex AI it would stand",
        ),
        ("vertex", "env:HOOK", "on Vertex AI it would stand in the spec"),
    ],
)
def test_address_that_is_of_no_use_is_refused(engine, address, told):
    with pytest.raises(RequestError) as refused:
        check(settings.settle(engine=engine, notify=[address]))
    assert told in str(refused.value)
    assert TOKEN not in str(refused.value)


SECRET = "projects/demo/secrets/hook"


@pytest.mark.parametrize("how", ["works", "fails"])
def test_job_tells_by_its_exit_handler(vertex, local_run, hook, own, how):
    pytest.importorskip("google_cloud_pipeline_components")
    vertex.keep_secret(SECRET, hook.url)
    flags = ("--notify", f"secret:{SECRET}", "--notify", "a@b.example", "--set", f"how={how}")
    done = local_run("--identifier", "oaks", "--pipeline", own, *flags)
    assert done.status == (how == "fails"), done.err
    (told,) = hook.got
    assert told["state"] == ("failed" if how == "fails" else "succeeded")
    assert told["url"].partition("?")[0] == done.record["url"].partition("?")[0]  # the service knows projects by number
    assert bool(told["error"]) == (how == "fails")
    assert done.record["outputs"] == ({} if how == "fails" else {"Output": "works"})
    spec = graph.load(done.folder / "pipeline.yaml")
    assert [*spec["root"]["dag"]["tasks"]] == ["exit-handler-1", "notify", "vertex-pipelines-notification-email"]
    assert not leaks(done.folder)
    assert not [body for _, _, body in vertex.requests if TOKEN in json.dumps(body)]


def test_job_whose_message_is_not_delivered_says_so(vertex, local_run, own):
    done = local_run("--identifier", "oaks", "--pipeline", own, "--notify", "secret:projects/demo/secrets/none")
    assert done.status == 0, done.err
    assert "was not delivered: secret:projects/demo/secrets/none: the secret projects/demo/secrets/none" in done.err
    assert "needs roles/secretmanager.secretAccessor" in done.err


@pytest.mark.slow
def test_training_on_vertex_with_registration_and_fused_tells_its_figures(vertex, local_run, hook):
    pytest.importorskip("google_cloud_pipeline_components")
    vertex.keep_secret(SECRET, hook.url)
    flags = ("--data", "sample:1400", "--set", "max_iter=2", "--fuse", "--register", "--notify", f"secret:{SECRET}")
    done = local_run("--identifier", "oaks", *flags)
    assert done.status == 0, done.err
    (told,) = hook.got
    assert told["figures"]["accuracy"] == pytest.approx(done.record["metrics"]["accuracy"])


def test_spec_that_has_an_exit_handler_keeps_it():
    from pipeline.compiler import compiled
    from pipeline.tests.conformance.failures import exit_handler

    spec = graph.parsed(compiled(exit_handler))
    told = notifying(spec, Notice(("secret:projects/p/secrets/s",), (), "p", "i", "https://api"))
    graph.check(told)
    names = [node.name for node in graph.nodes(told)]
    assert {"say", "fail", "notify"} <= {*names}
