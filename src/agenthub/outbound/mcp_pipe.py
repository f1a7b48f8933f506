"""An MCP server with one pipe for all calls: a process's stdin and stdout, or HTTP+SSE.

    new ──start──► opening ──era known──► ready ───pipe lost────► resting ──backoff──► opening …
                      └──────────failed start───────────────────────►┘        any ──close──► closed

- Calls that come while it opens wait, at most for the endpoint's connect timeout; while it rests
  they wait if the next start is at most a second away, and fail at once otherwise.
- A lost pipe ends every attempt in flight with the same `loss` (R6) and with what had been
  written of it. The next start is the single-flight reconnect.
- After an attempt that ran into its deadline the server is asked for a sign of life (F04).
"""

import asyncio
from enum import Enum, auto
from itertools import count
from typing import Protocol

from msgspec import UNSET

from agenthub.domain.call import Era
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound import diagnosis
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.asking import NOBODY
from agenthub.outbound.child_output import Overlong
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.flood import MINUTE, UNWANTED, Tally
from agenthub.outbound.pipe import Ended, Letter, NotStarted, Pipe, PipeOwner
from agenthub.outbound.restart import Restarts
from agenthub.outbound.stdio_opening import Opened, Opening, Unfit
from agenthub.outbound.stdio_traffic import StdioAttempt, Traffic
from agenthub.outbound.watching import WATCHING, Watch
from agenthub.ports import AttemptReceiver, Clock, Outgoing, Timer, UpstreamState, UpstreamWatcher

SILENCE: Nanoseconds = 2 * SECOND
"""Then the other era is tried too."""
GIVE_UP: Nanoseconds = 120 * SECOND
"""Without an answer since the start; a first start by npx or uvx downloads the server."""
IMMINENT: Nanoseconds = SECOND
NOISE_PAGES = 100
"""So much that is no message, in a minute, is a problem to show (F21)."""


class Phase(Enum):
    NEW = auto()
    OPENING = auto()
    READY = auto()
    RESTING = auto()
    CLOSED = auto()


class Way(Protocol):
    """How to come to a server."""

    line_bytes: int
    """The longest line of the server's."""
    always_initializes: bool
    """Whether there can only be old servers."""
    noisy: Diagnosis
    """What it means that much comes from the server that is no message; `{}` is how much."""

    def open(self, owner: PipeOwner) -> Pipe:
        """Raises NotStarted."""
        ...

    def silent(self, seconds: int) -> Diagnosis:
        """It was opened so long ago, and nothing was answered."""
        ...


class PipeUpstream:
    """Implements `ports.Upstream`, and `pipe.PipeOwner`."""

    def __init__(
        self,
        endpoint: Endpoint,
        watcher: UpstreamWatcher,
        clock: Clock,
        way: Way,
        declared: bytes = NOBODY,
    ) -> None:
        """`declared`: what the one client that this pipe is for answers, raw JSON."""
        self._declared = declared
        self._endpoint = endpoint
        self._watcher = watcher
        self._clock = clock
        self._way = way
        self._phase = Phase.NEW
        self._mint = count(1).__next__
        self._restarts = Restarts()
        self._pipe: Pipe | None = None
        self._traffic: Traffic | None = None
        self._opening: Opening | None = None
        self._opened: Opened | None = None
        """What it last said of itself; kept while it rests."""
        self._initialize_first = declared != NOBODY or way.always_initializes
        self._tried_initialize = False
        self._waiting: dict[int, StdioAttempt] = {}
        self._overdue = False
        """It has been opening for longer than calls may wait."""
        self._ready_since: Nanoseconds | None = None
        self._restart_at: Nanoseconds = 0
        self._timers: list[Timer] = []
        """Of the present phase."""
        self._loss = 0
        self._diagnosis = Diagnosis("")
        self._refusal: Reply | None = None
        """Why there is no pipe, where that is nobody's failure."""
        self.noise = 0
        """Lines that were no messages."""
        self._noise_shown = Tally(NOISE_PAGES)
        self._noise_borne = Tally(UNWANTED)
        self._noisy = False
        self._flood = ""
        """What the last pipe was ended for, if it was a flood."""

    # ---------------------------------------------------------------- the port

    @property
    def state(self) -> UpstreamState:
        opened, pipe = self._opened, self._pipe
        problem, hint = self._diagnosis.problem, self._diagnosis.hint
        if not problem and self._noisy:
            problem = self._way.noisy.problem.format(f"{self.noise:,}")
            hint = self._way.noisy.hint
        elif not problem and self._flood and not self._is_well():
            problem = f"was ended and started anew: {self._flood}"
        return UpstreamState(
            connected=self._phase is Phase.READY,
            era=opened.era if opened else None,
            version=opened.version if opened else "",
            server_info=opened.server_info if opened else b"",
            capabilities=opened.capabilities if opened else b"{}",
            instructions=opened.instructions if opened else "",
            pid=pipe.pid if pipe and self._phase in (Phase.OPENING, Phase.READY) else None,
            restarts=max(0, self._restarts.count - 1),
            problem=problem,
            words=self._diagnosis.words,
            hint=hint,
            stderr=pipe.stderr.lines() if pipe else (),
        )

    def start(self) -> None:
        if self._phase is Phase.NEW:
            self._spawn()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> StdioAttempt | Watch:
        traffic = self._traffic if self._phase is Phase.READY else None
        if traffic is not None and traffic.watching and outgoing.method in WATCHING:
            return traffic.watching.send(outgoing, receiver)
        attempt = StdioAttempt(self._mint(), outgoing, receiver, self._cancel)
        if traffic is not None:
            traffic.send(attempt)
            return attempt
        self.start()
        if self._may_wait():
            self._waiting[attempt.id] = attempt
        else:
            attempt.finish_soon(self._unreached())
        return attempt

    async def close(self) -> None:
        if self._phase is Phase.CLOSED:
            return
        self._phase = Phase.CLOSED
        self._set_timers()
        waiting, self._waiting = self._waiting, {}
        for attempt in waiting.values():
            attempt.finish(Reply(Ending.CANCELLED, Written.NONE, detail="cancelled: shutdown"))
        if self._traffic is not None:
            self._traffic.close()
        if self._pipe is not None:
            await self._pipe.stop()

    # ---------------------------------------------------------------- attempts

    def _may_wait(self) -> bool:
        if self._phase is Phase.OPENING:
            return not self._overdue
        return self._phase is Phase.RESTING and self._restart_at - self._clock.now() <= IMMINENT

    def _unreached(self) -> Reply:
        if self._refusal is not None:
            return self._refusal
        detail = self._diagnosis.problem or "the server is closed"
        return Reply(Ending.UNREACHED, Written.NONE, detail=detail)

    def _cancel(self, attempt: StdioAttempt, cause: Cause) -> None:
        if self._waiting.pop(attempt.id, None) is None and self._traffic is not None:
            self._traffic.cancel(attempt, cause)
        else:
            detail = f"cancelled: {cause.value}"
            attempt.finish(Reply(Ending.CANCELLED, Written.NONE, detail=detail))

    def _flush_unreached(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for attempt in waiting.values():
            attempt.finish(self._unreached())

    # ---------------------------------------------------------------- opening

    def _spawn(self) -> None:
        self._phase, self._overdue, self._ready_since = Phase.OPENING, False, None
        self._refusal = None
        self._restarts.started(self._clock.now())
        try:
            self._pipe = self._way.open(self)
        except NotStarted as error:
            self._pipe = self._traffic = None
            failure = Ended(failure=error.diagnosis)
            asyncio.get_running_loop().call_soon(self.ended, failure)
            return
        self._traffic = Traffic(
            self._pipe, self._clock, self._watcher, self._mint, self._be_flooded, self._declared
        )
        self._opening = Opening(
            self._mint, initialize_first=self._initialize_first, declared=self._declared
        )
        self._traffic.post(self._opening.begin())
        after = self._clock.after
        self._set_timers(
            after(SILENCE, self._silent),
            after(self._endpoint.timeouts.connect_ms * MILLISECOND, self._be_overdue),
            after(GIVE_UP, self._give_up),
        )

    def _set_timers(self, *timers: Timer) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = list(timers)

    def _silent(self) -> None:
        assert self._opening is not None
        assert self._traffic is not None
        if more := self._opening.silent():
            self._traffic.post(more)

    def _be_overdue(self) -> None:
        """Calls wait no longer; the server may still come."""
        self._overdue = True
        seconds = self._endpoint.timeouts.connect_ms // 1000
        self._diagnosis = self._way.silent(seconds)
        self._flush_unreached()
        self._watcher.unreachable(self._diagnosis.problem)

    def _give_up(self) -> None:
        assert self._pipe is not None
        self._pipe.kill(f"it did not answer for {GIVE_UP // SECOND} s")

    def _hear_opening(self, message: wire.Message, size_bytes: int) -> None:
        assert self._opening is not None
        assert self._traffic is not None
        assert self._pipe is not None
        outcome = self._opening.answered(message)
        if isinstance(outcome, bytes):
            self._traffic.post(outcome)
        elif isinstance(outcome, Opened):
            self._be_ready(outcome, self._traffic)
        elif isinstance(outcome, Unfit):
            self._pipe.kill(outcome.problem)
        else:
            self._traffic.unwanted(size_bytes)

    def _be_ready(self, opened: Opened, traffic: Traffic) -> None:
        self._phase, self._opened, self._opening = Phase.READY, opened, None
        self._ready_since = self._clock.now()
        self._diagnosis = Diagnosis("")
        self._set_timers()
        self._initialize_first = opened.era is Era.LEGACY
        traffic.open(opened)
        waiting, self._waiting = self._waiting, {}
        for attempt in waiting.values():
            traffic.send(attempt)
        self._watcher.connected()

    # ---------------------------------------------------------------- the pipe speaks and ends

    def line(self, line: bytes | Overlong) -> None:
        traffic = self._traffic
        assert traffic is not None
        traffic.heard()
        if isinstance(line, Overlong):
            traffic.overlong(line, self._way.line_bytes)
            return
        message = wire.parse(line)
        if message is None or (message.id is UNSET and not message.method):
            self._hear_noise(len(line))
        elif message.method:
            self._hear_beside(traffic, message, line)
        elif self._phase is Phase.OPENING:
            self._hear_opening(message, len(line))
        else:
            traffic.answer(message, line)

    def _hear_beside(self, traffic: Traffic, message: wire.Message, line: bytes) -> None:
        """A notification, or a request of the server's own."""
        if not wire.is_utf8(line):
            self._hear_noise(len(line))
            return
        if message.id is UNSET or message.id is None:
            traffic.notified(message)
        else:
            traffic.asked(message, message.id)
        traffic.beside(len(line))

    def _hear_noise(self, size_bytes: int) -> None:
        self.noise += 1
        now = self._clock.now()
        if self._noise_shown.add(size_bytes, now):
            self._noisy = True
        if self._noise_borne.add(size_bytes, now):
            self._noise_borne = Tally(UNWANTED)
            self._be_flooded("it flooded the hub with lines that are no MCP messages")

    def _be_flooded(self, why: str) -> None:
        """What it says takes the time of all other servers' calls: end it, and start it anew."""
        assert self._pipe is not None
        self._flood = why
        self._pipe.kill(why)

    def _is_well(self) -> bool:
        since = self._ready_since
        return since is not None and self._clock.now() - since >= MINUTE

    def undelivered(self, letter: Letter, reply: Reply) -> None:
        assert self._traffic is not None
        assert self._pipe is not None
        if self._phase is Phase.OPENING:
            self._pipe.kill(f"it did not take the first message: {reply.detail}")
        else:
            self._traffic.undelivered(letter, reply)

    def mint_loss(self) -> int:
        self._loss += 1
        return self._loss

    def ended(self, end: Ended) -> None:
        if self._phase is Phase.CLOSED:
            return
        ready = self._phase is Phase.READY
        opening, self._opening = self._opening, None
        silent_death = end.code is not None and opening is not None and not opening.heard
        self._diagnosis, self._refusal = self._explain(end, ready=ready), end.reply
        if not ready and (silent_death or end.reason) and not self._way.always_initializes:
            self._initialize_first = not self._initialize_first
        if silent_death and self._initialize_first and not self._tried_initialize:
            # Perhaps it cannot bear an unknown first message: once, the other way at once.
            self._tried_initialize = True
            self._spawn()
            return
        self._rest()
        if ready:
            self._lose()
        elif not self._overdue:
            self._flush_unreached()
            if end.reply is None:
                self._watcher.unreachable(self._diagnosis.problem)

    def hurry(self) -> None:
        """What it lacked is there: try again now."""
        if self._phase is Phase.RESTING:
            self._spawn()

    def _explain(self, end: Ended, *, ready: bool) -> Diagnosis:
        if end.failure is not None:
            return end.failure
        if end.code is None or self._pipe is None:
            return Diagnosis(end.reason)
        return diagnosis.ended(end.code, self._pipe.stderr.lines(), ready=ready)

    def _rest(self) -> None:
        now = self._clock.now()
        wait = self._restarts.ended(now, self._ready_since, self._clock.chance())
        self._phase, self._restart_at = Phase.RESTING, now + wait
        self._set_timers(self._clock.after(wait, self._spawn))

    def _lose(self) -> None:
        loss = self.mint_loss()
        traffic, self._traffic = self._traffic, None
        detail = self._diagnosis.problem
        self._watcher.lost(loss, detail)
        if traffic is not None:
            traffic.lost(loss, detail)
