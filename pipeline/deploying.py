"""Serving a model on Cloud Run: its folder with the wheels in the bucket, and the service as gcloud takes it."""

import hashlib
import platform
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipeline import RequestError, files, serving, storage
from pipeline.answers import answers_told
from pipeline.compiler import Dumper
from pipeline.engines.vertex_service import Service
from pipeline.models import FoundModel
from pipeline.settings import NO_IMAGE, Settings
from steps.environment import BASE_IMAGE
from steps.model_folder import FACTS, MODEL, read_facts
from steps.serving.wheels import PYTHON, collect
from steps.tables.fingerprints import sha256

FILE = "service.yaml"
# its disk is memory: the packages, the model and what the server needs to answer
CPUS, MEMORY = "2", "4Gi"
CONCURRENCY = 16  # requests at a time; of more, another instance is started
MOST_INSTANCES = 10
STARTUP = {"periodSeconds": 10, "failureThreshold": 24, "timeoutSeconds": 5}  # 240 s, the most that the service waits
LIVENESS = {"periodSeconds": 30, "failureThreshold": 3, "timeoutSeconds": 5}


def to_cloud_run(settings: Settings, found: FoundModel, file: Path) -> tuple[Path, str]:
    """Bring a model with its wheels into the bucket, and write the service that serves it there.

    Args:
        settings: The settings, with identifier, project, region and bucket.
        found: The model, here or in a bucket.
        file: The YAML file to write.

    Returns:
        The file, and the command that starts the service.

    Raises:
        RequestError: a setting is missing, or the model's folder or its wheels cannot be had.
    """
    settings.require("identifier", "project", "region", "bucket")
    with Service(settings).told("the model was not brought into the bucket"):
        place, facts = _packaged(settings, found)
    text = yaml.dump(service(settings, found.sha256, place, facts), Dumper=Dumper, sort_keys=False, width=120)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write(file, text)
    except OSError as error:
        raise RequestError(f"Cannot write {file}: {error.strerror}. Name another file.") from None
    options = ("--region", settings.required("region"), "--project", settings.required("project"))
    return file, shlex.join(["gcloud", "run", "services", "replace", str(file), *options])


def service(settings: Settings, sha256: str, place: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return a service of Cloud Run, as its API (v1, of Knative) has it.

    Args:
        settings: The settings.
        sha256: SHA-256 of the model's file.
        place: gs:// address of the model's folder with its wheels.
        facts: What the folder tells of the model.
    """
    image = settings.serving_image if settings.serving_image not in (None, NO_IMAGE) else BASE_IMAGE
    spec = serving.container(image, sha256)
    port = spec["ports"][0]["containerPort"]
    ready = {"httpGet": {"path": spec["healthRoute"], "port": port}}
    # what Vertex AI tells a container by itself
    told = {"AIP_STORAGE_URI": place, "AIP_HTTP_PORT": str(port)}
    told |= {"AIP_PREDICT_ROUTE": spec["predictRoute"], "AIP_HEALTH_ROUTE": spec["healthRoute"]}
    labels = {"made_by": "covertype-pipelines", "identifier": settings.identifier, "sha256": sha256[:12]}
    container = {
        "image": spec["imageUri"],
        "command": spec["command"],
        "args": spec["args"],
        "env": [*spec["env"], *({"name": name, "value": value} for name, value in told.items())],
        "ports": [{"name": "http1", "containerPort": port}],
        "resources": {"limits": {"cpu": CPUS, "memory": MEMORY}},
        "startupProbe": ready | STARTUP,
        "livenessProbe": ready | LIVENESS,
    }
    account = {"serviceAccountName": settings.service_account} if settings.service_account else {}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": settings.required("identifier").rstrip("-"),
            "labels": labels | {"cloud.googleapis.com/location": settings.region},
            "annotations": {"run.googleapis.com/description": f"Predicts {facts['label']}; run {facts.get('run', '')}"},
        },
        "spec": {
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "autoscaling.knative.dev/maxScale": str(MOST_INSTANCES),
                        "run.googleapis.com/startup-cpu-boost": "true",  # packages are installed at the start
                    },
                },
                "spec": {"containerConcurrency": CONCURRENCY, "timeoutSeconds": 60}
                | account
                | {"containers": [container]},
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }


def _packaged(settings: Settings, found: FoundModel) -> tuple[str, dict[str, Any]]:
    """Bring a model's folder with its wheels into the bucket, unless it is there; return its place and its facts."""
    packages = serving.server_packages()
    version = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:8]  # of the server, whose wheels lie there too
    place = f"gs://{settings.bucket}/{settings.identifier}/served/{found.sha256[:16]}-{version}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "model")
        with answers_told(place, "The model"):
            if storage.find(f"{place}/{FACTS}"):  # which is sent last
                storage.fetch(f"{place}/{FACTS}", folder / FACTS)
                return place, _facts(folder)
        if storage.is_object(found.folder):
            with answers_told(found.folder, "The model"):
                storage.fetch_all(found.folder, folder)
        else:
            shutil.copytree(found.folder, folder)
        if not (folder / MODEL).is_file() or sha256(str(folder / MODEL)) != found.sha256:
            raise RequestError(f"{found.folder}/{MODEL} is not the file that was recorded. Name another model.")
        _require_target()
        try:
            collect(str(folder), packages)
        except ValueError as error:
            raise RequestError(str(error)) from None
        sent = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name == FACTS)
        for path in sent:
            storage.put(path, f"{place}/{path.relative_to(folder).as_posix()}")
        return place, _facts(folder)


def _require_target() -> None:
    """Check that wheels can be collected here: pip decides by the Python that it runs on what else a package needs.

    Raises:
        RequestError: this is another Python or machine than the container's.
    """
    here = platform.system(), platform.machine(), ".".join(platform.python_version_tuple()[:2])
    if here != ("Linux", "x86_64", PYTHON):
        raise RequestError(
            f"The server's wheels are collected by Python {PYTHON} on Linux, x86_64, and this is Python {here[2]} on "
            f"{here[0]}, {here[1]}.\nRun it there, or let Vertex AI serve the model: run.py --deploy vertex."
        )


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return read_facts(str(folder))
    except ValueError as error:
        raise RequestError(str(error)) from None
