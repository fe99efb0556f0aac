"""Which of two models is better, by what they predict of the same rows."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.metrics import f1_score

from steps.promotion.chance import N_RESAMPLES, bootstrap, bootstrap_errors

MOST_NAMED = 5  # classes in one reason
MOST_KEPT = 50  # whose figures the verdict has: those that differ most


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger takes the champion's place, and why."""

    name: Literal["promoted", "kept", "tie"]
    reasons: list[str]
    # rows, macro_f1 or mean_absolute_error of both, the interval of the difference, and by class the F1 of both
    figures: dict[str, Any] = field(default_factory=dict)

    def with_reason(self, reason: str) -> "Verdict":
        """Return it with one reason more."""
        return Verdict(self.name, [*self.reasons, reason], self.figures)


def judge(true: np.ndarray, champion: np.ndarray, challenger: np.ndarray, max_class_loss: float) -> Verdict:
    """Judge two models by the macro-F1 and the F1 of each class on the same rows.

    The challenger is promoted where its macro-F1 is larger by more than chance explains (a 95 % interval of the paired
    bootstrap above 0) and no class loses more F1 than it may. A difference that chance explains is a tie.

    Args:
        true: Names of the rows' classes, shape (n_rows,).
        champion: What the champion predicts, shape (n_rows,).
        challenger: What the challenger predicts, shape (n_rows,).
        max_class_loss: F1 that a class may lose, between 0 and 1.
    """
    classes = np.unique(true)
    f1 = [
        f1_score(true, predicted, labels=classes, average=None, zero_division=0) for predicted in (champion, challenger)
    ]
    means = [float(of_classes.mean()) for of_classes in f1]
    low, high = bootstrap(true, champion, challenger)
    figures: dict[str, Any] = {"rows": len(true), "champion_macro_f1": means[0], "macro_f1": means[1]}
    figures |= {"low": low, "high": high}
    seen = (
        f"macro-F1 {means[1]:.4f} against {means[0]:.4f} of the champion on the same {len(true):,} test rows; the "
        f"difference lies between {low:+.4f} and {high:+.4f} in 95% of {N_RESAMPLES:,} resamples"
    )
    by_change = np.argsort(-np.abs(f1[1] - f1[0]), kind="stable")[:MOST_KEPT]
    figures["f1"] = {classes[place]: [float(f1[0][place]), float(f1[1][place])] for place in np.sort(by_change)}
    losses = dict(sorted(zip(classes.tolist(), (f1[0] - f1[1]).tolist(), strict=True), key=lambda pair: -pair[1]))
    worse = [f"{name!r} {loss:.4f}" for name, loss in losses.items() if loss > max_class_loss]
    guard = f"classes lose more F1 than the {max_class_loss:g} of max_class_loss: {', '.join(worse[:MOST_NAMED])}"
    if len(worse) > MOST_NAMED:
        guard += f" and {len(worse) - MOST_NAMED} more"
    if low > 0:
        return Verdict("kept", [seen, guard], figures) if worse else Verdict("promoted", [seen], figures)
    if high < 0:
        return Verdict("kept", [f"{seen}: it is worse", *([guard] if worse else [])], figures)
    return Verdict("tie", [f"{seen}: chance explains it", *([guard] if worse else [])], figures)


def judge_quantity(true: np.ndarray, champion: np.ndarray, challenger: np.ndarray) -> Verdict:
    """Judge two models by the mean absolute error of what they estimate of the same rows.

    The challenger is promoted where its error is smaller by more than chance explains (a 95 % interval of the paired
    bootstrap below 0). A difference that chance explains is a tie.

    Args:
        true: Quantity of the rows, shape (n_rows,).
        champion: What the champion estimates, shape (n_rows,).
        challenger: What the challenger estimates, shape (n_rows,).
    """
    errors = [float(np.abs(true - estimated).mean()) for estimated in (champion, challenger)]
    low, high = bootstrap_errors(true, champion, challenger)
    figures = {"rows": len(true), "champion_mean_absolute_error": errors[0], "mean_absolute_error": errors[1]}
    figures |= {"low": low, "high": high}
    seen = (
        f"mean absolute error {errors[1]:.5g} against {errors[0]:.5g} of the champion on the same {len(true):,} test "
        f"rows; the difference lies between {low:+.4g} and {high:+.4g} in 95% of {N_RESAMPLES:,} resamples"
    )
    if high < 0:
        return Verdict("promoted", [seen], figures)
    if low > 0:
        return Verdict("kept", [f"{seen}: it is worse"], figures)
    return Verdict("tie", [f"{seen}: chance explains it"], figures)
