"""The steps of the suite's pipelines: each does one small thing that shows what it was given."""

from typing import Dict, List, NamedTuple, Optional

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output, PipelineTaskFinalStatus

step = dsl.component(base_image="python:3.11")


@step
def say(text: str = "nothing") -> str:
    print(text)
    return text


@step
def number(value: int) -> int:
    return value


@step
def share(value: float = 0.5) -> float:
    return value


@step
def flag(value: bool) -> bool:
    return value


@step
def numbers(count: int = 3) -> List[int]:
    return list(range(count))


@step
def words() -> List[str]:
    return ["a b", "c/d", "e:f"]


@step
def records() -> List[Dict[str, str]]:
    return [{"label": "one", "size": "1"}, {"label": "two", "size": "2"}]


@step
def show_record(record: dict) -> str:
    return ",".join(f"{key}={record[key]}" for key in sorted(record))


@step
def total(values: List[int]) -> int:
    return sum(values)


@step
def nested_total(values: List[List[int]]) -> int:
    return sum(sum(inner) for inner in values)


@step
def joined(texts: List[str]) -> str:
    return "+".join(texts)


@step
def measured(value: float) -> NamedTuple("Measured", [("accuracy", float), ("label", str), ("codes", List[int])]):
    return (value, "good" if value > 0.5 else "bad", [1, 2])


@step
def maybe(value: Optional[int] = None, text: Optional[str] = None) -> str:
    return f"{value} {text}"


@step
def defaults(number: int = 7, text: str = "x", values: List[int] = [1, 2], table: dict = {"a": 1}) -> str:
    return f"{number} {text} {values} {table}"


@step
def write(text: str, file: Output[Dataset]):
    with open(file.path, "w") as stream:
        stream.write(text)
    file.metadata["length"] = len(text)


@step
def write_model(text: str) -> Model:
    model = Model(uri=dsl.get_uri(suffix="model"), metadata={"text": text})
    with open(model.path, "w") as stream:
        stream.write(text)
    return model


@step
def write_folder(names: List[str], folder: Output[Artifact]):
    import os

    os.makedirs(folder.path)
    for name in names:
        with open(os.path.join(folder.path, name), "w") as stream:
            stream.write(name)


@step
def list_folder(folder: Input[Artifact]) -> str:
    import os

    return ",".join(sorted(os.listdir(folder.path)))


@step
def write_path(text: str, file: dsl.OutputPath("Dataset"), length: dsl.OutputPath(int)):
    with open(file, "w") as stream:
        stream.write(text)
    with open(length, "w") as stream:
        stream.write(str(len(text)))


@step
def read(file: Input[Dataset]) -> str:
    return open(file.path).read()


@step
def read_any(file: Input[Artifact]) -> str:
    return open(file.path).read()


@step
def read_length(file: Input[Dataset]) -> int:
    return file.metadata["length"]


@step
def read_maybe(file: Optional[Input[Dataset]] = None) -> str:
    return "none" if file is None else open(file.path).read()


@step
def read_all(files: Input[List[Dataset]]) -> str:
    return "+".join(open(file.path).read() for file in files)


@step
def pair(first: Input[Dataset], second: Input[Dataset]) -> str:
    return f"{open(first.path).read()} {open(second.path).read()}"


@step
def address(data: Input[Artifact]) -> str:
    return f"{type(data).__name__} {data.uri} {sorted(data.metadata.items())}"


@step
def score(value: float, metrics: Output[Metrics]):
    metrics.log_metric("value", value)


@step
def fail(text: str = "boom") -> str:
    raise ValueError(text)


@step
def leave(code: int):
    import sys

    sys.exit(code)


@step
def flaky(counter: str, until: int) -> int:
    with open(counter, "a") as stream:
        stream.write("x")
    with open(counter) as stream:
        tries = len(stream.read())
    if tries < until:
        raise RuntimeError(f"try {tries}")
    return tries


@step
def final(status: PipelineTaskFinalStatus) -> str:
    return f"{status.state} {status.pipeline_task_name} {status.error_message or ''}".strip()


@step
def variable(name: str) -> str:
    import os

    return os.environ.get(name, "none")


@step
def templates() -> str:
    return "{{$}} {{$.pipeline_job_name}} {{$.inputs.parameters['text']}} python3"
