"""A hub for tests of the REST door: real breakers, bus and metrics; the rest are fakes."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import httpx2
import msgspec
from msgspec import Raw, structs
from support.fake_alerts import FakeAlerts
from support.fake_conversations import FakeConversations
from support.fake_ledger import FakeLedger
from support.fake_prices import FakePrices
from support.fake_store import FakeStore

from agenthub.admission import SignOut
from agenthub.agents.events import Piece
from agenthub.agents.runs import Runs
from agenthub.alerts import Alerts
from agenthub.app.agents import chat_of
from agenthub.budgets import Budgets
from agenthub.bus import Counts, EventBus
from agenthub.domain.budget import DEFAULT
from agenthub.domain.call import Era
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.circuit_breaker import CircuitBreaker
from agenthub.domain.dialogue import Message, Role
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import Conflict, ToolChanged, UnknownTarget
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.pinning import Standing
from agenthub.domain.span import SECOND
from agenthub.health import HealthReport
from agenthub.inbound.rest import create_rest
from agenthub.intake import Intake
from agenthub.metrics import Metrics
from agenthub.offer import OfferedTool
from agenthub.ports import CallPage, KeyRow, Rotation, UpstreamState
from agenthub.settings import Settings
from agenthub.settings.chat import ChatSettings
from agenthub.tasks import Tasks
from agenthub.till import Till
from agenthub.views import Views
from agenthub.wire.suspicion import suspicions

ADMIN = Caller("admin", frozenset({Scope.ADMIN}))
READER = Caller("reader", frozenset({Scope.READ}))
USER = Caller("user", frozenset({Scope.TOOLS}))
LIMITED = Caller("limited", frozenset({Scope.ADMIN}), frozenset({"calculator"}))


class RestClock:
    def __init__(self):
        self.time = 100 * SECOND

    def now(self):
        return self.time

    def wall(self):
        return 1_700_000_000 * SECOND

    def chance(self):
        return 0.5

    def after(self, span, callback):
        return asyncio.get_running_loop().call_later(span / SECOND, callback)


class Part:
    """Whatever has these attributes."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class RestServer:
    def __init__(self, endpoint, tools=()):
        self.name = endpoint.name
        self.endpoint = endpoint
        self.transitions = []
        breaker = CircuitBreaker(endpoint.name, endpoint.breaker, self.transitions.append)
        self.lane = Part(breaker=breaker)
        self.state = UpstreamState(connected=True, era=Era.MODERN, version="x")
        self.listing = Part(tools=[Raw(t) for t in tools], listed_at_s=7, excluded={"bad": "why"})
        self.why = ""
        self.waiting = []
        """Its `PendingTool`s."""
        self.reading = set()

    def unavailable(self):
        return self.why

    @property
    def pending(self):
        return {tool.name: tool.standing for tool in self.waiting}

    def pending_tools(self):
        return self.waiting

    def tools(self):
        if self.listing is None or not self.endpoint.enabled:
            return []
        return [
            OfferedTool(
                msgspec.json.decode(tool)["name"], bytes(tool),
                *(Standing.APPROVED, suspicions(msgspec.json.decode(tool))),
            )
            for tool in self.listing.tools
        ]  # fmt: skip

    def changes_nothing(self, tool):
        return tool in self.reading


class RestCatalog:
    def __init__(self):
        self.all = {}
        self.changing = asyncio.Lock()
        self.tested = []
        self.views = Views(FakeStore(), RestClock(), Part(event=lambda event: None))

    def servers(self, caller=None):
        return [self.all[n] for n in sorted(self.all) if caller is None or caller.sees(n)]

    def all_servers(self):
        return list(self.all.values())

    def find(self, name, caller):
        return self.all.get(name) if caller.sees(name) else None

    async def approve(self, name, digests):
        waiting = self.all[name].waiting
        if any(tool.now.digest != digests.get(tool.name, tool.now.digest) for tool in waiting):
            raise ToolChanged
        waiting[:] = [tool for tool in waiting if tool.name not in digests]

    async def add(self, endpoint):
        async with self.changing:
            await asyncio.sleep(0)
            if endpoint.name in self.all:
                raise Conflict(f"There is a server named {endpoint.name!r} already")
            self.all[endpoint.name] = RestServer(endpoint)
        return self.all[endpoint.name]

    async def replace(self, name, endpoint):
        self.all[name] = RestServer(endpoint)
        return self.all[name]

    async def remove(self, name):
        del self.all[name]

    async def set_breaker_config(self, name, config):
        endpoint = structs.replace(self.all[name].endpoint, breaker=config)
        await self.replace(name, endpoint)

    async def test(self, name, seconds):
        self.tested.append((name, seconds))
        return {"ok": False, "problem": "port refused"}


class RestGateway:
    """Answers each call with `end`; remembers the calls."""

    def __init__(self):
        self.calls = []
        self.end = Part(
            reply=Reply(Ending.RESULT, result=b'{"content":[]}'), served_by="calculator", attempts=1
        )

    @asynccontextmanager
    async def open(self, call):
        self.calls.append(call)

        async def answer():
            if isinstance(self.end, Exception):
                raise self.end
            return self.end

        yield Part(answer=answer)


class RestStore:
    """The log and the history."""

    def __init__(self):
        self.asked = []
        self.page = CallPage((), None)
        self.history = []

    async def calls(self, which):
        self.asked.append(which)
        if isinstance(self.page, Exception):
            raise self.page
        return self.page

    async def transitions(self, endpoint, limit):
        return self.history[:limit]


class RestKeys:
    def __init__(self):
        self.rows = {}

    def list(self):
        return list(self.rows.values())

    async def create(self, name, scopes, endpoints, expires_at, terms):
        row = KeyRow(
            f"k{len(self.rows)}", name, b"digest", tuple(s.value for s in scopes), endpoints,
            1_700_000_000, expires_at, terms=terms,
        )  # fmt: skip
        self.rows[row.id] = row
        return row, f"ah_{row.id}_the-secret"

    async def change(self, key_id, terms):
        if key_id not in self.rows:
            raise UnknownTarget("There is no such key")
        self.rows[key_id] = structs.replace(self.rows[key_id], terms=terms)
        return self.rows[key_id]

    async def rotate(self, key_id, grace_s):
        if key_id not in self.rows:
            raise UnknownTarget("There is no such key")
        before = self.rows[key_id]
        until = 1_700_000_000 + grace_s
        rotation = Rotation(before.rotation.count + 1, b"digest" if grace_s else b"", until)
        self.rows[key_id] = structs.replace(before, rotation=rotation)
        return self.rows[key_id], f"ah_{key_id}_another-secret"

    async def revoke(self, key_id):
        if key_id not in self.rows:
            raise UnknownTarget("There is no such key")
        self.rows[key_id] = structs.replace(self.rows[key_id], revoked=True)


class RestHealth:
    def __init__(self):
        self.status, self.own, self.servers = "ok", (), {}

    def report(self):
        return HealthReport(self.status, self.own, self.servers)


class RestSignIns:
    """Nobody signs in for real; `states` are told one after the other, the last one again."""

    def __init__(self):
        self.begun, self.answers = [], []
        self.states = [None]
        self.signed_out = SignOut(True, True, "")
        self.ended = []
        self.error = None

    async def begin(self, name, hub):
        self.begun.append((name, hub))
        if self.error is not None:
            raise self.error
        return "https://login.test/authorize?state=s"

    async def finish(self, answer, browser=""):
        self.browser = browser
        self.answers.append(answer)
        if self.error is not None:
            raise self.error
        return "calculator"

    async def end(self, name):
        self.ended.append(name)
        if self.error is not None:
            raise self.error
        return self.signed_out

    def state(self, name):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


class RestAsker:
    """agents.ModelAsker: every model is there but `none`."""

    def wire(self, model, caller):
        if model == "none":
            raise UnknownTarget("Unknown model: 'none'")
        return "chat"


class RestRunner:
    """terms.Runner: says the message back, unless told otherwise."""

    name = "own"

    def __init__(self):
        self.tasks, self.script = [], None

    async def run(self, task, desk):
        self.tasks.append(task)
        if self.script is not None:
            await self.script(task, desk)
            return
        desk.tell(Piece("You said: "))
        desk.tell(Piece(task.messages[-1].text))
        desk.say([Message(Role.ASSISTANT, f"You said: {task.messages[-1].text}")])


class RestHub:
    settings = Settings()

    def __init__(self):
        self.sign_ins = RestSignIns()
        self.clock = RestClock()
        self.tasks = Tasks()
        numbers = itertools.count(1)
        self.ids = lambda: f"r-{next(numbers)}"
        self.catalog = RestCatalog()
        self.gateway = RestGateway()
        self.store = RestStore()
        self.bus = EventBus(self.clock, lambda: Counts(0, 0, 0))
        self.metrics = Metrics()
        self.health = RestHealth()
        self.keys = RestKeys()
        self.usage = ledger = FakeLedger(lambda: self.clock.wall() // SECOND)
        till = Till(ledger, FakePrices(), self.clock, Tasks(), "boot")
        self.budgets = Budgets(ledger, ledger, till, self.clock)
        self.intake = Intake(till, ledger)
        self.alert_rows = FakeAlerts()
        self.alerts = Alerts(self.alert_rows, self.clock, self.bus, Tasks(), None)
        self.budgets._all = {DEFAULT.id: DEFAULT}
        self.talk, self.runner = FakeConversations(), RestRunner()
        chat = chat_of(ChatSettings(), 60_000)
        self.runs = Runs(
            self.talk, {"own": self.runner}, RestAsker(), self.clock, self.ids, self.tasks, chat,
            lambda caller: "demo-1",
        )  # fmt: skip
        for name in ("calculator", "other"):
            endpoint = Endpoint(name=name, url=f"http://{name}.test/mcp")
            tool = msgspec.json.encode({"name": "add", "inputSchema": {"type": "object"}})
            self.catalog.all[name] = RestServer(endpoint, [tool])


class Gate:
    """Stands for the gate before the door: says who asks."""

    def __init__(self, app):
        self.app = app
        self.caller = ADMIN

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and self.caller is not None:
            scope.setdefault("state", {})["caller"] = self.caller
        await self.app(scope, receive, send)


class Rest:
    """A client of the REST door: `await rest.get("/api/…", as_=USER)`."""

    def __init__(self, hub):
        self.hub = hub
        self.gate = Gate(create_rest(hub))
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.gate), base_url="http://hub.test"
        )

    async def __call__(self, method, path, *, as_=ADMIN, **more):
        self.gate.caller = as_
        return await self.client.request(method, path, **more)

    async def get(self, path, **more):
        return await self("GET", path, **more)

    async def post(self, path, json=None, **more):
        return await self("POST", path, json={} if json is None else json, **more)

    async def put(self, path, json, **more):
        return await self("PUT", path, json=json, **more)

    async def delete(self, path, **more):
        return await self("DELETE", path, **more)
