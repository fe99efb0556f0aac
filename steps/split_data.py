"""Split the rows once, before anything is learned from them."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.splitting")
@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("numpy", "pandas", "pyarrow"))
def split_data(
    dataset: Input[Dataset],
    train: Output[Dataset],
    test: Output[Dataset],
    test_size: float = 0.2,
    seed: int = 0,
) -> None:
    """Split a table into a training and a test part: at random, by time, or by groups, as its roles say.

    At random, each class is split by the same share; of a quantity, each tenth of its values. By time (split_by), the
    training part has the oldest rows and rows of one time stay on one side. By groups (group_by), all rows of a group
    stay on one side, and the column is left out of both parts, since the groups of new rows are others. Every class
    must be in the training part, and test rows that stand in the training part as well are counted, since they make the
    figures look better than they are.

    Args:
        dataset: Table as Parquet, at least two rows a class, with the roles of its columns in the metadata.
        test_size: Share of the rows that goes into the test part, between 0 and 1.
        seed: Seed of the shuffle, from 0 to 4,294,967,295; the same seed gives the same parts.

    Returns:
        train: Training rows as Parquet, in the order of the table.
        test: Test rows as Parquet, in the order of the table.
    """
    from steps.splitting import hold_back, read_rows, repeated_rows, untested_classes, write_part

    table = read_rows(dataset.path)
    label = dataset.metadata["label"]
    weight, split_by, group_by = (dataset.metadata.get(role, "") for role in ("weight", "split_by", "group_by"))
    is_quantity, n_rows = dataset.metadata.get("task") == "regression", table.num_rows
    held = hold_back(table, label, test_size, seed, split_by, group_by, is_quantity)
    untested = [] if is_quantity else untested_classes(table, label, held, weight)
    if untested:
        print(f"The test part has no row of the class {', '.join(untested)}: nothing is measured of it.")
    table = table.drop_columns(group_by) if group_by else table
    repeated = repeated_rows(table.drop_columns(weight) if weight else table, held)
    if repeated:
        share = f"{repeated:,} of {held.sum():,} test rows ({repeated / held.sum():.1%})"
        print(f"{share} stand in the training part as well: their figures tell what was memorised.")

    for part, is_chosen in ((train, ~held), (test, held)):
        write_part(table, is_chosen, part.path)
        part.metadata.update(dataset.metadata, rows=int(is_chosen.sum()), columns=table.num_columns)
        part.metadata.update(table_rows=n_rows, test_size=test_size, seed=seed)
    test.metadata.update(duplicates_in_train=repeated, classes_without_rows=untested)
