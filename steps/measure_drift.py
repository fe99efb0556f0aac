"""Measure how far the rows lie from those that the model was trained on."""

from typing import List

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships(
    "steps.tables",
    "steps.cells",
    "steps.prediction",
    "steps.drift",
    "steps.evaluation",
    "steps.model_folder",
    "steps.places",
)
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned(
        "joblib", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub", "xgboost-cpu"
    ),
)
def measure_drift(
    rows: Input[Dataset],
    used_model: Input[Model],
    notes: Input[Artifact],
    predicted: Input[Dataset],
    report: Output[HTML],
    metrics: Output[Metrics],
    drift: Output[Artifact],
    max_drift: float = 0.25,
    tolerate: List[str] = [],
) -> List[str]:
    """Compare rows with the training rows of a model, column by column, and what it predicts.

    Measured are the population stability index (PSI) and a two-sample test, of Kolmogorov and Smirnov for numbers and
    dates, chi-squared for categories, whose p-values are corrected for the number of columns by Benjamini and Hochberg.
    Of many rows an even sample is compared.

    Args:
        rows: Rows that were predicted as Parquet.
        used_model: Folder with the model and some of its training rows, with its SHA-256 in the metadata.
        notes: What the check of the rows has told.
        predicted: Predictions of the rows, with the shares of the classes in the metadata.
        max_drift: Largest PSI that is no drift, from 0 to 1,000; what lies above it by more than chance stops the
            pipeline once all is written. 0 tells of a drift above 0.25 and stops nothing.
        tolerate: Names of columns whose drift is measured and stops nothing, such as dates.

    Returns:
        report: Page with the verdict, a picture of each drifted column, and the figures of all.
        metrics: drifted, the number of columns; largest_psi, and class_psi, that of the predicted class, or
            estimate_psi, that of the estimates.
        drift: The figures of each column as JSON, with the verdict in the metadata.
        Output: What has drifted, and is not tolerated, each with its PSI; of more than ten columns the first ones, and
            how many more.
    """
    import json
    import os
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from pyarrow import dataset

    from steps.drift.measures import LARGE, class_drift, column_drifts, corrected, estimate_drift, titles
    from steps.drift.page import drift_page, verdict
    from steps.drift.sampling import even_sample
    from steps.model_folder import REFERENCE, load_model, read_facts

    model = load_model(used_model.path, used_model.metadata["sha256"])
    facts, table = read_facts(used_model.path), dataset.dataset(rows.path)
    reference = pd.read_parquet(os.path.join(used_model.path, REFERENCE))
    before, now = model[0].transform(reference), model[0].transform(even_sample(table, model))
    n_rows, is_quantity = int(predicted.metadata["rows"]), facts.get("task") == "regression"
    if is_quantity:
        of_model = estimate_drift(np.array(facts["estimates"]), model[1:].predict(now))
    else:
        n_test, mix_before = facts["rows"]["test"], np.array([facts["class_mix"][name] for name in facts["classes"]])
        mix_now = np.array(predicted.metadata["class_mix"]) * n_rows
        of_model = class_drift(facts["classes"], mix_before * n_test, mix_now)
    drifts = corrected([*column_drifts(before, now), of_model])
    drifted = [found for found in drifts if found.is_significant and found.psi > (max_drift or LARGE)]
    stopping = [found for found in drifted if found.name not in tolerate]

    told = f"{len(now):,} rows at even distances of {n_rows:,}" if len(now) < n_rows else f"all {n_rows:,}"
    compared = {
        "Source": rows.metadata["source"],
        "Fingerprint": rows.metadata["fingerprint"],
        "Rows": f"{n_rows:,}",
        "Compared rows": f"{told}, with {len(before):,} of {facts['rows']['train']:,} training rows",
        "Model": f"of run {facts.get('run') or 'unknown'}, {facts.get('created', '')}",
        "SHA-256 of the model": used_model.metadata["sha256"],
        "Largest PSI that is no drift": f"{max_drift or LARGE:g}" + ("" if max_drift else ", and nothing stops"),
        "Tolerated": ", ".join(tolerate) or "nothing",
    }
    figures = predicted.metadata.get("figures") or {}
    headline = {"Rows": f"{n_rows:,}"}
    names = {"accuracy": "Accuracy", "macro_f1": "Macro-F1", "r2": "R²", "mean_absolute_error": "Mean absolute error"}
    headline |= {
        title: f"{figures[name]:,.5g}" if name == "mean_absolute_error" else f"{figures[name]:.4f}"
        for name, title in names.items()
        if name in figures
    }
    with open(notes.path, encoding="utf-8") as file:
        lines = json.load(file)
    page = drift_page(drifts, drifted, compared, headline, lines)
    Path(report.path).write_text(page, encoding="utf-8")
    with open(drift.path, "w", encoding="utf-8") as file:
        json.dump([found.as_json() for found in drifts], file, indent=1)
    drift.metadata.update(verdict=verdict(drifts, drifted), stops=bool(stopping and max_drift))
    print(drift.metadata["verdict"])
    psi = "estimate_psi" if is_quantity else "class_psi"
    for name, value in (("drifted", len(drifted)), ("largest_psi", drifts[0].psi), (psi, of_model.psi)):
        metrics.log_metric(name, value)
    return titles(stopping)
