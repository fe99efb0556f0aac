"""Where the tasks of a service find their image and their packages: at any mirror, any index, or in the bucket.

With --packages bucket the wheels of all steps, and of what these need, are collected once for each set of pins and lie
at gs://BUCKET/wheels/HASH. The tasks' pip, whose lines stay as KFP writes them, is told of no other place.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from pipeline import RequestError, graph
from pipeline.settings import Settings
from pipeline.target import Target
from steps.environment import BASE_IMAGE, pinned
from steps.serving.wheels import NEWEST_GLIBC, PYTHON

FOLDER = "wheels"
PLATFORM = f"x86_64-manylinux_2_{NEWEST_GLIBC}"
OWN_PYTHON = re.compile(r"(?<![\d.])3\.(?:9|[1-9]\d)(?!\d)")  # in an image's tag
NO_PIN = re.compile(r"://|\s@\s|^[./~]|\.(whl|zip|gz)$")  # an address or a file
REGISTERING = "package-model"  # the step that collects the wheels of a server


@dataclass(frozen=True)
class Asked:
    """What one line of a step installs."""

    python: str  # version of the Python that it is for, such as 3.11
    requirements: tuple[str, ...]
    options: tuple[str, ...] = ()  # of pip: those that say from where, and --no-deps


@dataclass(frozen=True)
class Wheels:
    """The wheels of all steps that run on one Python."""

    place: str  # gs:// folder
    steps: tuple[str, ...]
    asked: tuple[Asked, ...]


def applied(spec: dict[str, Any], target: Target) -> dict[str, Any]:
    """Let the tasks of a spec find their image and packages where the target says; a task's own settings stay.

    Raises:
        RequestError: the wheels of a step cannot be put into a bucket.
    """
    if target.engine == "local":
        return spec
    executors = spec["deploymentSpec"]["executors"].values()
    for container in (executor["container"] for executor in executors if "container" in executor):
        if container.get("image") == BASE_IMAGE:
            container["image"] = target.base_image
    containers = graph.containers(spec)
    if target.wheels:
        for each in wheels_of(spec, target.wheels):
            there = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": each.place.replace("gs://", "/gcs/", 1)}
            for step in each.steps:
                _set(containers[step], there)
    elif target.index_url:
        for container in containers.values():
            _set(container, {"PIP_INDEX_URL": target.index_url})
    return spec


def _set(container: dict[str, Any], variables: dict[str, str]) -> None:
    """Add variables to a container, but for those that it has."""
    own = container.get("env", [])
    named = {variable["name"] for variable in own}
    container["env"] = [*own, *({"name": name, "value": variables[name]} for name in variables if name not in named)]


def root(settings: Settings) -> str:
    """Return the gs:// folder of all wheels; "" where the tasks ask an index."""
    return f"gs://{settings.bucket}/{FOLDER}" if settings.packages == "bucket" else ""


def wheels_of(spec: dict[str, Any], root: str) -> list[Wheels]:
    """Return which wheels the steps of a spec need and where these lie, which follows from what is asked for alone.

    Raises:
        RequestError: a step has an image of an unknown Python, or a requirement that is no package of an index.
    """
    found: dict[str, dict[str, list[Asked]]] = {}  # by Python and step
    for step, container in graph.containers(spec).items():
        python = _python(step, container["image"])
        asked = [Asked(python, each.requirements, each.options) for each in graph.installs(container)]
        if step == REGISTERING:
            asked.append(Asked(PYTHON, _of_server()))
        for requirement in (requirement for each in asked for requirement in each.requirements):
            if NO_PIN.search(requirement.partition(";")[0].strip()):
                raise RequestError(
                    f"--packages bucket: {step} installs {requirement}, which is no package of an index. "
                    "Let it install one that has a wheel, or take --packages index."
                )
        found.setdefault(python, {})[step] = asked
    made = []
    for python, steps in sorted(found.items()):
        asked = sorted({each for of_step in steps.values() for each in of_step}, key=repr)
        named = json.dumps([PLATFORM, python, [[each.python, each.requirements, each.options] for each in asked]])
        place = f"{root}/{hashlib.sha256(named.encode()).hexdigest()[:16]}"
        made.append(Wheels(place, tuple(steps), tuple(asked)))
    return made


def _of_server() -> tuple[str, ...]:
    """Return what a model and its server need."""
    from pipeline.serving import server_packages
    from steps.promotion.folder import PACKAGES
    from steps.weighted_vote import MODULES

    return (*pinned(*PACKAGES, *MODULES.values()), *server_packages())


def _python(step: str, image: str) -> str:
    """Return the version of the Python of an image, as its tag has it.

    Raises:
        RequestError: it has none.
    """
    found = OWN_PYTHON.search(image.rpartition("/")[2].partition("@")[0].partition(":")[2])
    if not found:
        raise RequestError(
            f"--packages bucket: which Python the image {image} of {step} has does not follow from its tag, and wheels "
            "are of one. Name an image with it in its tag, as python:3.11-slim, or take --packages index."
        )
    return found[0]
