"""The pipeline new_pipeline: a table in, a model out.

    prepare_data → split_data → preprocess → train_new_pipeline → evaluate_model → promote_model

All steps but train_new_pipeline are those of the training pipeline.
"""

from kfp import dsl

from pipeline.parameters import parameters_of
from pipeline.templates.train_new_pipeline import train_new_pipeline
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.split_data import split_data


@dsl.pipeline(name="new-pipeline")
# what is not said here of a parameter, its default too, stands with the first of these steps that takes it
@parameters_of(train_new_pipeline, split_data, preprocess, prepare_data, promote_model)
def new_pipeline(
    source: str,
    label: str,
    fingerprint: str,
    test_size: float,
    max_iter: int,
    learning_rate: float,
    seed: int,
    champion: str,
    max_class_loss: float,
) -> None:
    """Train one model on a table, measure it, and promote it if it is better than the one in use.

    Args:
        seed: Seed of the split, the preprocessing and the training, from 0 to 4,294,967,295.
    """
    prepared = prepare_data(source=source, label=label, fingerprint=fingerprint, task="classification")
    prepared.set_display_name("Prepare data")

    parts = split_data(dataset=prepared.outputs["dataset"], test_size=test_size, seed=seed)
    parts.set_display_name("Split data")

    features = preprocess(train=parts.outputs["train"], test=parts.outputs["test"], seed=seed)
    features.set_display_name("Preprocess")

    trained = train_new_pipeline(
        train_features=features.outputs["train_features"],
        preprocessor=features.outputs["preprocessor"],
        max_iter=max_iter,
        learning_rate=learning_rate,
        seed=seed,
    )
    trained.set_display_name("Train model")

    evaluation = evaluate_model(model=trained.outputs["model"], test=parts.outputs["test"])
    evaluation.set_display_name("Evaluate model")

    promotion = promote_model(
        challenger=trained.outputs["model"],
        train=parts.outputs["train"],
        test=parts.outputs["test"],
        metrics=evaluation.outputs["metrics"],
        predictions=evaluation.outputs["predictions"],
        run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        champion=champion,
        max_class_loss=max_class_loss,
    )
    promotion.set_caching_options(False)  # the champion may be another each time
    promotion.set_display_name("Promote model")
