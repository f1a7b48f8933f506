"""Money: whole nano-dollars inside, exact decimal texts outside. There is no float between.

"0.0047"  ◄── show ── 4_700_000 nano-USD ◄── parse ── "0.0047"
"""

import re
from typing import Final, TypeAlias

from agenthub.domain.errors import InvalidParams

NanoUsd: TypeAlias = int
"""A thousand-millionth of a US dollar."""

USD: Final[NanoUsd] = 1_000_000_000
MAX: Final[NanoUsd] = 100_000_000 * USD
"""Of one amount: a limit, a hold, a cost. Ninety of them fit into the database's 64 bits."""
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,9}))?", re.ASCII)


def parse(text: str) -> NanoUsd:
    """The amount that a decimal text names, exactly. Raises InvalidParams."""
    found = _AMOUNT.fullmatch(text)
    amount = int(found[1]) * USD + int((found[2] or "").ljust(9, "0")) if found else MAX + 1
    if amount > MAX:
        raise InvalidParams(
            'An amount is written in dollars as a decimal text, as "100.00": no sign, no exponent,'
            f" at most 9 decimals, and at most {MAX // USD}.00"
        )
    return amount


def show(amount: NanoUsd) -> str:
    """The exact decimal text: two decimals at least, nine at most."""
    whole, nano = divmod(abs(amount), USD)
    decimals = f"{nano:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{decimals}"
