"""Retries: how often a task is tried again, and after what pause."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Retries:
    """The retry policy of a task; see RetryPolicy in the proto."""

    count: int = 0
    pause: float = 0.0  # seconds before the first
    factor: float = 2.0  # by which each pause is longer than the one before
    longest: float = 3600.0  # seconds

    @classmethod
    def of(cls, task: dict[str, Any]) -> "Retries":
        """Return the policy of a task of the spec."""
        policy = task.get("retryPolicy", {})
        return cls(
            int(policy.get("maxRetryCount", 0)),
            _seconds(policy.get("backoffDuration", "0s")),
            float(policy.get("backoffFactor") or cls.factor),
            _seconds(policy.get("backoffMaxDuration", "3600s")),
        )

    def before(self, number: int) -> float:
        """Return the pause in seconds before a retry; the first has number 1."""
        return min(self.pause * self.factor ** min(number - 1, 64), self.longest)


def _seconds(duration: str) -> float:
    """Return the seconds of a Duration as JSON has it, such as 3.5s."""
    return float(duration.removesuffix("s"))
