"""Environments of exactly a step's packages, as the cloud installs them: one per distinct set, built once with uv.

What a step asks for is settled first, to versions and the hashes of their files, and installed by these; they are kept
in the environment's requirements.txt.
"""

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from pipeline import RequestError
from pipeline.engines import keeper
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
        _sweep(root)
        building = root / f"building-{secrets.token_hex(4)}"
        try:
            building.mkdir()  # by the umask, so that others can use what is built
            _uv("venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(building))
            for install in installs:
                _install(install, building, tell)
            os.rename(building, folder)  # whole or not at all
        except OSError:
            if not folder.exists():  # else another run has built the same meanwhile
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder / "bin" / "python"


def _install(install: Install, building: Path, tell: Callable[[str], None]) -> None:
    """Install packages by the hashes of their files, and add them to the environment's requirements.txt."""
    kept = building / "requirements.txt"
    former = kept.read_text("utf-8") if kept.exists() else ""
    # of several indexes pip takes the best version, uv by itself the first index that has one
    python = str(building / "bin" / "python")
    options = ("--quiet", "--python", python, "--index-strategy", "unsafe-best-match", *install.options)
    # what is in the file already, as is installed, is preferred to other versions
    settle = ("pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "--output-file", str(kept))
    _uv(*settle, *options, "-", given="\n".join(install.requirements))
    settled = kept.read_text("utf-8")
    unhashed = [line for line in settled.replace("\\\n", "").splitlines() if "--hash=" not in line]
    if unhashed:  # a repository or a folder
        tell(f"Installing without a hash, as it has none: {', '.join(unhashed)}")
    _uv("pip", "install", *([] if unhashed else ["--require-hashes"]), *options, "-r", "-", given=settled)
    kept.write_text(former + settled, encoding="utf-8")


def _sweep(root: Path) -> None:
    """Remove what processes that were killed have left of environments that they were building, after a day."""
    for path in root.glob("building-*"):
        if path.lstat().st_mtime < time.time() - 86_400:
            shutil.rmtree(path, ignore_errors=True)


def _content(requirement: str) -> str:
    """Return the digest of a file that a requirement names, such as ./own.whl; an empty text for any other."""
    path = Path(requirement)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _uv(*arguments: str, given: str = "") -> None:
    from uv import find_uv_bin

    environment = {**os.environ, **keeper.mark()}  # what it starts ends with this process
    done = subprocess.run([find_uv_bin(), *arguments], input=given, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise RequestError(f"--isolated: the packages of a step cannot be installed:\n{last}")
