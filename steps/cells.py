"""What a cell means: one definition for the table that a model is trained on and for the rows that it predicts.

prepare_data reads the text of a file by it, and so does RawRows, a model's first step. numpy and pandas are imported
where they are needed, since the command line reads the beginning of a file by it, too.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from datetime import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# the words that pandas takes as missing in text files; an empty cell always is
NA_VALUES = (
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
# what people write into a column of numbers or dates where there is none
MARKERS = {
    *map(str.casefold, NA_VALUES),
    *("", "?", "??", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "/", "\\n", "nat", "none", "nil"),
    *("#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!", "n.a.", "n.a", "na.", "n.d.", "nd", "n/k", "tbd"),
    *("missing", "unknown", "unk", "undefined", "blank", "(blank)", "(null)", "[null]", "no data", "not available"),
}

CURRENCY = (
    r"(?:(?:US|A|C|NZ|HK|R|S)?\$|[€£¥₹₽₩₺₫₴₦₱฿₪¢]|Rs\.?|kr\.?|z[łl]|Fr\.?"
    r"|USD|EUR|GBP|JPY|CHF|CNY|INR|BRL|SEK|NOK|DKK|PLN|CZK|HUF|RUB|AUD|CAD|NZD|MXN|ZAR|KRW|TRY)"
)
UNIT = r"[^\W\d_%°][^\d,;:()]{0,11}?[²³]?|[%‰°][^\d,;:()]{0,3}|[€£¥₹₽₩₺₫₴₦₱฿₪¢$]"
MAGNITUDES = {"k": 1e3, "m": 1e6, "mn": 1e6, "mio": 1e6, "b": 1e9, "bn": 1e9, "mrd": 1e9}
PLAIN = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
HEXADECIMAL = re.compile(r"\s*[-+]?0[xX][0-9a-fA-F]+\s*")
INFINITE = re.compile(r"\s*[-+]?inf(inity)?\s*", re.IGNORECASE)
TRUTH = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
DAYS = (
    *("%m/%d/%y", "%d/%m/%y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d-%m-%y", "%d-%b-%y", "%d-%b-%Y", "%d %b %y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
# Chinese, Japanese, Thai, Lao, Burmese and Khmer
SCRIPT_WITHOUT_SPACES = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
CLOCK = re.compile(r"(\d{1,3}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*([AaPp]\.?[Mm]\.?)?", re.ASCII)


def _pattern(decimal: str, groups: str) -> re.Pattern[str]:
    sign = r"[-+\u2212]"
    digits = rf"\d{{1,3}}(?:(?P<group>[{groups}])\d{{3}}(?:(?P=group)\d{{3}})*)(?:{decimal}\d*)?"
    indian = rf"|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?:{decimal}\d*)?" if "," in groups else ""
    return re.compile(
        rf"(?P<paren>\()?\s*(?P<sign>{sign})?\s*(?P<currency>{CURRENCY})?\s*(?P<inner>{sign})?\s*"
        rf"(?P<digits>{digits}{indian}|\d+(?:{decimal}\d*)?(?:[eE][-+]?\d+)?|{decimal}\d+(?:[eE][-+]?\d+)?)"
        rf"(?P<after>-)?\s*(?P<unit>{UNIT})?\s*(?(paren)\))"
    )


SPACES = " \u00a0\u202f\u2009"
PATTERNS = {".": _pattern(r"\.", f",{SPACES}'\u2019_"), ",": _pattern(",", f".{SPACES}'\u2019")}


def is_marker(value: object) -> bool:
    """Return whether a text stands for a missing number or date."""
    return isinstance(value, str) and value.strip().casefold() in MARKERS


def number_of(text: str, decimal: str = ".", is_scaled: bool = False) -> float:
    """Return the number that a text is, in plain or in human notation; NaN where it is none, or a marker.

    Args:
        text: Such as 12.5, $1,234.50, (12.50), 12 %, 5 kg or 0x0316.
        decimal: The decimal mark, a point or a comma.
        is_scaled: Whether a k or M behind a number stands for thousands or millions, and is no unit.
    """
    found = PATTERNS[decimal].fullmatch(text.strip())
    if not found:
        if HEXADECIMAL.fullmatch(text):
            return float(int(text, 16))
        return float(text) if INFINITE.fullmatch(text) else math.nan
    digits = found["digits"]
    for mark in {",", ".", *SPACES, "'", "\u2019", "_"} - {decimal}:
        digits = digits.replace(mark, "")
    number = float(digits.replace(decimal, "."))
    if is_scaled:
        number *= MAGNITUDES.get((found["unit"] or "").casefold(), 1.0)
    minus = [found["sign"], found["inner"], found["after"]]
    return -number if found["paren"] or any(sign in ("-", "\u2212") for sign in minus if sign) else number


def looks_like_number(text: str) -> bool:
    """Return whether a text is a number in one notation or another, of whatever unit."""
    return any(pattern.fullmatch(text.strip()) for pattern in PATTERNS.values())


def time_of(text: str) -> float:
    """Return the seconds since midnight that a text such as 08:30, 8:30:15.5 or 1:30 PM is; NaN where it is none."""
    found = CLOCK.fullmatch(text.strip())
    if not found:
        return math.nan
    hours, minutes, seconds = int(found[1]), int(found[2]), float(found[3] or 0)
    if found[4]:
        hours = hours % 12 + (12 if found[4][0] in "Pp" else 0)
    return hours * 3600.0 + minutes * 60 + seconds if minutes < 60 and seconds < 60 else math.nan


def reading_of(texts: list[str], decimal: str = ".") -> dict[str, str] | None:
    """Return how distinct texts of one column are read as numbers, times or dates; None where they are text.

    All but markers for missing values must be of one kind and unit. The mark of the decimals is what all of them fit;
    where they fit both, it is that of the rest of the file.

    Args:
        texts: Distinct texts of a column.
        decimal: The decimal mark of the file's other columns.

    Returns:
        The kind (number, time or date) and what is needed to read it: decimal, thousands, format.
    """
    texts = [text.strip() for text in texts if not is_marker(text)]
    if not texts:
        return None
    for mark in (decimal, "," if decimal == "." else "."):
        if reading := _numbers(texts, mark):
            return reading
    if all(CLOCK.fullmatch(text) and not math.isnan(time_of(text)) for text in texts):
        return {"kind": "time"}
    return _dates(texts)


def _numbers(texts: list[str], decimal: str) -> dict[str, str] | None:
    currencies, units, thousands = set(), set(), set()
    for text in texts:
        found = PATTERNS[decimal].fullmatch(text)
        if not found:
            if math.isnan(number_of(text, decimal)):
                return None
            continue
        currencies.add(found["currency"] or "")
        units.add((found["unit"] or "").strip().casefold().rstrip("s."))
        thousands.add(found["group"] or "")
    is_scaled = len(units) > 1 and units <= {"", *MAGNITUDES}
    if len(currencies - {""}) > 1 or (len(units - {""}) > 1 and not is_scaled):
        return None
    reading = {"kind": "number", "decimal": decimal}
    if "." in thousands and not any(decimal in text for text in texts):
        reading["thousands"] = "."
    unit = "magnitudes" if is_scaled else " ".join(sorted((currencies | units) - {""}))
    return reading | {"unit": unit} if unit else reading


def _dates(texts: list[str]) -> dict[str, str] | None:
    if not all(any(c.isdigit() for c in text) and 6 <= len(text) <= 40 for text in texts):
        return None
    import pandas as pd
    from pandas.tseries.api import guess_datetime_format

    column = pd.Series(texts)
    with warnings.catch_warnings(action="ignore"):
        guessed = [guess_datetime_format(text, dayfirst=first) for text in texts[:20] for first in (False, True)]
        of_day = [f"{day}{time}" for day in DAYS for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")]
        for format_ in dict.fromkeys(["ISO8601", *filter(None, guessed), *of_day]):
            known = pd.to_datetime(column[:3], format=format_, errors="coerce", utc=True)
            if known.notna().all() and pd.to_datetime(column, format=format_, errors="coerce", utc=True).notna().all():
                return {"kind": "date", "format": format_}
    return None


def read_values(values: Sequence[object], reading: dict[str, str]) -> np.ndarray | pd.Series:
    """Return distinct values of a column, texts or others, as its reading says; what cannot be read is missing.

    Returns:
        Numbers, truth values (1 and 0), seconds of times and durations as float64; moments as datetime64[us, UTC].
    """
    import numpy as np

    kind = reading["kind"]
    if kind == "date":
        return _moments(values, reading.get("format", "ISO8601"))
    if kind in ("time", "duration"):
        return np.array([_seconds(value) for value in values], dtype=float)
    if kind == "boolean":
        return np.array([TRUTH.get(str(value).strip().casefold(), math.nan) for value in values], dtype=float)
    decimal, is_scaled = reading.get("decimal", "."), reading.get("unit") == "magnitudes"
    return np.array(
        [number_of(value, decimal, is_scaled) if isinstance(value, str) else _float(value) for value in values],
        dtype=float,
    )


def _moments(values: Sequence[object], format_: str) -> pd.Series:
    import pandas as pd

    texts = pd.Series([value.strip() if isinstance(value, str) else None for value in values], dtype="str")
    others = pd.Series([None if isinstance(value, (str, int, float)) else value for value in values], dtype=object)
    with warnings.catch_warnings(action="ignore"):
        read = pd.to_datetime(texts, format=format_, errors="coerce", utc=True).astype("datetime64[us, UTC]")
        return read.fillna(pd.to_datetime(others, errors="coerce", utc=True).astype("datetime64[us, UTC]"))


def _seconds(value: object) -> float:
    """Return the seconds of a time of day or of a duration."""
    if isinstance(value, str):
        import pandas as pd

        seconds = time_of(value)
        return seconds if seconds == seconds else pd.to_timedelta(value, errors="coerce").total_seconds()
    if hasattr(value, "total_seconds"):
        return float(value.total_seconds())
    if isinstance(value, time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    return math.nan


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def category_of(value: object) -> str | None:
    """Return the one text of a category, however a batch was read: "5", 5 and 5.0 are one; None for a missing value."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        text = value.strip()
        if PLAIN.fullmatch(text):
            number = float(text)
            return str(int(text)) if text.lstrip("+-").isdigit() else _number_text(number)
        return {"true": "True", "false": "False", "": None}.get(text.casefold(), value)
    if isinstance(value, float):
        return None if math.isnan(value) else _number_text(value)
    return None if value is None else str(value)


def _number_text(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e300 else repr(number)
