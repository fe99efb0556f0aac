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


def environment(packages: tuple[str, ...], root: Path, tell: Callable[[str], None] = print) -> Path:
    """Return the Python of the environment with exactly these packages and kfp's executor; build it if it is not there.

    Args:
        packages: Requirements, as in packages_to_install.
        root: Folder of the environments.
        tell: Is told before something is installed.

    Raises:
        RequestError: the packages cannot be installed; the message has the last words of uv.
    """
    kfp = f"kfp=={version('kfp')}"
    wanted = "\n".join((sys.version, kfp, *sorted(packages)))
    folder = root / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not folder.exists():
        tell(f"Installing {', '.join(packages) or 'kfp alone'}")
        root.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=root, prefix="building-"))
        try:
            _uv("venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(building))
            python = str(building / "bin" / "python")
            # the order and the flag that kfp installs by at the start of each task
            _uv("pip", "install", "--quiet", "--python", python, "--no-deps", kfp)
            if packages:
                _uv("pip", "install", "--quiet", "--python", python, *packages)
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
