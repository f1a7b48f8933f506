"""Reads requests from a connection: httptools' events, the gate, the limits.

IDLE ─► HEAD ─► BODY ─► IDLE …      each with its time; what is wrong at any point ends in
                                    DEAF: refused, and nothing is read any more

What the gate refuses is refused at the end of its head: nobody's body is kept in memory.
A request that repeats a head is not read again (known.py).
httptools (llhttp) is strict by itself about bare line feeds, folded lines, two lengths, a length
beside chunks, and characters that no header may have; here stand the limits and what it lets by.
Source: RFC 9112; attacks A10-A13.
"""

import logging
from enum import Enum
from typing import Final, Protocol, cast

import httptools

from agenthub.inbound import rejection as no
from agenthub.inbound.edge import Edge
from agenthub.inbound.exchange import HotDoor, Request
from agenthub.inbound.gate import NOBODY, Admitted
from agenthub.inbound.known import Known
from agenthub.inbound.rejection import Rejection
from agenthub.inbound.turn import Line, Turn

log = logging.getLogger(__name__)

SWALLOWED_MAX: Final = 64 * 1024
"""A refused request's body up to this size is read and dropped, to keep the connection."""


class Stage(Enum):
    """What is being read."""

    IDLE = 0
    """Between requests."""
    HEAD = 1
    BODY = 2
    DEAF = 3
    """Nothing any more: what comes is dropped until the connection ends."""


_IDLE, _HEAD, _BODY, _DEAF = Stage
"""Once more by themselves: to look up a member of an Enum is slow."""


class Taker(Line, Protocol):
    """The connection, as its reader sees it."""

    @property
    def is_busy(self) -> bool: ...
    def take(self, turn: Turn) -> None:
        """A request is whole; or it is refused, and a turn that is not kept is the last."""
        ...


class _Stop(Exception):
    """Nothing after this is read."""


class Reader:
    """One for a connection."""

    __slots__ = (
        "_admitted", "_body", "_edge", "_fed", "_headers", "_hot", "_is_11", "_is_offer", "_keeps",
        "_known", "_method", "_more", "_parser", "_peer", "_refusal", "_size", "_taker", "_target",
        "is_fresh", "since", "stage",
    )  # fmt: skip

    def __init__(self, edge: Edge, taker: Taker, peer: str) -> None:
        self._edge = edge
        self._taker = taker
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self.stage = _HEAD
        self.since = edge.now
        """When the stage began; coarse."""
        self.is_fresh = True
        """Nothing was ever read."""
        self._fed = 0
        """Bytes read since the stage began."""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._method = ""
        self._is_11 = self._keeps = True
        self._is_offer = False
        """An Upgrade stands before a body, which httptools does not read then."""
        self._admitted: Admitted | None = None
        self._refusal: Rejection | None = None
        self._hot: tuple[Admitted, Request, HotDoor] | None = None
        """The request that ended last, if it was for a hot door."""
        self._known: Known | None = None
        """The head that was found last."""
        self._body = b""
        self._more: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        stage = self.stage
        if stage is _DEAF:
            return
        if stage is _IDLE:
            edge = self._edge
            known = self._known = edge.known.find(data, self._peer, self._known)
            if known is not None:
                self.since = edge.now
                self._taker.take(self._repeated(known, data))
                return
            self._enter(_HEAD)
        self._read(data)

    def _read(self, data: bytes) -> None:
        """The whole way."""
        self.is_fresh = False
        is_begun = self._fed > 0
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stop):
                log.exception("The reading of a request failed")
                self.refuse(no.BUG)
        except httptools.HttpParserError:
            self.refuse(no.MALFORMED)
        except _Stop:
            pass
        else:
            self._check_fed()
            hot, self._hot = self._hot, None
            if hot is not None and not is_begun and self.stage is _IDLE:
                self._edge.known.learn(data, *hot)

    def refuse(self, refusal: Rejection) -> None:
        """Refuse what is being read, after the answers before it, and read no more."""
        if self.stage is not _DEAF:
            self._enter(_DEAF)
            self._taker.take(self._refused(refusal, keep=False))

    def deafen(self) -> None:
        self._enter(_DEAF)

    def rest(self) -> None:
        """An answer is complete: the time until the next request begins now."""
        self.since = self._edge.now

    # ------------------------------------------------------------ httptools' events

    def on_message_begin(self) -> None:
        self.stage = _HEAD
        self._target = b""
        self._method = ""
        self._headers = []
        self._admitted = self._refusal = self._hot = None
        self._body = b""
        self._size = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.stage is _HEAD:  # Not a trailer; those are dropped.
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        edge, parser, headers = self._edge, self._parser, self._headers
        if self._fed > edge.limits.header_bytes:
            self._check_head()
        if len(headers) > edge.limits.headers:
            self._stop(no.HEAD_TOO_LARGE)
        self._enter(_BODY)
        self._method = parser.get_method().decode()
        self._is_11 = parser.get_http_version() == "1.1"
        self._keeps = self._is_11 and parser.should_keep_alive()
        if not self._is_11 or parser.should_upgrade():
            self._check_odd()
        verdict = edge.gate.check(self._method, self._target, headers, self._peer)
        if isinstance(verdict, Rejection):
            self._refuse_head(verdict)
        else:
            self._admitted = verdict
            if b"expect" in verdict.fields:
                self._expected(verdict.fields[b"expect"])

    def on_body(self, body: bytes) -> None:
        if self._refusal is not None:
            return
        self._size += len(body)
        if self._size > self._edge.limits.body_bytes:
            self._stop(no.TOO_LARGE)
        if self._body:
            self._more.append(body)
        else:
            self._body = body

    def on_message_complete(self) -> None:
        if self._is_offer:
            return  # The body comes from `_decline`.
        body = self._body
        if self._more:
            body = b"".join([body, *self._more])
            self._more = []
        admitted, refusal = self._admitted, self._refusal
        if admitted is None:
            assert refusal is not None
            turn = self._refused(refusal, keep=self._keeps)
        else:
            address = admitted.address
            request = Request(self._method, address.path, address.query, self._headers, body)
            door = self._edge.hot(address.path)
            turn = Turn(self._taker, request, admitted.caller, door)
            turn.keep = self._keeps
            turn.is_chunked = self._is_11
            if door is not None:
                self._hot = (admitted, request, door)
        self._enter(_IDLE if self._keeps else _DEAF)
        self._taker.take(turn)
        if self.stage is _DEAF:
            raise _Stop

    def _repeated(self, known: Known, data: bytes) -> Turn:
        """A request that is known but for its body."""
        first, body = known.request, data[len(known.head) :]
        request = Request(first.method, first.path, first.query, first.headers, body, first.notes)
        return Turn(self._taker, request, known.admitted.caller, known.door)

    # ------------------------------------------------------------ what is not as it should be

    def _check_fed(self) -> None:
        """Bound what is neither header nor body yet, and what is around a body's chunks."""
        limits = self._edge.limits
        if self.stage is _HEAD and self._fed > limits.header_bytes:
            self.refuse(no.HEAD_TOO_LARGE)
        elif self.stage is _BODY and self._fed > 2 * limits.body_bytes + SWALLOWED_MAX:
            self.refuse(no.TOO_LARGE)

    def _check_head(self) -> None:
        """Of the bytes that were read, some may be the body's."""
        size = len(self._target) + sum(len(n) + len(v) + 4 for n, v in self._headers)
        if size > self._edge.limits.header_bytes:
            self._stop(no.HEAD_TOO_LARGE)

    def _check_odd(self) -> None:
        """An older version, or an upgrade."""
        fields = dict(self._headers)
        is_chunked = b"transfer-encoding" in fields
        if not self._is_11 and (self._parser.get_http_version() != "1.0" or is_chunked):
            self._stop(no.MALFORMED)
        if self._parser.should_upgrade():
            if self._method == "CONNECT" or is_chunked:
                self._stop(no.MALFORMED)
            self._is_offer = fields.get(b"content-length", b"0") != b"0"

    def _refuse_head(self, refusal: Rejection) -> None:
        fields = dict(self._headers)
        if (
            refusal.close
            or self._is_offer
            or b"transfer-encoding" in fields
            or b"expect" in fields
            or int(fields.get(b"content-length", b"0")) > SWALLOWED_MAX
        ):
            self._stop(refusal)
        self._refusal = refusal

    def _expected(self, expectation: bytes) -> None:
        if expectation.lower() != b"100-continue" or self._taker.is_busy:
            self._stop(no.EXPECTATION)
        self._taker.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _decline(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 after an offer of another protocol (RFC 9110 §7.8).

        httptools stops after such a head. A body, if any, is read here, and nothing after it.
        """
        if self._is_offer:
            self._is_offer = self._keeps = False
            length = next(int(value) for name, value in self._headers if name == b"content-length")
            self._parser = cast("httptools.HttpRequestParser", _Body(self, length))
        if rest:
            self.feed(rest)

    def _stop(self, refusal: Rejection) -> None:
        """Refuse from inside the parser."""
        self.refuse(refusal)
        raise _Stop

    def _refused(self, refusal: Rejection, *, keep: bool) -> Turn:
        turn = Turn(self._taker, Request(self._method or "GET", "", b"", (), b""), NOBODY, None)
        turn.refusal = refusal
        turn.keep = keep
        return turn

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since = self._edge.now
        self._fed = 0


class _Body:
    """In the place of the parser: reads a body of known length."""

    def __init__(self, reader: Reader, length: int) -> None:
        self._reader, self._left = reader, length

    def feed_data(self, data: bytes) -> None:
        body = data[: self._left]
        self._left -= len(body)
        self._reader.on_body(body)
        if not self._left:
            self._reader.on_message_complete()
