"""A person is told which of many servers asks, and the operator says what a server may ask."""

import msgspec
import pytest
from support.asking import (
    ADD,
    FORM,
    LIST,
    NAME,
    PAGE,
    asks_back,
    asks_live,
    call,
    old_client,
    questions,
)
from support.fake_upstream import OK, Act, result
from support.house import server
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.outcome import Ending, Reply

CALC_ADD = {**ADD, "name": "calc__add"}


def hub_with(act, **more):
    def prepare(fake):
        fake.answers["add"] = act

    return doors(server("calc", **more), prepare={"calc": prepare})


def messages(asked):
    return [one["params"].get("message") for one in asked.result["inputRequests"].values()]


@pytest.mark.parametrize("act", [asks_live(NAME), asks_back("s", a=FORM)])
@virtual_time()
async def test_where_many_servers_meet_a_person_is_told_which_one_asks(act):
    async with hub_with(act) as hub:
        (message,) = messages(await hub(call(CALC_ADD, path="/mcp")))
        assert message in {"calc: Your name?", "calc: Name?"}
        (message,) = messages(await hub(call()))
        assert message in {"Your name?", "Name?"}, "one server's own words stay as they are"


@virtual_time()
async def test_a_client_of_the_old_era_is_told_too():
    async with hub_with(asks_live(NAME)) as hub:
        client = await old_client(hub, path="/mcp")
        (question,) = questions(await client.call(CALC_ADD))
        assert question["params"]["message"] == "calc: Your name?"
    async with hub_with(asks_back("s", a=FORM)) as hub:
        client = await old_client(hub, path="/mcp")
        (question,) = questions(await client.call(CALC_ADD))
        assert question["params"]["message"] == "calc: Name?"


@virtual_time()
async def test_all_but_the_words_to_a_person_stays_as_it_was_written():
    params = b'{"mode":"url","url":"https://x.test","y":[1.50]}'
    raw = b'{"x":1.0,"method":"elicitation/create","params":%b}' % params
    lists = b'{"method":"roots/list","params":{},"z":"\\u00e9"}'
    answer = b'{"inputRequests":{"a":%b,"b":%b},"resultType":"input_required"}' % (raw, lists)
    async with hub_with(result(answer, result_type="input_required")) as hub:
        asked = (await hub(call(CALC_ADD, path="/mcp"))).body
        assert b'"y":[1.50]' in asked
        assert b'"x":1.0' in asked
        assert lists in asked
        assert b'"message":"calc asks"' in asked


@virtual_time()
async def test_a_page_that_an_old_server_wants_opened_says_whose_it_is():
    words = msgspec.json.encode({
        "code": -32042, "message": "Log in", "data": {"elicitations": [
            {"mode": "url", "elicitationId": "e", "url": "https://x.test/a", "message": "Log in"},
        ]},
    })  # fmt: skip
    act = Act(Reply(Ending.ERROR, error=words, code=-32042))
    async with hub_with(act) as hub:
        assert messages(await hub(call(CALC_ADD, path="/mcp"))) == ["calc: Log in"]


@pytest.mark.parametrize(
    ("policy", "declared"),
    [
        ("all", {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}),
        ("no-pages", {"elicitation": {"form": {}}, "sampling": {"tools": {}}, "roots": {}}),
        ("none", {}),
    ],
)
@virtual_time()
async def test_a_server_is_told_only_what_the_operator_lets_it_ask(policy, declared):
    async with hub_with(OK, questions=policy) as hub:
        await hub(call())
        assert msgspec.json.decode(hub["calc"].sent[-1].capabilities) == declared


@pytest.mark.parametrize("act", [asks_back("s", a=PAGE), asks_back("s", a=LIST)])
@virtual_time()
async def test_a_server_that_asks_all_the_same_is_refused(act):
    async with hub_with(act, questions="none") as hub:
        assert (await hub(call())).json["error"]["code"] == -32021


@virtual_time()
async def test_a_page_is_refused_where_pages_are_off():
    async with hub_with(asks_back("s", a=PAGE), questions="no-pages") as hub:
        assert (await hub(call())).json["error"]["code"] == -32021
