"""A report of one call that somebody else made, and the id by which it counts once."""

import hashlib
import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from agenthub.domain.money import MAX, USD, NanoUsd
from agenthub.domain.usage import TOKENS_MAX, Usage

SUM: Final = "sum"
"""Begins the id of a report of several calls."""
_NAME_MAX: Final = 256
_COUNT = re.compile(r"[0-9]{1,19}", re.ASCII)
_AMOUNT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)


class Report(Struct, frozen=True):
    id: str
    """The same for the same report that is sent again."""
    source: str
    """As in `Facts`: otlp, litellm, claude-code, codex."""
    session: str
    provider: str
    """As the reporter names it; may be empty."""
    model: str
    """That answered, or else the one asked for."""
    usage: Usage
    reported: NanoUsd | None
    """The cost as the reporter knows it."""
    ended_us: int
    """Wall time; 0: not said."""
    duration_us: int
    is_sum: bool = False
    """Of several calls: it counts only where none of these was reported itself."""
    is_subscribed: bool = False
    """What it used is paid for by a subscription, and not by the call."""


def identity(*parts: str | int) -> str:
    """An id made of what tells a report from all others."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def text(value: Any) -> str:
    """A name; empty if it is none."""
    return value[:_NAME_MAX] if type(value) is str and value.isprintable() else ""


def whole(value: Any) -> int | None:
    """A count, written as a number or as a text (Codex, OTLP's JSON); None if it is none."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and value >= 0:
        return min(value, 2**63 - 1)
    if type(value) is str and _COUNT.fullmatch(value):
        return min(int(value), 2**63 - 1)
    return None


def tokens(said: Mapping[str, Any], *names: str) -> int:
    """The first of these that is a count; 0 if none is."""
    found = (whole(said.get(name)) for name in names)
    return min(next((count for count in found if count is not None), 0), TOKENS_MAX)


def dollars(value: Any) -> NanoUsd | None:
    """An amount that came as a number or a text, rounded up; None if it is none."""
    if type(value) is int:
        return value * USD if 0 <= value * USD <= MAX else None
    written = str(value) if type(value) in {float, str} else ""
    if not _AMOUNT.fullmatch(written):
        return None
    amount = Decimal(written) * USD
    return None if amount > MAX else int(amount.to_integral_value(ROUND_CEILING))
