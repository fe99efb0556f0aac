"""Who leaves? A script as it is written on a laptop: python churn.py"""

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["tenure_months", "monthly_charges", "support_calls"]
WORDS = ["contract", "payment_method"]
MONTHS_KEPT, SUCCESS, COST_OF_CALL = 6, 0.2, 25.0  # what a call brings, how often, and what it costs

customers = pd.read_csv("customers.csv", parse_dates=["signup_date"])
train, test = train_test_split(customers, test_size=0.2, random_state=0, stratify=customers["churned"])

features = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    (OneHotEncoder(handle_unknown="ignore"), WORDS),
)
model = make_pipeline(features, LogisticRegression(C=0.5, max_iter=1_000))
model.fit(train, train["churned"])
print(classification_report(test["churned"], model.predict(test)))

# call those whom it pays to call
probability = model.predict_proba(test)[:, 1]
gain = probability * SUCCESS * MONTHS_KEPT * test["monthly_charges"].fillna(0) - COST_OF_CALL
calls = test.assign(probability=probability, gain=gain)[gain > 0].sort_values("gain", ascending=False)
print(f"{len(calls)} of {len(test)} customers are worth a call, which should bring {calls['gain'].sum():,.0f}")
calls.to_csv("calls.csv", index=False)
