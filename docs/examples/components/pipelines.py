"""Components made by others, loaded from their files and wired with steps of this repository."""

from pathlib import Path

from kfp import dsl
from kfp.components import load_component_from_file

from steps.prepare_data import prepare_data

HERE = Path(__file__).parent
profile_columns = load_component_from_file(str(HERE / "profile_columns.yaml"))  # a lightweight component
first_lines = load_component_from_file(str(HERE / "first_lines.yaml"))  # one with an image of its own


@dsl.pipeline(name="profiling")
def profiling(source: str, label: str, fingerprint: str) -> str:
    """Read a table by a step of ours, and profile its columns by a component of others."""
    prepared = prepare_data(source=source, label=label, fingerprint=fingerprint)
    profiled = profile_columns(table=prepared.outputs["dataset"], top_k=3)
    return profiled.outputs["Output"]


@dsl.pipeline(name="profiling-and-printing")
def profiling_and_printing(source: str, label: str, fingerprint: str):
    """The same, and the first lines of the profile by a container."""
    prepared = prepare_data(source=source, label=label, fingerprint=fingerprint)
    profiled = profile_columns(table=prepared.outputs["dataset"], top_k=3)
    first_lines(text=profiled.outputs["profile"], count=2)
