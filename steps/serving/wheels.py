"""The packages that a server needs, collected beside its model, so that it starts without a package index."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

WHEELS, SERVING = "wheels", "requirements-serving.txt"
MODEL_REQUIREMENTS = "requirements.txt"
PYTHON, NEWEST_GLIBC = "3.11", 36  # the image python:3.11-slim has it, or a newer one
SAID = 2_000  # last characters of what pip says


def collect(folder: str, packages: Sequence[str]) -> list[str]:
    """Download the wheels that a server of a model needs into the model's folder, and write down their SHA-256.

    They are those of the folder's requirements.txt, the given ones, and what all of these need, for Python 3.11 on
    Linux on x86-64. It is to be run on such a machine, as in a step: pip asks where it runs what else is needed.

    Args:
        folder: Folder of the model, which gets wheels/ and requirements-serving.txt.
        packages: Pinned packages of the server, such as fastapi==0.165.0.

    Returns:
        The names of the wheels.

    Raises:
        ValueError: the folder has no requirements.txt, or pip cannot find the wheels; the message has what it said.
    """
    requirements, wheels = os.path.join(folder, MODEL_REQUIREMENTS), os.path.join(folder, WHEELS)
    if not os.path.isfile(requirements):
        raise ValueError(f"{folder} is no folder of a model: it has no {MODEL_REQUIREMENTS}.")
    shutil.rmtree(wheels, ignore_errors=True)
    try:
        download(wheels, packages, ["--requirement", requirements])
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    found = sorted(os.listdir(wheels))
    with open(os.path.join(folder, SERVING), "w", encoding="utf-8") as file:
        file.writelines(_pinned(wheels, name) for name in found)
    return found


def download(folder: str, packages: Sequence[str], options: Sequence[str] = (), python: str = PYTHON) -> None:
    """Download the wheels of packages for a version of Python on Linux on x86-64 into a folder.

    Args:
        folder: The folder.
        packages: The packages.
        options: More options of pip.
        python: The version, such as 3.11.

    Raises:
        ValueError: pip cannot find them; the message has what it said.
    """
    tags = [f"manylinux_2_{minor}_x86_64" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms = [f"--platform={tag}" for tag in (*tags, "manylinux2014_x86_64", "manylinux2010_x86_64")]
    of_target = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *platforms]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *of_target, "--dest", folder, *options, *packages],
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise ValueError(f"The wheels cannot be collected. pip says:\n{done.stderr.strip()[-SAID:]}")


def _pinned(wheels: str, name: str) -> str:
    """Return the line of requirements that takes one wheel and no other."""
    package, version = name.split("-")[:2]
    with open(os.path.join(wheels, name), "rb") as file:
        return f"{package}=={version} --hash=sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}\n"
