"""A loop breaker: who gets the same answer to the same call again and again is told, then stopped.

    same tool, same arguments, same result   NOTE times     the result carries a note
                                             REFUSE times   the call is refused with the old result
                                             STOP times     the run ends

A result that differs begins the count anew, for then the world has changed. What polls is exempt.
"""

from collections import OrderedDict
from enum import Enum
from typing import Final

from msgspec import Struct

NOTE: Final = 3
REFUSE: Final = 5
STOP: Final = 8
KEPT_MAX: Final = 256
"""Different calls that are remembered; the one made longest ago is forgotten first."""


class Verdict(Enum):
    """What is to be done about one more call like those before."""

    FINE = "fine"
    NOTE = "note"
    """Its result came so often now that the caller should be told."""
    REFUSE = "refuse"
    """It is not made: its answer is known."""
    STOP = "stop"
    """Nor is anything else: whoever goes on in spite of that does not hear."""


class LoopTerms(Struct, frozen=True):
    """After how many equal answers what happens."""

    note: int = NOTE
    refuse: int = REFUSE
    stop: int = STOP


class _Seen(Struct):
    result: bytes
    count: int


class LoopBreaker:
    """Of one caller's run."""

    def __init__(self, terms: LoopTerms) -> None:
        self._terms = terms
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    def ask(self, call: bytes) -> Verdict:
        """Whether a call may be made. `call`: digest of tool and arguments."""
        seen = self._seen.get(call)
        if seen is None or seen.count < self._terms.refuse:
            return Verdict.FINE
        seen.count += 1
        return Verdict.STOP if seen.count >= self._terms.stop else Verdict.REFUSE

    def told(self, call: bytes, result: bytes) -> Verdict:
        """What came of it. `result`: digest of the result."""
        seen = self._seen.setdefault(call, _Seen(result, 0))
        self._seen.move_to_end(call)
        if len(self._seen) > KEPT_MAX:
            self._seen.popitem(last=False)
        if seen.result != result:
            seen.result, seen.count = result, 0
        seen.count += 1
        return Verdict.NOTE if seen.count >= self._terms.note else Verdict.FINE
