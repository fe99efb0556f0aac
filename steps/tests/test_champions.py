import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from steps import champions
from steps.champions import Changed, current, made, promote, read, roll_back

ROOT = Path(__file__).parents[2]


class Storage(ThreadingHTTPServer):
    """Objects with generations, as the JSON API of Cloud Storage has them: a write may name the one it replaces.

    The emulator that other tests use takes every write, whatever generation it names.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.lock = threading.Lock()
        self.lost_answers = 0  # to writes: they are done, and the connection ends

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        address = urlsplit(self.path)
        found = self.server.objects.get(unquote(address.path.rpartition("/o/")[2]))
        wanted = parse_qs(address.query).get("ifGenerationMatch", [None])[0]
        if found is None:
            self.answer(404, b"{}")
        elif wanted not in (None, str(found[0])):
            self.answer(412, b"{}")
        elif address.path.startswith("/download/"):
            self.answer(200, found[1])
        else:
            self.answer(200, json.dumps({"generation": str(found[0]), "size": str(len(found[1]))}).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip("'\"").encode()
        parts = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in body.split(b"--" + boundary)[1:3]]
        name = json.loads(parts[0])["name"]
        wanted = parse_qs(urlsplit(self.path).query).get("ifGenerationMatch", [None])[0]
        with self.server.lock:
            generation = self.server.objects.get(name, (0, b""))[0]
            if wanted not in (None, str(generation)):
                self.answer(412, b"{}")
                return
            self.server.objects[name] = (time.time_ns() // 1000, parts[1])
            if self.server.lost_answers:
                self.server.lost_answers -= 1
                self.close_connection = True
                return
        self.answer(200, json.dumps({"name": name, "generation": str(self.server.objects[name][0])}).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def storage(monkeypatch):
    with Storage() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server
        server.shutdown()


@pytest.fixture(params=["here", "there"])
def place(request, tmp_path):
    if request.param == "there":
        request.getfixturevalue("storage")
        return "gs://bucket/x/champion.json"
    return str(tmp_path / "x" / "champion.json")


def of(place, run):
    return made(place, run, f"{place.rpartition('/')[0]}/{run}/model", run * 4, {"macro_f1": 0.5}, "it is better")


def test_champion_is_the_last_that_was_promoted_and_remembers_the_others(place):
    assert read(place) is None
    first = promote(place, of(place, "one"), None)
    second = promote(place, of(place, "two"), first)
    assert read(place) == second
    assert current(place) == (f"{place.rpartition('/')[0]}/two/model", "twotwotwotwo")
    assert second.before == [first.alone]
    assert "before" not in first.alone


def test_rollback_goes_one_back_each_time_and_loses_none(place):
    champion = None
    for run in ("one", "two", "three"):
        champion = promote(place, of(place, run), champion)
    assert [found.run for found in roll_back(place)] == ["two", "three"]
    assert [found.run for found in roll_back(place)] == ["one", "two"]
    with pytest.raises(ValueError, match="no champion before one"):
        roll_back(place)
    assert [each["run"] for each in read(place).withdrawn] == ["three", "two"]


def test_promotion_over_a_champion_that_has_changed_is_refused(place):
    first = promote(place, of(place, "one"), None)
    with pytest.raises(Changed):
        promote(place, of(place, "two"), None)
    second = promote(place, of(place, "two"), first)
    with pytest.raises(Changed):
        promote(place, of(place, "three"), first)
    assert read(place) == second


def test_object_that_is_replaced_between_the_look_and_the_write_is_not_overwritten(storage, monkeypatch):
    place = "gs://bucket/x/champion.json"
    first = promote(place, of(place, "one"), None)
    blob, uploads = champions._blob, []

    def with_another_first(address):
        found = blob(address)
        upload = found.upload_from_string

        def late(*arguments, **conditions):
            if not uploads:
                uploads.append(conditions)
                promote(place, of(place, "two"), first)
            return upload(*arguments, **conditions)

        found.upload_from_string = late
        return found

    monkeypatch.setattr(champions, "_blob", with_another_first)
    with pytest.raises(Changed):
        promote(place, of(place, "three"), first)
    assert read(place).run == "two"


def test_write_whose_answer_is_lost_is_known_again(storage):
    storage.lost_answers = 1
    place = "gs://bucket/x/champion.json"
    promote(place, of(place, "one"), None)
    assert read(place).run == "one"


def _promote_some(place, name, n_times):
    for number in range(n_times):
        while True:
            try:
                promote(place, of(place, f"{name}{number}"), read(place))
                break
            except Changed:
                continue


def test_of_processes_that_promote_at_once_none_is_lost(place):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_promote_some, args=[place, name, 10]) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    champion = read(place)
    runs = [each["run"] for each in champion.before] + [champion.run]
    assert sorted(runs) == sorted(f"{name}{number}" for name in "ab" for number in range(10))
    for name in "ab":
        assert [run for run in runs if run.startswith(name)] == [f"{name}{number}" for number in range(10)]


def test_kill_during_promotion_leaves_the_old_champion_or_the_new(tmp_path):
    place = str(tmp_path / "x" / "champion.json")
    promote(place, of(place, "first"), None)
    code = (
        "import sys\nfrom steps.champions import made, promote, read\nplace = sys.argv[1]\nprint(flush=True)\n"
        "while True:\n    promote(place, made(place, 'run', '/model', 'aa', {}, 'why'), read(place))\n"
    )
    for delay in (0.0, 0.003, 0.007, 0.011, 0.017):
        n_before = len(read(place).before)
        process = subprocess.Popen([sys.executable, "-c", code, place], cwd=ROOT, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = read(place)
        assert len(found.before) >= n_before
        promote(place, of(place, "again"), found)  # no lock is left


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"run": 1}', "[" * 20_000, "\x00\xff"])
def test_damaged_file_is_told_as_that(tmp_path, content):
    place = tmp_path / "champion.json"
    place.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"champion.json is damaged"):
        read(str(place))
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(ValueError, match="no regular file"):
        read(str(place))


def test_champion_of_a_moved_folder_of_runs_is_found(tmp_path):
    place = str(tmp_path / "runs" / "x" / "champion.json")
    promote(place, of(place, "one"), None)
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert current(str(tmp_path / "moved" / "x" / "champion.json"))[0] == str(
        tmp_path / "moved" / "x" / "one" / "model"
    )


@pytest.mark.parametrize(
    ("job", "run"),
    [
        ("covertype-training-20261125T191926-923e", "20261125T191926-923e"),
        ("mine-training-20261125t191926-923e", "20261125T191926-923e"),
        ("covertype-training-20261125060000", "covertype-training-20261125060000"),
    ],
)
def test_champion_is_named_by_the_id_of_its_run(job, run):
    assert made("/runs/x/champion.json", job, "/runs/x/model", "", {}, "").run == run
