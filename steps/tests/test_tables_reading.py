import csv
import io
import itertools

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pyarrow.csv import write_csv

from steps.tables.csv_files import record_end
from steps.tables.dialect import Dialect
from steps.tables.reading import open_table
from steps.tables.sniffing import csv_dialect
from steps.tables.types import one_schema


@pytest.fixture
def read(tmp_path):
    def of(content, **settings):
        (tmp_path / "table.csv").write_bytes(content)
        table = open_table(str(tmp_path / "table.csv"), str(tmp_path), **settings)
        return table.dataset.to_table(), table

    return of


@pytest.mark.parametrize(
    ("head", "delimiter", "decimal_point"),
    [
        (b"a,b\n1,2\n", ",", "."),
        (b"a;b\n1,5;2\n", ";", ","),
        (b"a;b\n1,5;2.5\n", ";", "."),
        (b"a;b\n1,500;2\n", ";", "."),
        (b"a;b\n1,500,000;2,5\n", ";", "."),
        (b"a\tb\n-1,25\t2\n", "\t", ","),
        (b"a|b|c\n1|2|3\n", "|", "."),
        (b'a,b\n"1;2;3;4",2\n', ",", "."),
        (b"a;b, c\n1;2\n", ";", "."),
        (b"a,b,c\n1,2,3\n1,2\n", ",", "."),
        (b"kind\ncat\n", ",", "."),
    ],
)
def test_dialect_is_the_one_in_which_the_rows_have_the_fields_of_the_header(head, delimiter, decimal_point):
    found = csv_dialect("table.csv", head, is_whole=True)
    assert (found.delimiter, found.decimal_point) == (delimiter, decimal_point)


FIELDS = ["1", "", '"a"', '"a,b"', '"a\nb"', '"say ""hi"""', '""', "5'11\"", '"\n"']


@pytest.mark.parametrize("names", [*itertools.product(FIELDS, repeat=2)])
def test_a_record_ends_where_python_s_own_reader_ends_it(names):
    """Whatever the quotes, a block that is cut at its last record loses and invents none."""
    text = "".join(f"{first},{second}\n" for first, second in (names, names[::-1], names))
    rows = [*csv.reader(io.StringIO(text, newline=""))]
    for length in range(len(text) + 1):
        end, open_at = record_end(text[:length].encode(), Dialect("utf-8", ","))
        whole = [*csv.reader(io.StringIO(text[:end], newline=""))]
        assert whole == rows[: len(whole)]
        assert open_at < 0 or text[open_at] == '"'
    assert record_end(text.encode(), Dialect("utf-8", ",")) == (len(text), -1)


def test_blocks_read_one_after_another_give_what_one_reading_gives(tmp_path):
    rng = np.random.default_rng(0)
    n = 1_000_000
    table = pa.table(
        {
            "number": rng.normal(size=n).round(6),
            "whole": rng.integers(0, 1000, n),
            "word": rng.choice(["a", "b, c", "d\ne"], n),
            "many": [f"word {place}" for place in rng.integers(0, 400, n)],
            "kind": rng.choice(["cat", "dog"], n),
        }
    )
    write_csv(table, tmp_path / "long.csv")
    assert (tmp_path / "long.csv").stat().st_size > 1 << 25  # more than one block
    found = open_table(str(tmp_path / "long.csv"), str(tmp_path)).dataset.to_table()
    for name in ("word", "many", "kind"):
        assert found.column(name).cast(pa.string()).equals(table.column(name))
    assert found.drop_columns(["word", "many", "kind"]).equals(table.drop_columns(["word", "many", "kind"]))


def test_what_does_not_fit_into_memory_goes_through_the_folder_in_its_order(read, tmp_path):
    content = b"row,kind\n" + b"".join(b"%d,cat\n" % row for row in range(3_200_000))
    whole, _ = read(content)
    (tmp_path / "spilled").mkdir()
    seen = open_table(str(tmp_path / "table.csv"), str(tmp_path / "spilled"), in_memory=1000)
    table = seen.dataset
    assert len([*(tmp_path / "spilled").iterdir()]) == 2
    assert not seen.is_part
    assert table.schema == whole.schema
    assert table.to_table(columns=["row"]).column(0).to_pylist() == [*range(3_200_000)]


def test_part_of_a_table_is_called_a_part(read, tmp_path):
    content = b"x,kind\n" + b"123456,cat\n" * 4_000_000
    table, seen = read(content, most_bytes=1 << 20)
    assert seen.is_part
    assert 1_000_000 < table.num_rows < 4_000_000
    _, seen = read(b"x,kind\n" + b"123456,cat\n" * 10_000, most_bytes=1 << 21)
    assert not seen.is_part

    parquet.write_table(table, tmp_path / "long.parquet")
    seen = open_table(str(tmp_path / "long.parquet"), str(tmp_path), most_bytes=1000)
    assert seen.is_part
    assert 1000 <= seen.dataset.count_rows() < 1_000_000


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        ((pa.int64(), pa.int64()), pa.int64()),
        ((pa.int64(), pa.null()), pa.int64()),
        ((pa.int64(), pa.float64()), pa.float64()),
        ((pa.date32(), pa.timestamp("s")), pa.timestamp("us")),
        ((pa.dictionary(pa.int32(), pa.string()), pa.string()), pa.string()),
        ((pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.string())), pa.string()),
        ((pa.int64(), pa.string()), None),
        ((pa.bool_(), pa.int64()), None),
        ((pa.bool_(), pa.float64()), None),
        ((pa.date32(), pa.float64()), None),
    ],
)
def test_type_of_a_column_is_one_that_all_values_have(kinds, kind):
    schema, mixed = one_schema([pa.schema([("x", found)]) for found in kinds])
    assert schema.field("x").type == (kind or pa.string())
    assert mixed == (set() if kind else {"x"})
