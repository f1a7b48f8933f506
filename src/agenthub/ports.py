"""What the hub needs of the outside world. Each port has a real adapter and a fake for tests.

The waist is driven by callbacks, not by coroutines: a call over HTTP on both sides takes no task
and no await (docs/adr). All methods run on the event loop's thread and return at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Raw, Struct

from agenthub.domain.call import Era
from agenthub.domain.caller import KeyTerms
from agenthub.domain.content import Content
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import HubError
from agenthub.domain.events import Event
from agenthub.domain.idempotency import Claim, Earlier
from agenthub.domain.outcome import Cause, Reply
from agenthub.domain.pinning import Pin
from agenthub.domain.span import Nanoseconds
from agenthub.domain.subject import Subject
from agenthub.domain.view import View

# ---------------------------------------------------------------- upstream servers


class Outgoing(Struct, frozen=True):
    """One attempt, as an upstream is asked to send it."""

    method: str
    name: str
    """The tool's, prompt's or resource's name on *this* server; empty for other methods."""
    params: Mapping[str, Raw]
    """Raw; `name`/`uri` in it, if any, is replaced by `name`. Without `_meta`."""
    meta: Mapping[str, Raw]
    """Raw `_meta` to pass on. The adapter adds what its era needs, and mints its own ids and
    progress token where the connection is shared."""
    deadline: Nanoseconds
    """Monotonic. The gateway cancels at it; the adapter only passes the remaining time down."""
    capabilities: bytes = b"{}"
    """Raw JSON: what *this* client declared on *this* request; never a union."""
    client_info: bytes = b""
    era: Era = Era.MODERN
    """The client's. What a server of another era asks is brought to it by its door."""
    headers: Mapping[str, str] = {}
    """`Mcp-Param-*` headers, computed from the pinned schema; for HTTP only."""
    principal: str = ""
    """The caller's id: what an old server may ask this client goes by a session of its own, and
    sessions are never shared between callers. Empty: a question of the hub's own."""
    subject: Subject | None = None
    """The access token that the caller came in with; it is never sent to a server."""
    content: Content | None = None
    """For a language model: sent instead of params; `name` is the model's, at this provider."""


class Question(Struct, frozen=True):
    """What an old server asks the client in the middle of a request (wire/questions.py)."""

    id: int | str
    """The hub's own, never twice in one attempt; the adapter knows the server's."""
    method: str
    params: bytes
    """Raw JSON object."""


class AttemptReceiver(Protocol):
    """Whoever started an attempt."""

    def notified(self, method: str, params: bytes) -> None:
        """A notification that belongs to this request (progress, log message), raw params.

        The progress token in it is already the client's own.
        """
        ...

    def asked(self, question: Question) -> None:
        """An old server asks the client: the attempt waits for `Attempt.answer`.

        Only what the client declared that it answers comes here; the adapter refuses the rest.
        """
        ...

    def finished(self, reply: Reply) -> None:
        """The attempt is over. Called exactly once, last, and never from inside `send`."""
        ...


class Attempt(Protocol):
    """An attempt on its way."""

    def cancel(self, cause: Cause) -> None:
        """Give up: the upstream is told (closed stream, or `notifications/cancelled`).

        `finished` is still called, with `Ending.CANCELLED` and what had been written. Idempotent.
        """
        ...

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        """The client's answer to a question, raw: a result, or else an error object.

        No-op when the attempt is over or the question is not open.
        """
        ...

    def pause(self) -> None:
        """Stop reading: the client does not keep up. No-op where the connection is shared."""
        ...

    def resume(self) -> None: ...


class UpstreamState(Struct, frozen=True):
    """What an upstream says of itself: shown by `check`, `doctor` and REST."""

    connected: bool = False
    era: Era | None = None
    """None until a probe succeeded."""
    version: str = ""
    """The protocol revision spoken."""
    server_info: bytes = b""
    capabilities: bytes = b"{}"
    instructions: str = ""
    pid: int | None = None
    restarts: int = 0
    problem: str = ""
    """The last thing that went wrong, for people; empty when well."""
    words: str = ""
    """What a child's stderr says of it: for the operator alone, as `stderr`."""
    hint: str = ""
    """What to do about it."""
    stderr: tuple[str, ...] = ()
    """The last lines of a child's stderr, at most 50."""
    models: tuple[str, ...] = ()
    """What a provider of models said that it has."""


class UpstreamWatcher(Protocol):
    """Who hears what an upstream does of itself (the catalog)."""

    def changed(self, kind: str, params: bytes) -> None:
        """A notification outside any request: `notifications/tools/list_changed` and the like."""
        ...

    def connected(self) -> None:
        """A (new) connection or process is up, and its era known."""
        ...

    def lost(self, loss: int, detail: str) -> None:
        """The connection that all calls shared, or the process, is gone. Calls in flight get
        their own `finished` with the same `loss`.
        """
        ...

    def unreachable(self, detail: str) -> None:
        """The single-flight reconnect after a loss failed, or a start failed (R6)."""
        ...


class Upstream(Protocol):
    """An MCP server behind the hub.

    Life: made (no I/O) → `start` → any number of `send` → `close`. An upstream mends itself:
    it reconnects or restarts with backoff, and tells its watcher.
    """

    @property
    def state(self) -> UpstreamState: ...

    def start(self) -> None:
        """Begin to connect in the background. Returns at once; never raises."""
        ...

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        """Send one request. Connecting, probing the era and opening a session are part of it.

        Never raises, and never calls back before it has returned.
        """
        ...

    async def close(self) -> None:
        """End the connection or the process group; bounded to 5 s; idempotent."""
        ...


UpstreamFactory: TypeAlias = Callable[[Endpoint, UpstreamWatcher], Upstream]
"""Raises BadSetting for an endpoint that can never work."""

# ---------------------------------------------------------------- storage


class BreakerRow(Struct, frozen=True):
    """A breaker's state as it is kept (R17)."""

    key: str
    """`server` or `server/tool`."""
    data: bytes
    """JSON, as `CircuitBreaker.dump` made it."""


class Rotation(Struct, frozen=True, omit_defaults=True):
    """What became of a key's earlier secrets."""

    count: int = 0
    """How often it has had a new one."""
    former: bytes = b""
    """HMAC of the last but one; empty: it opens nothing any more."""
    until: int = 0
    """When that ends: wall time, seconds."""


class KeyRow(Struct, frozen=True):
    """A client key. The secret is not in it, only its HMAC."""

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    endpoints: tuple[str, ...] | None
    created_at: int
    """Wall time, seconds."""
    expires_at: int | None = None
    revoked: bool = False
    terms: KeyTerms = KeyTerms()
    rotation: Rotation = Rotation()


class CallRow(Struct, frozen=True, array_like=True):
    """One line of the call log."""

    at_us: int
    """Wall time of the start, microseconds."""
    id: str
    caller: str
    door: str
    endpoint: str
    served_by: str
    """The endpoint that answered; empty if none did."""
    method: str
    name: str
    outcome: str
    """`ok`, `tool_error`, `input_required`, or an error's slug."""
    code: int
    """The JSON-RPC error code that the client got; 0 for a result."""
    attempts: int
    duration_us: int
    bytes_in: int
    bytes_out: int


class CallFilter(Struct, frozen=True):
    """What to show of the call log, newest first."""

    before: int | None = None
    """A row's number, as the page before it gave: the next page starts below it."""
    limit: int = 50
    endpoint: str | None = None
    outcome: str | None = None
    caller: str | None = None


class CallPage(Struct, frozen=True):
    rows: tuple[tuple[int, CallRow], ...]
    """Each with its number."""
    next_before: int | None


class Stored(Struct, frozen=True):
    """Everything that is loaded at start."""

    endpoints: tuple[Endpoint, ...]
    keys: tuple[KeyRow, ...]
    breakers: tuple[BreakerRow, ...]
    lists: Mapping[str, bytes]
    """The last-known-good lists, per endpoint: JSON of `catalog.Listing`."""
    pins: Mapping[tuple[str, str], Pin]
    """(endpoint, tool) → its definition as it was approved."""
    secrets: Mapping[str, bytes]
    """Named random secrets of this hub: `key-hmac`, `session`; and encrypted credentials for
    servers, as `oauth:NAME`."""
    views: tuple[View, ...] = ()


class Store(Protocol):
    """The database. Writes are durable when the call returns, and all or nothing.

    Raises:
        StorageFailed: Disk full, file gone, not writable; nothing was changed.
    """

    async def load(self) -> Stored: ...
    async def put_endpoint(self, endpoint: Endpoint) -> None: ...
    async def delete_endpoint(self, name: str) -> None:
        """With its breakers, lists and pins. The call log stays."""
        ...

    async def put_key(self, row: KeyRow) -> None: ...
    async def put_view(self, view: View) -> None: ...
    async def delete_view(self, name: str) -> None: ...
    async def put_secret(self, name: str, data: bytes) -> None:
        """Adds or replaces."""
        ...

    async def delete_secret(self, name: str) -> None: ...
    async def put_list(self, endpoint: str, data: bytes, pins: Mapping[str, Pin]) -> None:
        """Its lists, and the pins that came with them: both or neither."""
        ...

    async def put_pins(self, endpoint: str, pins: Mapping[str, Pin]) -> None: ...
    async def put_breakers(self, rows: Sequence[BreakerRow]) -> None: ...
    async def calls(self, which: CallFilter) -> CallPage: ...
    async def transitions(self, endpoint: str, limit: int) -> Sequence[Mapping[str, object]]:
        """A server's breaker history, newest first."""
        ...

    async def put_transition(self, endpoint: str, data: bytes) -> None: ...


class CallLog(Protocol):
    """Where each call leaves its line. Batched: `add` costs a list append."""

    def add(self, row: CallRow) -> None: ...


class ClaimLog(Protocol):
    """Idempotency keys over a restart (R33). Durable, bounded, kept for a day.

    What is handed over is carried out in its order, also when the database dies in between.
    """

    def claim(self, claim: Claim, told: Callable[[Earlier | HubError | None], None]) -> None:
        """Write it down, unless its scope has a claim already. Calls back once, maybe at once.

        With None: it is durable. With `Earlier`: the one that was there. With a `HubError`: it was
        not written in time, or there is no room; forget it, for it may be written yet.
        """
        ...

    def finish(self, claim: Claim, answer: bytes) -> None:
        """What to keep of its answer; what cannot be written is told in the hub's log."""
        ...

    def forget(self, claim: Claim) -> None:
        """It surely did not run: its key may be used again. Does nothing if it is not there."""
        ...


# ---------------------------------------------------------------- the world


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    @property
    def boot_id(self) -> str:
        """Names the run of the machine that `now` counts in; empty if nobody knows (R17)."""
        ...

    def now(self) -> Nanoseconds:
        """Monotonic."""
        ...

    def wall(self) -> Nanoseconds:
        """Since 1970, UTC. For display and persistence only (R18)."""
        ...

    def chance(self) -> float:
        """A number from [0, 1)."""
        ...

    def after(self, span: Nanoseconds, callback: Callable[[], None]) -> Timer:
        """Run the callback on the loop when the span is over."""
        ...


class Observer(Protocol):
    """Hears events. Never raises, never blocks."""

    def event(self, event: Event) -> None: ...
