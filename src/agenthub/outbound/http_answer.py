"""What an HTTP answer says beside its message: when to come back, and why it is no answer.

Source: RFC 9110 §10.2.3 (Retry-After); rule R37 (what is negative or garbled counts for nothing).
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound.challenge import scopes_in
from agenthub.outbound.diagnosis import Diagnosis

_SECONDS = re.compile(r"[0-9]{1,10}")
_DECIMAL = re.compile(r"([0-9]{1,12})(?:\.[0-9]{1,9})?")
NO_VERDICT = frozenset({401, 403, 407, 408, 425, 429})
"""Statuses that say nothing of what the server speaks; those from 500 on do not either."""


def retry_after_ms(headers: Mapping[bytes, bytes], wall: Nanoseconds) -> int | None:
    """How long the server asks to be left alone; `retry-after-ms` is the finer word."""
    fine = headers.get(b"retry-after-ms")
    if fine is not None and (match := _DECIMAL.fullmatch(_text(fine))):
        return int(match[1])
    coarse = headers.get(b"retry-after")
    if coarse is None:
        return None
    text = _text(coarse)
    if _SECONDS.fullmatch(text):
        return int(text) * 1_000
    try:
        date = parsedate_to_datetime(text)
        at = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    left = at * SECOND - wall
    return left // MILLISECOND if left >= 0 else None


def media_type(headers: Mapping[bytes, bytes]) -> bytes:
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def says_nothing_of_era(status: int) -> bool:
    return status in NO_VERDICT or status >= 500


def is_odd(reply: Reply, era: Era | None) -> bool:
    """Whether an answer makes one doubt that the server still speaks this era."""
    if reply.ending is Ending.STATUS:
        return reply.status in {400, 404, 405, 406, 415}
    if reply.ending is not Ending.ERROR or reply.status != 400:
        return False
    return reply.code in ({-32600, -32000} if era is Era.MODERN else {-32020, -32022})


def explain(status: int, headers: Mapping[bytes, bytes]) -> Diagnosis:
    """A status that is no answer to what was asked, in words."""
    said = f"it answered with HTTP {status}"
    told = _text(headers.get(b"www-authenticate", b""))
    if status in {401, 407}:
        scheme = told.partition(" ")[0][:32]
        kind = f" ({scheme})" if scheme.isalpha() else ""
        return Diagnosis(
            f"{said}: it wants authentication{kind}",
            "Let the hub in by OAuth (`agenthub add … --oauth`, then `agenthub login`)."
            if "resource_metadata=" in told
            else "Give a header, e.g. `Authorization: Bearer ${NAME}`.",
        )
    if status == 403 and "insufficient_scope" in told:
        wanted = " ".join(scopes_in(told))[:200]
        scopes = f": {wanted}" if wanted else ""
        return Diagnosis(
            f"{said}: the hub's token lacks scopes{scopes} (see `agenthub login`)",
            "Sign in again, or add them to `oauth.scopes` in its record.",
        )
    why, hint = _WHY.get(status) or _WHY.get(status // 100) or ("", "")
    return Diagnosis(said + why, hint)


_NOT_HERE = (
    ": there is no MCP endpoint at this address",
    "Check the path of its URL; many servers listen at /mcp.",
)
_WHY: Mapping[int, tuple[str, str]] = {
    3: (": it redirects, and redirects are not followed", "If it moved, give its new address."),
    403: (": it forbids this", "Check the credentials in its headers."),
    404: _NOT_HERE,
    405: _NOT_HERE,
    406: _NOT_HERE,
    415: _NOT_HERE,
    429: (": it asks for a pause", ""),
    5: (": it is in trouble itself", "See its own logs."),
}
"""By status, or by its first digit."""


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip()
