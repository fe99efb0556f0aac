"""What a case is, and the cases by the modules that they are in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kfp.dsl.base_component import BaseComponent

CASES: dict[str, "Case"] = {}


@dataclass(frozen=True)
class Case:
    """A pipeline and what is right of its run."""

    pipeline: BaseComponent
    ran: dict[str, Any]  # by the paths of the tasks that succeed: the parameters given, or what a returned value is
    skipped: tuple[str, ...] = ()  # paths of tasks that are not to run
    failed: dict[str, str] = field(default_factory=dict)  # by paths: a part of the message
    outputs: dict[str, Any] = field(default_factory=dict)  # of the pipeline; of an artifact the content of its file
    parameters: dict[str, Any] = field(default_factory=dict)  # <tmp> in a text is a folder of the test
    says: tuple[str, ...] = ()  # parts of what is shown besides the tasks
    stock: bool = False  # whether kfp.local as it comes is right, too; it writes 4 as 4.0 into a text, for example
    vertex: bool = False  # whether it is run through the played service, too


def case(**right: Any) -> Callable[[BaseComponent], BaseComponent]:
    """Make a case of a pipeline; see Case for what may be right of it."""

    def register(pipeline: BaseComponent) -> BaseComponent:
        CASES[pipeline.name] = Case(pipeline, **right)
        return pipeline

    return register
