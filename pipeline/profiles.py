"""The machine and the retries that each step gets, in named profiles; literals in the compiled spec."""

from dataclasses import dataclass

GB = 1_000_000_000


@dataclass(frozen=True)
class Machine:
    """The limits of one task; Vertex AI takes the nearest machine type, at most 96 CPUs and 624 GB."""

    cpus: int
    memory_gb: int


# steps that learn, which are most of the time and of the machines
LEARNING = ("train-model", "score-candidate", "fit-member")
# per profile the machine of a step, by its name; "" stands for every step that is not named
PROFILES: dict[str, dict[str, Machine]] = {
    "small": {"": Machine(2, 8)},
    "standard": {"": Machine(4, 16)} | dict.fromkeys(LEARNING, Machine(8, 32)),
    "large": {"": Machine(8, 64)} | dict.fromkeys(LEARNING, Machine(32, 128)),
}
# up to this many bytes of data a profile will do: a table takes about ten times its file in memory
UP_TO_BYTES = {"small": GB // 5, "standard": 2 * GB}

# The service tries a task again after any failure: it cannot tell a machine that was taken away from a ValueError that
# says what is wrong with the table, which would come two machine starts and three minutes later, the same. So only a
# step whose input was checked by those before it, and which is most of the machines and of the time, is tried again.
# Whether a step of another pipeline may run twice, and what its failures mean, its author knows: set_retry says so.
RETRIES = dict.fromkeys(LEARNING, 2)


def choose(profile: str, n_bytes: int) -> tuple[str, str]:
    """Return the name of a profile and the reason for it; auto goes by the size of the data."""
    if profile != "auto":
        return profile, "asked for"
    fitting = (name for name, limit in UP_TO_BYTES.items() if n_bytes <= limit)
    return next(fitting, "large"), f"{n_bytes:,} bytes of data"


def machine(profile: str, step: str) -> Machine:
    """Return the machine that a step gets in a profile."""
    return PROFILES[profile].get(step, PROFILES[profile][""])


def retries(step: str) -> int:
    """Return how often a step is tried again when its task fails, for whatever reason."""
    return RETRIES.get(step, 0)


def machine_type(profile: str) -> str:
    """Return the type of the machines that an endpoint runs a model on in a profile."""
    found = machine(profile, "")
    family = "highmem" if found.memory_gb // found.cpus > 4 else "standard"
    return f"e2-{family}-{found.cpus}"
