"""Tables of other formats than CSV and Parquet, in a bucket."""

import bz2
import io
import zipfile

import pandas as pd
import pytest

from pipeline import sources
from steps.tables.options import ReadOptions
from steps.tables.reading import open_table
from steps.tests.test_files_as_they_come import rows_of, xlsx

FRAME = pd.DataFrame({"size": [1, 2], "kind": ["cat", "dog"]})


def zipped():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("rows.csv", FRAME.to_csv(index=False))
    return content.getvalue()


def feather():
    content = io.BytesIO()
    FRAME.to_feather(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.xlsx", xlsx(("one", rows_of(FRAME)))),
        ("rows.zip", zipped()),
        ("rows.csv.bz2", bz2.compress(FRAME.to_csv(index=False).encode())),
        ("rows.json", FRAME.to_json(orient="records").encode()),
        ("rows.feather", feather()),
        ("rows.txt", b"sep=;\nsize;kind\n1;cat\n2;dog\n"),
    ],
)
def test_table_of_any_format_goes_up_to_a_bucket_and_down_again(vertex, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    here = sources.resolve(str(tmp_path / name), "kind", tmp_path / "cache")
    there, sent = sources.upload(here, "trees")
    assert sent == 1
    found = sources.resolve(there.uri, "kind", tmp_path / "cache")
    down = sources.download(found, tmp_path / "down")
    table = open_table(down.uri, str(tmp_path), ReadOptions("kind"), fingerprint=found.fingerprint)
    assert table.dataset.to_table().to_pydict() == FRAME.to_dict("list")
