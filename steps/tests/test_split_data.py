import pandas as pd
import pytest
from kfp.dsl import Dataset

from steps import split_data


def split(frame, label, artifact, **settings):
    train, test = artifact(Dataset), artifact(Dataset)
    dataset = artifact(Dataset, frame, source="here")
    split_data.python_func(dataset=dataset, label=label, train=train, test=test, **settings)
    return train, test


def test_split_keeps_every_row_once_and_the_share_of_each_class(rows, artifact):
    train, test = (pd.read_parquet(part.path) for part in split(rows, "Cover_Type", artifact))

    both = pd.concat([train, test]).sort_values([*rows.columns], ignore_index=True)
    pd.testing.assert_frame_equal(both, rows.sort_values([*rows.columns], ignore_index=True))
    counts = rows["Cover_Type"].value_counts()
    assert (test["Cover_Type"].value_counts() - 0.2 * counts).abs().max() <= 0.5


def test_split_keeps_every_class_in_both_parts(artifact):
    frame = pd.DataFrame({"x": range(1002), "y": ["common"] * 1000 + ["rare"] * 2})
    for test_size in (0.001, 0.2, 0.999):
        for part in split(frame, "y", artifact, test_size=test_size):
            assert set(pd.read_parquet(part.path)["y"]) == {"common", "rare"}


def test_same_seed_gives_the_same_parts_and_another_seed_others(rows, artifact):
    first, same, other = (pd.read_parquet(split(rows, "Cover_Type", artifact, seed=seed)[1].path) for seed in (7, 7, 8))
    pd.testing.assert_frame_equal(first, same)
    assert not first.equals(other)


def test_parts_carry_the_metadata_of_the_table_and_their_own_rows(rows, artifact):
    train, test = split(rows, "Cover_Type", artifact)
    assert train.metadata["source"] == test.metadata["source"] == "here"
    assert train.metadata["rows"] + test.metadata["rows"] == len(rows)


@pytest.mark.parametrize("test_size", [0, 1, -0.2, 20, float("nan")])
def test_share_outside_of_0_to_1_is_refused(rows, artifact, test_size):
    with pytest.raises(ValueError, match="test_size is a share of the rows between 0 and 1, not"):
        split(rows, "Cover_Type", artifact, test_size=test_size)
