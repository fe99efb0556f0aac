"""Serving without Docker: the container of a model's server, on a public image, and the packages that it needs."""

from typing import Any

from steps.environment import BASE_IMAGE, pinned
from steps.serve import HEALTH, PORT, PREDICT
from steps.shipping import shipped

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
    return pinned("fastapi", "prometheus-client", "uvicorn")
