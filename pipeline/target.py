"""What a spec is compiled for: an engine, its machines, and what its tasks find there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.settings import Settings
from steps.environment import BASE_IMAGE

if TYPE_CHECKING:
    from pipeline.notifying import Notice


@dataclass(frozen=True)
class Target:
    """Where the tasks of a spec run, and how."""

    engine: str = "local"  # local leaves out the machines and the retries; every task runs here, once
    profile: str = "standard"  # name of the profile that gives each step its machine and its retries
    caching: bool = True  # whether tasks may take their results from the engine's cache
    fuse: bool = False  # whether tasks of a chain that run on the same machine size become one
    parallelism: int | None = None  # how many iterations of a loop may run at once; None for all
    base_image: str = BASE_IMAGE  # of the steps that name no other
    index_url: str | None = None  # where pip finds the steps' packages; None for its own index
    wheels: str = ""  # gs:// folder whose folders have them instead, each those of one set of pins; "" for none
    notice: "Notice | None" = None  # what its exit handler knows, None for no exit handler

    @classmethod
    def of(cls, settings: Settings, profile: str, *, caching: bool = True) -> "Target":
        """Return the target that the settings name."""
        return cls(
            engine=settings.chosen_engine()[0],
            profile=profile,
            caching=caching,
            fuse=settings.fuse,
            parallelism=settings.parallelism,
            base_image=settings.base_image,
            index_url=settings.index_url,
        )


HERE = Target()
