"""Train one class against the rest."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of
from steps.shipping import ships


@ships(
    "steps.forest",
    "steps.searching.pairing",
    "steps.searching.spaces",
    "steps.searching.threads",
    "steps.weighted_vote",
    "steps.regression",
    "steps.quantities",
)
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy"),
    additional_funcs=[classes_of],
)
def train_model(
    train_features: Input[Dataset],
    class_code: int,
    class_model: Output[Model],
    max_iter: int = 120,
    learning_rate: float = 0.2,
    max_leaf_nodes: int = 0,
    l2_regularization: float = 1.0,
    balance_classes: bool = False,
    preset: str = "fast",
    seed: int = 0,
) -> None:
    """Train a gradient boosting classifier that tells one class from all others, or another part of the model.

    Args:
        train_features: Transformed training rows, their labels and weights as Parquet, whose names are in the
            metadata. Of weights only the ratios count.
        class_code: Place of the class to recognise among the sorted class names, from -1 to 1,000,000; -1 for a forest
            of all classes. In regression 0 for the mean, 1 and 2 for the ends of the interval.
        max_iter: Number of trees, from 1 to 10,000.
        learning_rate: Weight of each tree, from 1e-6 to 10.
        max_leaf_nodes: Largest number of leaves of a tree, from 0 to 100,000; 0 takes one for 290 training rows, but 63
            at least and 255 at most.
        l2_regularization: Penalty on large leaf values, from 0 to 1,000,000; rare classes need some.
        balance_classes: Whether the rows of the class weigh as much as all the others together.
        preset: fast; balanced, which adds the vote of a forest for classes; best, which does so with a larger one, and
            takes three times the trees at half the learning rate.
        seed: Seed of the trainer, from 0 to 4,294,967,295.

    Returns:
        class_model: Fitted scikit-learn HistGradientBoostingClassifier, or the regressor of that part, with its code in
            class_code_, a joblib file.
    """
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = pd.read_parquet(train_features.path)
    label, weight = train_features.metadata["label"], train_features.metadata.get("weight")
    X = frame.drop(columns=[label, weight] if weight else label)
    # around 1, so that the penalty on leaf values means the same in whatever unit they are
    sample_weight = None
    if weight:
        sample_weight = frame[weight] / frame[weight].max()
        sample_weight = sample_weight / sample_weight.mean()
    if preset == "best":
        max_iter, learning_rate = 3 * max_iter, learning_rate / 2
    max_leaf_nodes = max_leaf_nodes or int(np.clip(len(X) // 290, 63, 255))
    if train_features.metadata.get("task") == "regression":
        from steps.regression import Boosting, train_part

        if balance_classes:
            raise ValueError(f"balance_classes weighs classes, and the label {label!r} is a quantity. Leave it out.")
        boosting = Boosting(max_iter, learning_rate, max_leaf_nodes, l2_regularization, seed)
        part = train_part(X, frame[label], sample_weight, class_code, boosting)
        part.class_code_ = class_code
        joblib.dump(part, class_model.path)
        class_model.framework = "scikit-learn"
        class_model.metadata.update(class_code=class_code, rows=len(X))
        return

    classes = classes_of(frame[label])
    if class_code < 0:
        from steps.forest import N_TREES, train_forest

        codes = pd.Index(classes).get_indexer(frame[label])
        forest = train_forest(X, codes, sample_weight, N_TREES[preset], balance_classes, seed)
        joblib.dump(forest, class_model.path)
        class_model.framework = "scikit-learn"
        class_model.metadata.update(class_code=class_code, rows=len(X), trees=N_TREES[preset])
        return

    y = frame[label] == classes[class_code]
    classifier = HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        l2_regularization=l2_regularization,
        min_samples_leaf=min(20, max(1, len(y) // 20)),  # below 400 rows fewer, or there is hardly a split
        class_weight="balanced" if balance_classes else None,
        categorical_features="from_dtype",
        early_stopping=False,  # by itself it stops early above 10,000 rows, and max_iter is not the number of trees
        random_state=seed,
    ).fit(X, y, sample_weight=sample_weight)

    classifier.class_code_ = class_code  # with the model, since KFP leaves the metadata of collected artifacts empty
    joblib.dump(classifier, class_model.path)
    class_model.framework = "scikit-learn"
    class_model.metadata.update(
        class_code=class_code, rows=len(y), positive_rows=int(y.sum()), trees=classifier.n_iter_, leaves=max_leaf_nodes
    )
