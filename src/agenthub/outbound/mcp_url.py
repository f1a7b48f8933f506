"""An MCP server behind a URL, whose transport is found out: Streamable HTTP, or else HTTP+SSE.

    Streamable HTTP ──both ways to begin refused (4xx)──► a stream is tried too
       ▲                                                     │          │
       │                 ◄──no stream with an `endpoint`─────┘          └──► HTTP+SSE
       └───────────────── the stream is refused (4xx) ◄──────────────────────────┘

What was found for the session that all callers share counts for the others too. A call that the
first transport refused waits for the second, and if there is none, hears what the first one said.

Source: revision 2026-07-28, Streamable HTTP, Backward Compatibility.
"""

from collections.abc import Callable
from typing import TypeAlias

from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.outbound.mcp_http import HttpUpstream
from agenthub.outbound.mcp_sse import SseUpstream
from agenthub.outbound.passing import Passing
from agenthub.ports import (
    Attempt,
    AttemptReceiver,
    Outgoing,
    Upstream,
    UpstreamState,
    UpstreamWatcher,
)
from agenthub.tasks import Tasks

MakeHttp: TypeAlias = Callable[[UpstreamWatcher], HttpUpstream]
MakeSse: TypeAlias = Callable[[UpstreamWatcher], SseUpstream]


class Found:
    """The transport of one server, as far as any session of it knows."""

    def __init__(self) -> None:
        self.is_sse = False


class UrlUpstream:
    """Implements `ports.Upstream`."""

    def __init__(
        self,
        make_http: MakeHttp,
        make_sse: MakeSse,
        watcher: UpstreamWatcher,
        found: Found,
        tasks: Tasks,
    ) -> None:
        self._make_http = make_http
        self._make_sse = make_sse
        self._watcher = watcher
        self._found = found
        self._tasks = tasks
        self._http: HttpUpstream | None = None
        self._sse: SseUpstream | None = None
        """Under trial while there is `_http` too."""
        self._closed = False
        if found.is_sse:
            self._sse = make_sse(SseNews(self, watcher))
        else:
            self._begin()

    def _begin(self) -> None:
        self._http = self._make_http(self._watcher)
        self._http.elsewhere = self._try_sse

    @property
    def _now(self) -> Upstream:
        now = self._http or self._sse
        assert now is not None, "one of both is there always"
        return now

    # ---------------------------------------------------------------- the port

    @property
    def state(self) -> UpstreamState:
        return self._now.state

    def start(self) -> None:
        self._now.start()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        http = self._http
        if http is not None and http.is_ready:
            return http.send(outgoing, receiver)
        if http is None:
            return self._now.send(outgoing, receiver)
        call = UndecidedCall(self, outgoing, receiver)
        call.attempt = http.send(outgoing, call)
        return call

    async def close(self) -> None:
        self._closed = True
        for upstream in (self._http, self._sse):
            if upstream is not None:
                await upstream.close()

    # ---------------------------------------------------------------- the other transport

    def _try_sse(self) -> None:
        """Streamable HTTP is refused here."""
        if self._sse is None and not self._closed:
            self._sse = self._make_sse(SseNews(self, self._watcher))
            self._sse.start()

    def elsewhere(self, call: "UndecidedCall", reply: Reply) -> bool:
        """Send a call that was refused by the other transport, if that is tried now."""
        refused = reply.ending in {Ending.STATUS, Ending.UNREACHED}
        if self._sse is None or self._closed or not refused or reply.written is not Written.NONE:
            return False
        call.attempt = self._sse.send(call.outgoing, call)
        return True

    def sse_connected(self) -> None:
        self._found.is_sse = True
        http, self._http = self._http, None
        if http is not None:
            self._tasks.start(http.close(), "close the other transport")

    def sse_failed(self) -> bool:
        """Whether somebody has to hear of it: it was the server's transport, and is still."""
        sse = self._sse
        if sse is None or not (self._http or sse.is_refused):
            return True
        was_found, self._sse = self._http is None, None
        self._found.is_sse = False
        self._tasks.start(sse.close(), "close the other transport")
        if was_found and not self._closed:
            self._begin()
            self.start()
        return was_found


class SseNews:
    """Hears of the second transport (ports.UpstreamWatcher)."""

    def __init__(self, house: UrlUpstream, watcher: UpstreamWatcher) -> None:
        self._house = house
        self._watcher = watcher

    def changed(self, kind: str, params: bytes) -> None:
        self._watcher.changed(kind, params)

    def connected(self) -> None:
        self._house.sse_connected()
        self._watcher.connected()

    def lost(self, loss: int, detail: str) -> None:
        self._watcher.lost(loss, detail)

    def unreachable(self, detail: str) -> None:
        if self._house.sse_failed():
            self._watcher.unreachable(detail)


class UndecidedCall(Passing):
    """A call before the transport is known: an attempt, and the receiver of two in turn."""

    __slots__ = ("_house", "_refusal")

    def __init__(self, house: UrlUpstream, outgoing: Outgoing, receiver: AttemptReceiver) -> None:
        super().__init__(outgoing, receiver)
        self._house = house
        self._refusal: Reply | None = None
        """What the first transport said."""

    def finished(self, reply: Reply) -> None:
        if self._refusal is None and self._house.elsewhere(self, reply):
            self._refusal = reply
            return
        if reply.ending is Ending.UNREACHED and self._refusal is not None:
            reply = self._refusal
        self._receiver.finished(reply)
