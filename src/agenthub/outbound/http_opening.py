"""The first words to an HTTP server, which tell the era that it speaks.

    server/discover ──result───────────────────────────────────────────► modern
       ▲    │  └──────recognised modern error: -32020, -32021, -32022,
       │    │         or -32601 with 404────────────────────────────────► modern
       │    ├─401 403 408 429 5xx, lost, silent, unreached──────────────► no verdict: failed
       │    └─anything else────────► initialize ──result──► initialized ► legacy
       └──────anything else────────────┘   └──no verdict────────────────► failed

A server that was legacy before is asked to `initialize` first. An old server answers 400 with a
JSON-RPC error too, so only those codes are evidence of a new one; and a server in trouble is no
old server: that verdict would outlive the trouble.
Source: revision 2026-07-28, Streamable HTTP, Backward Compatibility.
"""

from collections.abc import Mapping
from enum import Enum, auto

from msgspec import Raw, Struct, structs

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_answer import explain, says_nothing_of_era
from agenthub.outbound.http_request import is_session_id
from agenthub.outbound.stdio_opening import (
    UNSUPPORTED_VERSION,
    Opened,
    Unfit,
    discovered,
    initialized,
    unsupported,
)

HEADER_MISMATCH, MISSING_CAPABILITY = -32020, -32021
NO_METHOD = -32601


class Step(Enum):
    """What to say next."""

    DISCOVER = auto()
    INITIALIZE = auto()
    INITIALIZED = auto()


class Failed(Struct, frozen=True):
    """No verdict, or no MCP server."""

    reply: Reply
    """What those get who wanted to send something: nothing of theirs was sent."""
    diagnosis: Diagnosis
    is_refused: bool = False
    """Both ways were refused, as a server does that has another transport here, or nothing."""


class Opening:
    """A machine without I/O: steps come out, the answers to them go in."""

    def __init__(self, *, initialize_first: bool) -> None:
        self.step = Step.INITIALIZE if initialize_first else Step.DISCOVER
        self.session = ""
        """The session that an old server gave."""
        self._tried = 1
        self._refused: list[str] = []
        self._opened: Opened | None = None

    @property
    def version(self) -> str:
        """That an old server chose."""
        assert self._opened is not None
        return self._opened.version

    def answered(  # noqa: PLR0911 - a ladder
        self, reply: Reply, headers: Mapping[bytes, bytes]
    ) -> Opened | Failed | Step:
        """The answer to the present step: the verdict, or the next step."""
        if self.step is Step.INITIALIZED:
            return self._after_initialized(reply, headers)
        if reply.ending is Ending.RESULT:
            try:
                if (accepted := self._accepted(reply, headers)) is not None:
                    return accepted
            except ValueError as wrong:
                return _unfit(f"its first answer has the wrong shape: {wrong}"[:300])
        if self.step is Step.DISCOVER and (verdict := _recognised(reply)) is not None:
            return verdict
        if self._no_verdict(reply):
            return _failed(reply, headers)
        self._refused.append(_how(self.step, reply))
        if self._tried == 2:
            return self._neither(reply, headers)
        self._tried = 2
        self.step = Step.INITIALIZE if self.step is Step.DISCOVER else Step.DISCOVER
        return self.step

    @staticmethod
    def _no_verdict(reply: Reply) -> bool:
        if reply.ending in {Ending.ERROR, Ending.STATUS}:
            return says_nothing_of_era(reply.status) or 300 <= reply.status < 400
        return reply.ending not in {Ending.PROTOCOL, Ending.RESULT}

    def _accepted(
        self, reply: Reply, headers: Mapping[bytes, bytes]
    ) -> Opened | Failed | Step | None:
        if self.step is Step.DISCOVER:
            return discovered(reply.result)
        self._opened = initialized(reply.result)
        self.session = headers.get(b"mcp-session-id", b"").decode("latin-1").strip()
        if self.session and not is_session_id(self.session):
            return _unfit("its session id is not visible ASCII")
        if not wire.is_version(self._opened.version):
            return _unfit("its protocol version is no date")
        self.step = Step.INITIALIZED
        return self.step

    def _after_initialized(self, reply: Reply, headers: Mapping[bytes, bytes]) -> Opened | Failed:
        """A notification has no answer, and no status of it matters but those of trouble."""
        assert self._opened is not None
        if reply.ending is Ending.STATUS and not says_nothing_of_era(reply.status):
            return self._opened
        if reply.ending in {Ending.ERROR, Ending.PROTOCOL, Ending.RESULT}:
            return self._opened
        return _failed(reply, headers)

    def _neither(self, reply: Reply, headers: Mapping[bytes, bytes]) -> Failed:
        if reply.ending is Ending.STATUS and reply.status >= 400:
            return structs.replace(_failed(reply, headers), is_refused=True)
        return _unfit(f"it refused both ways to begin ({'; '.join(self._refused)})"[:500])


def _recognised(reply: Reply) -> Opened | Failed | None:
    """The verdict of an error that only a modern server gives."""
    if reply.ending is not Ending.ERROR:
        return None
    if reply.code == UNSUPPORTED_VERSION:
        error = wire.error_head(Raw(reply.error))
        try:
            verdict = unsupported(error.data if error else wire.NOTHING)
        except ValueError:
            verdict = Opened(Era.MODERN, wire.MODERN)
        return _unfit(verdict.problem) if isinstance(verdict, Unfit) else verdict
    modern = reply.code in {HEADER_MISMATCH, MISSING_CAPABILITY}
    if modern or (reply.code == NO_METHOD and reply.status == 404):
        return Opened(Era.MODERN, wire.MODERN)
    return None


def _failed(reply: Reply, headers: Mapping[bytes, bytes]) -> Failed:
    if reply.ending in {Ending.ERROR, Ending.STATUS}:
        diagnosis = explain(reply.status, headers)
        told = Reply(
            Ending.STATUS,
            Written.NONE,
            status=reply.status,
            retry_after_ms=reply.retry_after_ms,
            detail=diagnosis.problem,
        )
        return Failed(told, diagnosis)
    told = Reply(Ending.UNREACHED, Written.NONE, loss=reply.loss, detail=reply.detail)
    return Failed(told, Diagnosis(reply.detail))


def _unfit(problem: str) -> Failed:
    return unreached(
        Diagnosis(problem, "Is there an MCP server (Streamable HTTP) at this address?")
    )


def unreached(diagnosis: Diagnosis) -> Failed:
    return Failed(Reply(Ending.UNREACHED, Written.NONE, detail=diagnosis.problem), diagnosis)


def _how(step: Step, reply: Reply) -> str:
    said = reply.detail or "it names no version"
    if reply.ending is Ending.ERROR:
        error = wire.error_head(Raw(reply.error))
        said = (error.message if error else "") or str(reply.code)
    return f"{step.name.lower()}: {said[:200]}"
