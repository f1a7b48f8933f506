"""A lane: one server's guards, put together. The way through it is the same for every call.

    knock ──► take a token ──► a seat ──► admit ──► (the attempt) ──► report, leave the seat
      │             │            │          │
      └─ quarantine, throttle gate, breakers (look only)

`knock` changes nothing, so that a call is refused before it waits for a seat; `admit` takes the
breakers' tickets at the moment of sending, so that waiting is never mistaken for a slow server.
Order and rules: rule set §4.2 (breakers), R13 (gate), R24 (bucket), R43 (seats), F58 (quarantine).
"""

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from agenthub.domain.bulkhead import Bulkhead
from agenthub.domain.call import Call
from agenthub.domain.circuit_breaker import CircuitBreaker, Transition
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import Refusal
from agenthub.domain.judge import ToolSpread, Verdict
from agenthub.domain.outcome import Certainty, Effect, Ending, Reply
from agenthub.domain.quarantine import Quarantine
from agenthub.domain.retry import RetryBudget
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.domain.throttle import ThrottleGate
from agenthub.domain.ticket import Ticket
from agenthub.domain.token_bucket import TokenBucket

# An attribute of an Enum class costs more than a global name, and these stand on the hot path.
_DONE_OK, _SUCCESS = Certainty.DONE_OK, Effect.SUCCESS

TOOLS_MAX = 10_000
"""Tools remembered per server; the one seen first goes first (R15, A45)."""


class Tool:
    """What a lane remembers of one tool: its breaker, once it failed, and its usual duration."""

    __slots__ = ("breaker", "typical")

    def __init__(self) -> None:
        self.breaker: CircuitBreaker | None = None
        self.typical: Nanoseconds = 0
        """An estimate of the median: each answer moves it by 1/32 towards itself."""

    def took(self, span: Nanoseconds) -> None:
        if not self.typical:
            self.typical = span
            return
        off, step = span - self.typical, (self.typical >> 5) + MILLISECOND // 100
        if off > step:
            self.typical += step
        elif off < -step:
            self.typical -= step
        else:
            self.typical = span


class Pass(Struct, eq=False, gc=False):
    """Permission for one attempt: the tickets of the breakers that it went by."""

    server: Ticket
    started: Nanoseconds
    key: str
    """The tool."""
    tool: Ticket | None = None
    breaker: CircuitBreaker | None = None
    """The tool's; the lane may have forgotten it before the attempt is over."""


class Lane:
    """One server's guards. `waiter` is whatever the driver wants back when a seat is free.

    Where a tool is asked for, "" stands for what is no tool: prompts and resources are named by
    clients, and have no breakers of their own (R15).
    """

    def __init__(self, endpoint: Endpoint, on_change: Callable[[str, Transition], None]) -> None:
        self.endpoint = endpoint
        self._on_change = on_change
        self.breaker = self._breaker("")
        self.bucket = TokenBucket(endpoint.rate_limit) if endpoint.rate_limit else None
        self.seats: Bulkhead[object] = Bulkhead(self._seats(endpoint), self._seats(endpoint))
        self.gate = ThrottleGate()
        self.budget = RetryBudget()
        self.quarantine = Quarantine()
        self.spread = ToolSpread(endpoint.breaker.window_ms * MILLISECOND)
        self.tools: OrderedDict[str, Tool] = OrderedDict()

    def reconfigure(self, endpoint: Endpoint, now: Nanoseconds) -> list[object]:
        """Take new settings without losing state; returns waiters who now have a seat."""
        self.endpoint = endpoint
        self.spread.window = endpoint.breaker.window_ms * MILLISECOND
        self.breaker.reconfigure(endpoint.breaker, now)
        for tool in self.tools.values():
            if tool.breaker:
                tool.breaker.reconfigure(endpoint.breaker, now)
        if not endpoint.rate_limit:
            self.bucket = None
        elif self.bucket:
            self.bucket.reconfigure(endpoint.rate_limit, now)
        else:
            self.bucket = TokenBucket(endpoint.rate_limit)
        return self.seats.resize(self._seats(endpoint), self._seats(endpoint))

    def knock(self, tool: str, call: Call, now: Nanoseconds) -> Refusal | None:
        """Why an attempt would be refused right now; None: go on. Changes nothing."""
        if self.quarantine.resting and (wait := self.rests(call, now)):
            return Refusal("poisoned", wait)
        if now < self.gate.until:
            return Refusal("throttled_upstream", self.gate.wait(now))
        if not self.breaker.is_plain and (refusal := self.breaker.peek(now)):
            return refusal
        known = self.tools.get(tool)
        return known.breaker.peek(now) if known and known.breaker else None

    def take_token(self, now: Nanoseconds) -> Refusal | None:
        if self.bucket and (wait := self.bucket.take(now)):
            return Refusal("rate_limited", wait)
        return None

    def give_token_back(self) -> None:
        """Undo a `take_token` of the same instant."""
        if self.bucket:
            self.bucket.give_back(1)

    def admit(self, tool: str, now: Nanoseconds, chance: float) -> Pass | Refusal:
        """Both breakers' tickets, or neither."""
        server = self.breaker.admit(now, chance)
        if isinstance(server, Refusal):
            return server
        known = self.tools.get(tool)
        if not known or not known.breaker:
            return Pass(server, now, tool)
        ticket = known.breaker.admit(now, chance)
        if isinstance(ticket, Refusal):
            self.breaker.report(server, Effect.IGNORE, now, chance)
            return ticket
        return Pass(server, now, tool, ticket, known.breaker)

    def report(
        self, passed: Pass, verdict: Verdict, reply: Reply, now: Nanoseconds, chance: float
    ) -> None:
        """Tell the breakers, the gate and the budget what became of the attempt."""
        tool = passed.key
        if verdict.certainty is _DONE_OK and passed.tool is None:
            self.breaker.report(passed.server, _SUCCESS, now, chance)
            known = self.tools.get(tool) or self._tool(tool)
            known.took(now - passed.started)
            self.budget.succeeded()
            self.gate.succeeded()
            return
        floor = (reply.retry_after_ms or 0) * MILLISECOND
        effect = verdict.server
        if verdict.needs_spread and self.spread.add(tool, now):
            effect = Effect.FAILURE
        self.breaker.report(
            passed.server, effect, now, chance, retry_after=floor, evidence=reply.loss
        )
        self._report_tool(passed, tool, verdict.tool, now, chance)
        if verdict.pushback:
            self.gate.closed(now, floor or None, chance)
        elif effect is Effect.SUCCESS:
            self.gate.succeeded()
        if effect is Effect.FAILURE or verdict.pushback:
            self.budget.failed()
        elif effect is Effect.SUCCESS:
            self.budget.succeeded()

    @property
    def parked_max(self) -> int:
        """How many calls may wait here for answers of their clients: never all that there is.

        Each keeps a seat, and a private session, for as long as its client likes (R43).
        """
        return max(1, min(self.seats.seats, self.endpoint.sessions_max) * 3 // 4)

    @property
    def parked_share(self) -> int:
        """How many of them may be one caller's: never all of them either."""
        return max(1, self.parked_max * 3 // 4)

    def set_aside(self, passed: Pass) -> None:
        """The server waits for the client: the breakers look away; the seat is kept."""
        self.breaker.set_aside(passed.server)
        if passed.tool and passed.breaker:
            passed.breaker.set_aside(passed.tool)

    def take_up(self, passed: Pass, gap: Nanoseconds) -> None:
        """The attempt goes on; the `gap` is nobody's time."""
        passed.started += gap
        self.breaker.take_up(passed.server, gap)
        if passed.tool and passed.breaker:
            passed.breaker.take_up(passed.tool, gap)

    def heard(self, call: Call, certainty: Certainty, reply: Reply, now: Nanoseconds) -> None:
        """Remember arguments whose attempt ended in the server's death (F58)."""
        if reply.ending is Ending.LOST and certainty is Certainty.UNKNOWN:
            self.quarantine.died(call.digest(), now, reply.loss)
        elif self.quarantine.suspects and certainty in ANSWERED:
            self.quarantine.survived(call.digest())

    def rests(self, call: Call, now: Nanoseconds) -> Nanoseconds:
        """How long calls with these arguments are in quarantine; 0: they are not."""
        return self.quarantine.wait(call.digest(), now) if self.quarantine.resting else 0

    def typical(self, tool: str) -> Nanoseconds:
        """The tool's usual duration; 0 when nothing is known of it."""
        known = self.tools.get(tool)
        return known.typical if known else 0

    def patience(self, tool: str) -> Nanoseconds:
        """Who gives a tool less time than this has himself to blame, not the server (A44)."""
        if typical := self.typical(tool):
            return typical
        policy = self.endpoint.tools.get(tool)
        whole = (policy and policy.timeout_ms) or self.endpoint.timeouts.call_ms
        return min(whole, self.endpoint.breaker.slow_call_ms) * MILLISECOND // 2

    def tick(self, now: Nanoseconds, chance: float) -> None:
        self.breaker.tick(now, chance)
        for tool in self.tools.values():
            if tool.breaker:
                tool.breaker.tick(now, chance)

    def stalled(self, now: Nanoseconds, gap: Nanoseconds) -> None:
        """The process stood still: what is in flight is not to blame (R19)."""
        self.breaker.stalled(now, gap)
        for tool in self.tools.values():
            if tool.breaker:
                tool.breaker.stalled(now, gap)

    def restore(self, breaker: CircuitBreaker, tool: str = "") -> None:
        """Put in a breaker that was kept over a restart (R17)."""
        if tool:
            self._tool(tool).breaker = breaker
        else:
            self.breaker = breaker

    def observe(self, tool: str) -> Callable[[Transition], None]:
        """The callback for a breaker of this lane."""
        return lambda transition: self._on_change(tool, transition)

    def _report_tool(
        self, passed: Pass, tool: str, effect: Effect, now: Nanoseconds, chance: float
    ) -> None:
        if passed.tool and passed.breaker:
            passed.breaker.report(passed.tool, effect, now, chance)
        elif effect is Effect.FAILURE and "/" not in tool:
            # Most tools never fail: their breaker is made with their first failure. A method is
            # no tool: clients name what is read, and bad names must not stop the good ones (A44).
            known = self._tool(tool)
            known.breaker = known.breaker or self._breaker(tool)
            ticket = known.breaker.admit(now, chance)
            if isinstance(ticket, Ticket):
                known.breaker.report(ticket, effect, now, chance)
        if effect is Effect.SUCCESS:
            self._tool(tool).took(now - passed.started)

    def _tool(self, name: str) -> Tool:
        tool = self.tools.get(name)
        if tool is None:
            if len(self.tools) >= TOOLS_MAX:
                self.tools.popitem(last=False)
            tool = self.tools[name] = Tool()
        return tool

    def _breaker(self, tool: str) -> CircuitBreaker:
        key = f"{self.endpoint.name}/{tool}" if tool else self.endpoint.name
        return CircuitBreaker(key, self.endpoint.breaker, self.observe(tool))

    @staticmethod
    def _seats(endpoint: Endpoint) -> int:
        if endpoint.llm is not None:
            return endpoint.concurrency or 1_000  # They wait for minutes, and bear it.
        return endpoint.concurrency or (8 if endpoint.command else 32)


ANSWERED = frozenset({Certainty.DONE_OK, Certainty.DONE_ERR, Certainty.INPUT_REQUIRED})
"""After these the server is alive, so the arguments are no poison."""
MIN_ATTEMPT: Nanoseconds = 100 * MILLISECOND
"""No attempt starts with less time than this left (R41).

A retry must have the tool's usual time too, a first attempt need not: that is a median, so half of
the calls take less, and only a call that is sent can bring it down again after a slow hour.
"""
HARD_CAP: Nanoseconds = 300 * SECOND
"""No call takes longer (R40)."""
