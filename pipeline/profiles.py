"""The machine that each step gets, in named profiles; literals in the compiled spec."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """The limits of one task; Vertex AI takes the nearest machine type."""

    cpus: int
    memory_gb: int


# per profile the machine of a step, by its name; "" stands for every step that is not named
PROFILES: dict[str, dict[str, Machine]] = {
    "small": {"": Machine(2, 8)},
    "standard": {"": Machine(4, 16), "train-model": Machine(8, 32)},
    "large": {"": Machine(8, 64), "train-model": Machine(32, 128)},
}


def machine(profile: str, step: str) -> Machine:
    """Return the machine that a step gets in a profile."""
    return PROFILES[profile].get(step, PROFILES[profile][""])
