"""Heads of answers that were read before: equal bytes mean the same again.

    strict parser ──a whole answer: 200, JSON, Content-Length──► learn ──► known heads
    next answer ──► find ──known──► its body, without the parser
                       └──anything else──► strict parser

A server's plain answers differ in little but their bodies, and parsing a head anew costs as much as
the rest of the answer's way (8 µs of 60 here). Nothing is believed of a head that the parser did
not read itself, byte for byte; nothing is taken apart here.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agenthub.outbound.http_answer import media_type

HEADS_MAX: Final = 64
"""Of one server; most say the time, so old ones are of no use after a second."""
HEAD_BYTES_MAX: Final = 2_048
END: Final = b"\r\n\r\n"
_NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"content-encoding"})


class Plain(Struct, frozen=True):
    """What a known head says: 200, JSON, so many bytes, and the connection stays."""

    head: bytes
    size: int
    """Of the whole answer, in bytes."""
    headers: Mapping[bytes, bytes]


class Heads:
    """Those of one server."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[bytes, Plain] = {}
        self._last: Plain | None = None
        """Looked at first: nearly always the next answer begins like the last one."""

    def find(self, data: bytes) -> Plain | None:
        """What the head of this answer says, if it is known and the data is all of the answer."""
        plain = self._last
        if plain is None or not data.startswith(plain.head):
            end = data.find(END, 0, HEAD_BYTES_MAX)
            plain = self._last = self._known.get(data[: end + len(END)]) if end > 0 else None
        return plain if plain is not None and plain.size == len(data) else None

    def learn(self, data: bytes, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The parser read this data, with nothing left over, as one answer that says so."""
        end = data.find(END, 0, HEAD_BYTES_MAX)
        body_at = end + len(END)
        if (
            status == 200
            and end > 0
            and headers.get(b"content-length") == b"%d" % (len(data) - body_at)
            and len(data) > body_at
            and media_type(headers) == b"application/json"
            and _NOT_PLAIN.isdisjoint(headers)
        ):
            if len(self._known) >= HEADS_MAX:
                self._known.clear()
            head = data[:body_at]
            self._known[head] = Plain(head, len(data), headers)
