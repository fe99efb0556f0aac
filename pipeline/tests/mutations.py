"""Damages the files of a real run at random, and reads each as the project does. Each fault is printed.

    python -m pipeline.tests.mutations --number 2000 --seed 1

Only a RequestError may come out, or what the docstring of the reading function says; the seed is printed.
"""

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Any
from unittest.mock import patch

import typer
import yaml

import run as command
from pipeline import RequestError, compare, console, graph, history, loading, replay, runs, settings
from pipeline.engines.interpreter.cache import Cache
from pipeline.engines.interpreter.values import Values
from steps.tables.schema import read_schema

SECONDS = 20  # in which each file must have been read
DEPTH = 10_000
# what stands for a value of any type
OTHERS: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        3,
        2**63,
        10**400,
        0.5,
        float("nan"),
        float("inf"),
        "",
        "a",
        "\x1b[31m",
        "é" * 5_000,
        "\u202e",
    ),
    *("../../evil", "/etc/passwd", "/dev/zero", "gs://b/o", "\0", "{{$.inputs}}", [], [1], [[]], ["a"], {}),
    *({"a": 1}, {"": {}}, {"name": None}, [{}], "1e400", "NaN", "2026-01-01", "\ud800", "x" * 300),
)
PYPROJECT = """[project]
name = "covertype-pipelines"

[tool.covertype]
label = "Cover_Type"
data = "sample:100"
engine = "local"
profile = "auto"
region = "europe-west4"
bucket = "gs://trees"
schedule = "0 6 * * 1"
timezone = "UTC"
poll_seconds = 0.5
runs_dir = "runs"
"""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class TooLong(BaseException):
    """A file has been read for too long."""


@contextlib.contextmanager
def bounded(seconds: int = SECONDS) -> Iterator[None]:
    """Raise TooLong where this takes longer; in the main thread only."""

    def end(_: int, __: FrameType | None) -> None:
        raise TooLong(f"it took more than {seconds} s")

    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def places(value: Any, around: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all values in a document, each by its keys."""
    found = [around]
    for key, inner in [
        *(value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []))
    ]:
        found += places(inner, (*around, key))
    return found


def at(document: Any, place: tuple[Any, ...]) -> Any:
    """Return what stands at a place."""
    for key in place:
        document = document[key]
    return document


def mutated_document(document: Any, another: Any, chance: random.Random) -> Any:
    """Return a document with one to three of its values changed: others, gone, twice, renamed, or of another."""
    holder = [json.loads(json.dumps(document))]
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        place = chance.choice(places(holder))
        if not place:
            continue
        inside, key = at(holder, place[:-1]), place[-1]
        match chance.randrange(6):
            case 0 | 1:
                inside[key] = copy.deepcopy(chance.choice(OTHERS))
            case 2:
                inside[key] = copy.deepcopy(at(another, chance.choice(places(another))))
            case 3 if len(place) > 1:
                del inside[key]
            case 4 if isinstance(inside, dict):
                inside[chance.choice(["", "a", "\x1b[2J", "../evil", "name", "x" * 300, str(key).upper()])] = (
                    inside.pop(key)
                )
            case 5 if len(place) > 1 and isinstance(inside, list):
                times = chance.choice([1, 2, 300]) if len(json.dumps(inside[key])) < 1_000 else 1
                inside += [copy.deepcopy(inside[key]) for _ in range(times)]
            case 5 if isinstance(inside, dict):
                inside[key] = copy.deepcopy(chance.choice([*inside.values()]))
    return holder[0] if holder else None


def mutated_bytes(content: bytes, another: bytes, chance: random.Random) -> bytes:
    """Return bytes that are cut, flipped, repeated, nested without end, or mixed with another file's."""
    at, to = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    match chance.randrange(8):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[to:]
        case 2:
            flipped = bytearray(content)
            for _ in range(chance.choice([1, 3, 50])):
                flipped[chance.randrange(len(flipped))] = chance.randrange(256)
            return bytes(flipped)
        case 3:
            return content[:to] + content[at:]
        case 4:
            opened, closed = chance.choice([(b"[", b"]"), (b'{"a": ', b"}"), (b"- ", b""), (b"[", b"")])
            return content[:at] + opened * DEPTH + b"1" + closed * DEPTH + content[at:]
        case 5:
            return content[:at] + another[:to]
        case 6:
            noise = [
                b"\0",
                b"\xff\xfe",
                b"\xef\xbb\xbf",
                b"9" * 5_000,
                b"&a [*a]",
                b"!!python/name:os.system",
                b"\r",
                b"'",
            ]
            return content[:at] + chance.choice(noise) + content[at:]
    return another


def toml(document: Any) -> str:
    """Return a document of tables of plain values as TOML, as far as TOML has what is in it."""
    if not isinstance(document, dict):
        return json.dumps(document)
    lines: list[str] = []
    for name, table in document.items():
        for inner, values in table.items() if isinstance(table, dict) else ():
            lines.append(f"[{json.dumps(name)}.{json.dumps(inner)}]")
            if isinstance(values, dict):
                lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()]
        if not isinstance(table, dict):
            lines.insert(0, f"{json.dumps(name)} = {json.dumps(table)}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Kind:
    """A kind of file, how it is written, and what reads it."""

    path: Path
    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    read: Callable[[], object]
    documented: tuple[type[Exception], ...] = (RequestError,)


@dataclass
class Mutations:
    """A folder with real runs, whose files are damaged one at a time, and what went wrong."""

    folder: Path
    chance: random.Random
    faults: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    @property
    def runs_dir(self) -> Path:
        """The folder of all runs."""
        return self.folder / "runs"

    def prepare(self) -> None:
        """Make two runs that are small."""
        (self.folder / "rows.csv").write_text("size,kind\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(60)))
        (self.folder / "pyproject.toml").write_text(PYPROJECT)
        arguments = ["--identifier", "x", "--data", str(self.folder / "rows.csv"), "--label", "kind"]
        with patch.dict(os.environ, {"COVERTYPE_RUNS_DIR": str(self.runs_dir)}), silent() as told:
            for n_trees in ("1", "2"):
                status = command.main([*arguments, "--set", f"max_iter={n_trees}"])
                assert status == 0, told.getvalue()

    def kinds(self) -> dict[str, Kind]:
        """Return the files that are damaged, by what they are called."""
        pair = [runs.load("x", name, self.runs_dir) for name in ("latest", "previous")]
        folder = pair[0].folder
        spec = folder / runs.SPEC
        inputs = sorted((folder / "inputs").rglob("*.json"))
        titles = {pair[0].inputs(task): task.title for task in pair[0].tasks}
        schema = Path(pair[0].schema_file)
        entries = sorted((self.runs_dir / ".cache").glob("*.json"))
        plain = (json.loads, json.dumps)
        kinds = {
            "run.json": Kind(folder / runs.RECORD, *plain, self._read_record),
            "pipeline.yaml": Kind(
                spec, lambda text: yaml.load(text, yaml.CSafeLoader), _yaml, lambda: self._read_spec(spec)
            ),
            "schema": Kind(schema, *plain, lambda: read_schema(str(schema)).all_notes(), (OSError, ValueError)),
            "pyproject.toml": Kind(self.folder / "pyproject.toml", tomllib.loads, toml, self._read_settings),
        }
        for place, path in enumerate(path for path in inputs if path in titles):
            title = titles[path]
            kinds[f"inputs {place}"] = Kind(
                path, *plain, lambda title=title: replay.prepare(runs.load("x", "latest", self.runs_dir), title)
            )
        for place, path in enumerate(entries):
            kinds[f"cache {place}"] = Kind(path, json.loads, self._entry, lambda path=path: self._read_entry(path))
        return kinds

    def _read_record(self) -> None:
        """Read the record as each verb does; one that cannot be read is enough for one of them."""
        told = None
        for read in (self._show, self._compare, self._replay):
            try:
                read()
            except RequestError as error:
                told = error
        if told:
            raise told

    def _show(self) -> None:
        found, damaged = history.of(self.runs_dir, "x")
        console.show_history(found, damaged)
        for one in found:
            console.show_result(one)
            console.show_json(one)

    def _compare(self) -> None:
        pair = [runs.load("x", name, self.runs_dir) for name in ("previous", "latest")]
        console.show_comparison(*pair, compare.compare(*pair))

    def _replay(self) -> None:
        latest = runs.load("x", "latest", self.runs_dir)
        for task in latest.tasks[:2]:
            replay.prepare(latest, task.title)

    def _read_spec(self, path: Path) -> None:
        if self.chance.random() < 0.3:  # KFP reads for a second
            loading.load(str(path))
        spec = graph.load(path)
        graph.nodes(spec)
        for container in graph.containers(spec).values():
            graph.function(container)
            graph.installs(container)
            graph.sources(container)
        self._compare()

    def _read_settings(self) -> None:
        with patch.object(settings, "PYPROJECT", self.folder / "pyproject.toml"), patch.dict(os.environ):
            for name in [*os.environ]:
                if name.startswith(("COVERTYPE_", "GOOGLE_CLOUD_")):
                    del os.environ[name]
            settings.settle()

    def _entry(self, document: Any) -> str:
        """Return an entry of the cache, half of them with the digest of what they hold: as another would write it."""
        if isinstance(document, dict) and self.chance.random() < 0.5:
            rest = {name: value for name, value in document.items() if name != "sha256"}
            document = document | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}
        return json.dumps(document)

    def _read_entry(self, path: Path) -> None:
        kept = json.loads(self._originals[path])
        outputs = {
            "parameters": {name: {"parameterType": "STRING"} for name in kept["parameters"]},
            "artifacts": {
                name: {"artifactType": listed[0]["type"]} for name, listed in kept["artifacts"].items() if listed
            },
        }
        place = self.runs_dir / "x" / "new" / "artifacts" / "task"
        found = Cache(self.runs_dir / ".cache").get(path.stem, {"outputDefinitions": outputs}, place)
        shutil.rmtree(self.runs_dir / "x" / "new", ignore_errors=True)
        if not isinstance(found, Values | None):
            raise AssertionError(f"neither outputs nor a miss: {found!r}")
        if found is None:
            raise RequestError("a miss")

    def play(self, number: int, seconds: float) -> int:
        """Damage files until there were so many or so long, and return how many there were."""
        kinds = self.kinds()
        self._originals = {kind.path: kind.path.read_bytes() for kind in kinds.values()}
        groups: dict[str, list[str]] = {}
        for name in kinds:
            groups.setdefault(name.split()[0], []).append(name)
        before = self._listing()
        begun = time.monotonic()
        for place in range(number):
            if time.monotonic() > begun + seconds:
                return place
            group = [*groups][place % len(groups)]
            self._play_one(place, group, kinds[self.chance.choice(groups[group])], kinds)
            for path, content in self._originals.items():
                if not path.is_file() or path.read_bytes() != content:
                    path.write_bytes(content)
        if (after := self._listing()) != before:
            self.faults.append(f"files that were not there before: {sorted({*after} ^ {*before})[:5]}")
        return number

    def _listing(self) -> list[str]:
        """Return what is below the folder and beside it, without what a replay keeps."""
        inside = (path for path in self.folder.rglob("*") if ".replays" not in path.parts)
        return sorted(map(str, [*inside, *self.folder.parent.glob("evil*")]))

    def _play_one(self, place: int, group: str, kind: Kind, kinds: dict[str, Kind]) -> None:
        original = self._originals[kind.path]
        another = self._originals[self.chance.choice([*kinds.values()]).path]
        if self.chance.random() < 0.35:
            damaged = mutated_bytes(original, another, self.chance)
        else:
            other = self.chance.choice([each for each in kinds.values() if each.parse is kind.parse])
            documents = [kind.parse(self._originals[each.path].decode()) for each in (kind, other)]
            damaged = kind.write(mutated_document(*documents, self.chance)).encode("utf-8", "surrogatepass")
        kind.path.write_bytes(damaged)
        outcome = "read"
        try:
            with bounded(), silent() as shown:
                kind.read()
                assert "\x1b" not in shown.getvalue(), "a control character was shown"
        except kind.documented:
            outcome = "refused"
        except (Exception, TooLong, SystemExit) as error:
            outcome = "fault"
            kept = Path(tempfile.gettempdir(), f"mutation-{self.chance.random():.8f}{kind.path.suffix}")
            kept.write_bytes(damaged)
            trace = "".join(traceback.format_exception(error)[-4:])
            self.faults.append(f"{group}: {type(error).__name__}: {str(error)[:200]}")
            print(f"fault in mutation {place}, {group}, kept as {kept}:\n{trace}", file=sys.stderr, flush=True)
        self.counts[f"{group} {outcome}"] += 1


def _yaml(document: Any) -> str:
    try:
        return yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True)
    except UnicodeEncodeError:  # half of a pair, which JSON can write
        return json.dumps(document)


@contextlib.contextmanager
def silent() -> Iterator[io.StringIO]:
    """Take what is shown; returns it."""
    with io.StringIO() as shown, contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        yield shown


def damage(number: int, seed: int, seconds: float = 3_600) -> Mutations:
    """Damage files of new runs, print the counts and return what went wrong."""
    print(f"mutations: seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        mutations = Mutations(Path(folder, "inner"), random.Random(seed))
        mutations.folder.mkdir()
        mutations.prepare()
        begun = time.monotonic()
        n_played = mutations.play(number, seconds)
    print(f"mutations: {n_played} in {time.monotonic() - begun:.0f} s, {len(mutations.faults)} faults")
    print(json.dumps(dict(sorted(mutations.counts.items()))))
    return mutations


@app.command()
def main(
    number: Annotated[int, typer.Option(help="How many files are damaged.")] = 2_000,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn; by default another each time.")] = None,
    seconds: Annotated[float, typer.Option(help="No file is damaged after this time.")] = 3_600,
) -> None:
    """Damage files of a real run and read them."""
    found = damage(number, random.randrange(1 << 32) if seed is None else seed, seconds)
    for fault in found.faults:
        print(fault)
    raise typer.Exit(bool(found.faults))


if __name__ == "__main__":
    app()
