"""Split the rows once, before anything is learned from them."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned


@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("pandas", "pyarrow"))
def split_data(
    dataset: Input[Dataset],
    label: str,
    train: Output[Dataset],
    test: Output[Dataset],
    test_size: float = 0.2,
    seed: int = 0,
):
    """Split a table into a training and a test part, in each class by the same share.

    Every class keeps at least one row in both parts, however rare it is.

    Args:
        dataset: Table as Parquet, at least two rows a class.
        label: Name of the column that holds the classes.
        test_size: Share of each class that goes into the test part, between 0 and 1.
        seed: Seed of the shuffle; the same seed gives the same parts.

    Returns:
        train: Training rows as Parquet, in the order of the table.
        test: Test rows as Parquet, in the order of the table.
    """
    import pandas as pd

    if not 0 < test_size < 1:
        raise ValueError(f"test_size is a share of the rows between 0 and 1, not {test_size}.")
    frame = pd.read_parquet(dataset.path)
    shuffled = frame[label].sample(frac=1, random_state=seed)
    rows_of_class = shuffled.groupby(shuffled, observed=True)
    size = rows_of_class.transform("size")
    held = rows_of_class.cumcount() < (size * test_size).round().clip(1, size - 1)
    held = held.reindex(frame.index)

    for part, rows in ((train, frame[~held]), (test, frame[held])):
        rows.reset_index(drop=True).to_parquet(part.path)
        part.metadata.update(dataset.metadata, rows=len(rows))
