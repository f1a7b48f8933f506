"""One HTTP request and its answer, as the hot doors see it: callbacks, no coroutine.

Two transports make exchanges: the hub's own protocol class inside uvicorn (the fast one), and an
ASGI adapter (the fallback). A door cannot tell which; both pass the same gate before it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct, field

from agenthub.domain.caller import Caller
from agenthub.wire.notes import Notes

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values stripped of white space, in the order they came."""


class Request(Struct, frozen=True):
    """A whole request: the body has arrived, and is within its limit."""

    method: str
    path: str
    """Decoded once, without the query; as routed (never rebuilt from a URL)."""
    query: bytes
    headers: Headers
    body: bytes
    notes: Notes = field(default_factory=Notes)
    """Of the head: requests that begin with the same bytes may share them."""

    def header(self, name: bytes) -> bytes | None:
        """The first value; callers that must not see two use `headers_of`."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def headers_of(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


class Exchange(Protocol):
    """The answering side. Exactly one of `answer` and `begin … end` is used, once."""

    request: Request
    caller: Caller
    """Who asks; the gate has let it in."""
    closed: Callable[[], None] | None
    """Set by the door: called once if the client goes before the answer is complete."""

    def answer(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """A whole answer. `content-type: application/json` unless `headers` has another."""
        ...

    def begin(self, status: int, headers: Headers) -> None:
        """Start a stream (chunked)."""
        ...

    def write(self, data: bytes) -> None:
        """Add to the stream. Silently dropped when the client has gone."""
        ...

    def end(self) -> None: ...

    @property
    def backlog(self) -> int:
        """Bytes written that the client has not taken yet."""
        ...

    drained: Callable[[], None] | None
    """Set by the door: called when `backlog` falls low after it was over the limit."""


HotDoor: TypeAlias = Callable[[Exchange], None]
"""Must not raise for anything a client can send; a bug in it becomes a plain 500."""
