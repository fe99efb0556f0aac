import pandas as pd
import pytest

from pipeline.covertype import MIN_ROWS, SOIL_TYPES, WILDERNESS_AREAS, class_statistics, fold, simulate


def public_layout(folded):
    """Put rows into the layout of the public table: one-hot columns, classes 1 to 7."""
    columns = {name: folded[name].astype(float) for name in class_statistics()["numeric"]}
    for column, names in (("Wilderness_Area", WILDERNESS_AREAS), ("Soil_Type", SOIL_TYPES)):
        columns |= {f"{column}_{place}": (folded[column] == name).astype(float) for place, name in enumerate(names)}
    return pd.DataFrame(columns | {"Cover_Type": folded["Cover_Type"] + 1})


def test_public_layout_has_54_features(rows):
    assert public_layout(rows).shape[1] == 54 + 1


def test_fold_gives_back_the_rows_behind_the_public_layout(rows):
    folded = fold(public_layout(rows))
    assert [*folded] == [*rows]
    pd.testing.assert_frame_equal(folded.astype(str), rows.astype(str))


def test_fold_gives_back_the_real_rows(covertype_csv):
    real = pd.read_csv(covertype_csv)
    pd.testing.assert_frame_equal(fold(public_layout(real)).astype(str), real.astype(str))


def test_same_seed_simulates_the_same_rows_and_another_seed_others():
    pd.testing.assert_frame_equal(simulate(500), simulate(500))
    assert not simulate(500).equals(simulate(500, seed=1))


@pytest.mark.parametrize("n_rows", [MIN_ROWS, 100, 20_000])
def test_simulated_rows_are_as_many_as_asked_with_two_of_each_class(n_rows):
    rows = simulate(n_rows)
    assert len(rows) == n_rows
    assert rows["Cover_Type"].value_counts().min() >= 2
    assert rows["Cover_Type"].nunique() == 7


def test_simulated_rows_follow_the_statistics():
    rows, statistics = simulate(20_000), class_statistics()
    for of_class in statistics["classes"][:3]:  # the classes with the most rows
        simulated = rows[rows["Cover_Type"] == of_class["label"]]
        for place, column in enumerate(statistics["numeric"]):
            assert simulated[column].between(of_class["min"][place], of_class["max"][place]).all()
            spread = of_class["cov"][place][place] ** 0.5
            assert abs(simulated[column].mean() - of_class["mean"][place]) < 0.25 * spread
        assert set(simulated["Soil_Type"]) <= set(of_class["Soil_Type"])
