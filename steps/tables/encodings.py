"""Encodings of texts: found from their beginning, and what is done with bytes that are of another."""

import codecs
import re
from dataclasses import dataclass, field

import numpy as np

MOST_LINES_NAMED = 5  # in a note
WRONG = re.compile("[\udc80-\udcff]")  # what bytes that are not UTF-8 are decoded to


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text from its beginning: UTF-16, Windows-1252, or UTF-8, also with a few wrong bytes."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    begin = head[:64]
    if len(begin) > 3 and len(begin) % 2 == 0:  # without a mark: ASCII with a NUL before or after each letter
        for order, zeros, letters in (("le", begin[1::2], begin[::2]), ("be", begin[::2], begin[1::2])):
            if not any(zeros) and 0 not in letters:
                return f"utf-16-{order}"
    n_wrong, n_right = _beyond_ascii(codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head))
    return "cp1252" if n_wrong > n_right else "utf-8"


def cleaned(text: str) -> str:
    """Return a text with a mark in place of bytes that are not UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _beyond_ascii(text: str) -> tuple[int, int]:
    """Return how many bytes of a text are not UTF-8, and how many characters beyond ASCII are."""
    n_wrong = len(WRONG.findall(text))
    return n_wrong, len(re.findall("[^\0-\x7f]", text)) - n_wrong


@dataclass
class Repaired:
    """What of a text in UTF-8 is none."""

    name: str
    n_right: int = 0  # characters beyond ASCII
    lines: list[int] = field(default_factory=list)  # with bytes that are not UTF-8

    def add(self, part: bytes, line: int) -> None:
        """Count what of a part of the text is UTF-8 and what is not, and keep the lines of that.

        Args:
            part: The part.
            line: Number of its first line.
        """
        text = part.decode("utf-8", "surrogateescape")
        self.n_right += _beyond_ascii(text)[1]
        self.lines += [line + text.count("\n", 0, found.start()) for found in WRONG.finditer(text)]

    def block(self, block: bytes, line: int) -> bytes:
        """Return a block in UTF-8.

        Args:
            block: The block.
            line: Number of its first line.

        Raises:
            UnicodeDecodeError: more of the text is not UTF-8 than is.
        """
        try:
            block.decode()
            self.n_right += int((np.frombuffer(block, np.uint8) >= 0xC0).sum())
            return block
        except UnicodeDecodeError:
            self.add(block, line)
            if len(self.lines) > self.n_right:
                raise
            return block.decode("utf-8", "replace").encode()

    def notes(self) -> list[str]:
        """Say which lines had other bytes."""
        lines = [*dict.fromkeys(self.lines)]
        if not lines:
            return []
        shown = ", ".join(f"{line:,}" for line in lines[:MOST_LINES_NAMED])
        more = f" and {len(lines) - MOST_LINES_NAMED:,} more" if len(lines) > MOST_LINES_NAMED else ""
        return [
            f"{self.name} is UTF-8 but for bytes in line{'s' if len(lines) > 1 else ''} {shown}{more}, read as \ufffd; "
            "as pd.read_csv(…, encoding_errors='replace')"
        ]
