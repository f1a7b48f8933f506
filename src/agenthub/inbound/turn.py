"""One request's turn on a connection: turns are answered in the order in which they came.

A turn is served by a hot door, by the ASGI application, or by the edge itself with a refusal.
"""

import re
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from agenthub.domain.caller import Caller
from agenthub.inbound.exchange import Headers, HotDoor, Request
from agenthub.inbound.rejection import PROBLEM_JSON, Rejection

JSON_LINE = b"content-type: application/json\r\n"
_BAD_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
LARGE = 32 * 1024
"""From this size on, a second write costs less than to copy the body behind its head."""
_BODILESS = frozenset({204, 304})


class Line(Protocol):
    """The connection, as a turn uses it."""

    def send(self, data: bytes) -> None: ...
    def hold(self, data: bytes) -> None:
        """As `send`, at the end of the loop's turn with all that is held by then."""
        ...

    def head(self, status: int) -> bytes: ...
    def finished(self, turn: "Turn") -> None: ...
    @property
    def backlog(self) -> int: ...
    @property
    def is_last(self) -> bool:
        """Whether the connection ends with the turn that is on."""
        ...


class Turn(Struct, eq=False):
    """`exchange.Exchange` over a connection; also what waits in its pipeline."""

    line: Line
    request: Request
    caller: Caller
    door: HotDoor | None
    """None: the ASGI application's."""
    closed: Callable[[], None] | None = None
    drained: Callable[[], None] | None = None
    refusal: Rejection | None = None
    keep: bool = True
    """Whether the client keeps the connection after this."""
    is_chunked: bool = True
    """Whether the client understands chunks: not in HTTP/1.0."""
    is_begun: bool = False
    is_done: bool = False

    @property
    def backlog(self) -> int:
        return 0 if self.is_done else self.line.backlog

    def answer(self, status: int, body: bytes, headers: Headers = ()) -> None:
        if self.is_done:
            return
        assert not self.is_begun, "An answer was begun already"
        line, size = self.line, len(body)
        lines = lines_of(headers) if headers else b""
        if body and not (headers and _has(headers, b"content-type")):
            lines += JSON_LINE
        send = line.hold
        if line.is_last:
            lines += b"connection: close\r\n"
            send = line.send
        head = line.head(status)
        if status in _BODILESS:
            line.send(b"%b%b\r\n" % (head, lines))
        elif self.request.method == "HEAD":
            line.send(b"%b%bcontent-length: %d\r\n\r\n" % (head, lines, size))
        elif size < LARGE:
            send(b"%b%bcontent-length: %d\r\n\r\n%b" % (head, lines, size, body))
        else:
            line.send(b"%b%bcontent-length: %d\r\n\r\n" % (head, lines, size))
            line.send(body)
        self.is_done = True
        line.finished(self)

    def refuse(self, refusal: Rejection, request_id: str) -> None:
        headers = (*refusal.headers, (b"content-type", PROBLEM_JSON))
        self.answer(refusal.status, refusal.body(request_id), headers)

    def begin(self, status: int, headers: Headers) -> None:
        if self.is_done:
            return
        assert not self.is_begun, "An answer was begun already"
        self.is_begun = True
        if not self.is_chunked:
            self.keep = False
        lines = lines_of(headers)
        if self.line.is_last:
            lines += b"connection: close\r\n"
        if self.is_chunked:
            lines += b"transfer-encoding: chunked\r\n"
        self.line.hold(b"%b%b\r\n" % (self.line.head(status), lines))

    def write(self, data: bytes) -> None:
        if self.is_done or not data or self.request.method == "HEAD":
            return
        assert self.is_begun, "Nothing was begun"
        self.line.hold(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    def end(self) -> None:
        if self.is_done:
            return
        assert self.is_begun, "Nothing was begun"
        if self.is_chunked and self.request.method != "HEAD":
            self.line.hold(b"0\r\n\r\n")
        self.is_done = True
        self.line.finished(self)

    def gone(self) -> None:
        """The client went; the door hears of it once."""
        if not self.is_done:
            self.is_done = True
            closed, self.closed, self.drained = self.closed, None, None
            if closed is not None:
                closed()


def lines_of(headers: Headers) -> bytes:
    """Header lines. Raises ValueError for what would be more than one header (A11)."""
    lines: list[bytes] = []
    for name, value in headers:
        if _BAD_NAME.search(name) or _BAD_VALUE.search(value):
            raise ValueError(f"no header: {name!r}")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def _has(headers: Headers, name: bytes) -> bool:
    return any(key.lower() == name for key, _ in headers)
