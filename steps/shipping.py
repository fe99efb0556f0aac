"""Let a step import ordinary modules: their text travels in front of the step's own.

KFP packs a step's function into the spec and nothing around it. A step that says

    @ships("steps.tables")
    @dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("pandas", "pyarrow"))
    def prepare_data(...):
        from steps.tables import open_table

takes the modules of that package along as readable text, its data files too, and imports them where it runs as it does
here. The same text gives the same spec, so a cache sees only what was changed.
"""

from __future__ import annotations

import ast
import base64
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kfp.dsl import PythonComponent

# a step's source is one argument of a command, of which Linux takes 131,071 bytes; beyond this it travels compressed
MOST_READABLE_BYTES = 100_000
LEFT_OUT = ("tests", "__pycache__")


class ShippedModules(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):  # type: ignore[misc]
    """Imports modules from texts by the names of their files: steps/tables/__init__.py is steps.tables."""

    def __init__(self, files: dict[str, str]):
        self.files = files
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = self.get_filename(fullname)
        if not file:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=file, is_package=file.endswith("__init__.py"))
        spec.has_location = True  # __file__, beside which pkgutil.get_data finds data files
        return spec

    def get_filename(self, fullname: str) -> str:
        place = fullname.replace(".", "/")
        return next((file for file in (f"{place}/__init__.py", f"{place}.py") if file in self.files), "")

    def get_data(self, path: str) -> bytes:
        return self.files[path].encode()


def ships(*names: str) -> Callable[[PythonComponent], PythonComponent]:
    """Ship modules, or packages with all that lies in them, along with a step.

    Args:
        names: Names of the modules, such as steps.tables. What they import themselves is to be named too, or installed
            by the step's packages_to_install.

    Raises:
        ModuleNotFoundError: there is no such module.
    """

    def with_modules(step: PythonComponent) -> PythonComponent:
        command = step.component_spec.implementation.container.command
        command[-1] = shipped(command[-1], *names)
        return step

    return with_modules


def shipped(source: str, *names: str) -> str:
    """Return a Python source with the texts of modules in front of it, which it imports from there.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return _in_front_of(source, _texts(names))


def shipped_files(source: str) -> dict[str, str]:
    """Return the texts that a step's source ships, by the names of their files; none where it ships none."""
    for node in ast.parse(source).body:
        call = node.value if isinstance(node, ast.Expr) else None
        if not isinstance(call, ast.Call) or getattr(call.func, "id", None) != ShippedModules.__name__:
            continue
        if isinstance(call.args[0], ast.Dict):
            texts: dict[str, str] = ast.literal_eval(call.args[0])
        else:
            constants = (part.value for part in ast.walk(call) if isinstance(part, ast.Constant))
            packed = next(value for value in constants if isinstance(value, str))
            texts = json.loads(zlib.decompress(base64.b64decode(packed)))
        return texts
    return {}


def readable(source: str) -> str:
    """Return a step's source with what it ships as readable text, though that may be too long for a command."""
    for node in ast.parse(source).body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == ShippedModules.__name__:
            lines = source.splitlines(keepends=True)
            listed = "".join(f"    {name!r}: {_literal(text)},\n" for name, text in shipped_files(source).items())
            lines[node.lineno - 1 : node.end_lineno] = [f"ShippedModules({{\n{listed}}})\n"]
            return "".join(lines)
    return source


def _texts(names: tuple[str, ...]) -> dict[str, str]:
    """Return the texts of modules and packages by the names of their files, those of a package's parents empty."""
    texts: dict[str, str] = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise ModuleNotFoundError(
                f"@ships({name!r}): there is no module {name}. Name one that can be imported here."
            )
        parts = name.split(".")
        for depth in range(1, len(parts)):
            texts.setdefault("/".join((*parts[:depth], "__init__.py")), "")
        file = Path(spec.origin)
        root = file.parents[len(parts) - (0 if spec.submodule_search_locations else 1)]
        inside = file.parent.rglob("*") if spec.submodule_search_locations else [file]
        for path in sorted(inside):
            if path.is_file() and not {*path.relative_to(root).parts} & {*LEFT_OUT}:
                texts[path.relative_to(root).as_posix()] = path.read_text("utf-8")
    return dict(sorted(texts.items()))


def _in_front_of(source: str, texts: dict[str, str]) -> str:
    """Return a step's source with the importer and the texts in front of it."""
    modules = ("importlib.abc", "importlib.machinery", "sys")
    importer = "".join(f"import {module}\n" for module in modules) + "\n\n" + inspect.getsource(ShippedModules)
    listed = "".join(f"    {name!r}: {_literal(text)},\n" for name, text in texts.items())
    readable = f"{importer}\n\nShippedModules({{\n{listed}}})\n{source}"
    if len(readable.encode()) <= MOST_READABLE_BYTES and "{{$" not in listed:  # which KFP would expand
        return readable
    packed = base64.b64encode(zlib.compress(json.dumps(texts).encode(), 9)).decode()
    imports = "import base64\nimport json\nimport zlib\n"
    return f"{imports}{importer}\n\nShippedModules(json.loads(zlib.decompress(base64.b64decode({packed!r}))))\n{source}"


def _literal(text: str) -> str:
    """Return a text as Python reads it back: as it stands between quotes, where it can."""
    plain = f"r'''{text}'''"
    is_plain = "'''" not in text and not text.endswith(("'", "\\")) and "\r" not in text
    return plain if is_plain else repr(text)
