"""What the end of an attempt means: for the caller, for both breakers, for a replay.

    Reply ──► what the hub did itself? ──► the answer's code and status ──► how the exchange ended
                      │                               │                             │
                      └───────────────────────────────┴─────────► one of the verdicts below

    outcome                                     server         tool      certainty
    ─────────────────────────────────────────────────────────────────────────────────
    result, input_required                      success        success   DONE_OK, INPUT_REQUIRED
    result with isError                         success        success   DONE_ERR
    invalid request (4xx, -3260x, -3202x)       success        ignore    REFUSED
    401, 402, 403                               success        ignore    REFUSED
    401 or -32042, and nothing was sent         ignore         ignore    REFUSED
    429, 529 (closes the throttle gate)         ignore         ignore    REFUSED
    500, -32603, other codes                    if spread      failure   UNKNOWN
    503 with Retry-After                        failure        ignore    REFUSED
    502, 503, 504                               failure        ignore    UNKNOWN
    not reached                                 failure        ignore    NOT_SENT
    lost                                        failure        ignore    by bytes written
    garbage, wrong shape, too large             failure        failure   by bytes written
    timeout, our deadline                       if spread      failure   by bytes written
    client gone, shutdown, shed                 ignore         ignore    by bytes written

"If spread": a failure once two tools are affected within the window; one broken tool is no broken
server. What the caller gets is the upstream's own answer where there is one (R10); an error code
of the hub's own range is never believed of an upstream (rule set §4.9).
Source: rule set §4.1, §4.2; certainty is Jepsen's ok, fail and info.
"""

from typing import Final

from msgspec import Struct, structs

from agenthub.domain.outcome import Cause, Certainty, Effect, Ending, Reply, Written
from agenthub.domain.span import Nanoseconds


class Verdict(Struct, frozen=True, gc=False):
    """What an attempt's end means."""

    certainty: Certainty
    server: Effect
    tool: Effect
    slug: str = ""
    """The error that the caller gets if nothing better follows; empty: the reply itself."""
    needs_spread: bool = False
    """Whether it is the server's failure too, once other tools are affected."""
    pushback: bool = False
    """Whether the server asked for a pause: the throttle gate closes (R13)."""


_OK, _FAIL, _IGNORE = Effect.SUCCESS, Effect.FAILURE, Effect.IGNORE
_RESULT = Ending.RESULT

DONE: Final = Verdict(Certainty.DONE_OK, _OK, _OK)
DONE_ERR: Final = Verdict(Certainty.DONE_ERR, _OK, _OK)
INPUT: Final = Verdict(Certainty.INPUT_REQUIRED, _OK, _OK)

REFUSED_CODES: Final = frozenset({
    -32700, -32600, -32601, -32602, -32020, -32021, -32022, -32002, -32042,
})  # fmt: skip
"""-32002 is the legacy "resource not found"; -32042 asks for a visit to a web page first (legacy,
2025-11-25): the request was not carried out, and nothing is broken."""
UNAUTHORIZED_STATUS: Final = 401
SIGN_IN_CODE: Final = -32042
INVALID: Final = frozenset({400, 404, 405, 406, 413, 415, 421, 422})
"""Statuses that blame the request."""
ABOVE_CODES: Final = frozenset({401, 402, 403, 429, 529})
"""Statuses that say more than the JSON-RPC error in their body."""
FORGED: Final = range(-31099, -30999)
"""The codes that are the hub's own."""

ALIVE: Final = Verdict(Certainty.REFUSED, _OK, _IGNORE, "upstream_protocol")
UNAUTHORIZED: Final = Verdict(Certainty.REFUSED, _OK, _IGNORE, "upstream_unavailable")
EXHAUSTED: Final = Verdict(Certainty.REFUSED, _OK, _IGNORE, "upstream_exhausted")
NO_TOKEN: Final = Verdict(Certainty.REFUSED, _IGNORE, _IGNORE, "upstream_unavailable")
"""The hub has no token to show: its own word, and none of the server's."""
THROTTLED: Final = Verdict(Certainty.REFUSED, _IGNORE, _IGNORE, "throttled_upstream", pushback=True)
BUSY: Final = Verdict(Certainty.REFUSED, _FAIL, _IGNORE, "upstream_unavailable")
GATEWAY: Final = Verdict(Certainty.UNKNOWN, _FAIL, _IGNORE, "outcome_unknown")
BROKEN_TOOL: Final = Verdict(
    Certainty.UNKNOWN, _IGNORE, _FAIL, "outcome_unknown", needs_spread=True
)
UNLISTED: Final = Verdict(Certainty.UNKNOWN, _OK, _IGNORE, "outcome_unknown")
"""Any other 4xx: it answers, and whoever sends bad requests breaks nobody's breaker (A44)."""
GARBAGE: Final = Verdict(Certainty.UNKNOWN, _FAIL, _FAIL, "upstream_protocol")
TOO_LARGE: Final = Verdict(Certainty.UNKNOWN, _FAIL, _FAIL, "response_too_large")
LOST: Final = Verdict(Certainty.UNKNOWN, _FAIL, _IGNORE, "outcome_unknown")
UNREACHED: Final = Verdict(Certainty.NOT_SENT, _FAIL, _IGNORE, "upstream_unavailable")

_BY_STATUS: Final = dict.fromkeys(INVALID, ALIVE) | {
    401: UNAUTHORIZED, 403: UNAUTHORIZED, 402: EXHAUSTED, 429: THROTTLED, 529: THROTTLED,
    502: GATEWAY, 503: GATEWAY, 504: GATEWAY,
}  # fmt: skip
_BY_ENDING: Final = {
    Ending.UNREACHED: UNREACHED,
    Ending.LOST: LOST,
    Ending.CANCELLED: LOST,  # not by the hub: the transport broke (R14)
    Ending.PROTOCOL: GARBAGE,
    Ending.TOO_LARGE: TOO_LARGE,
    Ending.TIMEOUT: BROKEN_TOOL,
}
_BY_CAUSE: Final = {
    Cause.CLIENT: Verdict(Certainty.UNKNOWN, _IGNORE, _IGNORE, "outcome_unknown"),
    Cause.SHUTDOWN: Verdict(Certainty.UNKNOWN, _IGNORE, _IGNORE, "outcome_unknown"),
    Cause.SHED: Verdict(Certainty.UNKNOWN, _IGNORE, _IGNORE, "outcome_unknown"),
    Cause.BUDGET: Verdict(Certainty.UNKNOWN, _IGNORE, _IGNORE, "budget_exceeded"),
    Cause.DEADLINE: BROKEN_TOOL,
}
_UNSENT_SLUG: Final = {
    None: "upstream_unavailable",
    Cause.CLIENT: "deadline_exceeded",
    Cause.DEADLINE: "deadline_exceeded",
    Cause.SHUTDOWN: "overloaded",
    Cause.SHED: "overloaded",
    Cause.BUDGET: "budget_exceeded",
}


def _unsent(verdict: Verdict, cause: Cause | None) -> Verdict:
    """The same when the request did not leave this process whole."""
    return structs.replace(verdict, certainty=Certainty.NOT_SENT, slug=_UNSENT_SLUG[cause])


_UNSENT_BY_ENDING: Final = {e: _unsent(v, None) for e, v in _BY_ENDING.items()}
_UNSENT_BY_CAUSE: Final = {c: _unsent(v, c) for c, v in _BY_CAUSE.items()}
_OWN_WORDS: Final = {
    v: structs.replace(v, slug="")
    for v in (
        ALIVE, UNAUTHORIZED, NO_TOKEN, EXHAUSTED, THROTTLED, BUSY, GATEWAY, BROKEN_TOOL,
        UNLISTED, GARBAGE,
    )
}  # fmt: skip
"""The same verdicts where the upstream said why: its own error goes to the caller (R10)."""


def judge(reply: Reply, cancelled: Cause | None) -> Verdict:
    """The verdict on one attempt; `cancelled` is the cause if the hub ended it."""
    ending = reply.ending
    if ending is _RESULT:
        return _by_result(reply)
    if ending is Ending.ERROR:
        verdict = NO_TOKEN if _lacks_token(reply) else _by_error(reply)
        if reply.code in FORGED:
            return structs.replace(verdict, slug="upstream_protocol")
        return _OWN_WORDS[verdict]
    if ending is Ending.STATUS:
        return NO_TOKEN if _lacks_token(reply) else _by_status(reply)
    sent = reply.written is Written.ALL
    if cancelled is not None:
        return (_BY_CAUSE if sent else _UNSENT_BY_CAUSE)[cancelled]
    return (_BY_ENDING if sent else _UNSENT_BY_ENDING)[ending]


def _lacks_token(reply: Reply) -> bool:
    """Whether nothing was sent, for want of a token."""
    return reply.written is Written.NONE and (
        reply.status == UNAUTHORIZED_STATUS or reply.code == SIGN_IN_CODE
    )


def _by_result(reply: Reply) -> Verdict:
    if reply.result_type == "input_required":
        return INPUT
    return DONE_ERR if reply.is_error else DONE


def _by_error(reply: Reply) -> Verdict:
    """A JSON-RPC error: its code, unless the status around it says more."""
    if reply.exhausted:
        return EXHAUSTED
    if reply.status in ABOVE_CODES:
        return _BY_STATUS[reply.status]
    if reply.code in REFUSED_CODES:
        return ALIVE
    return _by_status(reply) if reply.status >= 400 else BROKEN_TOOL


def _by_status(reply: Reply) -> Verdict:
    status = reply.status
    if status == 503 and reply.retry_after_ms is not None:
        return BUSY
    verdict = _BY_STATUS.get(status)
    if verdict is not None:
        return verdict
    if status >= 500:
        return BROKEN_TOOL
    return UNLISTED if status >= 400 else GARBAGE


class ToolSpread:
    """Whether at least two tools of a server were affected within a span."""

    __slots__ = ("_last", "_last_at", "_other_at", "window")

    def __init__(self, window: Nanoseconds) -> None:
        self.window = window
        self._last = ""
        self._last_at: Nanoseconds | None = None
        self._other_at: Nanoseconds | None = None
        """When a tool other than the last one was affected, at the latest."""

    def add(self, tool: str, now: Nanoseconds) -> bool:
        """A tool is affected, now. True: it is not the only one of late."""
        if tool != self._last:
            self._last, self._other_at = tool, self._last_at
        self._last_at = now
        return self._other_at is not None and now - self._other_at <= self.window
