"""Wheels of packages that hold nothing, so that a test collects those of a model without a package index."""

import re
import zipfile
from pathlib import Path

from pipeline import serving
from steps.environment import pinned
from steps.promotion.folder import PACKAGES


def empty_wheels(folder: Path) -> dict[str, str]:
    """Write a wheel of each package that a model and its server name; return the variables that let pip find no others.

    Args:
        folder: Folder of the wheels.
    """
    folder.mkdir(exist_ok=True)
    for requirement in (*pinned(*PACKAGES), *serving.server_packages()):
        name, _, version = requirement.partition("==")
        stem = f"{re.sub('[-_.]+', '_', name)}-{version}"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}
