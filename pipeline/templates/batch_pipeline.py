"""The pipeline new_pipeline: a table in, a table out.

1. read_new_pipeline  reads the table of --data

python -m pipeline new-step NAME --pipeline new_pipeline adds the next step.
"""

from kfp import dsl

from pipeline.parameters import parameters_of
from pipeline.templates.read_new_pipeline import read_new_pipeline


@dsl.pipeline(name="new-pipeline")
@parameters_of(read_new_pipeline)
def new_pipeline(source: str, fingerprint: str) -> None:
    """Read a table and work on it."""
    read = read_new_pipeline(source=source, fingerprint=fingerprint)
    read.set_display_name("Read table")
