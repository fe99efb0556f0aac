"""The pipeline churn: customers in, a model and the calls to make out.

prepare_data → split_data → preprocess → train_churn → evaluate_model → promote_model
                                                                      → choose_calls
"""

from kfp import dsl

from pipeline.parameters import parameters_of
from steps.choose_calls import choose_calls
from steps.evaluate_model import evaluate_model
from steps.prepare_data import prepare_data
from steps.preprocess import preprocess
from steps.promote_model import promote_model
from steps.split_data import split_data
from steps.train_churn import train_churn


@dsl.pipeline(name="churn")
# what is not said here of a parameter, its default too, stands with the first of these steps that takes it
@parameters_of(train_churn, choose_calls, split_data, preprocess, prepare_data, promote_model)
def churn(
    source: str,
    label: str,
    fingerprint: str,
    test_size: float,
    C: float,
    months_kept: int,
    success: float,
    cost_of_call: float,
    seed: int,
    champion: str,
    max_class_loss: float,
) -> int:
    """Train one model of who leaves, measure it, promote it if it is better, and choose whom to call."""
    prepared = prepare_data(source=source, label=label, fingerprint=fingerprint, task="classification")
    prepared.set_display_name("Prepare data")

    parts = split_data(dataset=prepared.outputs["dataset"], test_size=test_size, seed=seed)
    parts.set_display_name("Split data")

    features = preprocess(train=parts.outputs["train"], test=parts.outputs["test"], seed=seed)
    features.set_display_name("Preprocess")

    trained = train_churn(
        train_features=features.outputs["train_features"],
        preprocessor=features.outputs["preprocessor"],
        C=C,
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

    calls = choose_calls(
        rows=parts.outputs["test"],
        predictions=evaluation.outputs["predictions"],
        months_kept=months_kept,
        success=success,
        cost_of_call=cost_of_call,
    )
    calls.set_display_name("Choose calls")
    return calls.outputs["Output"]
