"""A gs:// address means the same for the fingerprint, which lists objects, as for the step, which finds files."""

import pytest

from pipeline import storage
from steps.tables.files import table_files

NAMES = (
    "rows/a.csv",
    "rows/b.csv",
    "rows/rows[1].csv",
    "rows/rows1.csv",
    "rows/.hidden.csv",
    "rows/one/a.csv",
    "rows/one/two/a.csv",
    "rows/one/two/three/b.csv",
    "rows/.git/a.csv",
    "rows-2/a.csv",
    "rowsa.csv",
)
PLACEHOLDERS = ("rows/one/", "rows/empty/")  # of the console, for folders: objects that are no files
PATTERNS = (
    "rows/a.csv",
    "rows/*.csv",
    "rows/*",
    "rows/?.csv",
    "rows/[ab].csv",
    "rows/[!a].csv",
    "rows/rows[1].csv",  # there is an object of this very name
    "rows/*/*.csv",
    "rows/*/*",
    "rows/one/**/*.csv",
    "rows/**/a.csv",
    "rows/**",
    "**/a.csv",
    "rows*/a.csv",
    "rows*",
    "rows/.*.csv",
    "rows/.git/*",
    "rows/o*/t*/a*",
)


@pytest.fixture
def objects(storage_emulator, monkeypatch, tmp_path):
    """Nested objects, and a folder where they are files, as in a bucket's mount."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_emulator)
    storage.client.cache_clear()
    bucket = storage.client().bucket("trees")
    for name in (*NAMES, *PLACEHOLDERS):
        content = "" if name.endswith("/") else f"x,kind\n1,{name}\n"
        bucket.blob(f"of-globs/{name}").upload_from_string(content)
        path = tmp_path / "trees" / "of-globs" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if content:
            path.write_text(content)
    yield tmp_path
    storage.client.cache_clear()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_glob_of_objects_names_those_that_the_step_reads(objects, pattern):
    found = [f"{blob.bucket.name}/{blob.name}" for blob in storage.find(f"gs://trees/of-globs/{pattern}")]
    read = [path.removeprefix(f"{objects}/") for path in table_files(f"{objects}/trees/of-globs/{pattern}")]
    assert found == read
    assert found


def test_glob_that_names_nothing_is_empty_for_both(objects):
    assert storage.find("gs://trees/of-globs/rows/empty/*") == []
    with pytest.raises(ValueError, match="There is no file"):
        table_files(f"{objects}/trees/of-globs/rows/empty/*")
