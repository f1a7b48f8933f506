"""Aligned columns. A terminal's width cuts the last one; a pipe gets everything."""

import sys
import unicodedata
from collections.abc import Sequence

from agenthub.cli.terminal import STATES, one_line, paint, width

GAP = "  "
ZERO_WIDTH = frozenset({"Mn", "Me", "Cf"})
"""Categories of characters that take no column: combining marks and format characters."""
MIN_LAST = 12


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the rows under their heads; words that say a state are coloured."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    spans = [
        max(columns(head), *(columns(row[i]) for row in cells)) if cells else columns(head)
        for i, head in enumerate(heads)
    ]
    room = width(sys.stdout)
    if room is not None:
        spans[-1] = max(
            MIN_LAST, min(spans[-1], room - sum(spans[:-1]) - len(GAP) * len(spans) + 2)
        )
    print(_line([head.upper() for head in heads], spans, colour="dim"))
    for row in cells:
        print(_line(row, spans, cut=room is not None))


def columns(text: str) -> int:
    """How many columns the text takes: two for wide characters. Source: UAX 11."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _line(row: Sequence[str], spans: Sequence[int], *, colour: str = "", cut: bool = False) -> str:
    last = len(row) - 1
    parts: list[str] = []
    for i, (cell, span) in enumerate(zip(row, spans, strict=True)):
        shown = _cut(cell, span) if cut else cell
        pad = "" if i == last else " " * (span - columns(shown))
        parts.append(paint(shown, colour or STATES.get(shown, "")) + pad)
    return GAP.join(parts).rstrip()


def _cut(text: str, span: int) -> str:
    if columns(text) <= span:
        return text
    kept, room = "", span - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept + "…"
