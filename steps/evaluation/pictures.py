"""The confusion matrix and the curves of an evaluation, drawn."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay, calibration_curve
from sklearn.metrics import (
    PrecisionRecallDisplay,
    RocCurveDisplay,
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_curve,
)

from steps.evaluation.html import shorten, shown
from steps.evaluation.svg import ACCENT, CLASSES, INK, LINE, MUTED, PAGE, picture

MAX_CLASSES_DRAWN = 20  # of a confusion matrix; more are joined


def confusion_picture(matrix: np.ndarray, names: list[str]) -> str:
    """Draw a confusion matrix: a cell's number is its count, its tint and percentage the share of the true class.

    Of more than 20 classes those with the most errors are drawn, and the others as one.

    Args:
        matrix: Test rows counted by true class (down) and predicted class (across).
        names: Names of the classes.
    """
    note = "Rows are the true class, columns the predicted one; percentages are of the true class."
    if len(names) > MAX_CLASSES_DRAWN:
        errors = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
        drawn = np.sort(np.argsort(-errors, kind="stable")[:MAX_CLASSES_DRAWN])
        others = np.setdiff1d(np.arange(len(names)), drawn)
        groups: list[np.ndarray] = [*drawn.reshape(-1, 1), others]
        matrix = np.array([[matrix[np.ix_(down, across)].sum() for across in groups] for down in groups])
        note += f" Drawn are the {MAX_CLASSES_DRAWN} classes with the most errors; the {len(others)} others are one."
        names = [*(names[place] for place in drawn), f"{len(others)} others"]
    n_classes = len(names)
    labels = [shorten(name, 14) for name in names]
    cell = 44 if n_classes <= 10 else 31
    longest = max(map(len, labels))
    left, top = 30 + 6.2 * longest, 34 + (6.2 * longest * 0.75 if longest > 5 else 8)
    side = cell * n_classes
    # room for the last slanted name
    right = 8 + (0.7 * 6.2 * longest if longest > 5 else 0)
    width, height = left + side + right, top + side + 8
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((left / width, 8 / height, side / width, side / height))
    axes.set(xlim=(0, n_classes), ylim=(n_classes, 0), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(LINE)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    size = 9 if n_classes <= 10 else 7.5
    for row, column in zip(*np.nonzero(matrix), strict=True):
        share, count = shares[row, column], int(matrix[row, column])
        # a right cell is green-blue, an error orange: of different lightness and hue for every kind of sight
        tint = ACCENT if row == column else CLASSES[4]
        axes.fill(
            [column, column + 1, column + 1, column],
            [row, row, row + 1, row + 1],
            tint,
            alpha=0.1 + 0.9 * share,
            lw=0,
        )
        color = PAGE if share > 0.55 else INK
        number = f"{count:,}" if count < 100_000 else f"{count / 1000:,.0f}k"
        axes.text(column + 0.5, row + 0.43, number, size=size, ha="center", va="center", color=color)
        if share >= 0.0005:
            percent = f"{share:.0%}" if share >= 0.01 else "<1%"
            axes.text(column + 0.5, row + 0.76, percent, size=size - 2, ha="center", va="center", color=color)
    slanted = {"rotation": 45, "ha": "left"} if longest > 5 else {"ha": "center"}
    for place, label in enumerate(labels):
        axes.text(-0.15, place + 0.5, label, size=9, ha="right", va="center", color=INK, parse_math=False)
        axes.text(place + 0.5, -0.15, label, size=9, va="bottom", color=INK, parse_math=False, **slanted)
    figure.text(0.99, 1 - 4 / height, "predicted →", size=9, ha="right", va="top", color=MUTED)
    figure.text(4 / width, 1 - 4 / height, "true ↓", size=9, ha="left", va="top", color=MUTED)
    drawing = picture(figure, "confusion", "Confusion matrix. The most confused classes are listed below.")
    return (
        f'<figure class="scroll" tabindex="0" role="group" aria-label="Confusion matrix">{drawing}'
        f"<figcaption>{note}</figcaption></figure>"
    )


def unit_square(diagonal: bool) -> Axes:
    """Return the axes of a new figure for curves between 0 and 1, with a faint diagonal where it means something."""
    axes = Figure(figsize=(3.9, 3.5)).add_axes((0.13, 0.13, 0.84, 0.84))
    if diagonal:
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (1, 2)))
    return axes


def curves_picture(axes: Axes, x: str, y: str, name: str, description: str) -> str:
    """Return the axes of unit_square() as picture() does, with their labels and a grid in place of scikit-learn's."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="auto")
    axes.set_xlabel(x, color=MUTED, size=9)
    axes.set_ylabel(y, color=MUTED, size=9)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.grid(color=LINE, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    if legend := axes.get_legend():
        legend.remove()
    return picture(axes.figure, name, description)


def thinned(x: np.ndarray, y: np.ndarray, n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve of at most as many points, as far from one another along the curve."""
    way = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], n_points)).clip(0, len(x) - 1))
    return x[kept], y[kept]


def calibrate(axes: Axes, is_so: np.ndarray, probability: np.ndarray, look: dict[str, object]) -> float:
    """Draw how often what had a probability was so, in ten bins, those of few rows left out.

    Args:
        axes: Axes to draw on.
        is_so: Whether it was so, a row a value.
        probability: Its probability.
        look: Colour and line, as matplotlib names them.

    Returns:
        Mean difference of the share and the probability over all rows.
    """
    probability = probability.clip(0, 1)
    share, mean = calibration_curve(is_so, probability, n_bins=10)
    rows = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], probability))
    rows = rows[rows > 0]
    drawn = rows >= min(10, rows.max())
    display = CalibrationDisplay(share[drawn], mean[drawn], None)
    display.plot(ax=axes, name="share", ref_line=False, **look)
    return float(np.abs(share - mean) @ rows / rows.sum())


def curves(is_class: np.ndarray, probabilities: np.ndarray, names: list[str]) -> str:
    """Draw the ROC, precision-recall and calibration curves of all classes that have rows.

    Of more than 8 classes the 7 of the least average precision have a colour, the others are grey.

    Args:
        is_class: Whether a row is of a class; a row a row, a column a class.
        probabilities: Of a row to be of a class, of the same shape.
        names: Names of the classes.
    """
    present = [place for place in range(len(names)) if 0 < is_class[:, place].sum() < len(is_class)]
    precise = {place: average_precision_score(is_class[:, place], probabilities[:, place]) for place in present}
    bright = sorted(sorted(present, key=precise.__getitem__)[: 8 if len(present) <= 8 else 7])
    looks = {place: {"color": MUTED, "lw": 0.6, "alpha": 0.35, "ls": "-"} for place in present if place not in bright}
    for number, place in enumerate(bright):  # last, to be on top; colours alone do not tell lines apart for everybody
        looks[place] = {"color": CLASSES[number], "lw": 1.5, "ls": "-" if number < 4 else (0, (4, 1.5))}
    n_points = 150 if len(present) <= 12 else 60

    roc, pr, calibration = unit_square(diagonal=True), unit_square(diagonal=False), unit_square(diagonal=True)
    areas = {}
    for place, look in looks.items():
        fpr, tpr, _ = roc_curve(is_class[:, place], probabilities[:, place])
        areas[place] = auc(fpr, tpr)
        x, y = thinned(fpr, tpr, n_points)
        RocCurveDisplay(fpr=[x], tpr=[y]).plot(ax=roc, curve_kwargs=look)
        precision, recall, _ = precision_recall_curve(is_class[:, place], probabilities[:, place])
        y, x = thinned(precision[::-1], recall[::-1], n_points)
        PrecisionRecallDisplay(precision=[y], recall=[x]).plot(ax=pr, curve_kwargs=look)
        if place in bright:
            look = look | {"lw": 1, "alpha": 0.6, "marker": ""}
            calibrate(calibration, is_class[:, place], probabilities[:, place], look)
    right = is_class[np.arange(len(is_class)), probabilities.argmax(axis=1)]
    look = {"color": INK, "lw": 2, "ls": "-", "marker": "o", "markersize": 4}
    error = calibrate(calibration, right, probabilities.max(axis=1), look)

    described = {
        "roc": "ROC curves, one a class; their areas are in the list below.",
        "pr": "Precision-recall curves, one a class; their average precision is in the list below.",
        "calibration": "Calibration curves of the prediction and of the classes; on the diagonal they are right.",
    }
    drawn = {
        "ROC": curves_picture(roc, "false positive rate", "true positive rate", "roc", described["roc"]),
        "Precision and recall": curves_picture(pr, "recall", "precision", "pr", described["pr"]),
        "Calibration": curves_picture(
            calibration, "predicted probability", "share that is so", "calibration", described["calibration"]
        ),
    }
    items = "".join(
        f'<li><i class="k{number}"></i><span>{shown(names[place], 40)}</span>'
        f"<span>AUC {areas[place]:.3f} · AP {precise[place]:.3f}</span></li>"
        for number, place in enumerate(bright)
    )
    if len(looks) > len(bright):
        items += f"<li><i></i>{len(looks) - len(bright)} other classes, of a higher AP</li>"
    told = (
        "AUC is the area under ROC, AP the average precision, each of a class against all others. The bold line of the "
        f"calibration is of the predicted class, whichever it is: its probability is off by {error:.3f} on average. "
        "A point stands on 10 rows or more."
    )
    return (
        '<div class="panels">'
        + "".join(f"<figure><h3>{name}</h3>{svg}</figure>" for name, svg in drawn.items())
        + f'</div><ul class="legend">{items}</ul><p class="note">{told}</p>'
    )
