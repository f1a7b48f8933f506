"""An MCP server behind Streamable HTTP, in either era.

    new ──start──► opening ──era known──► ready ──no connection──► down ──backoff, or a call──┐
                    ▲  └──────────────failed────────────────────────►┘                        │
                    └─────────────────────────────────────────────────────────────────────────┘
    any ──close──► closed

- The era is found out once (`http_opening`) and kept while the server is ready; after it was down,
  or when its answers make no sense in that era, it is asked anew.
- Calls that come while it opens wait, at most for the endpoint's connect timeout.
- Each call has a connection of its own while it runs, so one lost connection is one failure (F07).
- An old server's session that is gone (404) is made anew; the call that found out was not run, and
  is sent again in the new session.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from itertools import count
from weakref import ReferenceType, ref

from agenthub.domain.call import Era
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_url
from agenthub.domain.errors import BadSetting
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.asking import NOBODY
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_answer import is_odd
from agenthub.outbound.http_attempt import HttpAttempt
from agenthub.outbound.http_authority import Authority
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.http_dial import Dial
from agenthub.outbound.http_exchange import Exchange
from agenthub.outbound.http_life import SignOfLife
from agenthub.outbound.http_opening import Failed, Opening, Step, unreached
from agenthub.outbound.http_own import Listening, OnReply, Question, give_up, say_goodbye, unheard
from agenthub.outbound.http_pool import Pool
from agenthub.outbound.http_request import RequestHead, origin_of
from agenthub.outbound.mcp_message import LOG_LEVEL
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.restart import BASE, CAP
from agenthub.outbound.stdio_opening import Opened
from agenthub.outbound.watching import WATCHING, Watch
from agenthub.ports import AttemptReceiver, Clock, Outgoing, Timer, UpstreamState, UpstreamWatcher
from agenthub.tasks import Tasks

GIVE_UP: Nanoseconds = 30 * SECOND
"""For one opening; calls wait for it no longer than the connect timeout."""
DOUBT_GAP: Nanoseconds = 30 * SECOND
"""Between two openings that odd answers alone brought about."""
CONNECTIONS = 256
"""At most. The bulkhead lets fewer calls through; more only if the endpoint says so."""
SPARE = 8
"""Connections beside those of calls: lists, probes, a stream of changes."""


class Phase(Enum):
    NEW = auto()
    OPENING = auto()
    READY = auto()
    DOWN = auto()
    CLOSED = auto()


# An attribute of an Enum class costs more than a global name, and this stands on the hot path.
_READY = Phase.READY


class HttpUpstream:
    """Implements `ports.Upstream` for an endpoint with a URL."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a fact of its own
        self,
        endpoint: Endpoint,
        watcher: UpstreamWatcher,
        clock: Clock,
        tasks: Tasks,
        limits: HttpLimits,
        declared: bytes = NOBODY,
        tokens: TokenSource | None = None,
    ) -> None:
        """References are filled in already. Raises BadSetting if it can never work.

        `declared`: what the one client that this session is for answers, raw JSON. Its calls come
        one at a time.
        """
        if endpoint.url is None:
            raise BadSetting("url: expected an address")
        check_url("url", endpoint.url)
        origin = origin_of(endpoint.url)
        timeouts = endpoint.timeouts
        self.watcher = watcher
        self.clock = clock
        self.limits = limits
        self.patience: Nanoseconds = timeouts.idle_ms * MILLISECOND
        self.head = RequestHead(origin, endpoint.headers)
        self._authority = Authority(tokens, self.head, self._authorized)
        self.refused = self._authority.refused
        self.era: Era | None = None
        self.declared = declared
        self._is_shared = declared == NOBODY
        self._sole: ReferenceType[HttpAttempt] | None = None
        self.elsewhere: Callable[[], None] = lambda: None  # Both ways to begin were refused.
        self.strays = 0
        """Requests of a modern server, which must have none."""
        self.mint = count(1).__next__
        self.mint_loss = count(1).__next__
        self._connect_span: Nanoseconds = timeouts.connect_ms * MILLISECOND
        self._pool = Pool(
            Dial(origin, self._connect_span), self, clock, tasks, limits,
            size=max(CONNECTIONS, endpoint.concurrency or 0) + SPARE, patience=self.patience,
        )  # fmt: skip
        self._phase = Phase.NEW
        self._opening: Opening | None = None
        self._question: Question | None = None
        self._opened: Opened | None = None
        self._listening: Listening | None = None
        self._life = SignOfLife(self, lambda why: self._be_down(unreached(why)))
        self._waiting: dict[int, HttpAttempt] = {}
        self._overdue = False
        """It has been opening for longer than calls may wait."""
        self._timers: list[Timer] = []
        """Of the present phase."""
        self._failures = 0
        self._failure = Reply(Ending.UNREACHED, Written.NONE, detail="the server is closed")
        self._not_before: Nanoseconds = 0
        """When a server that asked for a pause is asked again."""
        self._doubted_at: Nanoseconds | None = None
        self._log_level = 0
        self._diagnosis = Diagnosis("")

    # ---------------------------------------------------------------- the port

    @property
    def is_ready(self) -> bool:
        """As `state.connected`, for who asks with each call."""
        return self._phase is _READY

    @property
    def state(self) -> UpstreamState:
        opened = self._opened
        return UpstreamState(
            connected=self.is_ready,
            era=opened.era if opened else None,
            version=opened.version if opened else "",
            server_info=opened.server_info if opened else b"",
            capabilities=opened.capabilities if opened else b"{}",
            instructions=opened.instructions if opened else "",
            problem=self._diagnosis.problem,
            hint=self._diagnosis.hint,
        )

    def start(self) -> None:
        if self._phase is Phase.NEW:
            self._open()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> HttpAttempt | Watch:
        if outgoing.method in WATCHING and self._listening and self._listening.watching:
            return self._listening.watching.send(outgoing, receiver)
        attempt = HttpAttempt(
            self, outgoing, receiver, id=self.mint(), patience=self.patience, _owner=self
        )
        if not self._is_shared:
            self._sole = ref(attempt)
        if self._phase is _READY:
            if self._log_level or not self._pool.take(attempt):
                self._go(attempt)
            return attempt
        is_due = self._phase is Phase.DOWN and self.clock.now() >= self._not_before
        if is_due or self._phase is Phase.NEW:
            self._open()
        if self._phase is Phase.OPENING and not self._overdue:
            self._waiting[attempt.id] = attempt
        else:
            attempt.finish_soon(self._failure)
        return attempt

    async def close(self) -> None:
        if self._phase is Phase.CLOSED:
            return
        self._leave_phase(Phase.CLOSED)
        self._authority.close()
        self._failure = Reply(Ending.UNREACHED, Written.NONE, detail="the server is closed")
        for exchange in [*self._waiting.values(), *self._pool.exchanges()]:
            if isinstance(exchange, HttpAttempt):
                written = exchange.written
                if exchange.connection is not None:
                    exchange.connection.drop()
                exchange.finish(Reply(Ending.CANCELLED, written, detail="cancelled: shutdown"))
        self._waiting.clear()
        if self.era is Era.LEGACY and self.head.session:
            await say_goodbye(self)
        self._pool.close()

    # ---------------------------------------------------------------- for the exchanges

    def lost(self) -> None:
        if self._phase is Phase.READY:
            self._pool.prove()

    def ask(self, exchange: Exchange) -> None:
        if not self._pool.take(exchange):
            detail = "too many requests wait for a connection"
            reply = Reply(Ending.UNREACHED, Written.NONE, detail=detail)
            asyncio.get_running_loop().call_soon(exchange.finish, reply)

    @property
    def sole(self) -> HttpAttempt | None:
        """The attempt in flight, in a session that is one client's."""
        sole = self._sole() if self._sole else None
        return sole if sole is not None and not sole.done else None

    def post(self, body: bytes) -> None:
        self.deliver(body, unheard)

    def deliver(self, body: bytes, on_reply: OnReply) -> None:
        self._put(self.mint(), lambda: self.head.own(body), on_reply)

    def _put(self, number: int, make: Callable[[], bytes], on_reply: OnReply) -> Question:
        """A question of the hub's own."""
        question = Question(make, on_reply, id=number, patience=self.patience, _owner=self)
        self.ask(question)
        return question

    def let_go(self, exchange: Exchange) -> None:
        self._waiting.pop(exchange.id, None)
        self._pool.forget(exchange)

    def renew(self, attempt: HttpAttempt) -> None:
        sent_in, head = (attempt.session, attempt.authorization), self.head
        if self._phase is Phase.READY and sent_in == (head.session, head.authorization):
            self._open()
        if self._phase is Phase.READY:
            self._go(attempt)
        elif self._phase is Phase.OPENING and not self._overdue:
            self._waiting[attempt.id] = attempt
        else:
            attempt.finish(self._failure)

    def ask_for_life(self) -> None:
        if self._phase is Phase.READY:
            self._life.ask()

    def noted(self, reply: Reply) -> None:
        if self._phase is _READY and is_odd(reply, self.era):
            now = self.clock.now()
            if self._doubted_at is None or now - self._doubted_at >= DOUBT_GAP:
                self._doubted_at = now
                self._open()

    def _go(self, attempt: HttpAttempt) -> None:
        if self._log_level:
            self._raise_log_level(attempt.outgoing)
        self.ask(attempt)

    def _raise_log_level(self, outgoing: Outgoing) -> None:
        """An old server has one level for all; each attempt gets what it asked for of it."""
        level = wire.level_of(outgoing.meta.get(LOG_LEVEL))
        if level is not None and level < self._log_level:
            self._log_level = level
            params = {"level": wire.LEVELS[level]}
            self.post(wire.request(self.mint(), "logging/setLevel", params))

    # ---------------------------------------------------------------- opening

    def _leave_phase(self, phase: Phase) -> None:
        self._phase = phase
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        if self._listening is not None:
            self._listening.stop()
            self._listening = None
        self._life.stop()
        question, self._question = self._question, None
        give_up(question, self)

    def _open(self) -> None:
        self._leave_phase(Phase.OPENING)
        self._overdue = False
        self._opening = Opening(initialize_first=self.era is Era.LEGACY or not self._is_shared)
        self._timers = [
            self.clock.after(self._connect_span, self._be_overdue),
            self.clock.after(GIVE_UP, self._give_up),
        ]
        if self._authority.is_ready():
            self._take_step(self._opening.step)
        else:
            self._authority.want()

    def _authorized(self) -> None:
        """There is another token, or none any more, or word of why there is none."""
        is_ready = self._authority.is_ready()
        if self._phase is Phase.OPENING and self._question is None and self._opening is not None:
            if is_ready:
                self._take_step(self._opening.step)
            elif failed := self._authority.failed:
                self._be_down(failed)
            else:
                self._authority.want()
        elif self._phase is (Phase.DOWN if is_ready else Phase.READY):
            self._open()

    def _take_step(self, step: Step) -> None:
        opening, head = self._opening, self.head
        assert opening is not None
        number = self.mint()
        if step is Step.DISCOVER:
            method = "server/discover"
            data = head.probe(method, wire.modern_request(number, method))
        elif step is Step.INITIALIZE:
            data = head.first(wire.initialize(number, self.declared))
        else:
            head.settle(Era.LEGACY, opening.version, opening.session)
            data = head.own(wire.notification("notifications/initialized"))
        self._question = self._put(number, lambda: data, self._hear)

    def _hear(self, reply: Reply, headers: Mapping[bytes, bytes]) -> None:
        if self._phase is not Phase.OPENING or self._opening is None:
            return
        self._question = None
        if self.refused(reply.status, self.head.authorization, headers):
            if self._phase is Phase.OPENING and self._question is None:
                self._open()
            return
        outcome = self._opening.answered(reply, headers)
        if isinstance(outcome, Step):
            self._take_step(outcome)
        elif isinstance(outcome, Opened):
            self._be_ready(outcome)
        else:
            self._be_down(outcome)

    def _be_overdue(self) -> None:
        """Calls wait no longer; the server may still come."""
        self._overdue = True
        self._diagnosis = Diagnosis(
            f"it did not answer within {self._connect_span // MILLISECOND:,} ms"
        )
        self._failure = Reply(Ending.UNREACHED, Written.NONE, detail=self._diagnosis.problem)
        self._flush(self._failure)
        self.watcher.unreachable(self._diagnosis.problem)

    def _give_up(self) -> None:
        problem = f"it did not answer for {GIVE_UP // SECOND} s"
        diagnosis = Diagnosis(problem, "It takes connections, but does not answer: see its logs.")
        self._be_down(unreached(diagnosis))

    def _be_ready(self, opened: Opened) -> None:
        self._leave_phase(Phase.READY)
        if opened.era is Era.MODERN:
            self.head.settle(Era.MODERN, wire.MODERN)
        self.era, self._opened, self._opening = opened.era, opened, None
        self._failures, self._diagnosis = 0, Diagnosis("")
        legacy_logs = opened.era is Era.LEGACY and wire.can_log(opened.capabilities)
        self._log_level = len(wire.LEVELS) if legacy_logs else 0
        self._listening = Listening(self, opened.capabilities)
        self._listening.start(self._go_all)
        self.watcher.connected()

    def _go_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for attempt in waiting.values():
            self._go(attempt)

    # ---------------------------------------------------------------- down

    def unreached(self, diagnosis: Diagnosis) -> None:
        """From the pool: there is no connection to be had. An opening hears it by its question."""
        self._diagnosis = diagnosis
        if self._phase is Phase.READY:
            self._be_down(unreached(diagnosis))

    def _be_down(self, failed: Failed) -> None:
        was_overdue = self._overdue and self._phase is Phase.OPENING
        self._leave_phase(Phase.DOWN)
        self._opening = None
        if failed.diagnosis.problem != self._diagnosis.problem:
            self._diagnosis = failed.diagnosis
        self._failure = failed.reply
        now = self.clock.now()
        pause = min((failed.reply.retry_after_ms or 0) * MILLISECOND, 300 * SECOND)
        self._not_before = now + pause
        wait = min(CAP, BASE * 2 ** min(self._failures, 8))
        wait = wait // 2 + int(wait // 2 * self.clock.chance())
        self._failures += 1
        self._timers = [self.clock.after(max(wait, pause), self._open)]
        if failed.is_refused:
            self.elsewhere()
        self._flush(failed.reply)
        if failed.reply.ending is Ending.UNREACHED and not was_overdue:
            self.watcher.unreachable(self._diagnosis.problem)

    def _flush(self, reply: Reply) -> None:
        waiting, self._waiting = self._waiting, {}
        for attempt in waiting.values():
            attempt.finish(reply)
