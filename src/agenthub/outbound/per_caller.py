"""A server to which each caller's calls go with a token of its own, and so by its own connection.

    the hub's own questions (lists, probes) ──► the hub's connection, with the hub's own token
    a call ──► its caller's connection ──no call for `IDLE`──► closed, and its token forgotten
                 │ no token, and only a person can get one
                 └──► the address to sign in at, and the call is not sent

Two callers share nothing here: no connection, no session, no token, and no answer. Neither do two
access tokens of one caller that are good for different things.
Source: MCP specification 2025-11-25 and 2026-07-28, "Elicitation, URL Mode"; attack A25.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol, TypeAlias

import msgspec
from msgspec import structs

from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.passing import Passing
from agenthub.ports import (
    Attempt,
    AttemptReceiver,
    Clock,
    Outgoing,
    Timer,
    Upstream,
    UpstreamState,
    UpstreamWatcher,
)
from agenthub.tasks import Tasks
from agenthub.wire.questions import ELICIT, MAY_ASK, missing_for

CALLERS_MAX: Final = 256
"""Connections with one server; the one that rests for longest makes room."""
IDLE: Final[Nanoseconds] = 600 * SECOND
"""As long as a person may take to sign in."""
URL_ELICITATION_REQUIRED: Final = -32042
ONE_CONNECTION: Final = 1 << 32
"""Losses that one connection may count, so that no two count the same (R6)."""
NO_SUBJECT: Final = (
    "it takes a token of each caller's own (token_exchange), and this caller came with a key of the"
    " hub's, which cannot be exchanged: come with an access token of an issuer in `auth.issuers`"
)
_URL_MODE: Final = b'{"mode":"url"}'
_encode = msgspec.json.Encoder().encode

Make: TypeAlias = Callable[[UpstreamWatcher, TokenSource | None], Upstream]
"""A connection to the server, not started: for its watcher, with these tokens."""


SourceFor: TypeAlias = Callable[[Outgoing], TokenSource | None]
"""The tokens of who sends this; None: it came in with nothing that could be exchanged."""


class Logins(Protocol):
    """caller_logins.CallerLogins."""

    def forget(self, source: TokenSource) -> None: ...
    def invite(self, source: TokenSource, principal: str) -> str: ...


class PerCaller:
    """Implements `ports.Upstream`."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a fact of its own
        self,
        make: Make,
        own: TokenSource,
        source_for: SourceFor,
        logins: Logins,
        watcher: UpstreamWatcher,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        """`own`: the hub's tokens."""
        self.name = own.name
        self.make = make
        self.logins = logins
        self._source_for = source_for
        self.watcher = watcher
        self.clock = clock
        self._tasks = tasks
        self._own = make(watcher, own)
        self._connections: OrderedDict[TokenSource, Connection] = OrderedDict()
        """By whose tokens they show; the one that was used last at the end."""
        self._mint = count(1).__next__
        self._closed = False

    @property
    def state(self) -> UpstreamState:
        return self._own.state

    def start(self) -> None:
        self._own.start()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        if not outgoing.principal:
            return self._own.send(outgoing, receiver)
        connection = self._connection(outgoing)
        if isinstance(connection, Reply):
            call, refusal = CallersCall(None, outgoing, receiver), connection
        else:
            call = CallersCall(connection, outgoing, receiver)
            if not connection.source.needs_sign_in:
                call.attempt = connection.upstream().send(outgoing, call)
                return call
            refusal = connection.invitation(outgoing)
        self.clock.after(0, lambda: call.finished(refusal))
        return call

    async def close(self) -> None:
        self._closed = True
        closing = [self._own.close()]
        for connection in list(self._connections.values()):
            closing += [one.close() for one in self._take_out(connection)]
        await asyncio.gather(*closing)

    # ---------------------------------------------------------------- connections

    def _connection(self, outgoing: Outgoing) -> "Connection | Reply":
        """The caller's, or why it can have none."""
        source = None if self._closed else self._source_for(outgoing)
        if source is None:
            return _refusal("the server is closed" if self._closed else NO_SUBJECT)
        known = self._connections.get(source)
        if known is not None:
            self._connections.move_to_end(source)
            return known
        if len(self._connections) >= CALLERS_MAX and not self._make_room():
            self.logins.forget(source)
            return _refusal(f"{CALLERS_MAX} callers are using it at this moment; call again later")
        made = Connection(self, outgoing.principal, source, self._mint())
        self._connections[source] = made
        return made

    def _make_room(self) -> bool:
        resting = next((one for one in self._connections.values() if not one.calls), None)
        if resting is not None:
            self.end(resting)
        return resting is not None

    def end(self, connection: "Connection") -> None:
        """Nobody calls by it."""
        for upstream in self._take_out(connection):
            self._tasks.start(upstream.close(), f"close a caller's connection with {self.name}")

    def _take_out(self, connection: "Connection") -> list[Upstream]:
        self._connections.pop(connection.source, None)
        self.logins.forget(connection.source)
        connection.stop_waiting()
        upstream, connection.made = connection.made, None
        return [] if upstream is None else [upstream]


class Connection:
    """One caller's; hears what the server says on it (ports.UpstreamWatcher)."""

    __slots__ = ("_house", "_number", "_principal", "_timer", "calls", "made", "source")

    def __init__(self, house: PerCaller, principal: str, source: TokenSource, number: int) -> None:
        self._house = house
        self._principal = principal
        self._number = number
        self._timer: Timer | None = None
        self.source = source
        self.made: Upstream | None = None
        """From the first call on for which there is a token."""
        self.calls = 0
        """Under way."""

    def upstream(self) -> Upstream:
        if self.made is None:
            self.made = self._house.make(self, self.source)
        return self.made

    def begin(self) -> None:
        self.calls += 1
        self.stop_waiting()

    def leave(self) -> None:
        self.calls -= 1
        if not self.calls:
            self.stop_waiting()
            self._timer = self._house.clock.after(IDLE, lambda: self._house.end(self))

    def stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def own_loss(self, loss: int) -> int:
        return loss + self._number * ONE_CONNECTION

    def invitation(self, outgoing: Outgoing) -> Reply:
        """To sign in, in the words of a server of 2025-11-25; what else can be told is an error."""
        house = self._house
        address = house.logins.invite(self.source, self._principal)
        if not address:
            return _refusal("nobody is signed in, and the hub has no page: run `agenthub serve`")
        words = f"Sign in to {house.name}: open {address} in a browser, then call again."
        if outgoing.method not in MAY_ASK or missing_for(ELICIT, _URL_MODE, outgoing.capabilities):
            return _refusal(words)
        page = {
            "mode": "url",
            "elicitationId": address.rpartition("=")[2],
            "url": address,
            "message": f"Sign in to {house.name}, so that your calls reach it as yours.",
        }
        error = {
            "code": URL_ELICITATION_REQUIRED,
            "message": words,
            "data": {"elicitations": [page]},
        }
        return Reply(
            Ending.ERROR, Written.NONE, error=_encode(error), code=URL_ELICITATION_REQUIRED
        )

    # ---------------------------------------------------------------- the watcher

    def changed(self, kind: str, params: bytes) -> None:
        self._house.watcher.changed(kind, params)

    def connected(self) -> None: ...

    def lost(self, loss: int, detail: str) -> None:
        """The calls in flight say so themselves."""

    def unreachable(self, detail: str) -> None:
        """As `lost`."""


class CallersCall(Passing):
    """A call by its caller's connection; without one it is refused in a moment."""

    __slots__ = ("_connection", "done")

    def __init__(
        self, connection: Connection | None, outgoing: Outgoing, receiver: AttemptReceiver
    ) -> None:
        super().__init__(outgoing, receiver)
        self._connection = connection
        self.done = False
        if connection is not None:
            connection.begin()

    def cancel(self, cause: Cause) -> None:
        if self.attempt is not None:
            self.attempt.cancel(cause)
        else:
            self.finished(Reply(Ending.CANCELLED, Written.NONE, detail=f"cancelled: {cause.value}"))

    def finished(self, reply: Reply) -> None:
        if self.done:
            return
        self.done = True
        if self._connection is not None:
            self._connection.leave()
            if reply.loss:
                reply = structs.replace(reply, loss=self._connection.own_loss(reply.loss))
        self._receiver.finished(reply)


def _refusal(words: str) -> Reply:
    """As of a server that takes no such caller; nothing was sent to it."""
    return Reply(Ending.STATUS, Written.NONE, status=401, detail=words)
