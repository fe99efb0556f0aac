"""The cache of the local engine: it is right, or it misses.

A task's key holds all that it can see: its source and pins, its environment, its parameters, and its artifacts by type,
metadata and content; the address, too, of one that lies outside of the run. An entry names the folder of the run that
has last used it, with a digest of each file, so that a hit is checked, and brings everything that the task left there
into the new run's folder as further links to the same files.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engines.interpreter.executor import OUTPUT_FILE, checked
from pipeline.engines.interpreter.values import SpecError, Values


class Cache:
    """The outputs of tasks, shared by all runs below one folder."""

    def __init__(self, root: Path):
        """Open the cache, whose entries are in this folder."""
        self._root = root
        self._digests: dict[tuple[int, int, int, int], str] = {}
        root.mkdir(parents=True, exist_ok=True)

    def key(
        self,
        component: Mapping[str, Any],
        container: Mapping[str, Any],
        environment: Mapping[str, str],
        inputs: Values,
        run_folder: Path,
    ) -> str:
        """Return the key of a task.

        Args:
            component: Its component, with the definitions of its inputs and outputs.
            container: Its container, with the source, the pins and the image.
            environment: The variables that the pipeline sets, as they are now.
            inputs: Its inputs, with resolved placeholders.
            run_folder: Folder of the run: what lies in it counts by its content, wherever that is.
        """
        artifacts = {
            name: [
                {
                    "name": artifact["name"],
                    "type": artifact["type"],
                    "metadata": artifact.get("metadata", {}),
                    "content": self._content(artifact["uri"]),
                    "uri": None if _is_inside(artifact["uri"], run_folder) else artifact["uri"],
                }
                for artifact in listed
            ]
            for name, listed in inputs.artifacts.items()
        }
        seen = {
            "python": ".".join(map(str, sys.version_info[:2])),
            "component": component,
            "container": [container.get(part) for part in ("image", "command", "args")],
            "environment": environment,
            "parameters": inputs.parameters,
            "artifacts": artifacts,
        }
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()

    def get(self, key: str, component: Mapping[str, Any], folder: Path) -> Values | None:
        """Return the outputs of a task, whose files are brought into its folder; None if there are none any more.

        Args:
            key: The key of the task.
            component: Its component, which says what its outputs are.
            folder: Folder of the task's outputs, which is not there yet.
        """
        try:
            entry = json.loads(self._entry(key).read_text("utf-8"))
            former = Path(entry["folder"])
            for name, digest in entry["files"].items():
                _bring(former / name, folder / name, digest)
            if self._files(folder) != entry["files"]:
                raise ValueError("a file has changed since it was kept")
            for uri, content in entry["elsewhere"].items():
                if self._content(uri) != content:
                    raise ValueError("what an address names has changed since it was kept")
            for artifact in (artifact for listed in entry["artifacts"].values() for artifact in listed):
                if _is_inside(artifact["uri"], former):
                    artifact["uri"] = str(folder / Path(artifact["uri"]).relative_to(former))
            found = checked(Values(entry["parameters"], entry["artifacts"]), component)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SpecError):
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
            return None
        self._write(key, entry | {"folder": str(folder)})  # so that the former run may be deleted
        return found

    def put(self, key: str, outputs: Values, folder: Path, run_folder: Path) -> None:
        """Keep what a task has put out, unless it names places of its run, which another run is not to be sent to.

        Args:
            key: The key of the task.
            outputs: Its outputs.
            folder: Folder of its outputs.
            run_folder: Folder of the run.
        """
        listed = [artifact for artifacts in outputs.artifacts.values() for artifact in artifacts]
        elsewhere = [artifact["uri"] for artifact in listed if not _is_inside(artifact["uri"], folder)]
        told = json.dumps([outputs.parameters, [artifact.get("metadata") for artifact in listed], elsewhere])
        if json.dumps(str(run_folder))[1:-1] in told:
            return
        entry = {
            "folder": str(folder),
            "files": self._files(folder),
            "elsewhere": {uri: self._content(uri) for uri in elsewhere},
            "parameters": outputs.parameters,
            "artifacts": outputs.artifacts,
        }
        self._write(key, entry)

    def _entry(self, key: str) -> Path:
        return self._root / f"{key}.json"

    def _write(self, key: str, entry: dict[str, Any]) -> None:
        """Write an entry, which is there whole or not at all."""
        handle, temporary = tempfile.mkstemp(dir=self._root, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            os.replace(temporary, self._entry(key))
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _content(self, uri: str) -> Any:
        """Return what tells the content of an address, None for one that is not on this machine."""
        path = Path(uri)
        return self._files(path) if path.is_dir() else self._digest(path) if path.exists() else None

    def _files(self, folder: Path) -> dict[str, str]:
        """Return what is in a folder, each by its path: the digest of a file, the target of a link, or a folder."""
        found = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[name] = f"link {os.readlink(path)}"
            elif path.is_dir():
                found[name] = "folder"
            elif name != OUTPUT_FILE:
                found[name] = self._digest(path)
        return found

    def _digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, which is read once however many links it has."""
        status = path.stat()
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if known not in self._digests:
            with path.open("rb") as file:
                self._digests[known] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[known]


def _is_inside(uri: str, folder: Path) -> bool:
    return Path(uri).is_relative_to(folder)


def _bring(source: Path, place: Path, digest: str) -> None:
    """Make a file appear at another place, by a link where the file system has them; a folder and a link anew."""
    if ".." in place.parts:
        raise ValueError(f"{place} is none of a task's files")
    if digest == "folder":
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    kind, _, target = digest.partition(" ")
    if kind == "link":
        place.symlink_to(target)
        return
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
