"""The cache of the local engine: kfp.local's own, keyed and checked by content.

kfp.local 2.17.0 keys a task by the addresses of its inputs, trusts any file that is still there, never hits a task with
an artifact of metadata only, and leaves the outputs in the run that made them. Here inputs count by their content, a
file that changed is a miss, and a hit brings the outputs into the new run's folder as further links to the same files.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl import executor
from kfp.local.cache import LocalCache


class ContentCache(LocalCache):
    """A cache of task outputs, shared by all runs below one folder."""

    def __init__(self, root: Path, current: threading.local):
        """Open the cache.

        Args:
            root: Folder of its entries.
            current: The task that the calling thread runs, as task and folder; a hit marks it as cached.
        """
        super().__init__(str(root))
        self._current = current
        self._digests: dict[tuple[str, int, int], str] = {}

    def compute_key(self, *, arguments: dict[str, Any], env_vars: dict[str, str] | None = None, **names: Any) -> str:
        """Return the key of a task: its source, pins and image, its environment, and its inputs by content."""
        by_content = {name: self._content(value) for name, value in arguments.items()}
        environment = (env_vars or {}) | {"python": ".".join(map(str, sys.version_info[:2]))}
        return super().compute_key(arguments=by_content, env_vars=environment, **names)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the outputs of a task, brought into its folder, or None if there are none or they have changed."""
        folder: Path = self._current.folder
        try:
            entry = json.loads(Path(self._entry_path(key)).read_text("utf-8"))
            outputs = {name: self._bring(value, folder) for name, value in entry.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
            return None
        self.put(key, outputs)  # so that the former run may be deleted
        self._current.task.cached = True
        return outputs

    def put(self, key: str, outputs: dict[str, Any]) -> None:
        """Keep the outputs of a task; the entry is there whole or not at all."""
        entry = json.dumps({name: self._kept(value) for name, value in outputs.items()})
        handle, temporary = tempfile.mkstemp(dir=self.cache_root, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(entry)
            os.replace(temporary, self._entry_path(key))
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _content(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._content(item) for item in value]
        if not isinstance(value, dsl.Artifact):
            return value
        return {"type": value.schema_title, "content": self._digest(Path(value.uri)), "metadata": value.metadata}

    def _kept(self, value: Any) -> Any:
        if not isinstance(value, dsl.Artifact):
            return {"value": value}
        return {"artifact": self._serialize_artifact(value), "content": self._digest(Path(value.uri))}

    def _bring(self, kept: dict[str, Any], folder: Path) -> Any:
        if "value" in kept:
            return kept["value"]
        artifact = kept["artifact"]
        place = folder / Path(artifact["uri"]).name
        _link(Path(artifact["uri"]), place)
        if self._digest(place) != kept["content"]:
            raise ValueError("the artifact has changed since it was kept")
        kind = {"schemaTitle": artifact["schema_title"]}
        return executor.create_artifact_instance(
            {"name": artifact["name"], "uri": str(place), "metadata": artifact["metadata"], "type": kind}
        )

    def _digest(self, path: Path) -> str | None:
        """Return the SHA-256 of a file, or of the names and contents in a folder; None if there is neither."""
        if path.is_dir():
            inside = [(str(inner.relative_to(path)), self._digest(inner)) for inner in sorted(path.rglob("*"))]
            return hashlib.sha256(json.dumps(inside).encode()).hexdigest()
        if not path.exists():
            return None
        status = path.stat()
        known = (str(path), status.st_size, status.st_mtime_ns)
        if known not in self._digests:
            with path.open("rb") as file:
                self._digests[known] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[known]


def _link(source: Path, place: Path) -> None:
    """Make a file or a folder of files appear at another place, by links where the file system has them."""
    for file in (source, *source.rglob("*")) if source.exists() else ():
        if file.is_file():
            target = place / file.relative_to(source) if file != source else place
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)
            except OSError:
                shutil.copy2(file, target)
