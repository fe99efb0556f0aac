"""The wheels of a spec's tasks, collected here and brought into the bucket; see pipeline.packages."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from pipeline import RequestError, files, graph, storage
from pipeline.check import Check, Failed, NotChecked, make
from pipeline.engines.vertex_service import Service, first_line
from pipeline.packages import PLATFORM, Asked, Wheels, root, wheels_of
from pipeline.settings import Settings
from steps.serving.wheels import SAID, download

WHOLE = "wheels.json"  # lists them, and is sent last
STEP_BY_STEP = 10  # wheels that are sent between two lines of what is done


def checks(settings: Settings, spec: dict[str, Any]) -> list[Check]:
    """Check that the index answers, and that the wheels are in the bucket or can be collected; collect none."""
    made = {
        "git": (any(_of_git(container) for container in graph.containers(spec).values()), _git),
        "index": (settings.index_url, _index),
        "wheels": (settings.packages == "bucket", _checked),
    }
    return [make(name, partial(check, settings, spec)) for name, (is_asked, check) in made.items() if is_asked]


def placed(settings: Settings, spec: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Bring the wheels of a spec's tasks into the bucket, where they are to be and are not there.

    Args:
        settings: The settings.
        spec: The compiled spec.
        tell: Is told what is done.

    Raises:
        RequestError: they cannot be collected, or not be brought there.
    """
    if settings.packages != "bucket":
        return
    service = Service(settings)
    with service.told("the packages were not brought into the bucket"):
        for each in wheels_of(spec, root(settings)):
            there = service.retried("look for the wheels", partial(_whole, each.place))
            if there is None:
                with TemporaryDirectory() as folder:
                    pins = _all_pins(each, settings.index_url)
                    tell(f"Wheels {len(pins)} are collected for {each.place}")
                    there = _collected(Path(folder), pins)
                    tell(f"Wheels {_amount(there)}, are uploaded")
                    _sent(service, Path(folder), each.place, there, tell)
            tell(f"Wheels {_amount(there)}, are in {each.place}")


def _of_git(container: dict[str, Any]) -> list[str]:
    return [each for each in graph.packages(container) if re.search(r"(^|@\s*)git\+", each)]


def _git(_: Settings, spec: dict[str, Any]) -> str:
    """Say which steps install from git, which the slim images of Python have not."""
    containers = graph.containers(spec)
    steps = {step: container["image"] for step, container in containers.items() if _of_git(container)}
    for step, image in steps.items():
        if re.search(r"(^|/)python:[\w.]+-slim", image):
            raise Failed(
                f"{step} installs {_of_git(containers[step])[0]}, and its image {image} has no git. "
                "Name one that has as its base_image, such as python:3.11."
            )
    return f"{', '.join(steps)} install from it"


def _index(settings: Settings, spec: dict[str, Any]) -> str:
    """Say whether the index answers from here for a package of the steps; from the tasks it may be another matter."""
    named = sorted(each for container in graph.containers(spec).values() for each in graph.packages(container))
    package = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", named[0])[0] if named else "kfp").lower()
    url = settings.required("index_url").rstrip("/")
    try:
        requests.get(f"{url}/{package}/", timeout=10).raise_for_status()
    except (requests.RequestException, ValueError) as error:
        raise NotChecked(f"{url} does not answer from here for {package}: {first_line(error)}") from None
    if url.startswith("http:") and settings.packages == "index":
        raise NotChecked(f"{url} answers for {package}, and pip takes plain http:// only where the image lets it")
    return f"{url} answers for {package}"


def _checked(settings: Settings, spec: dict[str, Any]) -> str:
    """Say whether the wheels are in the bucket, or how many are to be collected."""
    try:
        wheels = wheels_of(spec, root(settings))
    except RequestError as error:
        raise Failed(str(error)) from None
    told = []
    for each in wheels:
        try:
            there = Service(settings).retried("look for the wheels", partial(_whole, each.place))
        except Exception as error:
            raise NotChecked(f"the bucket cannot be asked: {first_line(error)}") from None
        try:
            n_new = 0 if there else len(_all_pins(each, settings.index_url))
        except RequestError as error:
            raise Failed(str(error)) from None
        told.append(f"{_amount(there)}, are in {each.place}" if there else f"{n_new} are to come to {each.place}")
    return "; ".join(told) or "no step installs any"


def _whole(place: str) -> dict[str, int] | None:
    """Return the wheels at a place with their sizes; None where not all of them are there."""
    there = {blob.name.rpartition("/")[2]: blob.size for blob in storage.find(f"{place}/")}
    if WHOLE not in there:
        return None
    with TemporaryDirectory() as folder:
        try:
            listed = files.read(storage.fetch(f"{place}/{WHOLE}", Path(folder, WHOLE)), dict[str, int])
        except (files.Damaged, FileNotFoundError):
            return None
    return listed if listed.items() <= there.items() else None


def _all_pins(wheels: Wheels, index_url: str | None) -> set[tuple[Asked, str]]:
    """Return the packages that are to be collected, as name==version, each with where it is asked for.

    Raises:
        RequestError: there is no wheel of one of them; the message has what uv says.
    """
    found = set()
    for asked in wheels.asked:
        options = tuple(option for option in asked.options if option != "--no-deps")
        if index_url and "--index-url" not in options:
            options += ("--index-url", index_url)
        pins = _pins(asked, options, alone="--no-deps" in asked.options)
        found |= {(Asked(asked.python, (), options), pin) for pin in pins}
    return found


@cache
def _pins(asked: Asked, options: tuple[str, ...], *, alone: bool) -> tuple[str, ...]:
    """Settle what is installed with some requirements on a Python on Linux, all of it from wheels."""
    from uv import find_uv_bin

    # without --python it looks for one of the version, which takes its time
    target = ("--python", sys.executable, "--python-version", asked.python, "--python-platform", PLATFORM)
    # of several indexes pip takes the best version, uv by itself the first index that has one
    how = ("--only-binary", ":all:", "--index-strategy", "unsafe-best-match", *(("--no-deps",) if alone else ()))
    done = subprocess.run(
        [find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", *target, *how, *options, "-"],
        input="\n".join(asked.requirements),
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        last = " ".join(done.stderr.partition("\nhint:")[0].split())[-SAID:]  # it breaks lines as for a terminal
        raise RequestError(
            f"--packages bucket: the wheels of {', '.join(asked.requirements)} for Python {asked.python} on Linux "
            f"cannot be had. uv says:\n{last}"
        )
    return tuple(line for line in done.stdout.splitlines() if line.strip())


def _collected(folder: Path, pins: Iterable[tuple[Asked, str]]) -> dict[str, int]:
    """Download wheels into a folder and return them with their sizes.

    Raises:
        RequestError: one is not to be had; the message has what pip says.
    """
    try:
        for asked, names in _rounds(pins):
            download(str(folder), names, ["--no-deps", *asked.options], python=asked.python)
    except ValueError as error:
        raise RequestError(f"--packages bucket: {error}") from None
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def _rounds(pins: Iterable[tuple[Asked, str]]) -> list[tuple[Asked, Sequence[str]]]:
    """Return packages in groups for one command each, which takes one version of a package."""
    rounds: dict[tuple[Asked, int], list[str]] = {}
    seen: dict[tuple[Asked, str], int] = {}
    for asked, pin in sorted(pins, key=repr):
        name = pin.partition("==")[0]
        number = seen[asked, name] = seen.get((asked, name), -1) + 1
        rounds.setdefault((asked, number), []).append(pin)
    return [(asked, names) for (asked, _), names in rounds.items()]


def _sent(service: Service, folder: Path, place: str, wheels: dict[str, int], tell: Callable[[str], None]) -> None:
    """Upload wheels, and last the list of them, by which they are known to be all there."""
    files.write(folder / WHOLE, json.dumps(wheels, indent=1))
    for number, name in enumerate([*wheels, WHOLE], start=1):
        service.retried(
            "upload the wheels",
            partial(storage.put, folder / name, f"{place}/{name}"),
            limit=float("inf"),
        )
        if number % STEP_BY_STEP == 0:
            tell(f"Wheels {number} of {len(wheels)} are uploaded")


def _amount(wheels: dict[str, int]) -> str:
    return f"{len(wheels)}, {sum(wheels.values()) / 1e6:,.1f} MB"
