"""Heads that came in before: the same bytes mean the same again.

Nearly every call of a client begins with the same bytes as its last one. To read them (httptools'
events, the limits, the gate) took 10 µs of the 30 that a call spent in the inbound half. So what
was found in a head that went the whole way once, and was let in to a hot door, is kept under its
bytes. A request that stands alone between two others, came in one piece, and has a head that is
known byte for byte and a body just as long as that head says, is that request with another body.

This leaves nothing out. httptools' events are a function of the bytes since the last request;
the gate's verdict, of the head, of settings that stay, and of the key, which is asked each time.
What is pipelined or split, has chunks, expects or upgrades, or ends the connection, goes the
whole way, as does what leads to no hot door.
"""

from typing import Final

from msgspec import Struct

from agenthub.inbound.exchange import HotDoor, Request
from agenthub.inbound.gate import Admitted, Gate

HEADS_MAX: Final = 1_024
"""Heads kept; when there are more, all are forgotten and found again."""
HEAD_BYTES_MAX: Final = 2_048
"""Of a head that is kept: all together are small."""
END: Final = b"\r\n\r\n"


class Known(Struct, frozen=True):
    """What was found in a head."""

    head: bytes
    admitted: Admitted
    door: HotDoor
    request: Request
    """The first that had it, without its body."""
    size: int
    """Of the whole request, in bytes."""


class KnownHeads:
    """Those of all connections of one listener."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._heads: dict[bytes, Known] = {}

    def find(self, data: bytes, peer: str, last: Known | None) -> Known | None:
        """What is known of the head, if `data` is one such request and no more.

        `last` is what was found on this connection before: looked at first, for it costs least.
        """
        if last is None or not data.startswith(last.head):
            last = self._heads.get(data[: data.find(END) + len(END)])
        if last is not None and len(data) == last.size and self._gate.readmits(last.admitted, peer):
            return last
        return None

    def learn(self, data: bytes, admitted: Admitted, request: Request, door: HotDoor) -> None:
        """Keep what the whole way found in `data`, which ended with this request.

        That nothing else is in `data` is seen by its length: a request before this one, or a line
        break, would have to be in it, too.
        """
        size, fields = data.find(END) + len(END), admitted.fields
        length = int(fields.get(b"content-length", b"0"))
        if size > HEAD_BYTES_MAX or len(data) != size + length or b"expect" in fields:
            return
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        bare = Request(request.method, request.path, request.query, request.headers, b"")
        head = data[:size]
        self._heads[head] = Known(head, admitted, door, bare, len(data))
