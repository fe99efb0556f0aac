"""Files as people bring them: what each is read as, and that pandas reads the same with the arguments that are told."""

import bz2
import datetime
import gzip
import io
import lzma
import pickle
import re
import sqlite3
import tarfile
import zipfile
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, orc, parquet

from pipeline import RequestError, sources
from steps.tables.options import ReadOptions
from steps.tables.reading import open_table, table_head


@pytest.fixture
def read(tmp_path):
    """Write a file and read it; what is known before a run is what is read."""

    def of(content, name="table.csv", label="kind", **options):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        options = ReadOptions(label, **options)
        table = open_table(str(path), str(tmp_path), options)
        with path.open("rb") as file:
            assert table_head(name, file, options) == (table.dataset.schema.names, table.dataset.count_rows() > 0)
        return table.dataset.to_table(), table.notes

    return of


def same(table, frame):
    """Check that a table holds what a frame of pandas does."""
    frame = frame.reset_index(drop=True)
    found = table.to_pandas()
    assert [*found] == [*map(str, frame)]
    for name, of_pandas in zip(found, frame, strict=True):
        ours, theirs = found[name].astype(object), frame[of_pandas].astype(object)
        for one, other in zip(ours, theirs, strict=True):
            assert (pd.isna(one) and pd.isna(other)) or one == other, (name, one, other)


def by_pandas(content, notes, function="read_csv"):
    """Read a file as the note says that pandas does."""
    told = [found[1] for note in notes if (found := re.search(rf"pd\.{function}\(…,? ?(.*)\)$", note))]
    content = io.BytesIO(content.encode() if isinstance(content, str) else content)
    arguments = [] if not told else eval(f"dict({told[-1]})", {"dict": dict, "range": range})
    return getattr(pd, function)(content, **dict(arguments))


LONG = "lorem ipsum " * 100_000

AS_WRITTEN = {
    "sep= of Excel": (
        "sep=;\nsize;kind\n1,5;cat\n2,5;dog\n",
        ["size", "kind"],
        2,
        "its first line says what separates",
    ),
    "sep= with another mark": ("sep=^\nsize^kind\n1.5^cat\n2^dog\n", ["size", "kind"], 2, "separated by '^'"),
    "title": (
        "Report of 2026\n\nsize,kind,x\n1,cat,1\n2,dog,3\n",
        ["size", "kind", "x"],
        2,
        "1 line before the header",
    ),
    "title of two lines": (
        "Trees\nof 2026\nsize;kind;x\n1;cat;1\n2;dog;3\n",
        ["size", "kind", "x"],
        2,
        "2 lines before",
    ),
    "title with a comma": ("Report, 2026\nsize,kind,x\n1,cat,1\n2,dog,3\n", ["size", "kind", "x"], 2, "1 line before"),
    "title as spreadsheets write it": (
        "Report,,\n,,\nsize,kind,x\n1,cat,1\n2,dog,3\n",
        ["size", "kind", "x"],
        2,
        "2 lines",
    ),
    "comments": ("# a\n# b, c\nsize,kind\n1,cat\n2,dog\n", ["size", "kind"], 2, "lines of comments skipped"),
    "comments, later ones too": ("# a\nsize,kind\n1,cat\n# two\n2,dog\n#end\n", ["size", "kind"], 2, "comment='#'"),
    "comments of another kind": ("// a\nsize;kind\n1;cat\n2;dog\n", ["size", "kind"], 2, "skiprows=1"),
    "comments above colours": ("# a\ncolor,kind\n#fff,1\n#aaa,2\n", ["color", "kind"], 2, "skiprows=1"),
    "name that begins as comments do": ("#id,size,kind\n1,2,cat\n3,2,dog\n", ["#id", "size", "kind"], 2, ""),
    "header in a comment": (
        "# by me\n# x y kind\n1 2 0\n3 4 1\n5 6 0\n",
        ["x", "y", "kind"],
        3,
        "its header is a comment",
    ),
    "header of R": ('size,kind\n"1",5,cat\n"2",6,dog\n', ["size", "kind"], 2, "which the header has no cell for"),
    "table of R": ('"size" "kind"\n"1" 5 "a cat"\n"2" 6 "dog"\n', ["size", "kind"], 2, "separated by blanks"),
    "delimiter at the end of rows": ("size,kind\n5,cat,\n6,dog,\n", ["size", "kind"], 2, "index_col=False"),
    "delimiter at the end of all": ("size,kind,\n5,cat,\n6,dog,\n", ["size", "kind", "Unnamed: 2"], 2, ""),
    "names that are blank": ("size,,kind,\n1,2,cat,\n2,3,dog,\n", ["size", "Unnamed: 1", "kind", "Unnamed: 3"], 2, ""),
    "spaces before quotes": (
        'x, note, kind\n5, "a, b", cat\n6, "c", dog\n',
        ["x", "note", "kind"],
        2,
        "skipinitialspace",
    ),
    "spaces before the label": ("x, y, kind\n5, a, cat\n6, c, dog\n", ["x", "y", "kind"], 2, "skipinitialspace=True"),
    "spaces around": ("x ; kind ; y\n5 ; cat ; 1\n6 ; dog ; 2\n", ["x", "kind", "y"], 2, "around the delimiter"),
    "blanks": ("  name    size  kind\n  a   1.5 cat\n  bb  2.5 dog\n", ["name", "size", "kind"], 2, "sep='\\\\s+'"),
    "backslashes": (
        'note,kind\n"he ""says"" \\"hi\\", ok",cat\n"x",dog\n',
        ["note", "kind"],
        2,
        "escaped by a backslash",
    ),
    "backslashes and line breaks": ('note,kind\n"he \\"a\\"\nb",cat\n"x",dog\n', ["note", "kind"], 2, "escapechar="),
    "paths that end in backslashes": ('note,kind\n"C:\\d\\",cat\n"x",dog\n', ["note", "kind"], 2, ""),
    "comma in a name": ("Preis, EUR;kind\n1,5;cat\n2,5;dog\n", ["Preis, EUR", "kind"], 2, "separated by semicolon"),
    "commas in names": ("P, x;M, y;kind\n1,5;2,5;cat\n2,5;3,5;dog\n", ["P, x", "M, y", "kind"], 2, "semicolon"),
    "units": ("time,speed,kind\ns,m/s,\n0.5,2,cat\n1,1.5,dog\n2,3,cat\n", ["time", "speed", "kind"], 3, "skiprows=[1]"),
    "codes above names": (",X1,X2\nID,age,kind\n1,24,1\n2,26,0\n3,1,1\n", ["ID", "age", "kind"], 3, "header=1"),
    "header of two rows": ("a,b\nx,kind\n1,cat\n2,dog\n1,dog\n", ["x", "kind"], 3, "of which the second is taken"),
    "title above a header of two": ("T\ntime,v,kind\ns,m,\n1,2,cat\n2,3,dog\n", ["time", "v", "kind"], 2, "[0, 2]"),
    "title above a header of pandas": (
        "first,a,a,b\nsecond,x,y,kind\nid,,,\n0,1,2,cat\n1,2,3,dog\n2,2,3,dog\n",
        ["second", "x", "y", "kind"],
        3,
        "header=1, skiprows=[2]",
    ),
    "groups above names": (",2019,,2020\nid,a,b,kind\n1,2,3,4\n2,2,3,4\n", ["id", "a", "b", "kind"], 2, "header=1"),
    "colons": ("a:kind\n1:cat\n2:dog\n", ["a", "kind"], 2, "sep=':'"),
    "semicolons in a column": ("tags;x,kind\na;b,cat\nc;d,dog\n", ["tags;x", "kind"], 2, ""),
    "blank lines": ("\n\na,kind\n\n1,cat\n\n2,dog\n", ["a", "kind"], 2, ""),
    "header that comes again": ("a,kind\n1,cat\na,kind\n2,dog\n", ["a", "kind"], 3, ""),
    "UTF-16 without a mark": ("size,kind\n1,cat\n2,dog\n".encode("utf-16-le"), ["size", "kind"], 2, "is UTF-16"),
    "cell above 1 MiB": (f"text,x,kind\n{LONG},1,cat\n" + "b,2,dog\n" * 9, ["text", "x", "kind"], 10, ""),
    "quoted cell above 1 MiB": (f'text,kind\n"{LONG}\n,",cat\n' + "b,dog\n" * 9, ["text", "kind"], 10, ""),
}


@pytest.mark.parametrize("case", AS_WRITTEN)
def test_text_is_read_as_it_is_meant_and_pandas_reads_it_so_with_what_is_told(case, read):
    content, names, n_rows, told = AS_WRITTEN[case]
    table, notes = read(content)
    assert (table.column_names, table.num_rows) == (names, n_rows)
    assert told in "\n".join(notes)
    same(table, by_pandas(content, notes))


CELLS = [
    "a",
    "b c",
    "x, y",
    "d;e",
    'q"r',
    "5'11\"",
    "#1",
    "10%",
    "$5",
    "N/A?",
    "-",
    "Ünï",
    "a|b",
    "C:\\d\\",
    "x\ny",
    " in ",
]
NAMES = ["age", "Size (cm)", "note", "price, EUR", "2019", "2020", "größe", "id", "date", "a;b", "#n", "%", "col|bar"]


@pytest.mark.parametrize("seed", range(60))
def test_ordinary_text_is_read_as_pandas_reads_it_by_itself(read, seed):
    """Nothing of what is done for odd files is done for others: all rows and names of pandas, no note."""
    rng = np.random.default_rng(seed)
    n_rows = int(rng.integers(2, 40))
    columns = {"kind": rng.choice(["cat", "dog", "Zürich"], n_rows)}
    for name in rng.permutation(NAMES)[: rng.integers(1, 7)]:
        kinds = [rng.integers(-5, 100, n_rows), rng.normal(size=n_rows), rng.choice(CELLS, n_rows)]
        columns[str(name)] = kinds[rng.integers(0, 3)]
    frame = pd.DataFrame(columns)[rng.permutation([*columns])]
    delimiter = str(rng.choice([*",;\t|"]))
    content = frame.to_csv(index=False, sep=delimiter, quoting=int(rng.integers(0, 2)))
    table, notes = read(content)
    assert not [note for note in notes if "separated" not in note and "the same with pandas" not in note]
    same(table, by_pandas(content, notes))


def test_header_of_two_rows_is_joined_where_neither_has_names_of_its_own(read):
    content = "a,a,kind\nx,y,\n1,2,cat\n2,1,dog\n3,1,dog\n"
    table, notes = read(content)
    assert table.column_names == ["a_x", "a_y", "kind"]
    assert table.column(2).to_pylist() == ["cat", "dog", "dog"]
    assert "header=[0, 1]" in notes[-1]


@pytest.mark.parametrize(
    "content",
    [
        "x,kind\nn.a.,cat\n1,dog\n2,cat\n",
        "x,y,kind\nunknown,missing,cat\n1,2,dog\n2,3,cat\n",
        "x,kind\na,b\nc,d\na,d\n",
        "x,y,kind\nsmall,big,cat\n1,2,cat\n2,3,dog\n",
    ],
)
def test_row_of_words_is_data_where_it_may_be(read, content):
    assert read(content)[0].num_rows == 3


def test_null_of_a_database_stays_apart_from_what_a_backslash_escapes(read):
    table, _ = read('note,kind\n"say \\"a\\" now",cat\n\\N,dog\n')
    assert table.column(0).to_pylist() == ['say "a" now', "\\N"]


@pytest.mark.slow
def test_header_of_40_000_names_above_1_mib_is_read(read):
    names = [*(f"a column with a long name, number {place}".replace(",", "") for place in range(40_000)), "kind"]
    table, _ = read(",".join(names) + "\n" + (",".join(["1"] * 40_000) + ",cat\n") * 2)
    assert (table.column_names, table.num_rows) == (names, 2)


def test_few_bytes_of_another_encoding_leave_the_rest_in_utf_8(read):
    content = "größe,kind\n1,süß\n2,herb\n3,süß\n".encode() + b"1,M\xfcnchen\n2,a\x96b\n"
    table, notes = read(content)
    assert table.column_names == ["größe", "kind"]
    assert table.column(1).to_pylist() == ["süß", "herb", "süß", "M\ufffdnchen", "a\ufffdb"]
    assert "UTF-8 but for bytes in lines 5, 6, read as \ufffd" in notes[0]
    same(table, by_pandas(content, notes))


def test_wrong_bytes_in_a_name_are_told(read):
    content = b"gr\xfc\xdfe,kind\n" + "1,süß\n2,herb\n".encode()
    table, notes = read(content)
    assert table.column_names == ["gr\ufffd\ufffde", "kind"]
    assert "bytes in line 1, read" in notes[0]
    same(table, by_pandas(content, notes))


def test_wrong_bytes_in_a_later_block_are_named_by_their_lines(tmp_path):
    path = tmp_path / "long.csv"
    line = "1,süß\n".encode()
    path.write_bytes(b"x,kind\n" + line * 5_000_000 + b"2,s\xfc\xdf\n" + line)
    table = open_table(str(path), str(tmp_path))
    assert "bytes in line 5,000,002, " in table.notes[0]
    counted = table.dataset.to_table(columns=["kind"]).column(0).value_counts().to_pylist()
    assert {entry["values"]: entry["counts"] for entry in counted} == {"süß": 5_000_001, "s\ufffd\ufffd": 1}


def test_text_of_which_more_is_not_utf_8_is_windows_1252(read):
    content = "größe,kind\n1,süß\n2,Ã¼\n".encode("cp1252")
    table, notes = read(content)
    assert table.column(1).to_pylist() == ["süß", "Ã¼"]
    assert "is not UTF-8: read as Windows-1252" in notes[0]
    same(table, by_pandas(content, notes))


WORDS = "x,kind\nNone,cat\n1,NA\n<NA>,dog\n,cat\n"


def test_words_for_missing_values_are_those_of_pandas_or_those_that_are_said(read):
    table, _ = read(WORDS)
    assert table.to_pydict() == {"x": [None, 1, None, None], "kind": ["cat", None, "dog", "cat"]}
    table, _ = read(WORDS, na_values=("None", "<NA>"))
    assert table.to_pydict() == {"x": [None, 1, None, None], "kind": ["cat", "NA", "dog", "cat"]}
    table, _ = read(WORDS, na_values=())
    assert table.to_pydict() == {"x": ["None", "1", "<NA>", None], "kind": ["cat", "NA", "dog", "cat"]}
    table, _ = read("x,kind\n1.5,a\nnan,b\n", na_values=())
    assert table.schema.field("x").type == pa.float64()


# files without a header

ADULT = "39,State-gov,<=50K\n50,Private,<=50K\n30,State-gov,>50K\n"
KDD = "0,tcp,0,0,normal\n1,udp,3,0,smurf\n0,tcp,4,5,normal\n"


@pytest.mark.parametrize(
    ("content", "options", "names", "n_rows"),
    [
        (ADULT, {"label": "2"}, ["0", "1", "2"], 3),
        (ADULT, {"label": "2", "header": "false"}, ["0", "1", "2"], 3),
        (ADULT, {"label": "2", "header": "False"}, ["0", "1", "2"], 3),
        (ADULT, {"label": "income", "names": ("age", "work", "income")}, ["age", "work", "income"], 3),
        ("a,b\n" + "1,2\n" * 2, {"label": "y", "names": ("x", "y"), "header": "true"}, ["x", "y"], 2),
        ("a,b\n" + "1,2\n" * 2, {"label": "b", "names": ("a", "b")}, ["a", "b"], 2),
        (ADULT, {"label": "<=50K", "header": "true"}, ["39", "State-gov", "<=50K"], 2),
        (KDD, {"label": "4"}, [*"01234"], 3),
        ("ham\tat one\nspam\tbuy\nham\tno\n", {"label": "0"}, ["0", "1"], 3),
        ("a 1.5 cp\nb 2.5 im\nc 1.0 cp\n", {"label": "2"}, ["0", "1", "2"], 3),
        ('18.0   8\t"chevrolet malibu"\n15.0   8\t"buick skylark"\n18.0   6\t"pinto"\n', {"label": "1"}, [*"012"], 3),
        ("a 6 1.5 2\nb 7 2.5 1\nb 8 3.5 2\na 6 3.0 2\n", {"label": "3"}, [*"0123"], 4),
        ("A 2 3.5 1\nB 1 4.5 2\nC 3 3.5 1\n", {"label": "3"}, [*"0123"], 3),
        ("2026-01-01,a\n2026-01-02,b\n", {"label": "1"}, ["0", "1"], 2),
        # names that are numbers
        ("0,1,2\n0.5,1,1\n0.5,1,0\n", {"label": "2"}, ["0", "1", "2"], 2),
        ("country,2019,2020,kind\nDE,1,2,a\nFR,2,3,b\n", {"label": "kind"}, ["country", "2019", "2020", "kind"], 2),
        ("2019,2020,2021,kind\n1,2,3,a\n1,2,3,b\n", {"label": "kind"}, ["2019", "2020", "2021", "kind"], 2),
    ],
)
def test_file_without_a_header_is_recognised_by_its_label_and_values(read, content, options, names, n_rows):
    table, notes = read(content, **options)
    assert (table.column_names, table.num_rows) == (names, n_rows)
    assert not [note for note in notes if "looks like values" in note]
    if n_rows == 3:
        assert "no header, the columns" in notes[0]
        same(table, by_pandas(content, notes))


@pytest.mark.parametrize(
    ("content", "label", "told"),
    [
        (
            ADULT,
            "<=50K",
            "like names: '39', 'State-gov', '<=50K'. If it is data, say --set header=false and --label 2,",
        ),
        ("1,14.2,1.7\n1,13.2,1.7\n2,12.2,3\n", "1", "--set header=false and --label 0,"),
        ("0.2,5.7,-1\n0.1,4.7,-1\n0.2,1.1,1\n", "-1", "--set header=false and --label 2,"),
    ],
)
def test_label_out_of_a_first_row_of_values_is_taken_and_told(read, content, label, told):
    table, notes = read(content, label=label)
    assert table.num_rows == 2
    assert told in notes[-1]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (ADULT, {"label": "income"}, "looks like values, not like names: '39', .* --label with one of 0 to 2,"),
        (KDD, {"label": "normal"}, "looks like values, .* --set header=false and --label 4, as"),
        (ADULT, {"label": "a", "names": ("a", "b")}, "has 3 columns and --set names gives 2 names. Give one for each"),
        (ADULT, {"label": "a", "header": "no"}, "header is 'no'. Say --set header=true, --set header=false, or"),
        ("a,a,kind\n1,2,cat\n3,4,dog\n", {}, "columns occur more than once: 'a'. Rename them."),
    ],
)
def test_first_row_of_values_without_the_label_is_refused_with_what_to_say(read, tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message) as refused:
        read(content, **options)
    assert str(refused.value).count("\n") < 5
    options = {"label": "kind", **options}
    with pytest.raises(RequestError, match=message):
        sources.resolve(str(tmp_path / "table.csv"), cache_dir=tmp_path, **options)


def test_all_files_of_a_glob_are_without_a_header_as_the_first_is(tmp_path):
    (tmp_path / "1.csv").write_text("1.5,a\n2.5,b\n1.5,a\n")
    (tmp_path / "2.csv").write_text("1,a\n2.5,b\n1.5,a\n")
    table = open_table(str(tmp_path / "*.csv"), str(tmp_path), ReadOptions("1"))
    assert (table.dataset.schema.names, table.dataset.count_rows()) == (["0", "1"], 6)


# other formats


def packed_zip(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


SMALL = "size,kind\n1,cat\n2,dog\n"


@pytest.mark.parametrize(
    "content",
    [
        bz2.compress(SMALL.encode()),
        lzma.compress(SMALL.encode()),
        gzip.compress(SMALL.encode()),
        packed_zip(**{"rows.csv": SMALL}),
        packed_zip(**{"folder/": "", "folder/rows.csv": SMALL, "__MACOSX/folder/._rows.csv": "x"}),
        packed_zip(**{"rows.json": '[{"size": 1, "kind": "cat"}, {"size": 2, "kind": "dog"}]'}),
        gzip.compress(b'{"size": 1, "kind": "cat"}\n{"size": 2, "kind": "dog"}\n'),
    ],
    ids=["bzip2", "xz", "gzip", "zip", "zip of a folder", "zip of JSON", "gzip of JSON"],
)
def test_packed_text_is_read(read, content):
    assert read(content)[0].to_pydict() == {"size": [1, 2], "kind": ["cat", "dog"]}


FRAME = pd.DataFrame(
    {
        "whole": [1, 2, 3],
        "number": [1.5, None, -2.0],
        "flag": [True, False, True],
        "word": ["a", None, "NA and b"],
        "at": pd.to_datetime(["2026-01-01 00:00", "2026-02-01 10:30", "2026-03-01 00:00"]),
        "kind": ["cat", "dog", "cat"],
    }
)


def xlsx(*sheets, merged=""):
    """Return a workbook as Excel writes it, of sheets with a name and rows each; a datetime is a date of the format."""

    def cell(value, place):
        if isinstance(value, bool):
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        if isinstance(value, datetime.datetime):
            days = (value - datetime.datetime(1899, 12, 30)) / datetime.timedelta(days=1)
            return f'<c r="{place}" s="1"><v>{days!r}</v></c>'
        if isinstance(value, (int, float)):
            return f'<c r="{place}"><v>{value!r}</v></c>'
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'

    office = "http://schemas.openxmlformats.org"
    main, related = f"{office}/spreadsheetml/2006/main", f"{office}/officeDocument/2006/relationships"
    package = f"{office}/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
        f'Type="{related}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{related}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, (name, _) in enumerate(sheets, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(
            f'<Relationship Id="r{i}" Type="{related}/worksheet" Target="worksheets/sheet{i}.xml"/>'
            for i in range(1, len(sheets) + 1)
        )
        + f'<Relationship Id="s" Type="{related}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs>'
        "</styleSheet>",
    }
    for i, (_, rows) in enumerate(sheets, 1):
        lines = "".join(
            f'<row r="{y}">'
            + "".join(cell(value, f"{chr(65 + x)}{y}") for x, value in enumerate(row) if value is not None)
            + "</row>"
            for y, row in enumerate(rows, 1)
        )
        spans = f'<mergeCells count="1"><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
        files[f"xl/worksheets/sheet{i}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData>{spans}</worksheet>'
        )
    return packed_zip(**files)


def rows_of(frame):
    return [[*frame]] + [[None if pd.isna(v) else v for v in row] for row in frame.itertuples(index=False)]


def ods(rows):
    def cell(value):
        if value is None:
            return "<table:table-cell/>"
        kind = "float" if isinstance(value, (int, float)) else "string"
        of = f' office:value="{value}"' if kind == "float" else ""
        return f'<table:table-cell office:value-type="{kind}"{of}><text:p>{value}</text:p></table:table-cell>'

    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
    return packed_zip(
        **{
            "mimetype": kind,
            "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{manifest}"><manifest:file-entry '
            f'manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>',
            "content.xml": f"<office:document-content{spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="one">{lines}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        }
    )


WORKBOOKS = {
    "xlsx": (xlsx(("one", rows_of(FRAME))), [*FRAME], 3, "the sheet 'one' is read"),
    "title": (
        xlsx(("one", [["Trees of 2026"], [], *rows_of(FRAME)])),
        [*FRAME],
        3,
        "1 row before the header skipped\ntable.xlsx: the same with pandas: pd.read_excel(…, skiprows=2, ",
    ),
    "several sheets, the first empty": (
        xlsx(("empty", []), ("two", rows_of(FRAME)), ("three", [["x"]])),
        [*FRAME],
        3,
        "the sheet 'two' is read, not 'empty', 'three'",
    ),
    "merged cells": (
        xlsx(("one", [["x", "kind"], [1, "cat"], [None, "dog"]]), merged="A2:A3"),
        ["x", "kind"],
        2,
        "merged cells hold their value in the first",
    ),
    "blank name": (xlsx(("one", [[None, "kind"], [1, "cat"], [2, "dog"]])), ["Unnamed: 0", "kind"], 2, ""),
    "numbers and text": (xlsx(("one", [["x", "kind"], [1, "cat"], ["b", "dog"]])), ["x", "kind"], 2, ""),
    "OpenDocument": (ods([["x", "kind"], [1.5, "cat"], [None, "dog"]]), ["x", "kind"], 2, "the sheet 'one' is read"),
}


@pytest.mark.parametrize("case", WORKBOOKS)
def test_workbook_is_read_as_pandas_reads_it(read, case):
    content, names, n_rows, told = WORKBOOKS[case]
    table, notes = read(content, "table.xlsx")
    assert (table.column_names, table.num_rows) == (names, n_rows)
    assert told in "\n".join(notes)
    frame = by_pandas(content, notes, "read_excel")
    same(table, frame.map(str) if case == "numbers and text" else frame)


def test_workbook_without_a_header_is_recognised(read):
    table, notes = read(xlsx(("one", [[1.5, "cat"], [2.5, "dog"], [3.5, "cat"]])), "t.xlsx", label="1")
    assert table.to_pydict() == {"0": [1.5, 2.5, 3.5], "1": ["cat", "dog", "cat"]}
    assert "no header" in notes[0]


def test_empty_rows_of_a_workbook_are_left_out_and_counted(read):
    table, notes = read(xlsx(("one", [["x", "kind"], [1, "cat"], [], [2, "dog"]])), "t.xlsx")
    assert table.to_pydict() == {"x": [1, 2], "kind": ["cat", "dog"]}
    assert "1 empty row left out" in notes[0]


RECORDS = FRAME.drop(columns="at")


@pytest.mark.parametrize("how", [{"orient": "records"}, {"orient": "records", "lines": True}, {}])
def test_json_is_read_as_pandas_reads_it(read, how):
    content = RECORDS.to_json(**how)
    table, notes = read(content, "table.json")
    same(table, by_pandas(content, notes, "read_json"))


def test_json_of_many_records_is_read_in_batches_with_all_names(tmp_path):
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for row in range(120_000):
            late = ', "late": "x"' if row == 110_000 else ""
            file.write(f'{{"x": {row if row != 100_000 else chr(34) + "seven" + chr(34)}, "kind": "a"{late}}}\n')
    table = open_table(str(path), str(tmp_path)).dataset.to_table()
    assert table.num_rows == 120_000
    assert table.column("x").to_pylist()[99_999:100_002] == ["99999", "seven", "100001"]
    assert table.column("late").null_count == 119_999


def test_nested_json_is_no_single_values(read):
    table, _ = read('[{"x": {"a": 1}, "y": [1], "kind": "a"}, {"x": {"b": 2}, "y": [], "kind": "b"}]', "t.json")
    assert pa.types.is_list(table.schema.field("x").type)
    assert pa.types.is_list(table.schema.field("y").type)


def feather_one(frame):
    content = io.BytesIO()
    feather.write_feather(frame, content, version=1)
    return content.getvalue()


def written(write):
    content = io.BytesIO()
    write(pa.Table.from_pandas(FRAME), content)
    return content.getvalue()


def stream(table, file):
    with ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def arrow_file(table, file):
    with ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


@pytest.mark.parametrize("write", [feather.write_feather, arrow_file, stream, orc.write_table])
def test_feather_arrow_and_orc_are_read_as_pandas_reads_them(read, write):
    content = written(write)
    table, _ = read(content, "table.bin")
    same(table, pd.read_orc(io.BytesIO(content)) if write is orc.write_table else FRAME)


def test_files_of_several_formats_are_one_table(tmp_path):
    frame = pd.DataFrame({"x": [1, 2], "kind": ["a", "b"]})
    frame.to_csv(tmp_path / "1.csv", index=False)
    frame.to_json(tmp_path / "2.json", orient="records")
    frame.to_feather(tmp_path / "3.feather")
    frame.to_parquet(tmp_path / "4.parquet")
    (tmp_path / "5.xlsx").write_bytes(xlsx(("one", rows_of(frame))))
    table = open_table(str(tmp_path / "*.*"), str(tmp_path), ReadOptions("kind")).dataset.to_table()
    assert table.column("x").to_pylist() == [1, 2] * 5
    assert sources.resolve(str(tmp_path / "*.*"), "kind", tmp_path / "cache").files[4].name == "5.xlsx"


@pytest.mark.parametrize("write", [parquet.write_table, arrow_file])
def test_column_of_a_name_that_arrow_has_itself_is_left_out_and_told(read, write):
    content = io.BytesIO()
    write(pa.table({"__filename": ["a", "b"], "x": [1, 2], "kind": ["a", "b"]}), content)
    table, notes = read(content.getvalue(), "t.parquet")
    assert table.to_pydict() == {"x": [1, 2], "kind": ["a", "b"]}
    assert "'__filename' is left out: Arrow has a column of that name of its own. Rename it" in notes[0]


# what is no table


def database():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table x (y)")
    return connection.serialize()


def tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo("rows.csv")
        entry.size = len(SMALL)
        archive.addfile(entry, io.BytesIO(SMALL.encode()))
    return content.getvalue()


def stata():
    content = io.BytesIO()
    FRAME[["whole", "number"]].to_stata(content, write_index=False)
    return content.getvalue()


STRANGERS = {
    "Git LFS": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n",
        "pointer of Git LFS.* git lfs pull",
    ),
    "HTML": ("\n<!DOCTYPE html>\n<html><title>Log in</title></html>", r"is a web page \(HTML\).* save the file itself"),
    "answer of a store": ('<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "refuses the file"),
    "XML": ('<?xml version="1.0"?><rows><row a="1"/></rows>', r"is XML\. Make a table of it, .*read_xml"),
    "ARFF": ("% of Iris\n\n@RELATION iris\n@ATTRIBUTE a NUMERIC\n@DATA\n1\n", r"is ARFF[^$]*loadarff"),
    "script": ("#!/bin/sh\necho a,b\n", "is a script, a program"),
    "SQL": ("-- MySQL dump 10.13\nCREATE TABLE x (y int);\n", "is SQL, a dump of a database"),
    "LIBSVM": ("1 1:0.5 3:0.25\n-1 2:0.5 3:1\n", "is in the format of LIBSVM"),
    "Markdown": ("| a | kind |\n|---|---|\n| 1 | cat |\n", "is a table of Markdown"),
    "columns at fixed places": ("name     kind\nJohn Doe cat\nAnn      dog\n", r"not all rows have as many .*read_fwf"),
    "comments only": ("# a\n# b\n", "has no rows and no header line"),
    "JSON lines of lists": ('["a","kind"]\n[1,"cat"]\n', 'record 1 of this JSON is "a"'),
    "PDF": (b"%PDF-1.7\n", r"is a PDF\. A table is"),
    "SQLite": (database(), r"is an SQLite database\. A table is"),
    "pickle": (pickle.dumps(FRAME), "is a pickle of Python, which may run any program"),
    "Stata": (stata(), r"is a file of Stata\. .*pd\.read_stata"),
    "old Stata": (b"\x72\x02\x01\x00" + bytes(50), r"pd\.read_stata"),
    "SAS": (bytes(12) + b"\xc2\xea\x81\x60" + bytes(50), r"pd\.read_sas"),
    "SPSS": (b"$FL2@(#) SPSS DATA FILE", r"pd\.read_spss"),
    "tar": (tar(), r"is a tar archive\. Unpack it"),
    "Parquet in gzip": (gzip.compress(written(parquet.write_table)), r"packs a file that is no text\. Unpack it"),
    "zip of several": (packed_zip(**{"a.csv": SMALL, "b.csv": SMALL}), r"archive of 2 files: a\.csv, b\.csv\. A table"),
    "empty zip": (packed_zip(), "zip"),
    "text document": (packed_zip(**{"word/document.xml": "x", "[Content_Types].xml": "x"}), "is a text document or"),
    "damaged zip": (packed_zip(**{"a.csv": SMALL})[:60], "was cut short or is damaged"),
    "damaged xz": (lzma.compress(SMALL.encode() * 9)[:40], "is not a table that can be read"),
    "damaged workbook": (packed_zip(**{"xl/workbook.xml": "<x"}), "is no workbook that can be read"),
    "empty workbook": (xlsx(("one", [])), "has no cell with a value"),
    "damaged Feather": (written(feather.write_feather)[:300], "is not a table that can be read"),
    "damaged ORC": (written(orc.write_table)[:200], "is not a table that can be read"),
    "one JSON object": ('{"meta": 1, "rows": [{"a": 1}]}', r"is one JSON object with 'meta', 'rows'.* part 'rows'"),
    "JSON of lists": ("[[1, 2], [3, 4]]", r"record 1 of this JSON is \[1, 2\], no object with names"),
    "JSON without records": ("[]", "is JSON without records"),
    "damaged JSON": ('[{"a": 1},\n{"a": 2},\n{"a" 3}]', "is damaged JSON in line 3: Expecting ':'"),
    "cut JSON": ('[{"a": 1},\n{"a": 2}', "is JSON that was cut short"),
    "deep JSON": ('[{"a":' + "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_is_no_table_is_called_what_it_is(tmp_path, case):
    content, message = STRANGERS[case]
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message) as refused:
        open_table(str(path), str(tmp_path), ReadOptions("kind"))
    assert str(refused.value).count("\n") < 5
    with pytest.raises(RequestError, match=message):
        sources.resolve(str(path), "kind", tmp_path / "cache")


def test_sheet_is_the_one_that_has_the_label(tmp_path):
    about = [["column", "meaning"], ["size", "in cm"], ["kind", "of animal"]]
    (tmp_path / "rows.xlsx").write_bytes(
        xlsx(("About", about), ("Animals", [["size", "kind"], [1, "cat"], [2, "dog"]]))
    )
    table = open_table(str(tmp_path / "rows.xlsx"), str(tmp_path), ReadOptions("kind"))
    assert table.dataset.to_table().to_pydict() == {"size": [1, 2], "kind": ["cat", "dog"]}
    assert "the sheet 'Animals' is read, not 'About'" in table.notes[0]
