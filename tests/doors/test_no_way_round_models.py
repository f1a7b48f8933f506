"""Every address of models times every guard: what a guard refuses reaches no provider."""

import json
from contextlib import asynccontextmanager

import pytest
from support.all_doors import every_door, post
from support.edge_hub import ADMIN_TOKEN
from support.fake_upstream import HANGS
from support.house import server
from support.model_calls import ask, used
from support.stdio_hub import until

from agenthub.domain.budget import Budget
from agenthub.domain.caller import Scope
from agenthub.domain.endpoint import RateLimit, Timeouts
from agenthub.domain.errors import StorageFailed
from agenthub.domain.period import Period
from agenthub.domain.provider import WIRES, Llm
from agenthub.domain.span import SECOND
from agenthub.inbound.listener import Listener
from agenthub.inbound.llm.door import LlmHttp

ADDRESSES = {
    "/v1/chat/completions": {"messages": []},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": [], "max_tokens": 5},
    "/v1/embeddings": {"input": "Hello"},
    "/v1beta/models/p/small:generateContent": {"contents": []},
}


@pytest.fixture(params=ADDRESSES)
def path(request):
    return request.param


class Doors:
    def __init__(self, hub):
        self.hub = hub

    def __getattr__(self, name):
        return getattr(self.hub, name)

    async def ask(self, path, model="p/small", key=ADMIN_TOKEN, **more):
        """Status, and the code of a refusal."""
        body = json.dumps({**ADDRESSES[path], "model": model, **more}).encode()
        answer = await post(self.hub, "llm", path, [], body, key)
        if answer.status == 200:
            return 200, "ok"
        said = answer.json.get("error", answer.json)
        for detail in said.get("details", ()):
            return answer.status, detail["reason"].lower()
        return answer.status, said["code"]

    async def refused(self, path, status, code, **more):
        """By the guard, at the door and in the log; and the provider saw nothing of it."""
        before = self.hub["p"].arrived("small")
        assert await self.ask(path, **more) == (status, code)
        assert (self.hub.rows[-1].door, self.hub.rows[-1].outcome) == ("llm", code)
        assert self.hub["p"].arrived("small") == before


@asynccontextmanager
async def doors(home, record=None, **more):
    llm = Llm(provider="p", wires=WIRES)
    record = record or {}
    async with every_door(home, server("p", llm=llm, **record), **more) as hub:
        hub["p"].answers["small"] = used()
        listener = Listener(hub, LlmHttp(hub).hot)
        hub.ports["llm"] = await listener.start()
        try:
            yield Doors(hub)
        finally:
            await listener.close(500)


async def test_a_call_that_no_guard_stops_is_answered_and_booked(path, tmp_path):
    async with doors(tmp_path) as at:
        assert await at.ask(path) == (200, "ok")
        assert at.ledger.writes == ["reserve", "settle"]


async def test_the_budget(path, tmp_path):
    async with doors(tmp_path) as at:
        at.ledger.kept = {"b": Budget("b", 1, period=Period("lifetime"))}
        at.till.take(list(at.ledger.kept.values()))
        await at.refused(path, 403, "budget_exceeded")
        assert at.ledger.rows == {}


async def test_a_ledger_that_cannot_write(path, tmp_path):
    async with doors(tmp_path) as at:
        at.ledger.broken = StorageFailed("The disk is full.")
        await at.refused(path, 503, "storage_failed")


async def test_a_price_that_nobody_knows(path, tmp_path):
    async with doors(tmp_path) as at:
        wanted = path.replace("small", "odd")
        body = json.dumps({**ADDRESSES[path], "model": "p/odd"}).encode()
        answer = await post(at.hub, "llm", wanted, [], body, ADMIN_TOKEN)
        assert (answer.status, b"price" in answer.body) == (403, True)
        assert at.hub["p"].arrived("odd") == 0


async def test_the_breaker(path, tmp_path):
    async with doors(tmp_path) as at:
        at.catalog.get("p").lane.breaker.force_open(at.clock.now(), "test", 60 * SECOND)
        await at.refused(path, 503, "circuit_open")


async def test_the_rate_limit(path, tmp_path):
    async with doors(tmp_path, {"rate_limit": RateLimit(rps=0.001, burst=1)}) as at:
        assert await at.ask(path) == (200, "ok")
        await at.refused(path, 429, "rate_limited")


async def test_the_bulkhead_and_shedding(path, tmp_path):
    for record, more in (({"concurrency": 1}, {}), ({}, {"calls_in_flight": 1})):
        async with doors(tmp_path, record, **more) as at:
            at.hub["p"].answers["small"] = HANGS
            for _ in range(2 if record else 1):
                ask(at.hub, "p/small")
            await until(lambda at=at: at.hub["p"].arrived("small"))
            await at.refused(path, 503, "overloaded")


async def test_the_deadline(path, tmp_path):
    async with doors(tmp_path, {"timeouts": Timeouts(call_ms=150)}) as at:
        at.hub["p"].answers["small"] = HANGS
        status, code = await at.ask(path)
        assert (status >= 500, code) == (True, "outcome_unknown")
        await until(lambda: not at.gateway.in_flight)


async def test_keys(path, tmp_path):
    """None, a wrong one, one without the scope, for other endpoints, for other models."""
    async with doors(tmp_path) as at:
        assert (await at.ask(path, key="x" * 40))[0] == 401
        assert (await at.ask(path, key=await at.key(Scope.TOOLS, Scope.READ)))[0] == 403
        elsewhere = await at.key(Scope.LLM, endpoints=["q"])
        assert await at.ask(path, key=elsewhere) == (404, "unknown_target")
        others = await at.key(Scope.LLM, models=("q/*",))
        assert await at.ask(path, key=others) == (404, "unknown_target")
        assert at.hub["p"].arrived("small") == 0
        row, token = await at.keys.create("k", (Scope.LLM,))
        assert await at.ask(path, key=token) == (200, "ok")
        await at.keys.revoke(row.id)
        assert (await at.ask(path, key=token))[0] == 401
        assert at.hub["p"].arrived("small") == 1
