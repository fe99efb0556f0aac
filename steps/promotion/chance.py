"""What chance explains of the difference between two models."""

import numpy as np

N_RESAMPLES = 2_000
DRAWN_AT_ONCE = 5_000_000  # rows of resamples


def bootstrap_errors(true: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the difference in mean absolute error of two models, the second's less the first's.

    The same bootstrap, of a quantity: each resample draws test rows with the difference of both models' errors there.

    Args:
        true: Quantity of each test row, shape (n_rows,).
        first: What the first model estimates, shape (n_rows,).
        second: What the second model estimates, shape (n_rows,).
        seed: Seed of the resamples.
    """
    rng, n_rows = np.random.default_rng(seed), len(true)
    differences = np.abs(true - second) - np.abs(true - first)
    means = np.empty(N_RESAMPLES)
    at_once = max(1, DRAWN_AT_ONCE // n_rows)
    for start in range(0, N_RESAMPLES, at_once):
        drawn = rng.integers(n_rows, size=(min(at_once, N_RESAMPLES - start), n_rows), dtype=np.int32)
        means[start : start + len(drawn)] = differences[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def bootstrap(true: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the difference in macro-F1 of two models, the second's less the first's.

    The percentile bootstrap, paired: each resample draws test rows with both models' predictions of them (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13). Rows that agree in all three are drawn
    together as counts of a multinomial, which is the same and takes milliseconds.

    Args:
        true: Class of each test row, shape (n_rows,).
        first: What the first model predicts, shape (n_rows,).
        second: What the second model predicts, shape (n_rows,).
        seed: Seed of the resamples.
    """
    classes, codes = np.unique(np.concatenate([true, first, second]), return_inverse=True)
    kinds, counts = np.unique(codes.reshape(3, -1), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), N_RESAMPLES)
    is_class = np.arange(len(classes)) == kinds[:, :, None]  # of true, first, second: kind by class
    n_true = drawn @ is_class[0]

    def macro_f1(predicted: np.ndarray) -> np.ndarray:
        n_right = drawn @ (is_class[0] & predicted)
        f1 = np.divide(2 * n_right, n_true + drawn @ predicted, out=np.zeros(n_true.shape), where=n_true > 0)
        return np.asarray(f1.sum(axis=1) / (n_true > 0).sum(axis=1))  # of the classes that were drawn

    low, high = np.percentile(macro_f1(is_class[2]) - macro_f1(is_class[1]), [2.5, 97.5])
    return float(low), float(high)
