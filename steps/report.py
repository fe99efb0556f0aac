"""Render an evaluation as one HTML page; pure functions that evaluate_model ships along.

Text of the data is escaped where it enters a page, by shown(), or by the writer of XML where it enters a picture.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def shorten(value: object, width: int = 60) -> str:
    """Return a value as text of one line and of at most a width in columns of a terminal."""
    import re
    import unicodedata

    text = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", str(value))  # which no page may hold
    used = 0
    for place, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > width and place < len(text) - 1:
            return text[:place].rstrip() + "…"
    return text


def shown(value: object, width: int = 60) -> str:
    """Return a value as HTML: escaped, shortened, and kept apart from text of the other direction of writing."""
    from html import escape

    if isinstance(value, float):
        value = f"{value:.6g}"
    text = shorten(value, width)
    whole = f' title="{escape(shorten(value, 2_000))}"' if text.endswith("…") else ""
    return f"<bdi{whole}>{escape(text)}</bdi>"


def picture(figure: "Figure", name: str, description: str) -> str:
    """Return a figure as SVG to stand in a page: its text stays text, its colours are those of the page.

    The colours #010200, #010201, … stand for the page's variables --ink, --muted, --line, --accent, --page, --c0, ….

    Args:
        figure: Figure to draw.
        name: Letters that no other picture of the page has; ids begin with them.
        description: What a reader who cannot see it is told.
    """
    import io
    import re
    import warnings
    from xml.etree import ElementTree

    import matplotlib

    variables = ["ink", "muted", "line", "accent", "page", *(f"c{number}" for number in range(8))]
    written = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has them
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = ElementTree.fromstring(written.getvalue())
    for parent in svg.iter():
        for child in [child for child in parent if child.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    parts = [*svg.iter()]
    used = {found for part in parts for value in part.attrib.values() for found in re.findall(r"#([\w-]{5,})", value)}
    for part in parts:
        part.tag = part.tag.rpartition("}")[2]
        attributes = {}
        for key, value in part.attrib.items():
            key = key.rpartition("}")[2]
            if key == "id" and value not in used:
                continue
            if key == "id":
                value = name + value
            elif key == "d":
                value = re.sub(r"(\.\d)\d+", r"\1", " ".join(value.split()))
            else:
                value = re.sub(
                    r"#0102([0-9a-f]{2})(?![0-9a-f])", lambda found: f"var(--{variables[int(found[1], 16)]})", value
                )
                value = re.sub(r"^#|(?<=url\()#", f"#{name}", value)
                value = re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", value)
            attributes[key] = value
        part.attrib.clear()
        part.attrib.update(attributes)
        part.tail = None
    width = float(svg.attrib["width"].removesuffix("pt"))
    for key in ("width", "height", "version"):
        svg.attrib.pop(key, None)
    svg.attrib.update({"role": "img", "aria-label": description, "style": f"--w:{width:.0f}"})
    return ElementTree.tostring(svg, encoding="unicode")


def table(frame: "pd.DataFrame", caption: str, bars: tuple = (), spread: str = "", few: str = "") -> str:
    """Return a frame as an HTML table, its index as the heads of the rows.

    Args:
        frame: What to show; the names of columns and rows, and texts, may hold anything.
        caption: What the table shows, as HTML.
        bars: Columns of numbers with a bar beside each, as long as its share of 1.
        spread: Column of standard deviations of the first column with bars, drawn over them; the longest is whole.
        few: Column that tells which rows stand on little; it is not shown itself.
    """
    import math

    def cell(name: object, value: object, row: object) -> str:
        if name in bars:
            share = min(max(value / largest[name], 0), 1) if math.isfinite(value) else 0
            around = ""
            if spread and name == bars[0]:
                low, high = (min(max((value + sign * row[spread]) / largest[name], 0), 1) for sign in (-1, 1))
                around = f'<s style="left:{low:.1%};width:{high - low:.1%}"></s>'
            digits = f"{value:.3f}" if math.isfinite(value) else "\u2013"
            return f'<td class="bar"><b>{digits}</b><i style="--v:{share:.4f}">{around}</i></td>'
        if isinstance(value, float):
            return f"<td>{value:.3f}</td>" if math.isfinite(value) else "<td>\u2013</td>"
        if isinstance(value, int) and not isinstance(value, bool):
            return f"<td>{value:,}</td>"
        return f'<td class="text">{shown(value)}</td>'

    largest = {name: max((frame[name] + frame[spread]).max(), 1e-9) if spread else 1 for name in bars}
    visible = [name for name in frame if name != few]
    # Python's numbers, and a column of whole numbers stays one
    columns = {name: frame[name].tolist() for name in frame}
    body = []
    for place, index in enumerate(frame.index):
        row = {name: values[place] for name, values in columns.items()}
        mark = ' class="few"' if few and row[few] else ""
        cells = "".join(cell(name, row[name], row) for name in visible)
        body.append(f'<tr{mark}><th scope="row">{shown(index, 40)}</th>{cells}</tr>')
    text = {name: isinstance(columns[name][0], str) if len(frame) else False for name in visible}
    kinds = {name: ' class="text"' if text[name] else ' class="bar"' if name in bars else "" for name in visible}
    heads = "".join(f'<th scope="col"{kinds[name]}>{shown(name, 40)}</th>' for name in visible)
    only = ' class="one"' if len(bars) == 1 else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table"><table{only}>'
        f"<caption><span>{caption}</span></caption>"
        f'<thead><tr><th scope="col">{shown(frame.index.name or "")}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def weakest_first(frame: "pd.DataFrame", caption: str, by: str, bars: tuple, few: str = "") -> str:
    """Return a frame as table() does, and above a long one that is folded away the rows of the least figures."""
    n_weakest = 8
    whole = table(frame, caption, bars=bars, few=few)
    if len(frame) <= 2 * n_weakest:
        return whole
    ordered = frame[~frame[few]] if few and not frame[few].all() else frame
    weakest = ordered.sort_values(by, kind="stable").head(n_weakest)
    caption = f"The {len(weakest)} of the least {by}. {caption}"
    return (
        table(weakest, caption, bars=bars, few=few) + f"<details><summary>All {len(frame)}</summary>{whole}</details>"
    )


def confusion_picture(matrix: "np.ndarray", names: list) -> str:
    """Draw a confusion matrix: a cell's number is its count, its tint and percentage the share of the true class.

    Of more than 20 classes those with the most errors are drawn, and the others as one.

    Args:
        matrix: Test rows counted by true class (down) and predicted class (across).
        names: Names of the classes.
    """
    import numpy as np
    from matplotlib.figure import Figure

    ink, muted, line, accent, page = (f"#01020{number}" for number in range(5))
    n_drawn = 20
    note = "Rows are the true class, columns the predicted one; percentages are of the true class."
    if len(names) > n_drawn:
        errors = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
        drawn = np.sort(np.argsort(-errors, kind="stable")[:n_drawn])
        others = np.setdiff1d(np.arange(len(names)), drawn)
        groups = [*([place] for place in drawn), others]
        matrix = np.array([[matrix[np.ix_(down, across)].sum() for across in groups] for down in groups])
        note += f" Drawn are the {n_drawn} classes with the most errors; the {len(others)} others are one."
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
        spine.set_color(line)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    size = 9 if n_classes <= 10 else 7.5
    for row, column in zip(*np.nonzero(matrix), strict=True):
        share, count = shares[row, column], int(matrix[row, column])
        # a right cell is green-blue, an error orange: of different lightness and hue for every kind of sight
        tint = accent if row == column else "#010209"
        axes.fill(
            [column, column + 1, column + 1, column],
            [row, row, row + 1, row + 1],
            tint,
            alpha=0.1 + 0.9 * share,
            lw=0,
        )
        color = page if share > 0.55 else ink
        number = f"{count:,}" if count < 100_000 else f"{count / 1000:,.0f}k"
        axes.text(column + 0.5, row + 0.43, number, size=size, ha="center", va="center", color=color)
        if share >= 0.0005:
            percent = f"{share:.0%}" if share >= 0.01 else "<1%"
            axes.text(column + 0.5, row + 0.76, percent, size=size - 2, ha="center", va="center", color=color)
    slanted = {"rotation": 45, "ha": "left"} if longest > 5 else {"ha": "center"}
    for place, label in enumerate(labels):
        axes.text(-0.15, place + 0.5, label, size=9, ha="right", va="center", color=ink, parse_math=False)
        axes.text(place + 0.5, -0.15, label, size=9, va="bottom", color=ink, parse_math=False, **slanted)
    figure.text(0.99, 1 - 4 / height, "predicted →", size=9, ha="right", va="top", color=muted)
    figure.text(4 / width, 1 - 4 / height, "true ↓", size=9, ha="left", va="top", color=muted)
    drawing = picture(figure, "confusion", "Confusion matrix. The most confused classes are listed below.")
    return (
        f'<figure class="scroll" tabindex="0" role="group" aria-label="Confusion matrix">{drawing}'
        f"<figcaption>{note}</figcaption></figure>"
    )


def unit_square(diagonal: bool) -> "Axes":
    """Return the axes of a new figure for curves between 0 and 1, with a faint diagonal where it means something."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(3.9, 3.5)).add_axes((0.13, 0.13, 0.84, 0.84))
    if diagonal:
        axes.plot([0, 1], [0, 1], color="#010201", lw=0.8, ls=(0, (1, 2)))
    return axes


def curves_picture(axes: "Axes", x: str, y: str, name: str, description: str) -> str:
    """Return the axes of unit_square() as picture() does, with their labels and a grid in place of scikit-learn's."""
    muted, line = "#010201", "#010202"
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="auto")
    axes.set_xlabel(x, color=muted, size=9)
    axes.set_ylabel(y, color=muted, size=9)
    axes.tick_params(colors=muted, labelsize=8, length=0)
    axes.grid(color=line, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    if axes.get_legend():
        axes.get_legend().remove()
    return picture(axes.figure, name, description)


def thinned(x: "np.ndarray", y: "np.ndarray", n_points: int) -> tuple:
    """Return a curve of at most as many points, as far from one another along the curve."""
    import numpy as np

    way = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], n_points)).clip(0, len(x) - 1))
    return x[kept], y[kept]


def calibrate(axes: "Axes", is_so: "np.ndarray", probability: "np.ndarray", look: dict) -> float:
    """Draw how often what had a probability was so, in ten bins, those of few rows left out.

    Args:
        axes: Axes to draw on.
        is_so: Whether it was so, a row a value.
        probability: Its probability.
        look: Colour and line, as matplotlib names them.

    Returns:
        Mean difference of the share and the probability over all rows.
    """
    import numpy as np
    from sklearn.calibration import CalibrationDisplay, calibration_curve

    probability = probability.clip(0, 1)
    share, mean = calibration_curve(is_so, probability, n_bins=10)
    rows = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], probability))
    rows = rows[rows > 0]
    drawn = rows >= min(10, rows.max())
    display = CalibrationDisplay(share[drawn], mean[drawn], None)
    display.plot(ax=axes, name="share", ref_line=False, **look)
    return float(np.abs(share - mean) @ rows / rows.sum())


def curves(is_class: "np.ndarray", probabilities: "np.ndarray", names: list) -> str:
    """Draw the ROC, precision-recall and calibration curves of all classes that have rows.

    Of more than 8 classes the 7 of the least average precision have a colour, the others are grey.

    Args:
        is_class: Whether a row is of a class; a row a row, a column a class.
        probabilities: Of a row to be of a class, of the same shape.
        names: Names of the classes.
    """
    import numpy as np
    from sklearn.metrics import (
        PrecisionRecallDisplay,
        RocCurveDisplay,
        auc,
        average_precision_score,
        precision_recall_curve,
        roc_curve,
    )

    ink, muted = "#010200", "#010201"
    present = [place for place in range(len(names)) if 0 < is_class[:, place].sum() < len(is_class)]
    precise = {place: average_precision_score(is_class[:, place], probabilities[:, place]) for place in present}
    bright = sorted(sorted(present, key=precise.get)[: 8 if len(present) <= 8 else 7])
    looks = {place: {"color": muted, "lw": 0.6, "alpha": 0.35, "ls": "-"} for place in present if place not in bright}
    for number, place in enumerate(bright):  # last, to be on top; colours alone do not tell lines apart for everybody
        looks[place] = {"color": f"#01020{5 + number:x}", "lw": 1.5, "ls": "-" if number < 4 else (0, (4, 1.5))}
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
    look = {"color": ink, "lw": 2, "ls": "-", "marker": "o", "markersize": 4}
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


def report_page(title: str, verdict: str, figures: dict, sections: list) -> str:
    """Return a whole page that loads nothing; <!-- nav -->, <!-- verdict --> and <!-- run --> mark where more may go.

    Args:
        title: Heading of the page.
        verdict: What came out in one sentence, without its full stop, as HTML.
        figures: Headline figures by name, as text.
        sections: Of each its anchor, its heading and its content as HTML.
    """
    from html import escape

    style = """
:root{color-scheme:light dark;--page:#fff;--soft:#f5f6f8;--ink:#1b1f26;--muted:#5d6572;--line:#e2e5ea;
--accent:#1f66c7;--c0:#0072b2;--c1:#c07800;--c2:#00875f;--c3:#b24a8c;--c4:#d0450a;--c5:#2f94cc;--c6:#6f6b00;
--c7:#5a56d0}@media(prefers-color-scheme:dark){:root{--page:#14171c;--soft:#1d2128;--ink:#e7eaef;--muted:#a0a8b5;
--line:#313742;--accent:#6ea9ff;--c0:#4aa9ea;--c1:#eaa92c;--c2:#35c79c;--c3:#e391c3;--c4:#ff8a59;--c5:#9ad5ff;
--c6:#d6cd4a;--c7:#aba8ff}}*{box-sizing:border-box}html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}body{margin:0 auto;max-width:70rem;
padding:0 1.25rem 4rem;background:var(--page);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}header{padding-top:2.5rem}h1{font-size:.95rem;font-weight:600;color:var(--muted);
margin:0 0 .6rem;letter-spacing:.01em}.verdict{font-size:clamp(1.25rem,1rem + 1.6vw,1.9rem);line-height:1.35;
font-weight:600;letter-spacing:-.012em;margin:0;max-width:52rem;text-wrap:pretty}.verdict em{font-style:normal;
color:var(--accent)}dl.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:1px;
margin:1.75rem 0 0;background:var(--line);border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
.figures div{background:var(--page);padding:.8rem 1rem}.figures dt{font-size:.8rem;color:var(--muted)}.figures dd{
margin:0;font-size:1.5rem;font-weight:600;line-height:1.3}nav{position:sticky;top:0;z-index:3;
background:var(--page);border-bottom:1px solid var(--line);margin:1.5rem -1.25rem 0;padding:0 1.25rem;
overflow-x:auto;white-space:nowrap}nav a{display:inline-block;padding:.7rem 0;margin-right:1.1rem;
color:var(--muted);text-decoration:none;font-size:.9rem}nav a:hover{color:var(--ink)}:focus-visible{
outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}section{padding-top:2.6rem;
scroll-margin-top:1.5rem}h2{font-size:1.3rem;margin:0 0 .4rem;letter-spacing:-.01em}h3{font-size:1rem;
margin:1.6rem 0 .3rem}p{margin:.4rem 0;max-width:46rem}.note,caption,figcaption{color:var(--muted);
font-size:.875rem}.scroll{overflow-x:auto;margin:.6rem 0;position:relative}table{border-collapse:collapse;
font-size:.9rem;width:100%}caption{text-align:left;padding:.2rem 0 .5rem}caption span{display:inline-block;
position:sticky;left:0;max-width:min(46rem,100vw - 2.5rem)}th,td{padding:.38rem .75rem;text-align:right;
border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:middle}thead th{color:var(--muted);
font-weight:500;font-size:.8rem;border-bottom-color:var(--muted)}th:first-child{text-align:left;padding-left:0;
position:sticky;left:0;background:var(--page);font-weight:500;max-width:20rem;min-width:5rem;white-space:normal;
overflow-wrap:break-word;z-index:1}.text{text-align:left;white-space:normal;min-width:4.5rem;max-width:20rem;
overflow-wrap:break-word}tr.few>*{
color:var(--muted);font-style:italic}tbody tr:hover>*{background:var(--soft)}th.bar,td.bar{text-align:left}td.bar{
width:21%;min-width:9.5rem}.one td.bar{width:50%}.bar b{display:inline-block;width:4rem;font-weight:500}.bar i{
display:inline-block;position:relative;width:calc(100% - 4rem);height:.55rem;border-radius:2px;
vertical-align:middle;background:linear-gradient(to right,var(--accent) calc(var(--v)*100%),var(--line) 0);
print-color-adjust:exact;-webkit-print-color-adjust:exact}tr.few .bar i{opacity:.45}.bar s{position:absolute;
top:50%;height:2px;margin-top:-1px;background:var(--ink);box-shadow:0 0 0 1px var(--page)}.tag{font-size:.75rem;
color:var(--c4);border:1px solid;border-radius:1rem;padding:0 .5rem;margin-left:.4rem;white-space:nowrap}figure{
margin:.6rem 0}svg{display:block;width:100%;height:auto;overflow:visible}svg text{font-family:inherit!important}
svg *{stroke-linejoin:round;stroke-linecap:butt}figure.scroll svg{min-width:calc(var(--w)*1.25px);
width:calc(var(--w)*1.6px);max-width:100%}.panels{display:grid;
grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:0 1.5rem}.panels h3{margin:.5rem 0 .4rem}
.panels figure{min-width:0}.legend{list-style:none;padding:0;margin:.8rem 0;display:grid;
grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:.15rem 1.5rem;font-size:.875rem}.legend li{
display:flex;align-items:baseline;gap:.5rem}.legend span:last-child{color:var(--muted);margin-left:auto;
white-space:nowrap}.legend i{flex:none;width:1.4rem;border-top:3px solid var(--muted);align-self:flex-start;
margin-top:.62rem}.k0{border-color:var(--c0)!important}.k1{border-color:var(--c1)!important}.k2{
border-color:var(--c2)!important}.k3{border-color:var(--c3)!important}.k4{border:0;
border-top:3px dashed var(--c4)!important}.k5{border-top:3px dashed var(--c5)!important}.k6{
border-top:3px dashed var(--c6)!important}.k7{border-top:3px dashed var(--c7)!important}details{
border-top:1px solid var(--line);padding:.15rem 0}details:last-of-type{border-bottom:1px solid var(--line)}summary{
cursor:pointer;padding:.45rem 0;font-weight:500}summary span{color:var(--muted);font-weight:400}dl.facts{
display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.3rem 1.5rem;margin:.6rem 0;font-size:.9rem}
.facts dt{color:var(--muted)}.facts dd{margin:0;min-width:0}@media(max-width:30rem){body{padding:0 1rem 3rem}header{
padding-top:1.5rem}nav{margin:1.25rem -1rem 0;padding:0 1rem}.figures dd{font-size:1.25rem}dl.figures{
grid-template-columns:1fr 1fr}th:first-child{max-width:38vw;overflow-wrap:anywhere;min-width:min(6.5rem,30vw)}
dl.facts{grid-template-columns:minmax(0,7.5rem) 1fr}}@media print{nav{display:none}section{break-inside:avoid-page}
.scroll{overflow:visible}}
""".replace("\n", "")
    numbers = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}"><h2>{escape(heading)}</h2>{content}</section>' for anchor, heading, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><header><h1>{escape(title)}</h1>"
        f'<p class="verdict">{verdict}<!-- verdict -->.</p><dl class="figures">{numbers}</dl></header>'
        f'<nav aria-label="Sections">{links}<!-- nav --></nav><main>\n{body}\n<!-- run --></main></body></html>\n'
    )


def importance_table(importance: "pd.DataFrame", n_rows: int, n_columns: int) -> str:
    """Render what column_importance() measured on a number of rows of a table of a number of columns."""
    lost = importance.rename(columns={"importance": "accuracy lost", "spread": "± deviation"})
    told = (
        "How much accuracy is lost when the values of one column are shuffled among rows: mean and standard deviation "
        f"of 5 shuffles of {n_rows:,} test rows, of each class alike as far as there are."
    )
    if len(lost) < n_columns:
        told += f" Measured are the {len(lost)} of {n_columns:,} columns that tell the classes apart best."
    return table(lost, told, bars=("accuracy lost",), spread="± deviation")


def pairs_report(pairs: list, X: "pd.DataFrame", sure: "np.ndarray", names: list, totals: list, columns: list) -> str:
    """Render what confused_pairs() found.

    Args:
        pairs: What it found.
        X: Raw test rows.
        sure: Probability of their predicted classes.
        names: Names of the classes.
        totals: Number of test rows of each class.
        columns: All columns, the most important first.
    """
    import pandas as pd

    if not pairs:
        return "<p>Every test row got its class.</p>"
    listed, examples = [], ""
    for true, other, n_rows, surest in pairs:
        listed.append((names[true], names[other], n_rows, n_rows / totals[true]))
        example = X.iloc[surest][columns[:12]].astype(object)
        example = example.where(example.notna(), "\u2013").map(
            lambda value: f"{value:,.6g}" if isinstance(value, float) else str(value)
        )
        example.insert(0, "probability", [f"{probability:.3f}" for probability in sure[surest]])
        example = example.set_axis([f"row {place + 1:,}" for place in surest]).T
        example.index.name = "column"
        caption = "The rows that it was surest of, by their number in the test rows"
        caption += f", with the 12 most important of {len(columns):,} columns." if len(columns) > 12 else "."
        examples += (
            f"<details{'' if examples else ' open'}><summary>{shown(names[true], 40)} taken for "
            f"{shown(names[other], 40)} <span>{n_rows:,} rows</span></summary>{table(example, caption)}</details>"
        )
    heads = ["true class", "predicted class", "rows", "share of the true class"]
    frame = pd.DataFrame(listed, columns=heads).set_index(heads[0])
    caption = "The classes that were most often taken for another."
    return table(frame, caption, bars=(heads[3],)) + examples


def slices_report(slices: dict, left_out: list) -> str:
    """Render what failing_slices() found."""
    told = (
        "Macro-F1 is over the classes that have rows in a slice. Slices of less than 30 rows are slanted and come last."
    )
    if left_out:
        names = ", ".join(shown(name, 40) for name in left_out[:20]) + (", …" if len(left_out) > 20 else "")
        told += f" Left out, for more than 40 values or after the eighth column: {names}."
    page = f'<p class="note">{told}</p>'
    for name, frame in slices.items():
        frame = frame.rename(columns={"macro_f1": "macro-F1"})
        page += f"<h3>{shown(name)}</h3>" + weakest_first(
            frame, f"{len(frame)} slices of {frame['rows'].sum():,} test rows.", "macro-F1", ("macro-F1",), few="few"
        )
    return page


def data_report(facts: dict, X: "pd.DataFrame") -> str:
    """Render what the figures were measured on.

    Args:
        facts: Facts by name.
        X: Raw test rows, for their missing values.
    """
    import pandas as pd

    missing = X.isna().sum()
    missing = missing[missing > 0].sort_values(ascending=False, kind="stable")
    facts = facts | {
        "Missing values": f"{missing.sum():,} in the test rows" if len(missing) else "none in the test rows"
    }
    listed = "".join(f"<dt>{shown(name)}</dt><dd>{shown(value, 300)}</dd>" for name, value in facts.items())
    page = f'<dl class="facts">{listed}</dl>'
    if len(missing):
        frame = pd.DataFrame({"missing rows": missing, "share": missing / len(X)}).head(30)
        frame.index.name = "column"
        caption = f"Missing values in {len(missing):,} of {X.shape[1]:,} columns of the test rows"
        page += table(frame, caption + (", the most first." if len(missing) > 30 else "."), bars=("share",))
    return page


def evaluation_report(
    X: "pd.DataFrame",
    codes: "np.ndarray",
    probabilities: "np.ndarray",
    per_class: "pd.DataFrame",
    figures: dict,
    importance: tuple,
    slices: tuple,
    pairs: list,
    facts: dict,
) -> str:
    """Render the evaluation of a model as a page; the same evaluation gives the same page.

    Args:
        X: Raw test rows.
        codes: Codes of their true classes; -1 is none that the model knows.
        probabilities: Of a row to be of a class; a row a row, a column a class. The most probable class is predicted.
        per_class: Figures of the classes, one row a class, indexed by its name.
        figures: accuracy, macro_f1 and mean_f1.
        importance: What column_importance() found.
        slices: What failing_slices() found.
        pairs: What confused_pairs() found.
        facts: What the figures were measured on, by name.
    """
    import numpy as np

    names, n_classes = list(per_class.index), len(per_class)
    known = codes >= 0
    matrix = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(matrix, (codes[known], probabilities.argmax(axis=1)[known]), 1)
    has_rows = per_class["rows"] > 0
    weakest = per_class["f1"][has_rows].idxmin()
    verdict = (
        f"Of {len(X):,} test rows the model gets <em>{figures['accuracy']:.1%}</em> right; its macro-F1 is "
        f"<em>{figures['macro_f1']:.3f}</em>, and the weakest class is <em>{shown(weakest, 40)}</em> with an F1 of "
        f"<em>{per_class['f1'][has_rows].min():.3f}</em>"
    )
    headline = {
        "Accuracy": f"{figures['accuracy']:.4f}",
        "Macro-F1": f"{figures['macro_f1']:.4f}",
        "Mean F1 against the rest": f"{figures['mean_f1']:.4f}",
        "Test rows": f"{len(X):,}",
    }
    of_classes = per_class[["rows", "f1", "precision", "recall", "average_precision", "rest_f1"]].astype(
        {"rows": object}
    )
    of_classes.columns = ["rows", "F1", "precision", "recall", "average precision", "F1 against the rest"]
    of_classes.index.name = "class"
    of_classes.loc[~has_rows, of_classes.columns[1:]] = np.nan
    told = (
        "A row gets its most probable class. Against the rest, a class is recognised at a probability above one half."
    )
    if not has_rows.all():
        told += " A class without test rows has no figures and does not count in the means."
    facts = facts | {"Test rows": f"{len(X):,}", "Columns": f"{X.shape[1]:,}"}
    if not known.all():
        facts["Unknown classes"] = f"{(~known).sum():,} test rows are of classes that the model has not learned"
    measured, n_measured = importance
    columns = [*measured.index, *(name for name in X if name not in measured.index)]
    sure = probabilities.max(axis=1)
    return report_page(
        "Evaluation of the model",
        verdict,
        headline,
        [
            ("classes", "Classes", weakest_first(of_classes, told, "F1", ("F1", "precision", "recall"))),
            ("confusion", "Confusion matrix", confusion_picture(matrix, names)),
            ("curves", "Curves", curves(np.arange(n_classes) == codes[:, None], probabilities, names)),
            ("columns", "Importance of the columns", importance_table(measured, n_measured, X.shape[1])),
            ("pairs", "Most confused", pairs_report(pairs, X, sure, names, matrix.sum(axis=1).tolist(), columns)),
            ("slices", "Where it fails", slices_report(*slices)),
            ("data", "Data", data_report(facts, X)),
        ],
    )


REPORT = [
    shorten,
    shown,
    picture,
    table,
    weakest_first,
    confusion_picture,
    unit_square,
    curves_picture,
    thinned,
    calibrate,
    curves,
    report_page,
    importance_table,
    pairs_report,
    slices_report,
    data_report,
    evaluation_report,
]
