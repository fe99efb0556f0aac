"""Environments of exactly a step's packages, as the cloud installs them: one per distinct set, built once with uv."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from pipeline import RequestError

INSECURE = "--allow-insecure-host"  # as uv names pip's --trusted-host


def environment(arguments: tuple[str, ...], root: Path, tell: Callable[[str], None] = print) -> Path:
    """Return the Python of the environment with exactly these packages and kfp's executor; build it if it is not there.

    Args:
        arguments: What pip install is to be given: requirements, and the indexes that they come from.
        root: Folder of the environments.
        tell: Is told before something is installed.

    Raises:
        RequestError: the packages cannot be installed; the message has the last words of uv.
    """
    kfp = f"kfp=={version('kfp')}"
    given = tuple(INSECURE if argument == "--trusted-host" else argument for argument in arguments)
    wanted = "\n".join((sys.version, kfp, *arguments))
    folder = root / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not folder.exists():
        tell(f"Installing {' '.join(arguments) or 'kfp alone'}")
        root.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=root, prefix="building-"))
        try:
            _uv("venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(building))
            python = str(building / "bin" / "python")
            # the order and the flag that kfp installs by at the start of each task
            _uv("pip", "install", "--quiet", "--python", python, "--no-deps", kfp)
            if given:
                _uv("pip", "install", "--quiet", "--python", python, *given)
            os.rename(building, folder)  # whole or not at all
        except OSError:
            if not folder.exists():  # else another run has built the same meanwhile
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder / "bin" / "python"


def _uv(*arguments: str) -> None:
    from uv import find_uv_bin

    done = subprocess.run([find_uv_bin(), *arguments], capture_output=True, text=True)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise RequestError(f"--isolated: the packages of a step cannot be installed:\n{last}")
