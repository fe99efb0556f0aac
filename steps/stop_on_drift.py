"""Stop a pipeline whose rows have drifted too far, so that a schedule shows it."""

from typing import List

from kfp import dsl

from steps.environment import BASE_IMAGE


@dsl.component(base_image=BASE_IMAGE)
def stop_on_drift(drifted: List[str], max_drift: float = 0.25) -> None:
    """Fail where something has drifted; the predictions and the page of the drift are written by then.

    Args:
        drifted: What has drifted, each with its PSI.
        max_drift: Largest PSI that is no drift, from 0 to 1,000; 0 stops nothing.

    Raises:
        ValueError: something has drifted; the message names it.
    """
    if drifted and max_drift:
        raise ValueError(
            f"The rows have drifted from those in training, by a PSI above {max_drift:g}: {', '.join(drifted)}.\n"
            "The predictions and the report are written. Train anew, or let it be: --set tolerate=COLUMN, or "
            "--set max_drift=0."
        )
