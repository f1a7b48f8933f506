"""What a terminal gets and a pipe does not: colour, width, progress; and nothing that harms it."""

import os
import re
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, TextIO

COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}
STATES: Final = {
    "ok": "green", "closed": "green", "degraded": "yellow", "half_open": "yellow",
    "starting": "yellow", "off": "dim", "down": "red", "open": "red", "forced_open": "red",
    "forced_closed": "yellow", "sick": "red",
}  # fmt: skip
"""The colour of a word that says how something is."""

# Control characters, and those that turn the direction of what follows. Source: UTR 36, 3.1.
_HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with everything taken out that a terminal would obey; lines and tabs stay."""
    return _HARMFUL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """As `plain`, on one line."""
    return plain(" ".join(text.split()))


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in a colour, if the stream (stdout) goes to a terminal that wants colours."""
    if not colour or not has_colour(stream or sys.stdout):
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def has_colour(stream: TextIO) -> bool:
    """Source: no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width(stream: TextIO) -> int | None:
    """Columns of the terminal; None for a pipe, which is as wide as it needs."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


@contextmanager
def progress(text: str) -> Generator[None]:
    """Say on stderr what takes so long, if somebody looks; gone when it is done."""
    shown = sys.stderr.isatty()
    if shown:
        print(f"{one_line(text)} …", end="", flush=True, file=sys.stderr)
    try:
        yield
    finally:
        if shown:
            print("\r\x1b[K", end="", flush=True, file=sys.stderr)


def note(text: str) -> None:
    """A remark beside the output."""
    print(one_line(text), file=sys.stderr)
