"""Say what a search tries, on which rows, and how long."""

from typing import List

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shared import classes_of
from steps.shipping import ships


@ships("steps.searching", "steps.weighted_vote", "steps.splitting")
@dsl.component(
    base_image=BASE_IMAGE,
    packages_to_install=pinned("numpy", "pandas", "pyarrow", "scikit-learn"),
    additional_funcs=[classes_of],
)
def propose_candidates(
    dataset: Input[Dataset],
    train: Input[Dataset],
    train_features: Input[Dataset],
    plan: Output[Artifact],
    rows: Output[Artifact],
    minutes: float = 5.0,
    candidates: int = 16,
    metric: str = "mean",
    validation_size: float = 0.2,
    side_by_side: int = 0,
    seed: int = 0,
) -> List[str]:
    """Propose candidates, hold validation rows back from the training rows, and share the time out.

    The validation rows are drawn as the test rows were: a share of each class, the newest rows, or whole groups. Below
    10,000 training rows that were split at random, each is validated in one of four folds. Columns whose sums,
    differences and ratios tell the classes apart are found on up to 10,000 of the other rows.

    Args:
        dataset: The whole table as Parquet, of which nothing but the groups of the training rows is taken.
        train: Training rows as Parquet, with the names of the label and of the roles in the metadata.
        train_features: Transformed training rows, their labels and weights as Parquet.
        minutes: Time for the whole run, from 0.1 to 10,000; on a service the starts of the machines are added.
        candidates: How many are tried, from 2 to 200.
        metric: What is to be large on the validation rows: accuracy, macro_f1, or the mean of the two.
        validation_size: Share of the training rows that is held back, between 0 and 1.
        side_by_side: How many tasks of a rung run side by side, from 0 to 200; 0 for as many as this step has cores.
        seed: Seed of what is drawn, from 0 to 4,294,967,295.

    Returns:
        plan: The candidates, the pairs of columns, and the rows and seconds of the first rung, as JSON.
        rows: Which rows are validated and in which order a rung takes the others, a file of NumPy.
        Output: Names of the candidates.
    """
    import os
    import time

    import numpy as np
    import pandas as pd

    from steps.searching import budget
    from steps.searching.pairing import MAX_ROWS, find_pairs
    from steps.searching.plan import Plan
    from steps.searching.rows import ALL_FOLDS_AT_ONCE, LEAST_SECONDS, divide
    from steps.searching.scoring import METRICS
    from steps.searching.spaces import propose
    from steps.splitting import hold_back, read_rows

    started = time.perf_counter()
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}, and the search knows {', '.join(METRICS)}. Take one of them.")
    if not 0 < validation_size < 1:
        raise ValueError(f"validation_size is a share of the rows between 0 and 1, not {validation_size}.")
    told = train.metadata
    label, split_by, group_by = told["label"], told.get("split_by", ""), told.get("group_by", "")
    frame = pd.read_parquet(train_features.path)
    classes = classes_of(frame[label])
    codes = pd.Index(classes).get_indexer(frame[label])
    times = pd.read_parquet(train.path, columns=[split_by])[split_by] if split_by else None
    groups = None
    if group_by:  # the training rows have lost them
        table = read_rows(dataset.path)
        held = hold_back(table, label, told["test_size"], int(told["seed"]), "", group_by)
        groups = table.filter(~held).column(group_by).to_pandas()
    divided = divide(codes, validation_size, seed, times, groups)
    divided.write(rows.path)

    passed_on = [label, *filter(None, [train_features.metadata.get("weight")])]
    shown = divided.order[divided.fold[divided.order] != 0][:MAX_ROWS]
    features = frame.drop(columns=passed_on)
    found = find_pairs(features.iloc[shown], codes[shown], seed)
    pairs = [(sign, features.columns[one], features.columns[other]) for sign, one, other in found]
    proposed = propose(candidates, seed, can_pair=bool(pairs))
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    side_by_side = min(side_by_side or n_cores, len(proposed))
    n_rows, n_fit = int(len(codes) / (1 - told.get("test_size", 0.2))), divided.n_fit()
    seconds = budget.for_search(minutes, n_rows)
    spent = time.perf_counter() - started
    each = budget.each(budget.of_stage(0, seconds, spent), len(proposed), side_by_side)
    Plan(
        candidates=proposed,
        pairs=pairs,
        metric=metric,
        seconds=seconds,
        side_by_side=side_by_side,
        spent=spent,
        rung=1,
        rows=min(n_fit, max(ALL_FOLDS_AT_ONCE, n_fit // 4)),
        folds=divided.n_folds if len(codes) <= ALL_FOLDS_AT_ONCE and each >= LEAST_SECONDS else 1,
        each=each,
    ).write(plan.path)
    validated = len(np.flatnonzero(divided.fold >= 0))
    print(f"{len(proposed)} candidates, {validated:,} validation rows, {divided.n_folds} folds, {len(pairs)} pairs")
    return [candidate["name"] for candidate in proposed]
