"""Server-sent events, read as their bytes come, however those are cut.

    bytes ──► lines (LF, CR or CRLF) ──► fields ──blank line──► an event

Only ASCII line ends end a line: U+2028 and its like are text. What comes after the last blank line
is no event. A byte order mark is skipped at the very beginning and nowhere else.

Source: WHATWG HTML, 9.2.5 and 9.2.6 ("Parsing an event stream", "Interpreting an event stream").
"""

from msgspec import Struct

HEAD_BYTES = 256
BOM = b"\xef\xbb\xbf"
DIGITS_MAX = 9
"""Of `retry`, in milliseconds; longer ones are ignored."""


class Event(Struct, frozen=True):
    """One event, in bytes as they came."""

    data: bytes
    kind: bytes = b""
    """Its `event` field; empty means `message`."""


class SseParser:
    """Bytes in, events out. It holds at most one event's worth of bytes, twice."""

    __slots__ = (
        "_cap", "_data", "_held", "_kind", "_partial", "_partial_size", "_skip_lf", "_started",
        "head", "last_id", "overflowed", "retry_ms",
    )  # fmt: skip

    def __init__(self, event_bytes: int) -> None:
        self._cap = event_bytes
        self._partial: list[bytes] = []
        """Of a line whose end has not come."""
        self._partial_size = 0
        self._data: list[bytes] = []
        self._held = 0
        """Bytes in `_data`."""
        self._kind = b""
        self._skip_lf = False
        self._started = False
        self.last_id = b""
        self.retry_ms: int | None = None
        self.overflowed = False
        """An event, or a line, was longer than the cap. Nothing is read from then on."""
        self.head = b""
        """How the data of that event begins, as far as it is known."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete."""
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[Event] = []
        for line in lines:
            if self.overflowed:
                return events
            if self._partial:
                self._hold(line)
                line = b"".join(self._partial)  # noqa: PLW2901 - the whole of the same line
                self._partial, self._partial_size = [], 0
            event = self._take(line)
            if event is not None:
                events.append(event)
        if rest and not self.overflowed:
            self._hold(rest)
        return events

    def _hold(self, part: bytes) -> None:
        self._partial.append(part)
        self._partial_size += len(part)
        if self._partial_size > self._cap + len(BOM):
            self._overflow(b"".join(self._partial))

    def _take(self, line: bytes) -> Event | None:
        """Read one whole line."""
        if not self._started:
            self._started = True
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatch()
        if len(line) > self._cap:
            self._overflow(line)
            return None
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._held += len(value) + 1
            self._data.append(value)
            if self._held > self._cap:
                self._overflow(line)
        elif name == b"event":
            self._kind = value
        elif name == b"id" and b"\0" not in value:
            self.last_id = value
        elif name == b"retry" and value.isdigit() and len(value) <= DIGITS_MAX:
            self.retry_ms = int(value)
        return None

    def _overflow(self, line: bytes) -> None:
        self.overflowed = True
        first = self._data[0] if self._data else line.removeprefix(b"data:").lstrip(b" ")
        self.head = first[:HEAD_BYTES]

    def _dispatch(self) -> Event | None:
        kind, self._kind = self._kind, b""
        if not self._data:
            return None
        lines, self._data, self._held = self._data, [], 0
        return Event(lines[0] if len(lines) == 1 else b"\n".join(lines), kind)
