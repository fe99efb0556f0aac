import pandas as pd
import pytest
from kfp.dsl import Dataset, Metrics

from steps.choose_calls import choose_calls

CUSTOMERS = pd.DataFrame(
    {"name": ["leaves", "stays", "pays little", "unknown"], "monthly_charges": [100, 100, 10, None]}
)
PREDICTED = pd.DataFrame({"predicted": ["yes", "no", "yes", "yes"], "probability": [0.9, 0.95, 0.9, 0.9]})


@pytest.mark.parametrize(("cost_of_call", "called"), [(25.0, ["leaves"]), (10.0, ["leaves", "pays little"])])
def test_those_are_called_for_whom_it_pays(artifact, cost_of_call, called):
    given = artifact(Dataset, CUSTOMERS), artifact(Dataset, PREDICTED)
    calls, figures = artifact(Dataset), artifact(Metrics)

    n_calls = choose_calls.python_func(*given, calls, figures, cost_of_call=cost_of_call)

    chosen = pd.read_parquet(calls.path)
    assert [*chosen["name"]] == called
    assert n_calls == figures.metadata["calls"] == calls.metadata["rows"] == len(called)
    assert figures.metadata["gain"] == pytest.approx(chosen["gain"].sum())
    assert chosen["gain"].iloc[0] == pytest.approx(0.9 * 0.2 * 6 * 100 - cost_of_call)
