"""Vertex AI and Cloud Storage, played on this machine for commands of other processes: see .ci/walk.

    python -m pipeline.tests.played FOLDER

It writes the variables that lead to them, one a line, then an empty line, and ends when its standard input does.
"""

import contextlib
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.covertype import simulate
from pipeline.tests.vertex_server import VertexServer

BUCKET = "my-bucket"


@contextmanager
def played_storage(bucket: str) -> Iterator[str]:
    """Play a Cloud Storage with one bucket; gives its URL."""
    from gcp_storage_emulator.server import create_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=bucket)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def variables(storage_url: str, vertex_url: str, project: str, bucket: str) -> dict[str, str]:
    """Return the variables that lead to the played services."""
    return {
        "STORAGE_EMULATOR_HOST": storage_url,
        "COVERTYPE_API_ENDPOINT": vertex_url,
        "COVERTYPE_POLL_SECONDS": "0.2",
        "COVERTYPE_BUCKET": bucket,
        "GOOGLE_CLOUD_PROJECT": project,
        "GOOGLE_CLOUD_REGION": "us-central1",
    }


def main(folder: Path) -> None:
    """Play until standard input ends."""
    with contextlib.ExitStack() as stack:
        storage_url = stack.enter_context(played_storage(BUCKET))
        options = {"api_endpoint": storage_url}
        client = storage.Client(project="any", credentials=AnonymousCredentials(), client_options=options)
        client.bucket(BUCKET).blob("rows.csv").upload_from_string(simulate(5_000).to_csv(index=False))
        (folder / "vertex").mkdir()
        server = stack.enter_context(VertexServer(folder / "vertex", storage_url))
        for name, value in variables(storage_url, server.url, "my-project", BUCKET).items():
            print(f"{name}={value}")
        print(flush=True)
        sys.stdin.read()
        server.cancel_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
