"""A provider's stream on its way to the client: passed on as it comes, and read on the side.

    bytes ──► events (blank line; LF or CRLF) ──► the dialect's tally
      └─────► the client: the same bytes, at once

Where the hub alone asked for a chat stream's usage, events are passed on whole, and the one that
says nothing but the usage is not. Gemini also streams one JSON array; its elements are the events.

However the bytes are cut, the client gets the same, and the same is seen (rule P7).
Source: WHATWG HTML 9.2.6, without a lone CR as line end, which no provider sends.
"""

import re
from typing import Final

from agenthub.wire.llm.answer import TALLIES
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.seen import Seen, Tally

EVENT_BYTES: Final = 1_048_576
"""Of one event that is read. Of a larger one, only its ends are."""
HEAD_BYTES: Final = 512
TAIL_BYTES: Final = 16_384

_BLANK = re.compile(rb"(\n\r?\n)")
_UNDONE: Final = 2
"""Bytes of a blank line that has begun, at most."""
_BOM: Final = b"\xef\xbb\xbf"
_MARK = re.compile(rb'["\\{}\[\]]')
_QUOTE, _BACKSLASH = b'"\\'
_OPENING: Final = b"{["


class StreamReader:
    """Bytes of one answer in, bytes for the client out. It holds at most one event, bounded."""

    __slots__ = ("_array", "_decided", "_head", "_held", "_sent", "_strip", "_tally")

    def __init__(self, dialect: Dialect, *, strip_usage: bool) -> None:
        self._tally = TALLIES[dialect]()
        self._strip = strip_usage
        self._held = bytearray()
        """Of an event whose end has not come; of a large one, only its end so far."""
        self._sent = 0
        """Bytes of those that the client has."""
        self._head = b""
        """How a large event began; empty: what is held is none."""
        self._decided = dialect is not Dialect.GEMINI
        self._array: _Array | None = None

    def feed(self, data: bytes) -> bytes:
        """What of it, and of what was held back, goes to the client now."""
        text = data if self._decided else self._decide(data)
        if self._array is not None:
            self._array.feed(text)
            return data
        passed = self._events(text)
        return passed if self._strip else data

    @property
    def error(self) -> bytes:
        """Raw JSON of an error event, if one came; else empty."""
        return self._tally.error

    @property
    def complete(self) -> bool:
        """Whether the proper end has come."""
        return self._tally.complete

    @property
    def counted(self) -> int:
        """Bytes of text that the model has written so far."""
        return self._tally.counted

    def end(self) -> Seen:
        """What was seen, once no more will come."""
        last = bytes(self._held)
        kept = last[self._sent :] if self._strip else b""
        return self._tally.seen(b"" if last and self._drops(last) else kept)

    def _decide(self, data: bytes) -> bytes:
        """Whether Gemini streams events or an array, once the first byte has come."""
        self._held += data
        text = bytes(self._held)
        first = text.lstrip()[:1]
        if not first and len(text) <= EVENT_BYTES:
            return b""
        self._decided = True
        self._held.clear()
        if first == b"[":
            self._array = _Array(self._tally)
        return text

    def _events(self, text: bytes) -> bytes:
        held = self._held
        if not held and b"\r" not in text:
            events = text.split(b"\n\n")
            if not events.pop():
                return self._whole(text, events)
        elif held and self._decided:
            if not _BLANK.search(held[-_UNDONE:] + text):
                held += text
                return self._bound()
            text = bytes(held) + text
            held.clear()
        pieces = _BLANK.split(text)
        out: list[bytes] = []
        for at in range(0, len(pieces) - 1, 2):
            sent, self._sent = self._sent, 0
            if not self._drops(pieces[at]) or sent:
                out.append((pieces[at] + pieces[at + 1])[sent:])
        held += pieces[-1]
        out.append(self._bound())
        return b"".join(out)

    def _whole(self, text: bytes, events: list[bytes]) -> bytes:
        """Mostly all events are whole, and nothing is held."""
        dropped = [self._drops(event) for event in events]
        if True not in dropped:
            return text
        both = zip(events, dropped, strict=True)
        return b"".join(event + b"\n\n" for event, drops in both if not drops)

    def _bound(self) -> bytes:
        """Let a large event go, but for its end. Returns what goes."""
        held = self._held
        if not self._head and len(held) <= EVENT_BYTES + _UNDONE:
            return b""
        self._head = self._head or bytes(held[:HEAD_BYTES])
        gone = bytes(held[self._sent :])
        del held[: -(TAIL_BYTES + _UNDONE)]
        self._sent = len(held)
        return gone

    def _drops(self, event: bytes) -> bool:
        """Read one event. Returns whether the client is not to have it."""
        head, self._head = self._head, b""
        if head or len(event) > EVENT_BYTES:
            self._tally.large(head or event[:HEAD_BYTES], event[-TAIL_BYTES:])
            return False
        if event.startswith(b"data:") and b"\n" not in event:
            data = event[5:]
        else:
            lines = event.removeprefix(_BOM).split(b"\n")
            data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:"))
        return bool(data) and self._tally.take(data) and self._strip


class _Array:
    """The elements of a JSON array, read as they are complete."""

    __slots__ = ("_depth", "_escaped", "_head", "_held", "_quoted", "_tally")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._held = bytearray()
        self._head = b""
        self._depth = 0
        self._quoted = False
        self._escaped = -1
        """Where the byte stands that a backslash escapes."""

    def feed(self, data: bytes) -> None:
        start = 0 if self._depth > 1 else len(data)
        for match in _MARK.finditer(data):
            at, mark = match.start(), data[match.start()]
            if at == self._escaped:
                continue
            if self._quoted:
                self._quoted = mark != _QUOTE
                if mark == _BACKSLASH:
                    self._escaped = at + 1
            elif mark == _QUOTE:
                self._quoted = True
            elif mark in _OPENING:
                self._depth += 1
                start = at if self._depth == 2 else start
            elif mark != _BACKSLASH:
                self._depth -= 1
                if self._depth == 1:
                    self._take(data[start : at + 1])
                    start = len(data)
        self._escaped -= len(data)
        self._held += data[start:]
        self._bound()

    def _take(self, rest: bytes) -> None:
        self._held += rest
        self._bound()
        element, head = bytes(self._held), self._head
        self._held.clear()
        self._head = b""
        if head:
            self._tally.large(head, element)
        else:
            self._tally.take(element)

    def _bound(self) -> None:
        if self._head or len(self._held) > EVENT_BYTES:
            self._head = self._head or bytes(self._held[:HEAD_BYTES])
            del self._held[:-TAIL_BYTES]
