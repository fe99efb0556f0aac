"""Starts a server in a container that has Python only: fetches the model's folder, installs its wheels, serves it.

Of other modules it imports none before the wheels are installed.
"""

import base64
import hashlib
import http.client
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from steps.serving.wheels import SAID, SERVING, WHEELS

NEEDED = ("model.joblib", "model.json", SERVING)  # and the wheels
STORAGE = "https://storage.googleapis.com"
TRIES, SECONDS = 5, 60
DOWNLOADS = 8  # at a time
BLOCK = 1 << 20
T = TypeVar("T")


class CannotStartError(Exception):
    """The server cannot be started; the message says why, and what to do."""


def main() -> None:
    """Serve the model that AIP_STORAGE_URI names, a folder or gs://….

    Its packages come from the folder itself. What is fetched lies in a temporary folder for as long as this runs.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uri = os.environ.get("AIP_STORAGE_URI", "")
    try:
        if not uri:
            raise CannotStartError("AIP_STORAGE_URI is not set: expected the folder of a model, here or gs://….")
        with tempfile.TemporaryDirectory(prefix="model-") as temporary:
            folder = uri
            if uri.startswith("gs://"):
                since, folder = time.monotonic(), temporary
                size = fetch(uri, folder)
                _say(f"Fetched {size / 1e6:,.0f} MB from {uri} in {time.monotonic() - since:.1f} s")
            since = time.monotonic()
            install(folder, uri)
            shutil.rmtree(
                os.path.join(temporary, WHEELS), ignore_errors=True
            )  # where disks are memory, as on Cloud Run
            _say(f"Installed the packages in {time.monotonic() - since:.1f} s")
            os.environ["AIP_STORAGE_URI"] = folder
            importlib.import_module("steps.serve").main()
    except CannotStartError as error:
        sys.exit(f"Error: {error}")


def install(folder: str, uri: str) -> None:
    """Install the wheels of a model's folder, and none from anywhere else; pip compares their SHA-256.

    Args:
        folder: The folder.
        uri: What it is called.

    Raises:
        CannotStartError: there are none, or not for this Python.
    """
    missing = [name for name in (*NEEDED, WHEELS) if not os.path.exists(os.path.join(folder, name))]
    if missing:
        raise CannotStartError(
            f"{uri} has no {' and no '.join(missing)}. Expected the folder of a model with its wheels: "
            "register the model with --register, which collects them."
        )
    options = ["--no-index", "--require-hashes", "--no-cache-dir", "--isolated", "--quiet", "--no-input"]
    options += ["--disable-pip-version-check", "--root-user-action=ignore"]
    wheels, requirements = os.path.join(folder, WHEELS), os.path.join(folder, SERVING)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--find-links", wheels, "--requirement", requirements],
        env=os.environ | {"PIP_CONFIG_FILE": os.devnull},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        version = ".".join(map(str, sys.version_info[:3]))
        raise CannotStartError(
            f"The wheels of {uri} cannot be installed on Python {version}. pip says:\n{done.stdout.strip()[-SAID:]}"
        )
    importlib.invalidate_caches()


def fetch(uri: str, folder: str) -> int:
    """Download what a server needs of the objects below a gs:// address; return the number of bytes.

    Raises:
        CannotStartError: they are not there, may not be read, or do not arrive whole.
    """
    bucket, _, prefix = uri.removeprefix("gs://").partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    token = _token()
    objects = [found for found in _listed(bucket, prefix, token) if _is_needed(found["name"].removeprefix(prefix))]
    if not objects:
        raise CannotStartError(f"There is no model at {uri}: expected {', '.join(NEEDED)} and {WHEELS}/ below it.")
    os.makedirs(os.path.join(folder, WHEELS), exist_ok=True)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        for arrived in [
            pool.submit(_download, bucket, found, os.path.join(folder, found["name"].removeprefix(prefix)), token)
            for found in objects
        ]:
            arrived.result()
    return sum(int(found["size"]) for found in objects)


def _is_needed(name: str) -> bool:
    inside = name.removeprefix(f"{WHEELS}/")
    return name in NEEDED or (inside != name and inside.endswith(".whl") and "/" not in inside)


def _listed(bucket: str, prefix: str, token: str) -> list[dict[str, str]]:
    found, page = [], ""
    while True:
        asked = {"prefix": prefix, "fields": "items(name,size,md5Hash,generation),nextPageToken"}
        query = urllib.parse.urlencode(asked | ({"pageToken": page} if page else {}))
        answer = json.loads(_tried(partial(_read, f"/b/{_quoted(bucket)}/o?{query}", token), f"gs://{bucket}"))
        found += answer.get("items", [])
        page = answer.get("nextPageToken", "")
        if not page:
            return found


def _download(bucket: str, found: dict[str, str], path: str, token: str) -> None:
    """Download an object as it was listed, whole."""
    name = f"gs://{bucket}/{found['name']}"

    def attempt() -> None:
        query = urllib.parse.urlencode({"alt": "media", "generation": found["generation"]})
        size, digest = 0, hashlib.md5(usedforsecurity=False)
        place = f"/b/{_quoted(bucket)}/o/{_quoted(found['name'])}?{query}"
        with _open(place, token) as came, open(path, "wb") as file:
            while block := came.read(BLOCK):
                file.write(block)
                digest.update(block)
                size += len(block)
        md5 = found.get(
            "md5Hash"
        )  # objects that were uploaded in parts have none; the SHA-256 of each is compared later
        if size != int(found["size"]) or (md5 and md5 != base64.b64encode(digest.digest()).decode()):
            raise http.client.IncompleteRead(b"", int(found["size"]) - size)

    _tried(attempt, name)


def _tried(attempt: Callable[[], T], what: str) -> T:
    """Return what an attempt gives, which is repeated where that may help.

    Raises:
        CannotStartError: it is refused, or has failed too often.
    """
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise CannotStartError(
                    f"{what} may not be read ({error.code}). Give the service account of this container the role "
                    "roles/storage.objectViewer on the bucket."
                ) from None
            if error.code == 404:
                raise CannotStartError(f"{what} is not there (404), or was replaced meanwhile.") from None
            why = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = str(getattr(error, "reason", None) or error)
        if number < TRIES:
            time.sleep(0.2 * 2**number)
    raise CannotStartError(f"{what} cannot be fetched, {TRIES} times: {why}.")


def _read(place: str, token: str) -> bytes:
    with _open(place, token) as answer:
        return answer.read()


def _open(place: str, token: str) -> http.client.HTTPResponse:
    host = os.environ.get("STORAGE_EMULATOR_HOST") or STORAGE
    host = host if "://" in host else f"http://{host}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{host.rstrip('/')}/storage/v1{place}", headers=headers)
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=SECONDS)
    return answer


def _token() -> str:
    """Return what this container's service account is known by; "" for an emulator, which needs none."""
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return ""
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})

    def attempt() -> str:
        with urllib.request.urlopen(request, timeout=5) as answer:
            token: str = json.loads(answer.read())["access_token"]
            return token

    return _tried(attempt, "The token of the service account, which Google Cloud's machines have,")


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
