"""An LLM provider over HTTP: requests go out as they came, and `usage` is read on the way back.

    send ─► pool ─► LlmAttempt ─┬─ JSON ────────────────────────────► reply: the body, what it used
                                ├─ event stream ─ head, chunks … ───► reply: what it used
                                └─ 4xx, 5xx ────────────────────────► reply: the provider's error

Whether the provider is there at all is asked by `GET /models`: at the start, again with growing
pauses while it is not, and by a breaker that wants to know.
"""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Final

from msgspec import structs

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_url
from agenthub.domain.errors import BadSetting
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_answer import explain
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.http_dial import Dial
from agenthub.outbound.http_exchange import Exchange
from agenthub.outbound.http_pool import Pool
from agenthub.outbound.http_request import origin_of
from agenthub.outbound.llm_attempt import LlmAttempt, LlmQuestion
from agenthub.outbound.llm_request import LlmHead, read_models
from agenthub.outbound.mcp_http import SPARE
from agenthub.outbound.restart import BASE, CAP
from agenthub.ports import AttemptReceiver, Clock, Outgoing, Timer, UpstreamState, UpstreamWatcher
from agenthub.tasks import Tasks

CONNECTIONS: Final = 1_024
"""To one provider: a stream holds its own for minutes."""
IS_ALIVE: Final = frozenset({"server/discover", "ping"})
"""What the hub asks any upstream; a provider is asked for its models instead."""


class LlmUpstream:
    """Implements `ports.Upstream` for an endpoint with `llm` and a URL."""

    def __init__(
        self,
        endpoint: Endpoint,
        watcher: UpstreamWatcher,
        clock: Clock,
        tasks: Tasks,
        limits: HttpLimits,
    ) -> None:
        """References are filled in already. Raises BadSetting if it can never work."""
        if endpoint.url is None or endpoint.llm is None:
            raise BadSetting("url: expected the address that the wires are below")
        check_url("url", endpoint.url)
        origin, timeouts = origin_of(endpoint.url), endpoint.timeouts
        self.llm = endpoint.llm
        self.watcher, self.clock, self.limits = watcher, clock, limits
        self.patience: Nanoseconds = timeouts.idle_ms * MILLISECOND
        self.head = LlmHead(origin, endpoint.headers)
        self.mint = count(1).__next__
        self.mint_loss = count(1).__next__
        self._pool = Pool(
            Dial(origin, timeouts.connect_ms * MILLISECOND), self, clock, tasks, limits,
            size=max(CONNECTIONS, endpoint.concurrency or 0) + SPARE, patience=self.patience,
        )  # fmt: skip
        self._diagnosis = Diagnosis("")
        self._reached = self._closed = self._looking = False
        self._failures = 0
        self._timer: Timer | None = None
        self._models: tuple[str, ...] = ()

    # ---------------------------------------------------------------- the port

    @property
    def state(self) -> UpstreamState:
        return UpstreamState(
            connected=self._reached,
            problem=self._diagnosis.problem,
            hint=self._diagnosis.hint,
            models=self._models,
        )

    def start(self) -> None:
        if self._timer is None and not self._reached and not self._looking:
            self._look()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> LlmAttempt | LlmQuestion:
        if outgoing.content is not None:
            attempt = LlmAttempt(
                self, outgoing, receiver, id=self.mint(), patience=self.patience, _owner=self
            )
        else:
            attempt = LlmQuestion(
                self, receiver.finished, outgoing.method in IS_ALIVE,
                id=self.mint(), patience=self.patience, _owner=self,
            )  # fmt: skip
        self.ask(attempt)
        return attempt

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for exchange in self._pool.exchanges():
            written = exchange.written
            if exchange.connection is not None:
                exchange.connection.drop()
            exchange.finish(Reply(Ending.CANCELLED, written, detail="cancelled: shutdown"))
        self._pool.close()

    # ---------------------------------------------------------------- for exchanges and the pool

    def lost(self) -> None:
        if not self._closed:
            self._pool.prove()

    def ask(self, exchange: Exchange) -> None:
        if not self._pool.take(exchange):
            detail = "the provider is closed" if self._closed else "too many wait for a connection"
            reply = Reply(Ending.UNREACHED, Written.NONE, detail=detail)
            asyncio.get_running_loop().call_soon(exchange.finish, reply)

    def let_go(self, exchange: Exchange) -> None:
        self._pool.forget(exchange)

    def unreached(self, diagnosis: Diagnosis) -> None:
        if not self._closed:
            self._diagnosis = diagnosis
            self._reached = False
            self.watcher.unreachable(diagnosis.problem)
            self._look_later()

    def heard(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """It answered. Who refuses the key is there, and of no use."""
        refused = status in {401, 403}
        self._diagnosis = explain_key(status, headers) if refused else Diagnosis("")
        self._failures = 0
        if not self._reached:
            self._reached = True
            self.watcher.connected()

    # ---------------------------------------------------------------- whether it is there

    def _look(self) -> None:
        self._timer, self._looking = None, True
        question = LlmQuestion(
            self, self._looked, True, id=self.mint(), patience=self.patience, _owner=self
        )
        self.ask(question)

    def _looked(self, reply: Reply) -> None:
        self._looking = False
        if reply.ending is Ending.RESULT:
            self._models = read_models(reply.result)
        elif reply.ending not in {Ending.ERROR, Ending.CANCELLED} and not self._reached:
            self._diagnosis = (
                self._diagnosis if self._diagnosis.problem else Diagnosis(reply.detail)
            )
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None and not self._closed:
            span = min(CAP, BASE * 2 ** min(self._failures, 20))
            self._failures += 1
            self._timer = self.clock.after(span, self._look)


def explain_key(status: int, headers: Mapping[bytes, bytes]) -> Diagnosis:
    said = explain(status, headers)
    return structs.replace(said, hint="Is the key in its headers right, and may it use this?")
