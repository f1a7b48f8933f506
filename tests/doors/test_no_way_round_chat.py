"""The agent's door times the guards of keys: it is a caller like any other."""

import json

import pytest
from support.all_doors import DOORS, every_door, post
from support.edge_hub import ADMIN_TOKEN
from support.fake_upstream import tool

from agenthub.domain.caller import Scope
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.tool_set import ToolSet

CALC = "calculator"
BOTH = (Scope.LLM, Scope.TOOLS)


@pytest.fixture
def chat():
    return DOORS["chat, own loop"]


async def test_a_key_that_is_none_or_was_revoked(chat, tmp_path):
    async with every_door(tmp_path, CALC) as hub:
        door = chat(hub)
        assert await door.ask(CALC, "add", key="x" * 40) == "unauthorized"
        row, token = await hub.keys.create("k", BOTH)
        assert await door.ask(CALC, "add", key=token) == "ok"
        await hub.keys.revoke(row.id)
        assert await door.ask(CALC, "add", key=token) == "unauthorized"
        assert hub[CALC].executed("add") == 1


async def test_a_key_without_the_scope_has_no_chat_and_one_without_tools_no_tools(chat, tmp_path):
    async with every_door(tmp_path, CALC) as hub:
        door = chat(hub)
        assert await door.ask(CALC, "add", key=await hub.key(Scope.TOOLS)) == "forbidden"
        assert await door.ask(CALC, "add", key=await hub.key(Scope.LLM)) == "unknown_target"
        assert hub[CALC].arrived("add") == 0


async def test_a_key_for_other_servers_or_other_tools(chat, tmp_path):
    prepare = {CALC: lambda fake: setattr(fake, "tools", {n: tool(n) for n in ("add", "well")})}
    async with every_door(tmp_path, CALC, "other", prepare=prepare) as hub:
        door = chat(hub)
        token = await hub.key(*BOTH, endpoints=["other"])
        assert await door.ask(CALC, "add", key=token) == "unknown_target"
        assert await door.ask("other", "add", key=token) == "ok"
        token = await hub.key(*BOTH, tools=ToolSet(("*__well",)))
        assert await door.ask(CALC, "add", key=token) == "unknown_target"
        assert await door.ask(CALC, "well", key=token) == "ok"
        assert hub[CALC].arrived("add") == 0


async def test_the_rate_limit_of_the_key(chat, tmp_path):
    async with every_door(tmp_path, CALC) as hub:
        token = await hub.key(*BOTH, rate_limit=RateLimit(0.001, 1))
        assert await chat(hub).ask(CALC, "add", key=token) == "ok"
        assert await chat(hub).ask(CALC, "add", key=token) == "rate_limited"
        assert hub[CALC].executed("add") == 1


async def test_another_callers_run_is_not_there(chat, tmp_path):
    async with every_door(tmp_path, CALC) as hub:
        await chat(hub).ask(CALC, "add", key=ADMIN_TOKEN)
        (run,) = hub.house.runs._runs
        body = json.dumps({"id": "1", "allow": True}).encode()
        token = await hub.key(*BOTH)
        answer = await post(hub, "own", f"/api/chat/runs/{run}/approve", [], body, token)
        assert (answer.status, answer.json["code"]) == (404, "unknown_target")
