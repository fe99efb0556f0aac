"""A pipeline by what --pipeline names: one of PIPELINES, my/file.py:function, or a compiled spec."""

import contextlib
import errno
import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import kfp
from kfp import components
from kfp.dsl.base_component import BaseComponent

from pipeline import OWN_FOLDERS, PIPELINES, ROOT, RequestError, files, graph

T = TypeVar("T")
SPECS = (".yaml", ".yml", ".json")


def full_name(pipeline: str) -> str:
    """Return the name that a pipeline is recorded and loaded by again, from any folder: a path becomes a whole one."""
    path, function = _parts(pipeline)
    if pipeline in PIPELINES or not (function or path.endswith(SPECS)):
        return pipeline
    return os.path.abspath(path) + (f":{function}" if function else "")


def short_name(pipeline: str) -> str:
    """Return what a job of a pipeline is called by: its name, of a path the file's and the function's."""
    if pipeline in PIPELINES:
        return pipeline
    path, function = _parts(pipeline)
    name = f"{Path(path).stem}-{function}" if function else Path(path).stem
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "pipeline"


def load(pipeline: str) -> BaseComponent:
    """Return the pipeline that is named so.

    Raises:
        RequestError: there is none, or it cannot be imported.
    """
    path, function = _parts(pipeline)
    if pipeline in PIPELINES:
        name, _, function = PIPELINES[pipeline].partition(":")
        with import_told(f"--pipeline {pipeline}", ROOT):
            module = _with_all_of_kfp(lambda: importlib.import_module(name))
        return _pipeline(module, function, name)
    if function:
        return _pipeline(_module(pipeline, Path(os.path.abspath(path))), function, path)
    if path.endswith(SPECS):
        return _of_spec(Path(path))
    if path.endswith(".py"):
        named = _named(_module(pipeline, Path(os.path.abspath(path))))
        raise RequestError(f"--pipeline {path} names no function: expected {path}:FUNCTION. In it are: {named}.")
    raise RequestError(
        f"--pipeline {pipeline!r} is none of the pipelines: {', '.join(PIPELINES)}.\n"
        "One of your own is named by its file, as my/file.py:function, or is a compiled .yaml or .json."
    )


def _parts(pipeline: str) -> tuple[str, str]:
    """Return the path and the function that a name is made of; without a file of Python all is a path."""
    path, colon, function = pipeline.rpartition(":")
    return (path, function) if colon and path.endswith(".py") else (pipeline, "")


def _module(pipeline: str, path: Path) -> ModuleType:
    """Import a file as it is now; what stands beside it can be imported by it, as in a script."""
    try:
        source = files.content(path)
    except files.Damaged as error:
        raise RequestError(f"--pipeline {pipeline}: the file {path} cannot be read: {_why(path, error)}.") from None
    # a name that no other module has, so that a file may be called as it likes
    name = f"{re.sub(r'[^a-zA-Z0-9_]', '_', path.stem)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    if spec is None:
        raise RequestError(f"--pipeline {pipeline}: {path} is no file of Python.")
    module = module_from_spec(spec)
    if path.parent not in OWN_FOLDERS:
        OWN_FOLDERS.append(path.parent)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        with import_told(f"--pipeline {pipeline}", path.parent):
            _with_all_of_kfp(lambda: exec(compile(source, path, "exec"), vars(module)))
    finally:
        sys.path.remove(str(path.parent))
    return module


def _with_all_of_kfp(imported: Callable[[], T]) -> T:
    """Import a user's module; once more if it misses in kfp what pipeline.import_kfp leaves out."""
    try:
        return imported()
    except (AttributeError, ImportError) as error:
        of_kfp = getattr(error, "obj", None) is kfp or error.name == "kfp"
        if not of_kfp or hasattr(kfp, "Client"):
            raise
        importlib.reload(kfp)
        return imported()


@contextlib.contextmanager
def import_told(what: str, folder: Path) -> Iterator[None]:
    """Turn an error of an import into a message with the last line of the user's own that it comes from.

    Raises:
        RequestError: the import has failed.
    """
    try:
        yield
    except RequestError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [(frame.filename, frame.lineno, frame.line) for frame in frames if _is_own(frame.filename, folder)]
        if isinstance(error, SyntaxError) and error.filename:
            own, message = [(error.filename, error.lineno, (error.text or "").strip())], error.msg
        else:
            message = " ".join(str(error).split())[:300]
        file, line, text = own[-1] if own else (str(folder), None, "")
        where = f"{file}, line {line}" if line else file
        told = f"{type(error).__name__}: {message}" if message else type(error).__name__
        raise RequestError(f"{what} cannot be imported. {where}: {told}" + (f"\n    {text}" if text else "")) from None


def _is_own(file: str, folder: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(folder) and "site-packages" not in path.parts and file != __file__


def _pipeline(module: ModuleType, function: str, place: str) -> BaseComponent:
    found: Any = getattr(module, function, None)
    if isinstance(found, BaseComponent):
        return found
    if found is None:
        raise RequestError(f"{place} has no function {function!r}. Its pipelines are: {_named(module)}.")
    raise RequestError(
        f"{function} of {place} is no pipeline: expected a function with @dsl.pipeline, came a "
        f"{type(found).__name__}.\nIts pipelines are: {_named(module)}."
    )


def _named(module: ModuleType) -> str:
    """Return the names of a module's pipelines in words."""
    found = vars(module).items()
    return ", ".join(name for name, value in found if hasattr(value, "pipeline_func")) or "none"


def _of_spec(path: Path) -> BaseComponent:
    try:
        text = files.text(path)
    except files.Damaged as error:
        raise RequestError(f"--pipeline {path}: the file cannot be read: {_why(path, error)}.") from None
    try:
        spec = graph.parsed(text)
    except files.Damaged as error:
        raise RequestError(f"--pipeline {path} is no YAML or JSON: {error}") from None
    if not isinstance(spec, dict) or not {"pipelineInfo", "root", "deploymentSpec"} <= spec.keys():
        raise RequestError(
            f"--pipeline {path} is no compiled pipeline: pipelineInfo, root and deploymentSpec are not all there.\n"
            "Compile one: python run.py --pipeline my/file.py:function --compile-only spec.yaml"
        )
    try:
        graph.check(spec)
        return components.load_component_from_text(text)
    except Exception as error:  # kfp says what is wrong by exceptions of many kinds
        first = " ".join(str(error).split())[:300]
        raise RequestError(f"--pipeline {path} is no pipeline spec that KFP reads: {first}") from None


def _why(path: Path, error: files.Damaged) -> str:
    return str(error) if os.path.lexists(path) else os.strerror(errno.ENOENT)
