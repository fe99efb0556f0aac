"""Where the steps run: their image and the exact packages that are installed on it."""

from functools import cache
from importlib.metadata import version

BASE_IMAGE = "python:3.11-slim"
installed = cache(version)  # of a package, by its name


def pinned(*packages: str) -> list[str]:
    """Pin packages to the versions installed here, which pyproject.toml fixes: one list for both sides.

    Raises:
        PackageNotFoundError: a package is not installed here.
    """
    return [f"{package}=={installed(package)}" for package in packages]
