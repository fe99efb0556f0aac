"""The server as it runs, here and as its container starts it."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import psutil
import pytest

from pipeline import ROOT, RequestError, models, serving, storage
from pipeline.serving import container
from steps.model_folder import load_model
from steps.serve import bound
from steps.serving import start
from steps.serving.wheels import SERVING, WHEELS, collect
from steps.tests.test_serve import NAMES, ROW, table, write_model

SECONDS_TO_START = 60  # beside other work
INSTANCES = json.dumps({"instances": [ROW]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def started(command, port, cwd=ROOT, **environment):
    """Start a server, wait until it answers, and end it; gives its process and what it has printed."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "AIP_HTTP_PORT": str(port), **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    printed = []
    reader = threading.Thread(target=lambda: printed.extend(process.stderr), daemon=True)
    reader.start()
    try:
        until = time.monotonic() + SECONDS_TO_START
        while process.poll() is None and time.monotonic() < until:
            # no connection is tried before: again and again, it may in the end be one of a socket with itself
            if any(line.startswith("Serv") for line in printed):
                break
            time.sleep(0.02)
        else:
            reader.join(5)
            pytest.fail(f"no server: {''.join(printed)}")
        yield SimpleNamespace(process=process, port=port, printed=printed)
    finally:
        process.terminate()
        process.wait(20)
        reader.join(5)


@pytest.fixture(scope="module")
def server(folder):
    port = free_port()
    with started([sys.executable, "-m", "steps.serve"], port, AIP_STORAGE_URI=folder) as running:
        yield running


def ask(port, path="/predict", body=None, method=None, headers=None):
    """Return the status of an answer, and what it holds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
    is_json = answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(content) if is_json else content.decode()


def goes_on(server):
    status, answer = ask(server.port, body=INSTANCES)
    return status == 200 and server.process.poll() is None and len(answer["predictions"]) == 1


def test_server_answers_lists_and_objects_as_the_model_predicts(server, folder):
    frame = table(150, seed=5)[NAMES]
    rows = json.loads(frame.to_json(orient="records"))
    expected = load_model(folder).predict_proba(frame)
    for instances in (rows, [[*row.values()] for row in rows]):
        status, answer = ask(server.port, body=json.dumps({"instances": instances, "parameters": {}}))
        assert status == 200
        assert [*answer] == ["predictions"]
        assert np.array_equal([[*row["probabilities"].values()] for row in answer["predictions"]], expected)
        assert {*answer["predictions"][0]} == {"class", "probabilities"}
    assert ask(server.port, "/health")[0] == 200


def test_documentation_has_the_columns_of_the_table_and_an_example_that_is_answered(server):
    status, page = ask(server.port, "/docs")
    assert status == 200
    assert "/openapi.json" in page
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert loaded
    for address in loaded:  # all of them are the server's own
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{address}") as answer:
            assert answer.status == 200
    described = ask(server.port, "/openapi.json")[1]
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    by_name, in_order = body["schema"]["properties"]["instances"]["oneOf"]
    assert [*by_name["items"]["properties"]] == NAMES
    assert [cell["title"] for cell in in_order["items"]["prefixItems"]] == NAMES
    assert by_name["items"]["properties"]["size"] == {"type": ["number", "string", "null"]}
    first, second = (ask(server.port, body=json.dumps(each["value"])) for each in body["examples"].values())
    assert first[0] == 200
    assert first == second
    assert "metadata" not in first[1]
    assert "accuracy 0.9000" in described["info"]["description"]


@pytest.mark.parametrize(
    ("asked", "code", "status", "message"),
    [
        ({"body": "{"}, 400, "INVALID_ARGUMENT", "The request is no JSON in UTF-8"),
        ({"body": "[" * 200_000}, 400, "INVALID_ARGUMENT", "too many lists"),
        ({"body": '{"instances": [[[[' + "[" * 9_000 + "1"}, 400, "INVALID_ARGUMENT", "nested too deeply"),
        ({"body": '{"instances": []}'}, 400, "INVALID_ARGUMENT", '"instances" is empty'),
        ({"body": json.dumps({"instances": [ROW, {}]})}, 400, "INVALID_ARGUMENT", "instances[1]: columns are missing"),
        ({"body": json.dumps({"instances": [ROW] * 10_001})}, 400, "INVALID_ARGUMENT", "at most 10,000"),
        ({"body": json.dumps({"instances": [ROW | {"size": []}]})}, 400, "INVALID_ARGUMENT", "column 'size'"),
        ({"method": "GET"}, 405, "UNIMPLEMENTED", "/predict takes no GET. Send instances by POST to /predict."),
        ({"path": "/health", "method": "DELETE"}, 405, "UNIMPLEMENTED", "/health takes no DELETE"),
        ({"path": "/other"}, 404, "NOT_FOUND", "There is no /other."),
        ({"path": "/predict/"}, 404, "NOT_FOUND", "There is no /predict/."),
    ],
)
def test_wrong_request_is_answered_in_the_shape_of_the_service_and_the_server_goes_on(
    server, asked, code, status, message
):
    found, answer = ask(server.port, **asked)
    assert found == code
    assert [*answer] == ["error"]
    assert message in answer["error"].pop("message")
    assert answer["error"] == {"code": code, "status": status}
    assert goes_on(server)


def test_method_that_is_taken_is_told(server):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("PUT", "/predict")
        assert connection.getresponse().headers["allow"] == "POST"


def chunks(size, block=1_000_000):
    """Bytes of JSON that never end in it, in parts whose number is not told before."""
    yield b'{"instances": ["'
    for _ in range(size // block):
        yield b"x" * block


@pytest.mark.parametrize("is_told", [True, False])
def test_request_above_50_mb_is_refused_and_not_kept(server, is_told):
    process = psutil.Process(server.process.pid)
    assert goes_on(server)
    before, largest, ended = process.memory_info().rss, 0, threading.Event()

    def watch():
        nonlocal largest
        while not ended.wait(0.005):
            largest = max(largest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    size = 120_000_000
    parts = b"".join(chunks(size)) if is_told else chunks(size)
    found, answer = ask(server.port, body=parts)
    ended.set()
    watcher.join()
    assert found == 413
    assert answer["error"]["message"] == "The request is larger than 50,000,000 bytes. Send fewer rows at once."
    assert largest - before < (
        20e6 if is_told else 75e6
    )  # of what is told before nothing is kept, else the first 50 MB
    assert goes_on(server)


def test_request_that_waits_to_be_told_is_refused_before_it_is_sent(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /pre",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(INSTANCES), INSTANCES.encode()),
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",  # the beginning of TLS
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_client_that_hangs_up_or_speaks_otherwise_disturbs_nobody(server, sent):
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends by a reset
        connection.sendall(sent)
        connection.close()
    assert goes_on(server)


@pytest.mark.slow
def test_each_of_many_clients_at_once_gets_its_own_answer_and_warnings(server):
    def client(number):
        odd = f"odd {number}" if number % 2 else 5
        status, answer = ask(server.port, body=json.dumps({"instances": [ROW | {"count": odd}] * (1 + number % 3)}))
        warnings = answer.get("metadata", {}).get("warnings", [])
        return status == 200 and ([repr(odd) in text for text in warnings] == [True] * (number % 2))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(client, range(160)))


def test_metrics_tell_requests_rows_classes_and_the_model(server, folder):
    def counted():
        lines = [line.rpartition(" ") for line in ask(server.port, "/metrics")[1].splitlines() if line[0] != "#"]
        return {name: float(value) for name, _, value in lines}

    before = counted()
    assert ask(server.port, body=json.dumps({"instances": [ROW] * 30}))[0] == 200
    assert ask(server.port, body="{")[0] == 400
    now = counted()
    grown = {name: value - before.get(name, 0) for name, value in now.items()}
    assert grown['serving_requests_total{route="predict",status="200"}'] == 1
    assert grown['serving_requests_total{route="predict",status="400"}'] == 1
    assert grown['serving_request_seconds_bucket{le="+Inf",route="predict"}'] == 2
    assert grown["serving_rows_total"] == 30
    assert sum(value for name, value in grown.items() if name.startswith("serving_predictions_total{")) == 30
    sha256 = models.sha256_of(folder)
    assert any(name.startswith("serving_model_info{") and sha256 in name for name in now)
    assert now["process_resident_memory_bytes"] > 1e7


def test_routes_of_the_environment_are_used_and_a_stopped_server_ends_what_it_has_begun(folder):
    port = free_port()
    routes = {"AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2", "AIP_STORAGE_URI": folder}
    routes["AIP_PREDICT_ROUTE"] = routes["AIP_HEALTH_ROUTE"] + ":predict"
    with started([sys.executable, "-m", "steps.serve"], port, **routes) as server:
        assert ask(port, routes["AIP_HEALTH_ROUTE"])[0] == 200
        assert ask(port)[0] == 404
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("POST", routes["AIP_PREDICT_ROUTE"], json.dumps({"instances": [ROW] * 9_000}))
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            answer = connection.getresponse()
            assert answer.status == 200
            assert len(json.loads(answer.read())["predictions"]) == 9_000
        assert server.process.wait(10) == 0
    assert "Traceback" not in "".join(server.printed)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AIP_STORAGE_URI": ""}, "AIP_STORAGE_URI is not set: expected the folder of a model."),
        ({"AIP_STORAGE_URI": "/nowhere"}, "Error: /nowhere is no folder of a model: it has no model.json."),
        ({"AIP_HTTP_PORT": "none"}, "AIP_HTTP_PORT is 'none': expected the number of a port."),
        ({"MODEL_SHA256": "0" * 64}, "is not the file that was recorded"),
    ],
)
def test_what_cannot_be_served_is_told_without_a_traceback(folder, environment, message):
    given = {**os.environ, "AIP_STORAGE_URI": folder, "AIP_HTTP_PORT": "0"} | environment
    done = subprocess.run([sys.executable, "-m", "steps.serve"], cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_tampered_model_is_refused_here(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    found = models.FoundModel(str(tmp_path / "model"), models.sha256_of(folder), "a model")
    with open(tmp_path / "model" / "model.joblib", "ab") as file:
        file.write(b"cos\nsystem\n")
    with pytest.raises(RequestError, match="is not the file that was recorded"):
        serving.serve(found, 0)


def test_verb_serves_until_ctrl_c_and_a_taken_port_is_told(folder, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "serve", "trees", "--model", folder, "--port", str(port)]
    with started(command, port, COVERTYPE_RUNS_DIR=str(tmp_path)) as server:
        assert ask(port, body=INSTANCES)[0] == 200
        assert ask(port, "/metrics")[0] == 200
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 2
        assert f"Error: --port {port}: another program listens on it. Name another, or 0" in second.stderr
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 130
    printed = "".join(server.printed)
    assert f"http://127.0.0.1:{port}/predict" in printed
    assert f"http://127.0.0.1:{port}/docs" in printed
    assert printed.splitlines()[-1] == "Error: interrupted by Ctrl-C."


def test_answers_are_sent_at_once():
    """asyncio lets no socket wait for more to send that says it is one of TCP; others wait 40 ms for each answer."""
    with bound("127.0.0.1", 0) as place:
        place.listen()
        with socket.create_connection(place.getsockname()), place.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_container_is_one_command_of_text_on_a_public_image():
    made = container(sha256="a" * 64)
    assert made["imageUri"] == "python:3.11-slim"
    assert made["command"][:2] == ["python", "-c"]
    assert len(made["command"][2].encode()) < 131_071
    assert "$(" not in made["command"][2]  # which services take for a variable of the environment
    assert "steps/serving/start.py" in made["command"][2]
    assert made["env"] == [{"name": "MODEL_SHA256", "value": "a" * 64}]
    assert (made["ports"], made["healthRoute"], made["predictRoute"]) == (
        [{"containerPort": 8080}],
        "/health",
        "/predict",
    )
    assert container("mirror/python:3.11")["imageUri"] == "mirror/python:3.11"
    assert container()["env"] == []


def container_start(tmp_path, **environment):
    """Start the container's command with this Python, without the checkout."""
    (tmp_path / "empty").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *container()["command"][1:]],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "Error: AIP_STORAGE_URI is not set: expected the folder of a model, here or gs://…."),
        ("folder", "has no requirements-serving.txt and no wheels. Expected the folder of a model with its wheels"),
        ("gs://trees/nothing/here", "Error: There is no model at gs://trees/nothing/here: expected model.joblib"),
        ("gs://nowhere/model", "gs://nowhere is not there (404)"),
    ],
)
def test_container_says_what_is_missing(storage_emulator, folder, tmp_path, uri, message):
    uri = folder if uri == "folder" else uri
    done = container_start(tmp_path, AIP_STORAGE_URI=uri, STORAGE_EMULATOR_HOST=storage_emulator)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def wheel(folder, name="small", version="1.0", needs=()):
    """Write a wheel of one empty module."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Let pip know a folder of wheels only."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def test_wheels_are_collected_with_what_they_need_and_each_is_known_by_its_sha256(index, tmp_path):
    files = [wheel(index, "small", needs=["other_one>=2"]), wheel(index, "other_one", "2.5"), wheel(index, "served")]
    model = tmp_path / "model"
    (model / WHEELS).mkdir(parents=True)
    (model / WHEELS / "old-0.1-py3-none-any.whl").write_bytes(b"")
    (model / "requirements.txt").write_text("small==1.0\n")
    assert collect(str(model), ["served==1.0"]) == sorted(file.name for file in files)
    lines = (model / SERVING).read_text().splitlines()
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert lines == [
        f"{name.split('-')[0]}=={name.split('-')[1]} --hash=sha256:{hashes[name]}" for name in sorted(hashes)
    ]


def test_wheels_that_cannot_be_had_are_told_with_what_pip_says(index, tmp_path):
    (tmp_path / "requirements.txt").write_text("small==1.0\n")
    with pytest.raises(ValueError, match=r"(?s)cannot be collected. pip says:.*small==1\.0"):
        collect(str(tmp_path), [])
    with pytest.raises(ValueError, match=r"is no folder of a model: it has no requirements\.txt"):
        collect(str(index), [])


def test_wheel_that_was_changed_is_not_installed(index, tmp_path):
    wheel(index)
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.joblib", "model.json"):
        (model / name).write_text("{}")
    (model / "requirements.txt").write_text("small==1.0\n")
    collect(str(model), [])
    with open(wheel(model / WHEELS), "ab") as file:
        file.write(b"\0")
    with pytest.raises(start.CannotStartError, match=r"(?s)cannot be installed on Python 3.*DO NOT MATCH THE HASHES"):
        start.install(str(model), "gs://trees/model")


@pytest.fixture
def bucket(vertex, folder):
    """Put a model with a wheel into the bucket, and what a server does not need; returns the address."""
    uri = "gs://trees/served/model"
    for blob in storage.client().list_blobs("trees", prefix="served/"):
        blob.delete()
    contents = {
        "model.json": b"{}",
        "model.joblib": b"model",
        SERVING: b"small==1.0",
        "wheels/small-1.0-py3-none-any.whl": b"w",
    }
    for name, content in (
        contents | {"training_rows.npy": b"rows", "wheels/deep/x.whl": b"", "model_card.md": b""}
    ).items():
        storage.client().bucket("trees").blob(f"served/model/{name}").upload_from_string(content)
    storage.client().bucket("trees").blob("served/model2/model.json").upload_from_string(b"another")
    return uri


def test_what_is_needed_of_a_bucket_is_fetched(bucket, tmp_path):
    assert start.fetch(bucket, str(tmp_path / "to")) == 2 + 5 + 10 + 1
    found = sorted(str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert found == ["model.joblib", "model.json", SERVING, "wheels/small-1.0-py3-none-any.whl"]
    assert (tmp_path / "to" / "model.json").read_bytes() == b"{}"


class Played(BaseHTTPRequestHandler):
    """A Cloud Storage and a metadata server that fail as they are told to."""

    faults: ClassVar[list[object]] = []
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("Authorization") or self.headers.get("Metadata-Flavor")))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        content = b"content"
        if self.path.startswith("/computeMetadata"):
            content = b'{"access_token": "secret"}'
        elif "alt=media" not in self.path:
            listed = {"name": "m/model.json", "size": "7", "generation": "5", "md5Hash": "mgNkuembtIDdJeHwKEyFVQ=="}
            page = {"nextPageToken": "next"} if "pageToken" not in self.path else {}
            content = json.dumps({"items": [listed if page else listed | {"name": "m/model.joblib"}]} | page).encode()
        elif fault == "changed":
            content = b"c0ntent"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:3] if fault == "cut" else content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def played(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Played) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        monkeypatch.setattr(Played, "asked", [])
        monkeypatch.setattr(Played, "faults", [])
        monkeypatch.setattr(start, "DOWNLOADS", 1)
        monkeypatch.setattr(start.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(start, "STORAGE", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{server.server_port}")
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        yield Played
        server.shutdown()
        thread.join()


def test_token_of_the_machine_is_sent_and_what_fails_at_first_is_tried_again(played, tmp_path):
    played.faults += [503, None, 500, None, None, "cut", 429, "changed", None]
    assert start.fetch("gs://trees/m/", str(tmp_path)) == 14
    assert (tmp_path / "model.json").read_bytes() == (tmp_path / "model.joblib").read_bytes() == b"content"
    assert [token for path, token in played.asked if path.startswith("/computeMetadata")] == ["Google"] * 2
    assert {token for path, token in played.asked if path.startswith("/storage")} == {"Bearer secret"}
    assert all("generation=5" in path for path, _ in played.asked if "alt=media" in path)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([None, 403], r"gs://trees may not be read \(403\)\. Give the service account of this container the role"),
        ([None, None, None, 404], r"gs://trees/m/model\.json is not there \(404\), or was replaced meanwhile"),
        ([None, None, None, *["cut"] * 5], r"gs://trees/m/model\.json cannot be fetched, 5 times: "),
        ([404], r"The token of the service account, .* is not there \(404\)"),
    ],
)
def test_what_cannot_be_fetched_is_told(played, tmp_path, faults, message):
    played.faults += faults
    with pytest.raises(start.CannotStartError, match=message):
        start.fetch("gs://trees/m", str(tmp_path))


@pytest.fixture(scope="module")
def with_wheels(folder, tmp_path_factory):
    """A model's folder with all the wheels of its server."""
    copied = tmp_path_factory.mktemp("registered") / "model"
    shutil.copytree(folder, copied)
    collect(str(copied), serving.server_packages())
    return copied


# brings the one device up that a namespace of its own has
LOOPBACK = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, "
LOOPBACK += "struct.pack('16sH14x', b'lo', 0x41))"


def cut_off():
    """Return what is put in front of a command so that it has no network but its own, if this system lets it."""
    can = shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    return ["unshare", "-rn"] if can else []


@pytest.mark.slow
def test_container_starts_from_its_wheels_without_a_network_and_is_ready_soon(with_wheels, tmp_path):
    """In an environment of its own and an empty folder, from the spec's own text."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    (tmp_path / "empty").mkdir()
    port = free_port()
    environment = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "AIP_STORAGE_URI": str(with_wheels),
        "AIP_HTTP_PORT": str(port),
    }
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "PIP_INDEX_URL"), "http://127.0.0.1:9")
    environment["no_proxy"] = "127.0.0.1"
    asking = f"""
import json, subprocess, sys, time, urllib.request
{LOOPBACK if cut_off() else ""}
command = json.load(open({str(tmp_path / "command.json")!r}))
server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd={str(tmp_path / "empty")!r})
printed = []
for line in server.stderr:
    printed.append(line)
    if line.startswith("Installed"): since = time.monotonic()
    if line.startswith("Serving"): break
def ask(path, body=None):
    return json.load(urllib.request.urlopen("http://127.0.0.1:{port}" + path, body))
try:
    healthy = ask("/health")
    seconds = time.monotonic() - since
    answer = ask("/predict", {INSTANCES.encode()!r})
    try:
        urllib.request.urlopen("http://192.0.2.1", timeout=1)
        is_online = True
    except OSError:
        is_online = False
finally:
    server.terminate()
    status = server.wait()
    print("".join(printed), file=sys.stderr)
print(json.dumps({{"healthy": healthy, "answer": answer, "status": status, "online": is_online, "seconds": seconds}}))
"""
    (tmp_path / "command.json").write_text(json.dumps(container()["command"]))
    done = subprocess.run([*cut_off(), python, "-c", asking], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = load_model(str(with_wheels)).predict_proba(pd.DataFrame([ROW]))
    assert [*found["answer"]["predictions"][0]["probabilities"].values()] == expected[0].tolist()
    assert found["status"] == 0
    assert not found["online"]
    assert found["seconds"] < 15  # 2.5 on a quiet machine of two cores; others may keep this one busy
    assert [*(tmp_path / "empty").iterdir()] == []


@pytest.mark.slow
def test_container_serves_a_model_of_a_bucket(with_wheels, vertex, storage_emulator, tmp_path):
    for file in with_wheels.rglob("*"):
        if file.is_file():
            storage.put(file, f"gs://trees/registered/model/{file.relative_to(with_wheels).as_posix()}")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    command = [str(tmp_path / "venv" / "bin" / "python"), *container()["command"][1:]]
    port = free_port()
    environment = {"AIP_STORAGE_URI": "gs://trees/registered/model", "STORAGE_EMULATOR_HOST": storage_emulator}
    with started(command, port, tmp_path, PYTHONPATH="", **environment) as server:
        assert ask(port, body=INSTANCES)[0] == 200
    assert server.printed[0].startswith("Fetched ")
