"""The pipelines, and what compiles, runs and records them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# pipeline functions by name, as module:function, so that naming them imports none of them
PIPELINES = {"training": "pipeline.training:training"}


class RequestError(Exception):
    """The request was wrong and nothing was started; the message says what was expected, what came, what to do."""
