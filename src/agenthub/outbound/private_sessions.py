"""Sessions with an old server that belong to one caller: for calls whose client may be asked.

    send ─┬─ new server, or nobody to ask ──► the session that all share
          └─ old server ──► an idle session of this caller's, or a new one, or wait for one
                                 │
                               call ──ended well──► idle ──5 min──► closed
                                 └────otherwise───► closed

An old server is told once per session what its client answers, and on a pipe nothing tells which
call a question belongs to. So a call in the middle of which the client may be asked has a session
to itself, which declares what this client declared, and which only this caller's later calls see.
A session whose call was given up is not used again: its server may still be asking.

Source: revision 2025-11-25, "Lifecycle" (capabilities are the session's); SEP-2260.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, TypeAlias

from msgspec import structs

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound.asking import NOBODY
from agenthub.outbound.passing import Passing
from agenthub.ports import (
    Attempt,
    AttemptReceiver,
    Clock,
    Outgoing,
    Question,
    Timer,
    Upstream,
    UpstreamState,
    UpstreamWatcher,
)
from agenthub.tasks import Tasks
from agenthub.wire.questions import MAY_ASK, declared_for_questions

IDLE: Nanoseconds = 300 * SECOND
"""A session that nobody used for so long is closed."""
_MODERN = Era.MODERN

Make: TypeAlias = Callable[[UpstreamWatcher, bytes], Upstream]
"""A connection to the server, not started: for its watcher, and what it declares."""


class Key(NamedTuple):
    """Whose session it is."""

    principal: str
    declared: bytes


class PrivateSessions:
    """Implements `ports.Upstream` around the session that all callers share."""

    def __init__(
        self, make: Make, watcher: UpstreamWatcher, clock: Clock, tasks: Tasks, limit: int
    ) -> None:
        """`limit`: private sessions at a time; 0: old servers never ask anybody."""
        self.watcher = watcher
        self._make = make
        self._clock = clock
        self._tasks = tasks
        self._limit = limit
        self._shared = make(self, NOBODY)
        self._era: Era | None = None
        self._sessions: set[Session] = set()
        """All of them, those too that are being closed."""
        self._idle: dict[Session, None] = {}
        """Those without a call; idle for longest first."""
        self._closing = 0
        self._waiting: deque[PrivateCall] = deque()
        """Calls for which there is no session yet; the bulkhead bounds them."""
        self._knocking: set[PrivateCall] = set()
        """Calls that wait to hear the server's era."""
        self._mint_loss = count(-1, -1).__next__
        """Below zero, for the shared session counts its own losses from 1 (R6)."""
        self._closed = False

    # ---------------------------------------------------------------- the port

    @property
    def state(self) -> UpstreamState:
        return self._shared.state

    def start(self) -> None:
        self._shared.start()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        if (
            self._era is _MODERN
            or outgoing.capabilities == NOBODY
            or outgoing.method not in MAY_ASK
            or not self._limit
        ):
            return self._shared.send(outgoing, receiver)
        declared = declared_for_questions(outgoing.capabilities)
        if declared == NOBODY:
            return self._shared.send(outgoing, receiver)
        call = PrivateCall(self, outgoing, receiver, Key(outgoing.principal, declared))
        if self._era is None:
            self._knocking.add(call)
            ping = Outgoing("ping", "", {}, {}, outgoing.deadline)
            call.attempt = self._shared.send(ping, Knock(self, call))
        else:
            self._enter(call)
        return call

    async def close(self) -> None:
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.finish(Reply(Ending.CANCELLED, Written.NONE, detail="cancelled: shutdown"))
        every = [self._shared, *(session.upstream for session in self._sessions)]
        for session in self._idle:
            session.stop_waiting()
        await asyncio.gather(*(upstream.close() for upstream in every))

    # ---------------------------------------------------------------- the shared session's watcher

    def changed(self, kind: str, params: bytes) -> None:
        self.watcher.changed(kind, params)

    def connected(self) -> None:
        self._era = self._shared.state.era
        for call in list(self._knocking):
            self.era_known(call)
        self.watcher.connected()

    def lost(self, loss: int, detail: str) -> None:
        self.watcher.lost(loss, detail)

    def unreachable(self, detail: str) -> None:
        self.watcher.unreachable(detail)

    # ---------------------------------------------------------------- the way to a session

    def era_known(self, call: "PrivateCall", failed: Reply | None = None) -> None:
        """The server is there, or else `failed` says why it is not."""
        if call not in self._knocking:
            return
        self._knocking.discard(call)
        knock, call.attempt = call.attempt, None
        if self._era is None:
            assert failed is not None, "a server of no era"
            call.finish(structs.replace(failed, written=Written.NONE))
            return
        if failed is None and knock is not None:
            knock.cancel(Cause.SHED)  # A server that is busy may answer it late, or never.
        if self._era is _MODERN:
            call.attempt = self._shared.send(call.outgoing, call)
        else:
            self._enter(call)

    def forget(self, call: "PrivateCall", cause: Cause) -> None:
        """It is given up before it was sent."""
        detail = f"cancelled: {cause.value}"
        if call in self._waiting:
            self._waiting.remove(call)
            detail += f" (all {self._limit} private sessions with this server were in use)"
        self._knocking.discard(call)
        knock, call.attempt = call.attempt, None
        if knock is not None:
            knock.cancel(cause)
        call.finish(Reply(Ending.CANCELLED, Written.NONE, detail=detail))

    def _enter(self, call: "PrivateCall") -> None:
        session = self._take(call.key)
        if session is not None:
            call.run(session)
        else:
            self._waiting.append(call)
            self._make_room()

    def _take(self, key: Key) -> "Session | None":
        """The caller's warmest idle session, or else a new one, if one may be made."""
        for session in reversed(self._idle):
            if session.key == key:
                del self._idle[session]
                session.stop_waiting()
                return session
        if len(self._sessions) >= self._limit:
            return None
        session = Session(self, key, self._make)
        self._sessions.add(session)
        return session

    def _make_room(self) -> None:
        """Close idle sessions of others, as many as there are calls that wait."""
        while self._idle and self._closing < len(self._waiting):
            self._close(next(iter(self._idle)))

    # ---------------------------------------------------------------- the life of a session

    def release(self, session: "Session", *, clean: bool) -> None:
        """Its call is over; `clean`: nothing of it can be left."""
        session.busy = False
        if not clean or session.is_over:
            self._close(session)
        elif not self._waiting:
            self._idle[session] = None
            session.timer = self._clock.after(IDLE, lambda: self._close(session))
        elif self._waiting[0].key == session.key:
            self._waiting.popleft().run(session)
        else:
            self._close(session)

    def ended(self, session: "Session") -> None:
        """Its server is gone. A call in it hears of that itself."""
        if session.busy:
            session.is_over = True
        else:
            self._close(session)

    def _close(self, session: "Session") -> None:
        self._idle.pop(session, None)
        session.stop_waiting()
        if not session.is_closing and not self._closed:
            session.is_closing = session.is_over = True
            self._closing += 1
            self._tasks.start(self._end(session), "close a private session")

    async def _end(self, session: "Session") -> None:
        try:
            await session.upstream.close()
        finally:
            self._closing -= 1
            self._sessions.discard(session)
            while self._waiting and (free := self._take(self._waiting[0].key)) is not None:
                self._waiting.popleft().run(free)
            self._make_room()

    def mint_loss(self) -> int:
        return self._mint_loss()


class Session:
    """One private session; hears what its server does (ports.UpstreamWatcher)."""

    __slots__ = ("_house", "busy", "is_closing", "is_over", "key", "timer", "upstream")

    def __init__(self, house: PrivateSessions, key: Key, make: Make) -> None:
        self._house = house
        self.key = key
        self.busy = False
        self.is_over = False
        """Of no use for another call."""
        self.is_closing = False
        self.timer: Timer | None = None
        """While it is idle."""
        self.upstream = make(self, key.declared)

    def stop_waiting(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def changed(self, kind: str, params: bytes) -> None:
        """A tool that changes the server's lists may tell of it only here."""
        self._house.watcher.changed(kind, params)

    def connected(self) -> None: ...

    def lost(self, loss: int, detail: str) -> None:
        del loss, detail  # They are the call's, if there is one, and no other's.
        self._house.ended(self)

    def unreachable(self, detail: str) -> None:
        del detail
        self._house.ended(self)


class PrivateCall(Passing):
    """A call on its way to a session and in it. Its attempt is the session's; before that, it is
    the question for the server's era.
    """

    __slots__ = ("_house", "_open", "_session", "done", "key")

    def __init__(
        self, house: PrivateSessions, outgoing: Outgoing, receiver: AttemptReceiver, key: Key
    ) -> None:
        super().__init__(outgoing, receiver)
        self._house = house
        self._session: Session | None = None
        self._open: set[int | str] = set()
        """Questions that the client has not answered."""
        self.key = key
        self.done = False

    def run(self, session: Session) -> None:
        session.busy = True
        self._session = session
        self.attempt = session.upstream.send(self.outgoing, self)

    def cancel(self, cause: Cause) -> None:
        if self.done:
            return
        if self._session is not None:
            super().cancel(cause)
        else:
            self._house.forget(self, cause)

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        self._open.discard(question_id)
        super().answer(question_id, result, error)

    def asked(self, question: Question) -> None:
        self._open.add(question.id)
        super().asked(question)

    def finished(self, reply: Reply) -> None:
        session, self._session = self._session, None
        if session is not None:
            if reply.loss:
                reply = structs.replace(reply, loss=self._house.mint_loss())
            # A server that did not wait for its answer may ask more, and the next call is asked.
            clean = reply.ending in {Ending.RESULT, Ending.ERROR} and not self._open
            self._house.release(session, clean=clean)
        self.finish(reply)

    def finish(self, reply: Reply) -> None:
        if not self.done:
            self.done, self.attempt = True, None
            self._receiver.finished(reply)


class Knock:
    """Hears whether the shared session is there."""

    def __init__(self, house: PrivateSessions, call: PrivateCall) -> None:
        self._house = house
        self._call = call

    def notified(self, method: str, params: bytes) -> None: ...

    def asked(self, question: Question) -> None: ...

    def finished(self, reply: Reply) -> None:
        self._house.era_known(self._call, reply)
