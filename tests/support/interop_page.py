"""docs/reference/interop.md: its tables are written from, or held against, what tests found."""

import os
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "interop.md"
WRITES = "AGENTHUB_WRITE_INTEROP"
"""Set by `make interop-table`."""


def table(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def check(name: str, text: str) -> None:
    """Fails unless the page's part of this name is this text; or makes it so."""
    print(f"\n{text}")
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, opened, rest = PAGE.read_text().partition(begin)
    was, closed, after = rest.partition(end)
    assert opened, f"{PAGE.name} has no part {name}"
    assert closed, f"{PAGE.name} has no end of {name}"
    if os.environ.get(WRITES):
        PAGE.write_text(f"{before}{begin}{text}{end}{after}")
    else:
        assert was == text, f"docs/reference/{PAGE.name} is old: run `make interop-table`"
