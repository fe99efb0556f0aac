"""Environments of exactly a step's packages, as the cloud installs them: one per distinct set, built once with uv."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from pipeline import RequestError
from pipeline.graph import Install


def environment(installs: Sequence[Install], root: Path, tell: Callable[[str], None] = print) -> Path:
    """Return the Python of the environment with exactly these packages and kfp's executor; build it if it is not there.

    Args:
        installs: What the step installs, in its order; kfp is added where it is not among them.
        root: Folder of the environments.
        tell: Is told before something is installed.

    Raises:
        RequestError: the packages cannot be installed; the message has the last words of uv.
    """
    named = [requirement for install in installs for requirement in install.requirements]
    is_there = any("--no-deps" in install.options for install in installs)  # the line that kfp adds for itself
    if not is_there and not any(re.match(r"kfp(?![\w.-])", requirement) for requirement in named):
        installs = [*installs, Install(("--no-deps",), (f"kfp=={version('kfp')}",))]
    wanted = "\n".join((sys.version, *map(repr, installs), *(_content(requirement) for requirement in named)))
    folder = root / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not folder.exists():
        of_step = (requirement for install in installs if not install.is_of_kfp for requirement in install.requirements)
        tell(f"Installing {', '.join(of_step) or 'kfp alone'}")
        root.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=root, prefix="building-"))
        try:
            _uv("venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(building))
            python = str(building / "bin" / "python")
            for install in installs:
                # of several indexes pip takes the best version, uv by itself the first index that has one
                strategy = ("--index-strategy", "unsafe-best-match")
                _uv("pip", "install", "--quiet", "--python", python, *strategy, *install.options, *install.requirements)
            os.rename(building, folder)  # whole or not at all
        except OSError:
            if not folder.exists():  # else another run has built the same meanwhile
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder / "bin" / "python"


def _content(requirement: str) -> str:
    """Return the digest of a file that a requirement names, such as ./own.whl; an empty text for any other."""
    path = Path(requirement)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _uv(*arguments: str) -> None:
    from uv import find_uv_bin

    done = subprocess.run([find_uv_bin(), *arguments], capture_output=True, text=True)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise RequestError(f"--isolated: the packages of a step cannot be installed:\n{last}")
