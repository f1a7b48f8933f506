"""HTTP/1.1 as the hub serves it: uvicorn's protocol class, with our own reading and our own turns.

bytes ─► reader (gate, limits) ─► Turn ─► queue ─┬► hot door: callbacks, no task
                                                 └► uvicorn's cycle: the ASGI application

Every request is whole before anything sees it. Turns are answered one at a time, in order, so a
pipeline needs no more than a queue. From uvicorn come the ASGI side (scope, cycle, flow control)
and the socket's life; tests/inbound/test_uvicorn_contract.py pins what is used of it.
Source: RFC 9112; attacks A13, A60; performance notes §7.
"""

import logging
from collections import deque
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agenthub.inbound import rejection as no
from agenthub.inbound.edge import LINGER, STALL_BYTES, Edge
from agenthub.inbound.reader import Reader, Stage
from agenthub.inbound.turn import Turn

log = logging.getLogger(__name__)

PIPELINE_MAX: Final = 64
"""Requests that may wait for those before them; httptools reads all that came in one piece."""
PIPELINE_PAUSE: Final = 4
"""Requests that wait before no more are read; until then the client's going is seen."""
HELD_MAX: Final = 48 * 1024
"""Bytes that are held until the end of the loop's turn; a whole answer that is held fits in."""
WRITE_HIGH: Final = 64 * 1024
"""Bytes that wait for the client before the transport says so."""


class _Reread:
    """Stands for the parser when uvicorn's class takes over a request that is whole already."""

    def __init__(self, turn: Turn, *, keep: bool) -> None:
        self._turn, self._keep = turn, keep

    def get_method(self) -> bytes:
        return self._turn.request.method.encode()

    def get_http_version(self) -> str:
        return "1.1" if self._turn.is_chunked else "1.0"

    def should_keep_alive(self) -> bool:
        return self._keep

    def should_upgrade(self) -> bool:
        return False


class HubProtocol(HttpToolsProtocol):
    """One connection."""

    _reader: Reader

    def __init__(self, edge: Edge, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.access_log = False
        self._edge = edge
        self.head = edge.head
        self._turn: Turn | None = None
        """The one that is being answered."""
        self._queue: deque[Turn] = deque()
        self._is_starting = False
        self._sent = 0
        self._held: list[bytes] = []
        """An answer, or pieces of a stream, until they are written at the end of the loop's turn.
        """
        self._held_bytes = 0
        self._stalled: tuple[int, int] | None = None
        """Since when the client takes too little, and what it had taken by then."""

    # ------------------------------------------------------------ the socket

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        high = min(WRITE_HIGH, self._edge.limits.client_buffer_bytes)
        transport.set_write_buffer_limits(high)
        self._reader = Reader(self._edge, self, self.client[0] if self.client else "")
        if not self._edge.joined(self):
            self._reader.refuse(no.FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)

    def eof_received(self) -> None:
        """The transport closes now, which must not come before an answer."""
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._edge.left(self)
        self._reader.deafen()
        turn, self._turn = self._turn, None
        self._queue.clear()
        if turn is not None:
            self._edge.turns -= 1
            turn.gone()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = (self._edge.now, self._sent - self.backlog)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled = None
        turn = self._turn
        if turn is not None and turn.drained is not None:
            turn.drained()

    # ------------------------------------------------------------ the sweep, and the stop

    def sweep(self, now: int) -> None:
        """Close what takes too long; called by the edge once a period."""
        edge, reader = self._edge, self._reader
        age = now - reader.since
        match reader.stage:
            case Stage.HEAD if age >= edge.header_timeout:
                if reader.is_fresh:
                    self._close()
                else:
                    reader.refuse(no.SLOW)
            case Stage.BODY if age >= edge.body_timeout:
                reader.refuse(no.SLOW)
            case Stage.IDLE if self._turn is None and age >= edge.keep_alive:
                self._close()
            case Stage.DEAF if self._turn is None and age >= LINGER:
                self._linger(now)
            case _:
                pass
        if self._stalled is not None:
            self._sweep_stalled(now, *self._stalled)
        if self._turn is not None and not edge.gate.holds(self._turn.caller):
            # The key has ended while its answer was on.
            self.transport.abort()

    def _linger(self, now: int) -> None:
        """The last answer is given: the rest of it may still be taken, slowly."""
        if not self.backlog:
            self.transport.abort()
        elif self._stalled is None:
            self._stalled = (now, self._sent - self.backlog)

    def _sweep_stalled(self, now: int, since: int, taken: int) -> None:
        """Cut off who does not read its answer."""
        progress = self._sent - self.backlog
        if progress - taken >= STALL_BYTES:
            self._stalled = (now, progress)
        elif now - since >= self._edge.body_timeout:
            self.transport.abort()

    def shutdown(self) -> None:
        """The hub stops: end now if nothing is on, else after the answer that is."""
        turn = self._turn
        if turn is None or self._is_listening(turn):
            self._close()
        elif turn.door is None:
            self.cycle.keep_alive = False

    def _is_listening(self, turn: Turn) -> bool:
        """Whether this is a stream of events, which would not end by itself."""
        begun = self.cycle.response_started if turn.door is None else turn.is_begun
        return begun and turn.request.method == "GET"

    # ------------------------------------------------------------ turns

    @property
    def is_busy(self) -> bool:
        return self._turn is not None

    def take(self, turn: Turn) -> None:
        """A request is whole, or refused."""
        if not self._edge.is_accepting and turn.refusal is None:
            turn.refusal = no.STOPPING
        if (
            turn.door is not None
            and self._turn is None
            and not self._queue
            and not self.transport.is_closing()
        ):
            # Mostly nobody waits: the queue is for pipelines.
            self._turn = turn
            self._edge.turns += 1
            self._serve(turn)
            return
        self._queue.append(turn)
        if self._turn is None:
            self._start()
        elif len(self._queue) > PIPELINE_MAX and turn.refusal is None:
            self._queue.pop()
            self._reader.refuse(no.PIPELINE_FULL)
        elif len(self._queue) >= PIPELINE_PAUSE:
            self.flow.pause_reading()

    def _start(self) -> None:
        """Start the turns that wait, as far as they are answered at once."""
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._turn is None and self._queue and not self.transport.is_closing():
                self._turn = turn = self._queue.popleft()
                self._edge.turns += 1
                self._serve(turn)
        finally:
            self._is_starting = False
        if not self._queue:
            self.flow.resume_reading()

    def _serve(self, turn: Turn) -> None:
        if turn.refusal is not None:
            turn.refuse(turn.refusal, self._edge.ids())
        elif turn.door is None:
            self._serve_asgi(turn)
        else:
            try:
                turn.door(turn)
            except Exception:
                request_id = self._edge.ids()
                log.exception("A request failed", extra={"request_id": request_id})
                self._failed(turn, request_id)

    def _failed(self, turn: Turn, request_id: str) -> None:
        if turn.is_begun:
            self.transport.abort()
        else:
            turn.keep = False
            turn.refuse(no.BUG, request_id)

    def _serve_asgi(self, turn: Turn) -> None:
        """Hand the request to uvicorn's cycle, as if it was read just now."""
        self.flush()
        request = turn.request
        self.parser = cast("Any", _Reread(turn, keep=not self.is_last))
        super().on_message_begin()
        query = b"?" + request.query if request.query else b""
        self.url = request.path.encode("latin-1") + query
        self.headers.extend(request.headers)
        try:
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            turn.keep = False
            turn.refuse(no.TARGET, self._edge.ids())
            return
        if request.body:
            super().on_body(request.body)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The ASGI application has answered."""
        turn = self._turn
        if turn is not None:
            turn.keep = turn.keep and self.cycle.keep_alive
            turn.is_done = True
            self.finished(turn)

    # ------------------------------------------------------------ turn.Line

    def send(self, data: bytes) -> None:
        self.flush()
        self._sent += len(data)
        self.transport.write(data)

    def hold(self, data: bytes) -> None:
        size = self._held_bytes + len(data)
        if size > HELD_MAX or self._edge.turns == 1:
            self.send(data)  # Who is alone has nobody to wait for.
            return
        if not self._held:
            self._edge.outbox.add(self)
        self._held.append(data)
        self._held_bytes = size

    def flush(self) -> None:
        """Write what is held. Implements `outbox.Writer`."""
        if not self._held:
            return
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if not self.transport.is_closing():
            self._sent += len(data)
            self.transport.write(data)

    def _close(self) -> None:
        """After what was sent."""
        self.flush()
        self.transport.close()

    @property
    def backlog(self) -> int:
        """Of the transport alone: what is held does not wait for the client, and nobody is told
        when it has gone.
        """
        return self.transport.get_write_buffer_size()

    @property
    def is_last(self) -> bool:
        turn = self._turn
        return turn is None or not turn.keep or not self._edge.is_accepting

    def finished(self, turn: Turn) -> None:
        self.server_state.total_requests += 1
        if self._turn is not None:
            self._turn = None
            self._edge.turns -= 1
        if turn.keep and self._edge.is_accepting:
            self._reader.rest()
            if self._queue:
                self._start()
            return
        self._reader.deafen()
        if turn.refusal is not None and not self.transport.is_closing():
            # The client may be writing still: a plain close would reset the connection, and the
            # answer would be lost with it.
            self.flow.resume_reading()
            self.flush()
            self.transport.write_eof()
        else:
            self._close()
