"""The last two tasks of each pipeline that trains: what the model is worth, and whether it becomes the champion."""

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineArtifactChannel, PipelineParameterChannel
from kfp.dsl.pipeline_task import PipelineTask

from steps.evaluate_model import evaluate_model
from steps.promote_model import promote_model


def evaluate_and_promote(
    model: PipelineArtifactChannel,
    parts: PipelineTask,
    champion: PipelineParameterChannel,
    max_class_loss: PipelineParameterChannel,
    licence: PipelineParameterChannel,
) -> None:
    """Add evaluate_model and promote_model to the pipeline function that calls this.

    Args:
        model: The model, as a task puts it out.
        parts: The task of split_data, whose training and test rows count.
        champion: Parameter of the pipeline: where the champion is recorded.
        max_class_loss: Parameter of the pipeline: see promote_model.
        licence: Parameter of the pipeline: see promote_model.
    """
    evaluation = evaluate_model(model=model, test=parts.outputs["test"])
    evaluation.set_display_name("Evaluate model")

    promotion = promote_model(
        challenger=model,
        train=parts.outputs["train"],
        test=parts.outputs["test"],
        metrics=evaluation.outputs["metrics"],
        predictions=evaluation.outputs["predictions"],
        run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        champion=champion,
        max_class_loss=max_class_loss,
        licence=licence,
    )
    promotion.set_caching_options(False)  # the champion may be another each time
    promotion.set_display_name("Promote model")
