"""What is taken for a table and is none: what it is, and what to do."""

import re

# what is no table, by its first bytes
BINARY = {
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program, a binary file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"Rar!": "a RAR archive",
    b"\x93NUMPY": "an array of NumPy",
    b"RDX2\n": "data of R",
    b"RDX3\n": "data of R",
    b"X\n\0\0\0": "data of R",
    b"{\\rtf": "a text document (RTF)",
}
# the same, which pandas can make a table of
BY_PANDAS = {
    b"$FL2": ("a file of SPSS", "read_spss"),
    b"$FL3": ("a file of SPSS", "read_spss"),
    b"<stata_dta>": ("a file of Stata", "read_stata"),
    b"HEADER RECORD*******LIB": ("a file of SAS", "read_sas"),
    bytes(12) + b"\xc2\xea\x81\x60": ("a file of SAS", "read_sas"),
}
PICKLE = re.compile(rb"\x80[\x02-\x05]|\(dp\d|\(lp\d|ccopy_reg")
STATA = re.compile(rb"[\x68-\x73][\x01\x02]\x01\0", re.DOTALL)
TAKEN = (
    "A table is a CSV file with a header line, plain, compressed or in a zip archive, Parquet, Excel, JSON, Feather "
    "or ORC"
)
# what text is no table, by its beginning; each with what to do
TEXTS = (
    (
        re.compile(r"version https?://git-lfs"),
        "is a pointer of Git LFS: the file itself is not here. Fetch it with: git lfs pull",
    ),
    (
        re.compile(r"<!doctype html|<html|<head|<body|<script", re.IGNORECASE),
        "is a web page (HTML), such as comes where a login or a download page stands before the file. "
        "Open the address in a browser, and save the file itself.",
    ),
    (
        re.compile(r"<Error>|<\?xml[^>]*>\s*<Error>"),
        "is an answer of an object store that refuses the file (XML). Download it again with the rights to read it.",
    ),
    (
        re.compile(r"<\?xml|<[A-Za-z][\w:.-]*(\s[^>]*)?>(?![,;\t|])"),
        "is XML. Make a table of it, for example: pd.read_xml(file).to_parquet('table.parquet')",
    ),
    (
        re.compile(r"(%[^\n]*\n|\s)*@relation\b", re.IGNORECASE),
        "is ARFF, the format of Weka. Make a table of it, for example:\n"
        "pd.DataFrame(scipy.io.arff.loadarff(file)[0]).map(lambda v: v.decode() if isinstance(v, bytes) else v)"
        ".to_parquet('table.parquet')",
    ),
    (re.compile(r"#!\s*/"), "is a script, a program. Name the table that it reads or writes."),
    (
        re.compile(r"-- (MySQL|MariaDB|PostgreSQL|phpMyAdmin)|(--[^\n]*\n|\s)*(CREATE TABLE|INSERT INTO)\b"),
        "is SQL, a dump of a database. Load it there and export the table as CSV.",
    ),
    (
        re.compile(r"[-+]?[\d.]+( \d+:[-+.\deE]+){2,}\s*\n"),
        "is in the format of LIBSVM. Make a table of it: sklearn.datasets.load_svmlight_file(file) reads it.",
    ),
    (
        re.compile(r"\|[^\n]*\|\s*\n\|[\s:|-]+\|\s*\n"),
        "is a table of Markdown. Make CSV of it: leave out the line of dashes and the bars at both ends.",
    ),
    (re.compile(r"%%MatrixMarket"), "is a matrix in the format of Matrix Market, no table. Export it as CSV."),
)


def require_no_stranger(name: str, magic: bytes) -> None:
    """Check that a file is none of those that are no tables, by its first bytes.

    Raises:
        ValueError: it is one; the message says which, and what to do.
    """
    for start, (what, function) in BY_PANDAS.items():
        if magic.startswith(start):
            raise ValueError(_by_pandas(name, what, function))
    if STATA.match(magic):
        raise ValueError(_by_pandas(name, "a file of Stata", "read_stata"))
    if PICKLE.match(magic):
        raise ValueError(
            f"{name} is a pickle of Python, which may run any program as it is read. Where you trust it, write the "
            "table as Parquet: pd.read_pickle(file).to_parquet('table.parquet')"
        )
    for start, what in BINARY.items():
        if magic.startswith(start):
            raise ValueError(f"{name} is {what}. {TAKEN}; export it as one of these.")


def _by_pandas(name: str, what: str, function: str) -> str:
    return f"{name} is {what}. Make a table of it: pd.{function}(file).to_parquet('table.parquet')"


def require_table(name: str, text: str) -> None:
    """Check that a text is none of those that are no tables.

    Raises:
        ValueError: it is one; the message says which, and what to do.
    """
    begin = text[:10_000].lstrip()
    for pattern, what in TEXTS:
        if pattern.match(begin):
            raise ValueError(f"{name} {what}")


def require_no_packed(name: str, head: bytes) -> None:
    """Check that what a file unpacks to is text.

    Raises:
        ValueError: it is a file that is read by itself only, or none that is.
    """
    require_no_stranger(name, head)
    if head[257:262] == b"ustar":
        raise ValueError(f"{name} is a tar archive. Unpack it, and name a file of it, or several by a glob.")
    if head.startswith((b"PAR1", b"ARROW1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")):
        raise ValueError(f"{name} packs a file that is no text. Unpack it, and name that file.")
