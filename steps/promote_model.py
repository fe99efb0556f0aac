"""The last step: a model that is better than the one in use takes its place."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Metrics, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.promotion", "steps.champions", "steps.model_folder", "steps.places")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned(
        "google-cloud-storage", "joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "skrub", "xgboost-cpu"
    ),
)
def promote_model(
    challenger: Input[Model],
    train: Input[Dataset],
    test: Input[Dataset],
    metrics: Input[Metrics],
    predictions: Input[Dataset],
    model: Output[Model],
    verdict: Output[Markdown],
    run: str = "",
    champion: str = "",
    max_class_loss: float = 0.02,
    licence: str = "",
) -> str:
    """Hand the model on in a folder of its own, and promote it if it is better than the champion.

    Both predict the same test rows. The challenger is promoted if its macro-F1 is larger by more than chance explains
    (95 % interval of a paired bootstrap) and no class loses too much; of a quantity, if its mean absolute error is
    smaller by more than chance. The first model promotes itself. Test rows that the champion was trained on are left
    out.

    Args:
        challenger: The new model, with the SHA-256 of its file in the metadata.
        train: Its training rows as Parquet.
        test: Test rows as Parquet, with the name of the label in the metadata.
        metrics: What evaluate_model has measured of it.
        predictions: What it predicts of the test rows, in their order, as evaluate_model has written it.
        run: Id of the run, or the name of its job.
        champion: Path or gs:// address of champion.json; "" promotes nothing.
        max_class_loss: F1 that no class may lose more of, between 0 and 1; of no meaning for a quantity.
        licence: Licence of the model, for its card.

    Returns:
        model: Folder with the model and what is needed to use it: model.joblib, model.json, model_card.md, predict.py,
            requirements.txt and, for drift and later comparisons, some training rows and the hashes of all.
        verdict: The verdict and its reasons, in the metadata too.
        Output: promoted, kept (the champion stays, it is better or cannot be compared) or tie.
    """
    import os
    from pathlib import Path

    import pandas as pd

    from steps.model_folder import MODEL, load_model
    from steps.promotion.contest import contest
    from steps.promotion.folder import facts_of, write_folder

    train_rows, test_rows = pd.read_parquet(train.path), pd.read_parquet(test.path)
    sha256 = challenger.metadata["sha256"]
    predicted = pd.read_parquet(predictions.path)["predicted"]
    predicted = (predicted if test.metadata.get("task") == "regression" else predicted.astype(str)).to_numpy()
    classifier = load_model(challenger.path, sha256)
    facts = facts_of(
        classifier,
        train_rows,
        test_rows,
        predicted,
        told=test.metadata,
        figures=metrics.metadata,
        identifier=os.path.basename(os.path.dirname(champion)),
        run=run,
        sha256=sha256,
        licence=licence,
    )
    write_folder(model.path, os.path.join(challenger.path, MODEL), facts, classifier, train_rows)
    model.framework = "scikit-learn"
    model.metadata.update(challenger.metadata)

    decided, now = contest(champion, model.uri, run, test_rows, predicted, max_class_loss)
    lines = [f"{decided.name}: {decided.reasons[0]}", *decided.reasons[1:]]
    print(*lines, sep="\n")
    Path(verdict.path).write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    verdict.metadata.update(verdict=decided.name, reasons=decided.reasons, champion=now.run if now else "")
    verdict.metadata.update(decided.figures)
    return decided.name
