"""No call goes round a guard, whichever door it comes in by.

A new door is a line in DOORS; a new guard is a test in TestEveryDoor. The waist is the real one
(support/house.py), the servers are fakes that count what reaches them: they are the judges.
"""

import asyncio
import contextlib
import os

import msgspec
import pytest
from support.exchange import META, body_of, initialize, legacy, modern
from support.fake_upstream import HANGS, REFUSED, error, later, lost, result, status, tool
from support.house import ANNA, house, server
from support.mcp_hub import McpHub
from support.rest_hub import Rest

from agenthub.domain.caller import Caller, Scope
from agenthub.domain.circuit_breaker import BreakerConfig
from agenthub.domain.endpoint import RateLimit, ToolPolicy
from agenthub.domain.errors import HubError
from agenthub.domain.span import SECOND
from agenthub.gateway import Gateway
from agenthub.inbound.mcp_stdio import StdioDoor
from agenthub.keys import KeyRing
from agenthub.metrics import Metrics
from agenthub.settings import LimitSettings
from agenthub.tasks import Tasks

IDEMPOTENCY = "io.agenthub/idempotencyKey"
DEADLINE = "io.agenthub/deadlineMs"


class RealClock:
    def now(self):
        return round(asyncio.get_running_loop().time() * SECOND)

    def wall(self):
        return 1_800_000_000 * SECOND + self.now()

    def chance(self):
        return 0.5

    def after(self, span, callback):
        return asyncio.get_running_loop().call_later(span / SECOND, callback)


# ---------------------------------------------------------------- the doors


def outcome(message):
    """`ok`, `tool_error`, or the error's name; MCP says it in a message."""
    if "result" in message:
        return "tool_error" if message["result"].get("isError") else "ok"
    data = message["error"].get("data")
    return data["code"] if isinstance(data, dict) and "code" in data else message["error"]["code"]


def wishes(key, seconds):
    meta = {} if key is None else {IDEMPOTENCY: key}
    return meta if seconds is None else {**meta, DEADLINE: round(seconds * 1000)}


async def finished(exchange):
    async with asyncio.timeout(10):
        while not exchange.over:  # noqa: ASYNC110 - a fake has no event
            await asyncio.sleep(0.005)
    return outcome(exchange.json)


async def in_process(hub, name="add", *, caller=ANNA, key=None, seconds=30):
    """`Gateway.open`, as an agent in this process uses it."""
    call = hub.house.call("calc", name, caller=caller, key=key, seconds=seconds)
    try:
        async with hub.gateway.open(call) as stream:
            answer = await stream.answer()
    except HubError as refusal:
        return refusal.slug
    return "tool_error" if answer.reply.is_error else "ok"


async def modern_face(hub, name="add", *, caller=ANNA, key=None, seconds=None):
    params = {"name": name, "arguments": {}}
    asked = modern("tools/call", params, meta=wishes(key, seconds), path="/mcp/calc", caller=caller)
    return await finished(hub.send(asked))


async def modern_all(hub, name="add", *, caller=ANNA, key=None, seconds=None):
    params = {"name": f"calc__{name}", "arguments": {}}
    asked = modern("tools/call", params, meta=wishes(key, seconds), caller=caller)
    return await finished(hub.send(asked))


async def old_session(hub, name="add", *, caller=ANNA, key=None, seconds=None):
    begun = hub.send(initialize(caller=caller))
    await finished(begun)
    params = {"name": f"calc__{name}", "arguments": {}, "_meta": wishes(key, seconds)}
    session = begun.header(b"mcp-session-id")
    return await finished(hub.send(legacy("tools/call", params, session=session, caller=caller)))


async def rest(hub, name="add", *, caller=ANNA, key=None, seconds=None):
    wish = {"server": "calc", "tool": name, "arguments": {}}
    if key is not None:
        wish["idempotency_key"] = key
    if seconds is not None:
        wish["deadline_ms"] = round(seconds * 1000)
    door = Rest(hub)
    async with door.client:
        answer = await door.post("/api/tools/call", wish, as_=caller)
    if answer.status_code != 200:
        return answer.json()["code"]
    return "tool_error" if answer.json()["result"].get("isError") else "ok"


async def over_pipes(hub, requests, caller):
    """What the stdio door says to these lines; then its input ends."""
    stdin, to_door = os.pipe()
    from_door, stdout = os.pipe()
    door = StdioDoor(hub, None, stdin, stdout)
    said = b""
    tasks = Tasks()
    running = tasks.start(door.run(), "stdio door")
    try:
        for line in requests:
            os.write(to_door, line + b"\n")
            while not said.endswith(b"\n"):
                said += await asyncio.wait_for(asyncio.to_thread(os.read, from_door, 65_536), 10)
            last, said = said, b""
    finally:
        os.close(to_door)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running, 10)
        for fd in (stdin, from_door, stdout):
            os.close(fd)
    return outcome(msgspec.json.decode(last.strip()))


async def stdio_modern(hub, name="add", *, caller=ANNA, key=None, seconds=None):
    params = {
        "name": f"calc__{name}", "arguments": {}, "_meta": {**META, **wishes(key, seconds)},
    }  # fmt: skip
    return await over_pipes(hub, [body_of("tools/call", params)], caller)


async def stdio_old(hub, name="add", *, caller=ANNA, key=None, seconds=None):
    old = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "o"}}
    params = {"name": f"calc__{name}", "arguments": {}, "_meta": wishes(key, seconds)}
    lines = [body_of("initialize", old), body_of("tools/call", params)]
    return await over_pipes(hub, lines, caller)


DOORS = [in_process, modern_face, modern_all, old_session, rest, stdio_modern, stdio_old]
KEYED = [door for door in DOORS if door not in (in_process, stdio_modern, stdio_old)]
"""Doors at which a caller is a key; the others are the hub's own user."""


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request):
    return request.param


@contextlib.asynccontextmanager
async def hub_of(*endpoints, **more):
    records = endpoints or (server("calc"),)
    async with house(*records, clock=RealClock(), **more) as built:
        yield McpHub(built, LimitSettings(drain_ms=300))


# ---------------------------------------------------------------- the guards


class TestEveryDoor:
    async def test_reaches_the_server_and_is_logged(self, door):
        async with hub_of() as hub:
            assert await door(hub) == "ok"
            assert hub["calc"].executed("add") == 1
            assert [(row.endpoint, row.name, row.outcome) for row in hub.rows] == [
                ("calc", "add", "ok")
            ]

    async def test_meets_the_servers_breaker(self, door):
        async with hub_of() as hub:
            breaker = hub.catalog.get("calc").lane.breaker
            breaker.force_open(hub.clock.now(), "by hand", None)
            assert await door(hub) == "circuit_open"
            assert hub["calc"].arrived("add") == 0

    async def test_feeds_the_servers_breaker(self, door):
        calc = server("calc", breaker=BreakerConfig(failure_threshold=1), attempts=1)
        async with hub_of(calc) as hub:
            hub["calc"].answers["add"] = lost()
            assert await door(hub) == "outcome_unknown"
            assert await door(hub) == "circuit_open"
            assert hub["calc"].executed("add") == 1

    async def test_meets_the_tools_breaker(self, door):
        async with hub_of() as hub:
            hub["calc"].tools["mul"] = tool("mul")
            hub["calc"].answers["add"] = error(-32603)
            hub.catalog.get("calc").refresh()
            await asyncio.sleep(0.3)
            seen = [await door(hub) for _ in range(6)]
            assert seen[-1] == "circuit_open"
            assert hub["calc"].executed("add") == 5
            assert await door(hub, "mul") == "ok", "one tool's failure is not the server's"

    async def test_meets_the_rate_limit(self, door):
        async with hub_of(server("calc", rate_limit=RateLimit(rps=0.01, burst=2))) as hub:
            assert [await door(hub) for _ in range(3)] == ["ok", "ok", "rate_limited"]
            assert hub["calc"].executed("add") == 2

    async def test_meets_the_seats(self, door):
        async with hub_of(server("calc", concurrency=1)) as hub:
            hub["calc"].answers["add"] = later(result(), SECOND // 5)
            said = await asyncio.gather(*(door(hub) for _ in range(4)))
            assert hub["calc"].most_at_once == 1
            assert sorted(said) == ["ok", "ok", "overloaded", "overloaded"]

    async def test_meets_the_places_of_the_whole_hub(self, door):
        async with hub_of(calls_in_flight=1) as hub:
            hub["calc"].answers["add"] = later(result(), SECOND // 5)
            said = await asyncio.gather(*(door(hub) for _ in range(3)))
            assert sorted(said) == ["ok", "overloaded", "overloaded"]
            assert hub["calc"].executed("add") == 1

    async def test_meets_the_quarantine(self, door):
        async with hub_of(server("calc", breaker=BreakerConfig(failure_threshold=1000))) as hub:
            hub["calc"].answers["add"] = lambda _: lost()
            assert [await door(hub) for _ in range(3)] == [
                "outcome_unknown", "outcome_unknown", "poisoned",
            ]  # fmt: skip
            assert hub["calc"].executed("add") == 2

    async def test_meets_the_throttle_gate(self, door):
        async with hub_of(server("calc", attempts=1)) as hub:
            hub["calc"].answers["add"] = status(429, retry_after_ms=60_000)
            assert await door(hub) == "throttled_upstream"
            assert await door(hub) == "throttled_upstream"
            assert hub["calc"].arrived("add") == 1

    async def test_ends_at_its_deadline(self, door):
        async with hub_of() as hub:
            hub["calc"].answers["add"] = HANGS
            before = hub.clock.now()
            assert await door(hub, seconds=0.3) == "outcome_unknown"
            assert hub.clock.now() - before < 2 * SECOND

    async def test_is_never_run_twice_when_it_may_have_run(self, door):
        async with hub_of(server("calc", fallbacks=("twin",)), server("twin")) as hub:
            hub["calc"].answers["add"] = [lost(), result()]
            assert await door(hub) == "outcome_unknown"
            assert (hub["calc"].executed("add"), hub["twin"].executed("add")) == (1, 0)

    async def test_goes_on_to_the_fallback_when_nothing_was_sent(self, door):
        calc = server("calc", fallbacks=("twin",), attempts=1)
        async with hub_of(calc, server("twin")) as hub:
            hub["calc"].answers["add"] = REFUSED
            assert await door(hub) == "ok"
            assert hub["twin"].executed("add") == 1
            assert hub.rows[-1].served_by == "twin"

    async def test_runs_an_idempotency_key_once(self, door):
        async with hub_of() as hub:
            assert [await door(hub, key="once") for _ in range(2)] == ["ok", "ok"]
            assert hub["calc"].executed("add") == 1

    async def test_checks_the_arguments_before_the_server_sees_them(self, door):
        strict = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
        async with hub_of(
            prepare={"calc": lambda one: one.tools.update(add=tool("add", strict))}
        ) as hub:
            assert await door(hub) in {"invalid_params", -32602}
            assert hub["calc"].arrived("add") == 0

    async def test_hears_the_operators_word_on_a_tool(self, door):
        calc = server("calc", tools={"add": ToolPolicy(replay="safe")})
        async with hub_of(calc) as hub:
            hub["calc"].answers["add"] = [lost(), result()]
            assert await door(hub) == "ok"
            assert hub["calc"].executed("add") == 2, "safe to run twice, as the operator said"


@pytest.mark.parametrize("door", KEYED, ids=lambda door: door.__name__)
class TestEveryDoorWithKeys:
    async def test_shows_a_filtered_key_no_other_server(self, door):
        other = Caller("other", frozenset({Scope.TOOLS}), frozenset({"else"}))
        async with hub_of() as hub:
            assert await door(hub, caller=other) in {"unknown_target", -32602, -32600}
            assert hub["calc"].arrived("add") == 0

    async def test_keeps_the_keys_of_two_callers_apart(self, door):
        bert = Caller("bert", frozenset({Scope.TOOLS}))
        async with hub_of() as hub:
            assert await door(hub, key="same") == "ok"
            assert await door(hub, key="same", caller=bert) == "ok"
            assert hub["calc"].executed("add") == 2


def test_a_door_is_handed_no_way_to_a_server_but_the_gateway():
    """What hangs on the hub, by its public names, is no connection."""
    from agenthub.hub import Hub
    from agenthub.server import Server

    assert set(Hub.__struct_fields__) == {
        "settings", "clock", "ids", "catalog", "gateway", "store", "bus", "metrics", "health",
        "keys", "tasks", "session_secret",
    }  # fmt: skip
    for kind in (Hub, Server, Gateway, KeyRing, Metrics):
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert not public & {"upstream", "upstreams", "send", "connection"}, kind
