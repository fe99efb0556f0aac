"""Make a table of customers, the same each time: python make_customers.py"""

import numpy as np
import pandas as pd


def make_customers(n_rows: int = 5_000, seed: int = 7) -> pd.DataFrame:
    """Return customers of a telephone company; about one in five has left."""
    random = np.random.default_rng(seed)
    tenure = random.gamma(1.6, 18, n_rows).round().clip(1, 96).astype(int)
    contract = random.choice(["month to month", "one year", "two years"], n_rows, p=[0.55, 0.25, 0.2])
    payment = random.choice(["bank transfer", "credit card", "direct debit", "invoice"], n_rows)
    calls = random.poisson(0.6 + 1.2 * (random.random(n_rows) < 0.25))
    charges = (18 + random.gamma(4, 12, n_rows)).clip(18, 140).round(2)
    signup = pd.Timestamp("2026-09-01") - pd.to_timedelta(tenure * 30 + random.integers(0, 30, n_rows), unit="D")

    risk = -3.4 + 2.2 * (contract == "month to month") - 1.2 * (contract == "two years") + 0.9 * calls
    risk += 0.03 * (charges - 65) - 0.04 * tenure + 0.8 * (payment == "invoice")
    churned = np.where(random.random(n_rows) < 1 / (1 + np.exp(-risk)), "yes", "no")

    customers = pd.DataFrame(
        {
            "signup_date": signup.strftime("%Y-%m-%d"),
            "tenure_months": tenure,
            "contract": contract,
            "monthly_charges": charges,
            "payment_method": payment,
            "support_calls": calls,
            "churned": churned,
        }
    )
    customers.loc[random.random(n_rows) < 0.03, "monthly_charges"] = np.nan  # the billing system has lost some
    return customers


if __name__ == "__main__":
    make_customers().to_csv("customers.csv", index=False)
