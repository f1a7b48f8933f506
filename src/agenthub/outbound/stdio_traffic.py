"""The attempts in flight on one pipe to a server, and what each of its lines means to them.

An answer finds its attempt by the hub's own id, of the same type, or is dropped (F15). What names
no request (log messages, the server's own requests) belongs to an attempt only if that is the only
one in flight: on a shared pipe nothing else tells whose it is. (Calls whose client may be asked
have a process of their own, see `private_sessions`.) All of it is counted, and a flood of it is the
end of the pipe.
"""

import asyncio
from collections.abc import Callable

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import SECOND
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.asking import NOBODY, TOO_MANY, Asking, refuse_all
from agenthub.outbound.child_output import Overlong
from agenthub.outbound.flood import UNWANTED, WORDS, Tally
from agenthub.outbound.mcp_message import CANCELLED, ELICITED, LOG_LEVEL, UNHEARD, Message
from agenthub.outbound.pipe import Letter, Pipe
from agenthub.outbound.stdio_opening import Opened
from agenthub.outbound.watching import ACKNOWLEDGED, Filter, Watching
from agenthub.ports import AttemptReceiver, Clock, Outgoing, Timer, UpstreamWatcher

LATE_MAX = 1_000
"""Attempts remembered that were given up, and whose answers may still come."""


class StdioAttempt(Letter):
    """One request, from `send` to its `finished`."""

    __slots__ = ("_give_up", "asking", "done", "id", "outgoing", "receiver")

    def __init__(
        self,
        attempt_id: int,
        outgoing: Outgoing,
        receiver: AttemptReceiver,
        give_up: Callable[["StdioAttempt", Cause], None],
    ) -> None:
        super().__init__()
        self.id = attempt_id
        self.outgoing = outgoing
        self.receiver = receiver
        self.done = False
        self.asking: Asking | None = None
        """None: the server never asked anything."""
        self._give_up = give_up

    def cancel(self, cause: Cause) -> None:
        if not self.done:
            self._give_up(self, cause)

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        if self.asking is not None and not self.done:
            self.asking.answer(question_id, result, error)

    def pause(self) -> None:
        """The pipe is shared: nobody else may wait for one slow client."""

    def resume(self) -> None: ...

    def finish(self, reply: Reply) -> None:
        if not self.done:
            self.done = True
            self.receiver.finished(reply)

    def finish_soon(self, reply: Reply) -> None:
        """From inside `send`, which must return first."""
        asyncio.get_running_loop().call_soon(self.finish, reply)


class _ClientAnswer(Letter):
    """To a question of the server's, in the middle of an attempt."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: StdioAttempt) -> None:
        super().__init__()
        self.attempt = attempt


class Traffic:
    """Of one pipe, from its start to its end."""

    def __init__(
        self,
        pipe: Pipe,
        clock: Clock,
        watcher: UpstreamWatcher,
        mint: Callable[[], int],
        flooded: Callable[[str], None],
        declared: bytes = NOBODY,
    ) -> None:
        """`flooded` hears, in words, of what is to be the end of the pipe.

        `declared`: what the client answers that the pipe is for; nobody's, if it is shared.
        """
        self._declared = declared
        self.era: Era | None = None
        """None until `open`."""
        self.strays = 0
        """Answers to nobody, and requests of a modern server, which must not have any."""
        self._flooded = flooded
        self._unwanted = Tally(UNWANTED)
        self._words = Tally(WORDS)
        self._answers = 0
        self._pipe = pipe
        self._clock = clock
        self._watcher = watcher
        self._mint = mint
        self._own: set[int] = set()
        """Ids of the hub's own requests, whose answers are of no interest."""
        self._flying: dict[int, StdioAttempt] = {}
        self._late: dict[int, None] = {}
        """Ids of attempts that were given up. An old server may answer them all the same, and
        whoever cancels calls must not be able to have it taken for a flood."""
        self._probe: Timer | None = None
        self._log_level = 0
        """An old server's, for all calls; 0 when nothing more can be asked of it."""
        self.watching: Watching | None = None
        """Of a new server."""
        self._listening: int | None = None
        """The id of the stream of its news."""

    def open(self, opened: Opened) -> None:
        """The era is known: begin in its way, and take attempts from now on."""
        self.era = opened.era
        if opened.era is Era.LEGACY:
            self.post(wire.notification("notifications/initialized"))
            if wire.can_log(opened.capabilities):
                self._log_level = len(wire.LEVELS)
            return
        # An old server tells of its list changes without being asked.
        lists = wire.list_changes(opened.capabilities)
        self.watching = Watching(lists, self._clock, self._listen)
        if lists:
            self._listen(lists)

    def _listen(self, wanted: Filter) -> None:
        """One stream at a time: the new one is asked for before the old one is given up."""
        before, self._listening = self._listening, None
        if wanted:
            self._listening = self._own_id()
            params = {"notifications": wanted}
            self.post(wire.modern_request(self._listening, "subscriptions/listen", params))
        elif self.watching is not None:
            self.watching.acknowledged()
        if before is not None:
            self.post(wire.notification(CANCELLED, {"requestId": before}))

    def send(self, attempt: StdioAttempt) -> None:
        """Never calls the attempt's receiver before it has returned."""
        assert self.era is not None
        level = wire.level_of(attempt.outgoing.meta.get(LOG_LEVEL))
        if level is not None and level < self._log_level:
            self._log_level = level
            params = {"level": wire.LEVELS[level]}
            self.post(wire.request(self._own_id(), "logging/setLevel", params))
        data = wire.attempt_request(attempt.id, attempt.outgoing, self.era, self._clock.now())
        if data is None:
            detail = "the request is no JSON"
            attempt.finish_soon(Reply(Ending.PROTOCOL, Written.NONE, detail=detail))
        elif self._pipe.post(attempt, data):
            self._flying[attempt.id] = attempt
        else:
            detail = "the server does not keep up with reading what it is sent"
            attempt.finish_soon(Reply(Ending.UNREACHED, Written.NONE, detail=detail))

    def cancel(self, attempt: StdioAttempt, cause: Cause) -> None:
        written = attempt.written
        if self._flying.pop(attempt.id, None) is not None:
            if written is Written.NONE:
                self._pipe.withdraw(attempt)
            else:
                # What was begun is written to its end, or the pipe would be lost for everybody;
                # so from here on the server may well read it whole.
                written = Written.ALL
                self._abandon(attempt, cause.value)
                if cause is Cause.DEADLINE:
                    self.ask_for_life()
        attempt.finish(Reply(Ending.CANCELLED, written, detail=f"cancelled: {cause.value}"))

    def undelivered(self, letter: Letter, reply: Reply) -> None:
        """The server did not take it; what else is in flight goes on."""
        attempt = letter.attempt if isinstance(letter, _ClientAnswer) else letter
        if not isinstance(attempt, StdioAttempt) or attempt.id not in self._flying:
            return
        if attempt is not letter:
            # What is not answered is waited for by a server that will never go on.
            detail = f"the client's answer did not reach the server: {reply.detail}"
            reply = Reply(Ending.LOST, loss=reply.loss, detail=detail)
        del self._flying[attempt.id]
        if reply.written is not Written.NONE:
            self._abandon(attempt, reply.detail)
        attempt.finish(reply)

    def lost(self, loss: int, detail: str) -> None:
        """The pipe is gone, and with it every attempt."""
        self._end_own()
        flying, self._flying = self._flying, {}
        for attempt in flying.values():
            attempt.finish(Reply(Ending.LOST, attempt.written, loss=loss, detail=detail))

    def close(self) -> None:
        """The hub lets the server go."""
        self._end_own()
        flying, self._flying = self._flying, {}
        for attempt in flying.values():
            attempt.finish(Reply(Ending.CANCELLED, attempt.written, detail="cancelled: shutdown"))

    def _end_own(self) -> None:
        self._end_probe()
        if self.watching is not None:
            self.watching.settle()

    def post(self, data: bytes) -> None:
        """A message of the hub's own."""
        self._pipe.post(Letter(), data + b"\n")

    def _abandon(self, attempt: StdioAttempt, reason: str) -> None:
        params = {"requestId": attempt.id, "reason": reason}
        self.post(wire.notification(CANCELLED, params))
        self._late[attempt.id] = None
        if len(self._late) > LATE_MAX:
            del self._late[next(iter(self._late))]

    # ---------------------------------------------------------------- is it alive?

    def ask_for_life(self) -> None:
        """Any line from now on is an answer; silence is the end of the pipe."""
        if self._probe is None:
            if self.era is Era.LEGACY:
                self.post(wire.request(self._own_id(), "ping"))
            else:
                self.post(wire.modern_request(self._own_id(), "server/discover"))
            self._probe = self._clock.after(self._pipe.life_span, self._no_life)

    def _own_id(self) -> int:
        number = self._mint()
        self._own.add(number)
        return number

    def heard(self) -> None:
        if self._probe is not None:
            self._end_probe()

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _no_life(self) -> None:
        self._probe = None
        seconds = self._pipe.life_span // SECOND
        self._pipe.kill(f"it gave no sign of life for {seconds} s after a timeout")

    # ---------------------------------------------------------------- what it says

    def answer(self, message: Message, line: bytes) -> None:
        number = message.id
        if not isinstance(number, int) or (attempt := self._flying.pop(number, None)) is None:
            if isinstance(number, int) and number in self._own:
                self._own.remove(number)
            elif isinstance(number, int) and number in self._late:
                del self._late[number]
            else:
                self.strays += 1
                self.unwanted(len(line))
            return
        self._answers += 1
        reply = wire.reply_of(message, line)
        attempt.finish(wire.of_old_server(reply) if self.era is Era.LEGACY else reply)

    def unwanted(self, size_bytes: int) -> None:
        """Count a message that nobody waits for."""
        if self._unwanted.add(size_bytes, self._clock.now(), self._answers):
            self._flooded("it flooded the hub with MCP messages that nobody waits for")

    def beside(self, size_bytes: int) -> None:
        """Count a message that is no answer, after it was heard."""
        if not self._flying:
            self.unwanted(size_bytes)
        elif self._words.add(size_bytes, self._clock.now(), self._answers):
            self._flooded("it flooded the hub with notifications and requests during calls")

    def overlong(self, line: Overlong, cap_bytes: int) -> None:
        """An answer over the cap ends its attempt alone, if it can be told which that is."""
        number = wire.head_id(line.head)
        attempt = self._sole() if number is None else self._flying.get(number)
        if attempt is None and self._flying:
            self._pipe.kill(f"it wrote a line over {cap_bytes:,} bytes")
        elif attempt is None:
            self.unwanted(cap_bytes)
        else:
            del self._flying[attempt.id]
            detail = f"the answer is over {cap_bytes:,} bytes"
            attempt.finish(Reply(Ending.TOO_LARGE, detail=detail))

    def notified(self, message: Message) -> None:
        method, params = message.method, message.params
        if method == "notifications/progress":
            token = wire.progress_token(params)
            attempt = self._flying.get(token) if type(token) is int else None
            if attempt is not None and (own := attempt.outgoing.meta.get("progressToken")):
                attempt.receiver.notified(method, wire.with_progress_token(params, own))
            return
        if method == "notifications/message":
            attempt = self._sole()
            level = wire.level_of(attempt.outgoing.meta.get(LOG_LEVEL)) if attempt else None
            if attempt is not None and level is not None and level <= wire.log_level(params):
                attempt.receiver.notified(method, bytes(params))
                return
        if method in {CANCELLED, ELICITED}:
            self._hear_of_questions(message)
        elif method == ACKNOWLEDGED:
            if self.watching is not None and wire.subscription_id(params) == self._listening:
                self.watching.acknowledged()
        elif method not in UNHEARD:
            self._watcher.changed(method, bytes(params) or b"{}")

    def asked(self, message: Message, message_id: int | str) -> None:
        """A request of the server's own. A modern one must not have any: not answered."""
        attempt = self._sole()
        if self.era is Era.MODERN:
            self.strays += 1
        elif attempt is not None:
            if attempt.asking is None:
                asker = attempt
                attempt.asking = Asking(
                    self._declared, self.post, lambda data: self._deliver(asker, data)
                )
            if not attempt.asking.hear(message, message_id, attempt.receiver, self._clock.now()):
                del self._flying[attempt.id]
                self._abandon(attempt, TOO_MANY)
                attempt.finish(Reply(Ending.PROTOCOL, detail=TOO_MANY))
        elif message.method == "ping":
            self.post(wire.pong(message_id))
        else:
            self.post(wire.answer(message_id, b"", refuse_all(message.method)))

    def _deliver(self, attempt: StdioAttempt, data: bytes) -> None:
        line = wire.as_line(data)
        if line is not None:  # What is no JSON cannot be said; the call's deadline ends the wait.
            self._pipe.post(_ClientAnswer(attempt), line)

    def _hear_of_questions(self, message: Message) -> None:
        attempt = self._sole()
        if attempt is None or self._declared == NOBODY:
            return
        if message.method == CANCELLED:
            if attempt.asking is not None:
                attempt.asking.withdraw(message)
        elif attempt.outgoing.era is Era.LEGACY:
            attempt.receiver.notified(message.method, bytes(message.params) or b"{}")

    def _sole(self) -> StdioAttempt | None:
        return next(iter(self._flying.values())) if len(self._flying) == 1 else None
