"""Choose the customers whom it pays to call."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from steps.environment import BASE_IMAGE, pinned


@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("pandas", "pyarrow"))
def choose_calls(
    rows: Input[Dataset],
    predictions: Input[Dataset],
    calls: Output[Dataset],
    figures: Output[Metrics],
    months_kept: int = 6,
    success: float = 0.2,
    cost_of_call: float = 25.0,
) -> int:
    """Choose the customers for whom what a call should bring is more than it costs, the best first.

    Args:
        rows: Customers as Parquet, with their monthly_charges.
        predictions: What the model says of them, in their order: the predicted class, and its probability.
        months_kept: Months that a customer stays who was won back, from 1 to 120.
        success: Share of those who want to leave that a call wins back, from 0 to 1.
        cost_of_call: What a call costs, from 0 to 1,000.

    Returns:
        calls: The chosen customers with the probability that they leave and the gain of a call, as Parquet.
        figures: calls, their number, and gain, what they should bring.
        Output: Number of calls.
    """
    import pandas as pd

    customers, predicted = pd.read_parquet(rows.path), pd.read_parquet(predictions.path)
    leaves = predicted["probability"].where(predicted["predicted"] == "yes", 1 - predicted["probability"])
    brings = leaves * success * months_kept * customers["monthly_charges"].fillna(0)
    customers = customers.assign(probability=leaves, gain=brings - cost_of_call)
    chosen = customers[customers["gain"] > 0].sort_values("gain", ascending=False)
    print(f"{len(chosen):,} of {len(customers):,} customers are worth a call")

    chosen.to_parquet(calls.path)
    calls.metadata.update(rows=len(chosen), columns=len(chosen.columns))
    figures.log_metric("calls", len(chosen))
    figures.log_metric("gain", float(chosen["gain"].sum()))
    return len(chosen)
