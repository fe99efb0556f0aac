import gzip
import hashlib
from pathlib import Path
from urllib.error import URLError

import pandas as pd
import pytest
import sklearn.datasets

from pipeline import RequestError, covertype, sources
from pipeline.tests.test_covertype import public_layout


def resolve(data, tmp_path, label="Cover_Type"):
    return sources.resolve(str(data), label, tmp_path / "cache")


def test_local_file_is_named_by_its_place_and_the_digest_of_its_content(rows, tmp_path):
    path = tmp_path / "my rows.csv"
    rows.to_csv(path, index=False)
    source = resolve(path, tmp_path)
    assert source.uri == str(path)
    assert source.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("written", ["table.csv", "table.csv.gz", "table.parquet", "no-ending"])
def test_every_kind_of_table_is_taken_whatever_its_name(rows, tmp_path, written):
    path = tmp_path / written
    if "parquet" in written:
        rows.to_parquet(path)
    else:
        text = rows.to_csv(index=False).encode()
        path.write_bytes(text if written == "table.csv" else gzip.compress(text))
    assert resolve(path, tmp_path).uri == str(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_names_of_columns_are_read_in_their_encoding(tmp_path, encoding):
    (tmp_path / "rows.csv").write_text("größe;art\n1;kätzchen\n2;hund\n", encoding=encoding)
    resolve(tmp_path / "rows.csv", tmp_path, label="größe")


def test_sample_is_simulated_here_and_says_so(tmp_path):
    source = resolve("sample:50", tmp_path)
    assert source.name == "sample:50"
    assert "50 simulated rows" in source.description
    assert Path(source.uri).name == "simulated-50.parquet"
    assert len(pd.read_parquet(source.uri)) == 50
    assert [path.name for path in Path(source.uri).parent.iterdir()] == ["simulated-50.parquet"]


def test_sample_keeps_its_fingerprint_from_run_to_run(tmp_path):
    assert resolve("sample:50", tmp_path) == resolve("sample:50", tmp_path)
    assert resolve("sample", tmp_path).name == "sample:20000"


def test_sample_that_is_there_is_never_written_again_and_another_version_stands_beside_it(tmp_path, monkeypatch):
    """A run that reads it fails where the file changes meanwhile."""
    path = Path(resolve("sample:50", tmp_path).uri)
    before = path.stat()
    assert resolve("sample:50", tmp_path).uri == str(path)
    assert path.stat() == before
    monkeypatch.setattr(covertype, "version", lambda: "other")
    assert resolve("sample:50", tmp_path).uri != str(path)
    assert path.stat() == before


def test_file_that_another_process_has_written_meanwhile_stays(tmp_path):
    path = tmp_path / "file"

    def write(file):
        path.write_text("theirs")  # while ours is being written
        file.write_text("ours")

    assert sources._once(path, write).read_text() == "theirs"
    assert [*tmp_path.iterdir()] == [path]


def test_covtype_is_the_public_table_folded_and_kept(rows, tmp_path, monkeypatch):
    calls = []

    def fetch(as_frame):
        calls.append(as_frame)
        return sklearn.utils.Bunch(frame=public_layout(rows))

    monkeypatch.setattr(sklearn.datasets, "fetch_covtype", fetch)
    source = resolve("covtype", tmp_path)
    assert resolve("covtype", tmp_path) == source
    assert calls == [True]
    pd.testing.assert_frame_equal(pd.read_parquet(source.uri).astype(str), rows.astype(str))


def test_covtype_without_a_network_says_what_to_do(tmp_path, monkeypatch):
    def fetch(as_frame):
        raise URLError("Name or service not known")

    monkeypatch.setattr(sklearn.datasets, "fetch_covtype", fetch)
    with pytest.raises(RequestError, match=r"Name or service not known[^$]*--data PATH,\nor take simulated rows"):
        resolve("covtype", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file in .*\nName a CSV, gzipped CSV or Parquet file, or take"),
        (b"", "is empty, 0 bytes"),
        (b"\x7fELF\x02\x01\0\0\0\0", "is a program, a binary file. A table is"),
        (b"a,b\n", "has a header and no rows"),
        (b"a,b", "has a header and no rows"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 field, the header has 2: '3'"),
        (gzip.compress(b"a,b\n1,2\n" * 9999, mtime=0)[:50], "is not a table that can be read"),
        (b"\x1f\x8bnot gzip", "is not a table that can be read"),
        (b"PAR1 cut short", "is not a table that can be read"),
        (b"\x80\xff\0b\n1,2\n", "has a NUL byte in line 1"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as refused:
        resolve(path, tmp_path)
    assert str(refused.value).count("\n") < 5


def test_folder_without_parquet_files_is_refused(tmp_path):
    with pytest.raises(
        RequestError, match=r"is a folder and holds none\. A folder is read as one table of Parquet files"
    ):
        resolve(tmp_path, tmp_path)


def test_folder_of_parquet_is_one_table_with_the_values_of_its_folders_names(rows, tmp_path):
    for area, part in rows.groupby("Wilderness_Area", observed=True):
        (tmp_path / "rows" / f"Wilderness_Area={area}").mkdir(parents=True)
        part.drop(columns="Wilderness_Area").to_parquet(
            tmp_path / "rows" / f"Wilderness_Area={area}" / "part-0.parquet"
        )
    source = resolve(tmp_path / "rows", tmp_path)
    assert (source.uri, source.folder) == (str(tmp_path / "rows"), tmp_path / "rows")
    assert len(source.files) == rows["Wilderness_Area"].nunique()
    assert resolve(tmp_path / "rows", tmp_path, label="Wilderness_Area") == source
    (tmp_path / "rows" / f"Wilderness_Area={area}").rename(tmp_path / "rows" / "Wilderness_Area=Elsewhere")
    assert resolve(tmp_path / "rows", tmp_path).fingerprint != source.fingerprint


def test_folder_goes_up_to_a_bucket_and_down_again(vertex, rows, tmp_path):
    for kind, part in rows.groupby("Cover_Type"):
        (tmp_path / "rows" / f"kind={kind}").mkdir(parents=True)
        part.to_parquet(tmp_path / "rows" / f"kind={kind}" / "part-0.parquet")
    source, sent = sources.upload(resolve(tmp_path / "rows", tmp_path), "trees")
    assert sent == 7
    assert sources.upload(resolve(tmp_path / "rows", tmp_path), "trees")[1] == 0
    found = resolve(source.uri, tmp_path)
    assert found.uri == source.uri
    assert resolve(source.uri.rstrip("/"), tmp_path).uri == source.uri
    here = sources.download(found, tmp_path / "down")
    inside = sorted(path.relative_to(here.uri).as_posix() for path in here.files)
    assert inside == [f"kind={kind}/part-0.parquet" for kind in range(7)]
    assert pd.read_parquet(here.uri)["kind"].nunique() == 7


@pytest.mark.parametrize("rows", ["sample:0", "sample:x", "sample:-5", "sample:1.5", "sample:", "sample:13"])
def test_sample_takes_a_whole_number_of_rows(tmp_path, rows):
    with pytest.raises(RequestError, match="takes a whole number of rows from 14 on, two for each class"):
        resolve(rows, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_label_that_is_no_column_names_the_columns_and_suggests_the_nearest(tmp_path):
    with pytest.raises(RequestError, match=r"Did you mean 'Cover_Type'\?\nIts columns are: Elevation, Aspect"):
        resolve("sample", tmp_path, label="covertype")
    with pytest.raises(RequestError, match=r"'zzz' is not a column of sample\.\nIts columns are"):
        resolve("sample", tmp_path, label="zzz")
