"""Pictures of matplotlib as parts of a page."""

import io
import re
import warnings
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure, SubFigure

# colours of a figure that stand for variables of the page, so that it follows the page into the dark
VARIABLES = ["ink", "muted", "line", "accent", "page", *(f"c{number}" for number in range(8))]
INK, MUTED, LINE, ACCENT, PAGE, *CLASSES = (f"#0102{number:02x}" for number in range(len(VARIABLES)))


def picture(figure: Figure | SubFigure, name: str, description: str) -> str:
    """Return a figure as SVG to stand in a page: its text stays text, its colours are those of the page.

    The colours #010200, #010201, … stand for the page's variables --ink, --muted, --line, --accent, --page, --c0, ….

    Args:
        figure: Figure to draw.
        name: Letters that no other picture of the page has; ids begin with them.
        description: What a reader who cannot see it is told.
    """
    written = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has them
        figure.figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
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
                    r"#0102([0-9a-f]{2})(?![0-9a-f])", lambda found: f"var(--{VARIABLES[int(found[1], 16)]})", value
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
