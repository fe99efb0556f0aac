"""Serving without Docker: here, and as a container on a public image, with the packages that it needs."""

import errno
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline import RequestError, console, storage
from pipeline.answers import answers_told
from pipeline.models import FoundModel
from steps.environment import BASE_IMAGE, pinned
from steps.model_folder import FACTS, MODEL
from steps.serve import HEALTH, PORT, PREDICT, bound
from steps.serve import serve as serve_folder
from steps.shipping import shipped

HOST = "127.0.0.1"  # of this machine only: the server asks nobody who they are

START = "from steps.serving.start import main\n\nmain()\n"
MODULES = ("steps.model_folder", "steps.places", "steps.serve", "steps.serving")


def container(image: str = BASE_IMAGE, sha256: str = "") -> dict[str, Any]:
    """Return the container of a server in the keys of Vertex AI's ModelContainerSpec.

    Its command is the server's own text. It takes the model's folder, with the wheels that steps.serving.wheels.collect
    has put there, from AIP_STORAGE_URI; Vertex AI sets that, and other services are to be told to. It asks no package
    index for anything.

    Args:
        image: Image with Python 3.11 and pip.
        sha256: SHA-256 of the model's file; "" for that which its folder has recorded.
    """
    return {
        "imageUri": image,
        "command": ["python", "-c", shipped(START, *MODULES)],
        "args": [],
        "env": [{"name": "MODEL_SHA256", "value": sha256}] if sha256 else [],
        "ports": [{"containerPort": PORT}],
        "predictRoute": PREDICT,
        "healthRoute": HEALTH,
    }


def server_packages() -> list[str]:
    """Return the pinned packages of the server itself; those of the model are in the requirements of its folder."""
    return pinned("fastapi", "fastapi-offline", "prometheus-client", "uvicorn")


def serve(found: FoundModel, port: int = PORT) -> None:
    """Serve a model on this machine until a signal ends the command.

    Args:
        found: The model.
        port: Port to listen on, 0 for any that is free.

    Raises:
        RequestError: the port cannot be had, or the model's file is not the one that was recorded.
    """
    place = _bound(port)
    address = f"http://{HOST}:{place.getsockname()[1]}"

    def ready(facts: dict[str, Any]) -> None:
        what = "as a quantity" if facts.get("task") == "regression" else f"in {len(facts['classes'])} classes"
        console.show(
            f"Model  {found.title}, {facts['label']} {what}, SHA-256 {found.sha256[:12]}…\n"
            f"Serve  {address}{PREDICT}\nDocs   {address}/docs"
        )

    with place, TemporaryDirectory() as temporary:
        folder = found.folder
        if storage.is_object(folder):
            with answers_told(folder, "The model"):
                for name in (FACTS, MODEL):
                    storage.fetch(f"{folder}/{name}", Path(temporary, name))
            folder = temporary
        try:
            serve_folder(folder, found.sha256, [place], ready=ready)
        except ValueError as error:
            raise RequestError(str(error)) from None


def _bound(port: int) -> socket.socket:
    try:
        return bound(HOST, port)
    except OSError as error:
        why = {
            errno.EADDRINUSE: "another program listens on it",
            errno.EACCES: "only the machine's owner may use it",
        }.get(error.errno or 0, os.strerror(error.errno or 0))
        raise RequestError(f"--port {port}: {why}. Name another, or 0 for any that is free.") from None
