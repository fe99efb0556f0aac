"""Find out what a model leans on and where it fails; pure functions.

KFP pastes these functions in front of a step that names DIAGNOSIS in its additional_funcs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import Pipeline


def class_scores(classifier: "OneVsRestClassifier", features: "pd.DataFrame") -> "np.ndarray":
    """Return of each row and class the probability to be of it, against the rest."""
    import numpy as np

    scores = np.column_stack([of_class.predict_proba(features)[:, 1] for of_class in classifier.estimators_])
    # scikit-learn itself fits one model of two classes
    return np.hstack([1 - scores, scores]) if scores.shape[1] < len(classifier.classes_) else scores


def class_f1(codes: "np.ndarray", predicted: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Return the F1 of each class, NaN for those without rows.

    Args:
        codes: Codes of the true classes; -1 is none that the model knows.
        predicted: Codes of the predicted classes.
        n_classes: Number of classes.
    """
    import numpy as np

    known = codes >= 0
    of_class = np.bincount(codes[known], minlength=n_classes)
    hits = np.bincount(codes[codes == predicted], minlength=n_classes)
    f1 = 2 * hits / np.maximum(of_class + np.bincount(predicted, minlength=n_classes), 1)
    return np.where(of_class > 0, f1, np.nan)


def features_of_columns(pipeline: "Pipeline", X: "pd.DataFrame", features: "pd.DataFrame") -> dict:
    """Return the names of the features that came of each raw column.

    Args:
        pipeline: Model with skrub's TableVectorizer among its steps; without, a feature is of the column of its name.
        X: Raw rows.
        features: The same rows preprocessed by the model; it may name them anew, in the order of the vectorizer.
    """
    for step in pipeline:
        if hasattr(step, "input_to_outputs_"):
            named = dict(zip(step.all_outputs_, features, strict=True))
            return {name: [named[output] for output in outputs] for name, outputs in step.input_to_outputs_.items()}
    return {name: [name] for name in X if name in features}


def column_importance(
    classifier: "OneVsRestClassifier", features: "pd.DataFrame", codes: "np.ndarray", columns: dict, seed: int = 0
) -> tuple:
    """Measure how much accuracy is lost when the values of a column are shuffled among rows.

    It is measured on a sample with as many rows of each class as there are, up to the same number. Preprocessing works
    row by row, so the features that came of a column are shuffled in its place. Of many columns those are measured
    whose features tell the classes apart best by themselves, by analysis of variance.

    Args:
        classifier: Classifier of the features.
        features: Preprocessed test rows.
        codes: Codes of their classes; -1 is none that the model knows.
        columns: Names of the features that came of each raw column.
        seed: Seed of the sample and the shuffles.

    Returns:
        A frame with one row a measured column, the most important first, its columns importance and spread (standard
        deviation over the shuffles), and the number of rows of the sample.
    """
    import numpy as np
    import pandas as pd
    from sklearn.feature_selection import f_classif

    n_measured, repeats, budget = 15, 5, 300_000  # predictions of class models: a second or two of work
    rng = np.random.default_rng(seed)
    columns = {name: outputs for name, outputs in columns.items() if len(outputs)}
    n_classes = len(classifier.classes_)
    n_predicted = min(budget / n_classes, 12_000, 40_000_000 / features.shape[1])  # of a wide table, for its memory
    n_rows = int(max(n_predicted / repeats / min(len(columns), n_measured), 60))
    shuffled = rng.permutation(np.flatnonzero(codes >= 0))
    place_in_class = pd.Series(codes[shuffled]).groupby(codes[shuffled]).cumcount().to_numpy()
    chosen = np.sort(shuffled[np.argsort(place_in_class, kind="stable")][:n_rows])
    sample, codes = features.iloc[chosen].reset_index(drop=True), codes[chosen]

    if len(columns) > n_measured:
        numbers = np.column_stack(
            [
                (sample[name].cat.codes if sample[name].dtype == "category" else sample[name]).to_numpy(float)
                for outputs in columns.values()
                for name in outputs
            ]
        )
        with np.errstate(all="ignore"):
            tells = np.nan_to_num(f_classif(np.nan_to_num(numbers) + 0, codes)[0])
        ends = np.cumsum([len(outputs) for outputs in columns.values()])
        best = [part.max() for part in np.split(tells, ends[:-1])]
        names = list(columns)
        columns = {
            names[place]: columns[names[place]] for place in np.argsort(-np.array(best), kind="stable")[:n_measured]
        }

    orders = [rng.permutation(len(sample)) for _ in range(repeats)]
    straight = np.tile(np.arange(len(sample)), repeats)
    crossed = np.concatenate(orders)
    whole = (class_scores(classifier, sample).argmax(axis=1) == codes).mean()
    # few calls of many rows are faster than many of few; a wide table is taken in parts for its memory
    at_once = max(1, int(20_000_000 / (len(straight) * features.shape[1])))
    names = list(columns)
    right = []
    for start in range(0, len(names), at_once):
        stacked = []
        for name in names[start : start + at_once]:
            mixed = sample.iloc[straight].reset_index(drop=True)
            mixed[columns[name]] = sample[columns[name]].iloc[crossed].reset_index(drop=True)
            stacked.append(mixed)
        predicted = class_scores(classifier, pd.concat(stacked, ignore_index=True)).argmax(axis=1)
        right.append((predicted.reshape(-1, len(sample)) == codes).mean(axis=1).reshape(-1, repeats))
    lost = whole - np.concatenate(right)
    found = pd.DataFrame(
        {"importance": lost.mean(axis=1), "spread": lost.std(axis=1)}, index=pd.Index(names, name="column")
    )
    return found.sort_values("importance", ascending=False, kind="stable"), len(sample)


def slice_figures(groups: "pd.Series", codes: "np.ndarray", predicted: "np.ndarray", n_classes: int) -> "pd.DataFrame":
    """Measure the rows of each group by themselves.

    Args:
        groups: Group of each row; rows without one are a group of their own.
        codes: Codes of the true classes; -1 is none that the model knows.
        predicted: Codes of the predicted classes.
        n_classes: Number of classes.

    Returns:
        One row a group, with its columns rows, accuracy, macro_f1 (over the classes that have rows in it) and few
        (whether the rows are too few to tell: less than 30).
    """
    import numpy as np
    import pandas as pd

    places, values = pd.factorize(groups, sort=True, use_na_sentinel=True)
    found = []
    for place in range(-1, len(values)):
        rows = places == place
        if not rows.any():
            continue
        f1 = class_f1(codes[rows], predicted[rows], n_classes)
        found.append(
            {
                groups.name: "(missing)" if place < 0 else str(values[place]),
                "rows": int(rows.sum()),
                "accuracy": float((codes[rows] == predicted[rows]).mean()),
                "macro_f1": 0.0 if np.isnan(f1).all() else float(np.nanmean(f1)),
                "few": bool(rows.sum() < 30),
            }
        )
    return pd.DataFrame(found).set_index(groups.name)


def failing_slices(
    X: "pd.DataFrame", codes: "np.ndarray", predicted: "np.ndarray", n_classes: int, columns: list
) -> tuple:
    """Measure the rows of each value of the columns that have few, and of each quarter of the first numeric column.

    Args:
        X: Raw test rows.
        codes: Codes of their true classes; -1 is none that the model knows.
        predicted: Codes of their predicted classes.
        n_classes: Number of classes.
        columns: All columns, the most important first.

    Returns:
        Frames of slice_figures() by column, the worst value first and those of few rows last, and the columns of text
        that were left out, for more than 40 values or after the eighth.
    """
    from itertools import pairwise

    import numpy as np
    import pandas as pd

    found, left_out, n_columns = {}, [], 0
    kinds = X.dtypes
    number = next((name for name in columns if kinds[name].kind in "iuf" and X[name].nunique() > 1), None)
    if number is not None:
        values = X[number].to_numpy("float64", na_value=np.nan)
        ends = np.unique(np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1]))
        quarters = pd.Series(np.searchsorted(ends[1:-1], values), dtype="Int64", name=number).mask(np.isnan(values))
        spans = {str(place): f"{low:,.6g} \u2013 {high:,.6g}" for place, (low, high) in enumerate(pairwise(ends))}
        found[number] = slice_figures(quarters, codes, predicted, n_classes).rename(index=spans)
    for name in columns:
        of_text = isinstance(kinds[name], (pd.CategoricalDtype, pd.StringDtype, pd.BooleanDtype))
        if not of_text and kinds[name].kind not in "Ob":
            continue
        values = X[name].astype("str").reset_index(drop=True) if n_columns < 8 else None
        if values is None or values.nunique() > 40:
            left_out.append(name)
            continue
        n_columns += 1
        found[name] = slice_figures(values, codes, predicted, n_classes).sort_values(["few", "macro_f1"], kind="stable")
    return found, left_out


def confused_pairs(codes: "np.ndarray", predicted: "np.ndarray", sure: "np.ndarray", n_pairs: int = 6) -> list:
    """Return the pairs of classes that are taken for one another most often.

    Args:
        codes: Codes of the true classes; -1 is none that the model knows.
        predicted: Codes of the predicted classes.
        sure: Probability of the predicted class.
        n_pairs: Number of pairs to return at most.

    Returns:
        Of each pair the code of the true class, the code of the predicted one, the number of rows, and the places of
        the three rows that the model was surest of.
    """
    import numpy as np

    wrong = np.flatnonzero((codes >= 0) & (codes != predicted))
    pairs, counts = np.unique(np.column_stack([codes[wrong], predicted[wrong]]), axis=0, return_counts=True)
    found = []
    for place in np.argsort(-counts, kind="stable")[:n_pairs]:
        true, other = pairs[place].tolist()
        rows = wrong[(codes[wrong] == true) & (predicted[wrong] == other)]
        surest = rows[np.argsort(-sure[rows], kind="stable")[:3]]
        found.append((true, other, len(rows), surest.tolist()))
    return found


DIAGNOSIS = [
    class_scores,
    class_f1,
    features_of_columns,
    column_importance,
    slice_figures,
    failing_slices,
    confused_pairs,
]
