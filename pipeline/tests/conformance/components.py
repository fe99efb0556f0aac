"""The steps of the conformance pipelines: each does one small thing, and what it returns is what arrived."""

from typing import Dict, List, NamedTuple, Optional

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Output, PipelineTaskFinalStatus

step = dsl.component(base_image="python:3.11")


@step
def echo(text: str) -> str:
    return text


@step
def add(a: int, b: int) -> int:
    return a + b


@step
def half(number: float) -> float:
    return number / 2


@step
def negate(flag: bool) -> bool:
    return not flag


@step
def count_to(n: int) -> List[int]:
    return list(range(n))


@step
def words(n: int) -> List[str]:
    return [f"word {place}" for place in range(n)]


@step
def pairs() -> List[Dict[str, str]]:
    return [{"word": "a", "size": "1"}, {"word": "b", "size": "2"}]


@step
def named() -> NamedTuple(
    "Outputs", [("word", str), ("number", int), ("flag", bool), ("share", float), ("items", List[int])]
):
    outputs = NamedTuple(
        "Outputs", [("word", str), ("number", int), ("flag", bool), ("share", float), ("items", List[int])]
    )
    return outputs("it's", 3, True, 0.95, [0, 1, 2])


@step
def as_text(value: dict) -> str:
    import json

    return json.dumps(value, sort_keys=True)


@step
def list_as_text(value: list) -> str:
    import json

    return json.dumps(value)


@step
def maybe(number: Optional[int] = None, text: str = "default") -> str:
    return f"{number} {text}"


@step
def fail(text: str) -> str:
    raise ValueError(text)


@step
def leave(status: int) -> str:
    import sys

    sys.exit(status)


@step
def write(text: str, file: Output[Artifact]):
    with open(file.path, "w") as out:
        out.write(text)
    file.metadata["length"] = len(text)


@step
def write_typed(text: str, rows: Output[Dataset], figures: Output[Metrics]) -> str:
    with open(rows.path, "w") as out:
        out.write(text)
    figures.log_metric("length", len(text))
    return text


@step
def register(address: str, data: Output[Dataset]):
    data.uri = address


@step
def read(file: Input[Artifact]) -> str:
    with open(file.path) as text:
        return text.read()


@step
def read_all(files: Input[List[Artifact]]) -> str:
    return "+".join(open(file.path).read() for file in files)


@step
def length_of(file: Input[Artifact]) -> int:
    return int(file.metadata["length"])


@step
def address_of(data: Input[Dataset]) -> str:
    return f"{data.uri} {data.metadata.get('owner', '')}".strip()


@step
def optional_file(file: Input[Dataset] = None) -> str:
    return str(file)


@step
def told(status: PipelineTaskFinalStatus) -> str:
    return f"{status.state} {status.pipeline_task_name}"


@step
def flaky(counter: str, until: int) -> str:
    import os

    with open(counter, "a") as file:
        file.write("x")
    tries = os.path.getsize(counter)
    if tries < until:
        raise RuntimeError(f"try {tries}")
    return f"{tries} tries"


@step
def variable(name: str) -> str:
    import os

    return os.environ.get(name, "")
