"""What people write for a number, a time or a date."""

import math

import pytest

from steps.cells import category_of, number_of, reading_of, time_of


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("5", ".", 5),
        ("+5", ".", 5),
        (" -5.25 ", ".", -5.25),
        ("\u2212" + "5", ".", -5),
        (".5", ".", 0.5),
        ("5.", ".", 5),
        ("1e-3", ".", 0.001),
        ("$1,234.50", ".", 1234.5),
        ("-$1,234.50", ".", -1234.5),
        ("$-3", ".", -3),
        ("US$ 7", ".", 7),
        ("(12.50)", ".", -12.5),
        ("($1,000)", ".", -1000),
        ("12-", ".", -12),
        ("12 %", ".", 12),
        ("12.5%", ".", 12.5),
        ("5 kg", ".", 5),
        ("7.5km/h", ".", 7.5),
        ("20 m\u00b2", ".", 20),
        ("1 234", ".", 1234),
        ("1\u00a0234.5", ".", 1234.5),
        ("1\u202f234\u202f567", ".", 1_234_567),
        ("1'234.5", ".", 1234.5),
        ("12,34,567.8", ".", 1_234_567.8),
        ("\u20ac99", ".", 99),
        ("99 \u20ac", ",", 99),
        ("1.234,56", ",", 1234.56),
        ("1.234.567", ",", 1_234_567),
        ("1 234,5", ",", 1234.5),
        ("19,47", ",", 19.47),
        ("1,5e3", ",", 1500),
        ("0x0316", ".", 0x316),
        ("-inf", ".", -math.inf),
    ],
)
def test_number_is_read(text, decimal, number):
    assert number_of(text, decimal) == pytest.approx(number, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["", "-", "five", "5-10", "555-1234", "1.2.3", "1,23", "12:30", "2024-01-05", "A12", "C2702", "1/2", "5 6", "()"],
)
def test_what_is_no_number_is_none(text):
    assert math.isnan(number_of(text))


@pytest.mark.parametrize(
    ("texts", "decimal", "reading"),
    [
        (["1,234", "900"], ".", {"kind": "number", "decimal": "."}),
        (["1,234", "9,5"], ".", {"kind": "number", "decimal": ","}),
        (["1.234", "900"], ".", {"kind": "number", "decimal": "."}),
        (["1.234", "900"], ",", {"kind": "number", "decimal": ",", "thousands": "."}),
        (["1.234", "9.5"], ",", {"kind": "number", "decimal": "."}),
        (["1.234,50", "9,5"], ".", {"kind": "number", "decimal": ","}),
        (["3 kg", "4 kg", "?"], ".", {"kind": "number", "decimal": ".", "unit": "kg"}),
        (["1 star", "2 stars"], ".", {"kind": "number", "decimal": ".", "unit": "star"}),
        (["3 kg", "400 g"], ".", None),
        (["$5", "\u20ac5"], ".", None),
        (["5K", "1.2M", "7"], ".", {"kind": "number", "decimal": ".", "unit": "magnitudes"}),
        (["A1", "B2"], ".", None),
        (["5", "five"], ".", None),
        (["?", "-"], ".", None),
        (["08:30", "17:05:10"], ".", {"kind": "time"}),
        (["1:30 PM", "9:05 am"], ".", {"kind": "time"}),
        (["31.12.2024", "01.02.2024"], ".", {"kind": "date", "format": "%d.%m.%Y"}),
        (["12/31/2024", "02/01/2024"], ".", {"kind": "date", "format": "%m/%d/%Y"}),
        (["31/12/2024", "12/31/2024"], ".", None),
        (["2024-01-05", "2024-01-05T10:00:00Z"], ".", {"kind": "date", "format": "ISO8601"}),
        (["11/4/14", "6/19/14"], ".", {"kind": "date", "format": "%m/%d/%y"}),
        (["26-Oct-12", "1-May-09"], ".", {"kind": "date", "format": "%d-%b-%y"}),
        (["Jun 12 1998", "May 3 2001"], ".", {"kind": "date", "format": "%b %d %Y"}),
        (["31/12/2024 9:05", "1/2/2024 10:30"], ".", {"kind": "date", "format": "%d/%m/%Y %H:%M"}),
        (["3 May 2026", "14 June 2026"], ".", {"kind": "date", "format": "%d %B %Y"}),
    ],
)
def test_column_is_read_by_all_of_its_texts(texts, decimal, reading):
    assert reading_of(texts, decimal) == reading


@pytest.mark.parametrize(
    ("text", "seconds"), [("08:30", 30_600), ("8:05:01.5", 29_101.5), ("12:00 AM", 0), ("36:15", 130_500)]
)
def test_time_is_read(text, seconds):
    assert time_of(text) == seconds


@pytest.mark.parametrize(
    ("values", "category"),
    [
        (["5", 5, 5.0, " 5 ", "5.0", "+5", "05"], "5"),
        (["0.10", 0.1, "1e-1"], "0.1"),
        (["True", True, "TRUE", "true"], "True"),
        ([None, float("nan"), "", "  "], None),
        (["A 5"], "A 5"),
        ([str(2**70), 2**70], str(2**70)),
    ],
)
def test_category_is_one_however_it_was_read(values, category):
    assert {category_of(value) for value in values} == {category}
