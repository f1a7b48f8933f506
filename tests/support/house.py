"""A hub's waist for tests: the real catalog and gateway over fake servers, in virtual time.

    @virtual_time()
    async def test_a_call_is_answered():
        async with house("calculator") as hub:
            answer = await hub.ask("calculator", "add", a=2, b=3)
            assert text(answer) == ...
            assert hub["calculator"].executed("add") == 1

`hub` is what a door expects of one: `catalog`, `gateway`, `clock`, `ids`, `store`, `metrics`,
`tasks`. `hub["name"]` is the fake server; `hub["name.fallback"]` the one behind a `fallback_url`.
"""

import asyncio
import itertools
from contextlib import asynccontextmanager

import msgspec
from msgspec import Raw
from support.fake_claims import FakeClaims
from support.fake_conversations import FakeConversations
from support.fake_ledger import FakeLedger
from support.fake_prices import FakePrices
from support.fake_store import FakeStore
from support.fake_upstream import FakeUpstream
from support.virtual_time import LoopClock, settled

from agenthub.app import agents
from agenthub.catalog import Catalog
from agenthub.domain.budget import DEFAULT
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import HubError
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.easing import Ladders
from agenthub.gateway import Gateway
from agenthub.metrics import Metrics
from agenthub.model_calls import ModelCalls
from agenthub.settings import Settings
from agenthub.settings.chat import ChatSettings
from agenthub.tasks import Tasks
from agenthub.till import Till

ANNA = Caller("anna", frozenset({Scope.TOOLS, Scope.READ}))
BERT = Caller("bert", frozenset({Scope.TOOLS, Scope.READ}))


TOOL_CALL = "tools/call"
ASKABLE = b'{"elicitation":{},"sampling":{},"roots":{}}'
"""Declared by the clients of tests."""
_runs = (f"run-{number}" for number in itertools.count())
"""Request ids are unique in a home, over all runs of its hub."""


class Rows(list):
    """ports.CallLog."""

    add = list.append


class Events(list):
    """ports.Observer."""

    event = list.append

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]


class Heard:
    """gateway.Receiver that remembers."""

    def __init__(self):
        self.notes = []
        self.questions = []
        self.answers = []

    def notified(self, method, params):
        assert not self.answers, "a notification after the end"
        self.notes.append((method, params))

    def asked(self, question, passage):
        assert not self.answers, "a question after the end"
        self.questions.append(question)

    def finished(self, answer):
        assert not self.answers, "two ends"
        self.answers.append(answer)

    @property
    def answer(self):
        assert self.answers, "no end yet"
        return self.answers[0]


class House:
    """See above."""

    def __init__(self, *, calls_in_flight=1_000, store=None, clock=None, claims=None):
        self.clock = clock or LoopClock()
        self.store = store or FakeStore()
        self.rows = Rows()
        self.claims = claims or FakeClaims(self.clock)
        self.events = Events()
        self.metrics = Metrics()
        self.tasks = Tasks()
        numbers = itertools.count(1)
        run = next(_runs) if claims else "r"
        self.ids = lambda: f"{run}-{next(numbers)}"
        self.upstreams = {}
        """Every fake server ever made, by name; the newest last."""
        self.prepare = {}
        """By name: what to do with a fake server before it starts."""
        self.catalog = Catalog(self.clock, self.events, self.store, self.tasks, self._connect)
        self.ledger = FakeLedger(lambda: self.clock.wall() // SECOND)
        self.prices = FakePrices()
        self.till = Till(self.ledger, self.prices, self.clock, self.tasks, "boot")
        self.till.take([DEFAULT])
        self.ladders = Ladders(self.till, self.ledger, self.clock, self.tasks)
        self.gateway = Gateway(
            self.catalog, self.clock, self.rows, self.claims, self.till, self.events, self.metrics,
            calls_in_flight,
        )  # fmt: skip
        self.model_calls = ModelCalls(self.catalog, self.ladders, self.ids, self.clock)
        self.conversations = FakeConversations()
        self.chat_with()

    def chat_with(self, **chat):
        """Agents as these settings have them."""
        settings = Settings(chat=ChatSettings(**chat))
        self.runs = agents.wired(
            settings,
            self.conversations,
            self.gateway,
            self.model_calls,
            self.ledger,
            self.ids,
            self.tasks,
        )
        return self.runs

    def _connect(self, endpoint, watcher):
        made = FakeUpstream(endpoint, watcher, self.clock)
        before = self.upstreams.setdefault(endpoint.name, [])
        if before:
            made.tools, made.answers = before[-1].tools, before[-1].answers
        before.append(made)
        if prepare := self.prepare.get(endpoint.name):
            prepare(made)
        return made

    def __getitem__(self, name):
        return self.upstreams[name][-1]

    def call(
        self, endpoint, name, /, *, caller=ANNA, seconds=30, key=None, method=TOOL_CALL, **arguments
    ):
        params = {"name": Raw(msgspec.json.encode(name))}
        if method == TOOL_CALL:
            params["arguments"] = Raw(msgspec.json.encode(arguments))
        deadline = self.clock.now() + round(seconds * SECOND)
        return Call(
            self.ids(), caller, "test", endpoint, method, name, params, {}, deadline,
            idempotency_key=key, capabilities=ASKABLE,
        )  # fmt: skip

    def begin(self, endpoint, name, /, **more):
        """Start a call: the receiver that will hear its end, and the passage."""
        heard = Heard()
        passage = self.gateway.start(self.call(endpoint, name, **more), heard)
        return heard, passage

    async def ask(self, endpoint, name, /, **more):
        """The answer of a call, whatever it is."""
        async with self.gateway.open(self.call(endpoint, name, **more)) as stream:
            return await stream.end()

    async def result(self, endpoint, name, /, **more):
        """The result's bytes; raises the hub's error."""
        answer = await self.ask(endpoint, name, **more)
        if answer.error:
            raise answer.error
        return answer.reply.result

    async def error(self, endpoint, name, /, **more):
        """The hub's error that a call ends with."""
        try:
            answer = await self.ask(endpoint, name, **more)
        except HubError as error:
            return error
        assert answer.error is not None, answer
        return answer.error

    def at_rest(self):
        """P18: nothing is held when nobody calls."""
        assert not self.gateway.in_flight
        assert not self.gateway.held
        assert not self.gateway.idempotency
        for server in self.catalog.all_servers():
            assert server.lane.seats.in_flight == 0, server.name
            assert server.lane.breaker.in_flight == 0, server.name
        for fakes in self.upstreams.values():
            for fake in fakes:
                assert not fake.flying, fake.endpoint.name
        return True


def server(name, **more):
    """An endpoint's record; without `rate_limit`, unless asked for."""
    more.setdefault("rate_limit", None)
    if "command" not in more:
        more.setdefault("url", f"http://{name}.test/mcp")
    return Endpoint(name=name, **more)


@asynccontextmanager
async def house(*endpoints, prepare=None, stored=None, listed=True, **more):
    """The waist with these servers (names or records), connected and listed.

    `prepare` is called with each fake server before it starts, by name: `{"slow": mute}`.
    """
    built = House(**more)
    built.prepare = prepare or {}
    records = [one if isinstance(one, Endpoint) else server(one) for one in endpoints]
    kept = stored if stored is not None else await built.store.load()
    built.catalog.load(records, kept)
    built.catalog.start()
    if listed:
        await asyncio.sleep(0.5)
        await settled()
    try:
        yield built
    finally:
        await built.catalog.close()
        await built.tasks.close()


def ms(count):
    return count * MILLISECOND
