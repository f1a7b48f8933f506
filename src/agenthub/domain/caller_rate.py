"""Each caller's own rate limit: one token bucket for all that it asks, by whichever door it comes.

A limit travels with its caller, and is found by the caller's id: who changes it finds the tokens
that are in use still in use. A bucket that is full again is as good as a new one, so it need not be
kept; beyond `KEPT_MAX` who asked longest ago begins anew.
"""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from agenthub.domain.caller import Caller
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.errors import RateLimited
from agenthub.domain.span import Nanoseconds, milliseconds
from agenthub.domain.token_bucket import TokenBucket

KEPT_MAX: Final = 10_000
"""Buckets; one takes some 300 bytes."""
UNITS: Final = (("s", 1), ("m", 60), ("h", 3600), ("d", 86_400))


class _Paced(Struct, eq=False):
    limit: RateLimit
    bucket: TokenBucket


class CallerRates:
    """The buckets of those callers that have a limit and asked lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Paced] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, caller: Caller, now: Nanoseconds) -> None:
        """Count one call of this caller.

        Raises:
            RateLimited: It has asked too much; says when it may ask again.
        """
        limit = caller.rate_limit
        if limit is None:
            return
        paced = self._known.get(caller.id)
        if paced is None:
            if len(self._known) >= KEPT_MAX:
                self._make_room(now)
            paced = self._known[caller.id] = _Paced(limit, TokenBucket(limit))
        elif paced.limit != limit:
            paced.bucket.reconfigure(limit, now)
            paced.limit = limit
        self._known.move_to_end(caller.id)
        if wait := paced.bucket.take(now):
            raise RateLimited(
                f"More calls than this caller may make: {rate_words(limit.rps)},"
                f" {limit.burst} at once",
                retry_after_ms=milliseconds(wait),
            )

    def _make_room(self, now: Nanoseconds) -> None:
        full = [name for name, paced in self._known.items() if paced.bucket.is_full(now)]
        for name in full:
            del self._known[name]
        if not full:
            self._known.popitem(last=False)


def rate_words(rps: float) -> str:
    """A rate as people write it: `5/s`, `90/m`, `1/d`."""
    for unit, seconds in UNITS:
        count = rps * seconds
        if count >= 1 and abs(count - round(count)) < count * 1e-9:
            return f"{round(count)}/{unit}"
    return f"{rps:g}/s"
