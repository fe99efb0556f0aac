"""What is known of the Covertype data: simulated rows from its class statistics, and the public table, folded.

Copyright of the data: Jock A. Blackard and Colorado State University, 1998; reuse is unlimited with this notice.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

LABEL = "Cover_Type"
MIN_ROWS = 14  # two rows of each of the seven classes
# the order of the one-hot columns of the public table: https://archive.ics.uci.edu/dataset/31/covertype
WILDERNESS_AREAS = ["Rawah", "Neota", "Comanche", "Cache"]
SOIL_TYPE_CODES = (  # USFS Ecological Landtype Units
    *(2702, 2703, 2704, 2705, 2706, 2717, 3501, 3502, 4201, 4703, 4704, 4744, 4758, 5101),
    *(5151, 6101, 6102, 6731, 7101, 7102, 7103, 7201, 7202, 7700, 7701, 7702, 7709, 7710),
    *(7745, 7746, 7755, 7756, 7757, 7790, 8703, 8707, 8708, 8771, 8772, 8776),
)
SOIL_TYPES = [f"C{code}" for code in SOIL_TYPE_CODES]


STATISTICS = Path(__file__).with_name("class_statistics.json")


@cache
def class_statistics() -> dict[str, Any]:
    """Return the statistics of 92,962 real rows by class: rows, mean, cov, min and max of the measures, and counts."""
    statistics: dict[str, Any] = json.loads(STATISTICS.read_text(encoding="utf-8"))
    return statistics


@cache
def version() -> str:
    """Return a digest of what the content of a table file follows from: statistics, code, and what draws and writes."""
    packages = f"numpy {np.__version__}, pandas {pd.__version__}, pyarrow {pa.__version__}"
    return hashlib.sha256(STATISTICS.read_bytes() + Path(__file__).read_bytes() + packages.encode()).hexdigest()[:12]


def simulate(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Draw simulated rows: a Gaussian per class for the ten measures, natural shares of classes and categories.

    They show how the pipeline works; they prove nothing about the quality of a model.

    Args:
        n_rows: Number of rows, at least MIN_ROWS, so that each class has two.
        seed: Seed of the draw; the same seed gives the same rows.
    """
    rng = np.random.default_rng(seed)
    statistics = class_statistics()
    shares = np.array([of_class["rows"] for of_class in statistics["classes"]], dtype=float)
    # two rows for every class, the rest by natural share, the remainder to the largest fractions
    exact = shares / shares.sum() * (n_rows - 2 * len(shares))
    counts = 2 + exact.astype(int)
    counts[np.argsort(exact.astype(int) - exact, kind="stable")[: n_rows - counts.sum()]] += 1

    frames = []
    for of_class, n in zip(statistics["classes"], counts, strict=True):
        measures = rng.multivariate_normal(of_class["mean"], of_class["cov"], size=n, method="eigh")
        measures = measures.clip(of_class["min"], of_class["max"]).round().astype(int)
        frame = pd.DataFrame(measures, columns=statistics["numeric"])
        for column in ("Wilderness_Area", "Soil_Type"):
            values, weights = zip(*of_class[column].items(), strict=True)
            frame[column] = rng.choice(values, size=n, p=np.array(weights) / sum(weights))
        frames.append(frame.assign(**{LABEL: of_class["label"]}))
    rows = pd.concat(frames).sample(frac=1, random_state=rng).reset_index(drop=True)
    return rows.astype({"Wilderness_Area": "category", "Soil_Type": "category"})


def fold(public: pd.DataFrame) -> pd.DataFrame:
    """Fold the public table's 54 feature columns, most of them one-hot, into the 12 that they stand for.

    Args:
        public: Table as scikit-learn's fetch_covtype(as_frame=True) gives it, classes 1 to 7.

    Returns:
        The ten measures as they are, Wilderness_Area, Soil_Type, and Cover_Type from 0 to 6.
    """
    folded = public[class_statistics()["numeric"]].astype(int)
    for column, names in (("Wilderness_Area", WILDERNESS_AREAS), ("Soil_Type", SOIL_TYPES)):
        one_hot = public[[f"{column}_{place}" for place in range(len(names))]]
        folded[column] = pd.Categorical.from_codes(one_hot.to_numpy().argmax(axis=1), categories=names)
    folded[LABEL] = public[LABEL].to_numpy(dtype=int) - 1
    return folded
