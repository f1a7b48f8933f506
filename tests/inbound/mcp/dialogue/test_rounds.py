"""Calls of old clients to new servers that ask: one request to the client, rounds to the server."""

import asyncio

import msgspec
import pytest
from support.asking import (
    ACCEPT,
    ADD,
    FORM,
    LIST,
    PAGE,
    SAMPLE,
    asks_back,
    notes,
    old_client,
    questions,
)
from support.fake_upstream import HANGS, OK, later, result
from support.house import BERT, server
from support.mcp_hub import doors
from support.virtual_time import virtual_time

from agenthub.domain.endpoint import Timeouts
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.gateway import PARKED_MAX
from agenthub.inbound.mcp.dialogue.rounds import COMPLETE, ROUNDS_MAX

SAID = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hi"}}


def hub_with(*acts, **more):
    answers = list(acts)

    def prepare(fake):
        fake.answers["add"] = answers

    return doors(server("calc", **more), prepare={"calc": prepare})


def sent(hub, number=-1):
    return {key: bytes(raw) for key, raw in hub["calc"].sent[number].params.items()}


def refusal(exchange):
    return exchange.json["error"]["data"]["code"], exchange.json["error"]["message"]


@virtual_time()
async def test_the_client_is_asked_and_the_server_called_again_with_its_answers():
    state = '"s\\u00e9 / x"'
    first = result(
        b'{"resultType":"input_required","requestState":%b,"inputRequests":{"a":%b,"b":%b}}'
        % (state.encode(), msgspec.json.encode(FORM), msgspec.json.encode(SAMPLE)),
        result_type="input_required",
    )
    async with hub_with(first, OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        form, sample = questions(asked)
        assert (form["method"], sample["method"]) == (FORM["method"], SAMPLE["method"])
        assert form["params"] == FORM["params"]
        assert not hub.gateway.in_flight
        await client.answer(sample, SAID)
        assert not asked.over
        await client.answer(form)
        assert asked.result["content"] == [{"type": "text", "text": "5"}]
        assert "resultType" not in asked.result
        round_2 = sent(hub)
        assert round_2["requestState"] == state.encode()
        assert msgspec.json.decode(round_2["inputResponses"]) == {"a": ACCEPT, "b": SAID}
        assert round_2["arguments"] == sent(hub, -2)["arguments"]
        assert hub.at_rest()
        assert not hub.gateway.waiting
        assert [row.outcome for row in hub.rows[-2:]] == ["input_required", "ok"]
        assert len({row.id for row in hub.rows[-2:]}) == 2


@virtual_time()
async def test_without_a_state_none_is_sent_and_the_next_round_begins_with_the_first_params():
    async with hub_with(asks_back(a=FORM), asks_back("s", b=FORM), asks_back(c=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        for number in range(3):
            await client.answer(questions(asked)[number])
            assert sent(hub).keys() - {"name", "arguments"} == (
                {"inputResponses", "requestState"} if number == 1 else {"inputResponses"}
            )
            assert list(msgspec.json.decode(sent(hub)["inputResponses"])) == ["abc"[number]]
        assert asked.over


@virtual_time()
async def test_a_server_may_ask_ten_times_and_no_more():
    async with hub_with(asks_back("s", a=FORM)) as hub:
        client = await old_client(hub)
        asked = await client.call()
        for number in range(ROUNDS_MAX):
            assert not asked.over
            await client.answer(questions(asked)[number])
        assert refusal(asked)[0] == "interactive_unsupported"
        assert "more than 10 times" in refusal(asked)[1]
        assert hub["calc"].executed("add") == ROUNDS_MAX + 1


@virtual_time()
async def test_a_server_that_only_wants_to_be_called_again_is_ever_more_rarely():
    async with hub_with(asks_back("a"), asks_back("b"), asks_back("c"), OK) as hub:
        client = await old_client(hub, declared={})
        begun = hub.clock.now()
        asked = await client.call()
        assert asked.result["content"]
        assert sent(hub)["requestState"] == b'"c"'
        assert "inputResponses" not in sent(hub)
        assert hub.clock.now() - begun <= 600 * MILLISECOND
    async with hub_with(asks_back("a")) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await asyncio.sleep(9)
        assert not asked.over
        await asyncio.sleep(4)
        assert "more than 10 times" in refusal(asked)[1]


@virtual_time()
async def test_what_the_client_did_not_declare_is_an_error_that_names_it():
    for asks in (FORM, SAMPLE, LIST, PAGE):
        async with hub_with(asks_back(a=FORM, b=asks), OK) as hub:
            client = await old_client(hub, declared={"elicitation": {}} if asks is not FORM else {})
            asked = await client.call()
            code, words = refusal(asked)
            assert code == "interactive_unsupported"
            assert asks["method"] in words
            assert "did not declare" in words
            assert hub["calc"].executed("add") == 1


@virtual_time()
async def test_a_client_that_refuses_a_form_has_cancelled_it():
    async with hub_with(asks_back(a=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await client.answer(questions(asked)[0], error={"code": -1, "message": "no"})
        assert msgspec.json.decode(sent(hub)["inputResponses"]) == {"a": {"action": "cancel"}}
        assert asked.result["content"]


@pytest.mark.parametrize("asks", [SAMPLE, LIST])
@pytest.mark.parametrize("error", [{"code": -1, "message": "no model"}, 7])
def test_a_client_that_refuses_anything_else_ends_the_call(asks, error):
    @virtual_time()
    async def run():
        async with hub_with(asks_back(a=asks, b=FORM), OK) as hub:
            client = await old_client(hub)
            asked = await client.call()
            first, other = questions(asked)
            await client.answer(first, error=error)
            code, words = refusal(asked)
            assert code == "interactive_unsupported"
            assert f"refused {asks['method']}" in words
            await client.answer(other)
            assert hub["calc"].executed("add") == 1
            assert hub.at_rest()
            assert not hub.gateway.waiting

    run()


@virtual_time()
async def test_each_round_has_its_own_time_and_the_clients_time_is_bounded_apart():
    slow = later(OK, 4 * SECOND)
    patient = server("calc", timeouts=Timeouts(call_ms=5_000)).timeouts
    async with hub_with(later(asks_back(a=FORM), 4 * SECOND), slow, timeouts=patient) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await asyncio.sleep(300)
        await client.answer(questions(asked)[0])
        await asyncio.sleep(5)
        assert asked.result["content"]
    async with hub_with(asks_back(a=FORM), HANGS, timeouts=patient) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await asyncio.sleep(100)
        await client.answer(questions(asked)[0])
        await asyncio.sleep(6)
        assert asked.json["error"]["data"]["code"] == "outcome_unknown"


@virtual_time()
async def test_a_client_that_never_answers_gets_an_error_after_a_bounded_time():
    async with hub_with(asks_back(a=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await asyncio.sleep(590)
        assert not asked.over
        await asyncio.sleep(20)
        assert "did not answer in time" in refusal(asked)[1]
        await client.answer(questions(asked)[0])
        assert hub["calc"].executed("add") == 1
        assert not hub.gateway.waiting


@virtual_time()
async def test_calls_that_wait_between_rounds_count_among_those_a_caller_may_leave_waiting():
    async with hub_with(asks_back(a=FORM), concurrency=200) as hub:
        client, other = await old_client(hub), await old_client(hub, caller=BERT)
        waiting = [hub.send(client.request()) for _ in range(PARKED_MAX)]
        await asyncio.sleep(1)
        assert not any(one.over for one in waiting)
        refused = await client.call()
        assert refusal(refused)[0] == "overloaded"
        assert not (await other.call()).over
        waiting[0].gone()
        await asyncio.sleep(60)
        assert not (await client.call()).over


@virtual_time()
async def test_calls_that_wait_between_rounds_take_no_more_than_the_hubs_places():
    async with doors(
        "calc", prepare={"calc": lambda fake: fake.answers.update(add=asks_back(a=FORM))},
        calls_in_flight=10,
    ) as hub:  # fmt: skip
        client = await old_client(hub)
        waiting = [await client.call() for _ in range(12)]
        assert sum(one.over for one in waiting) == 2


@virtual_time()
async def test_a_client_without_a_stream_cannot_be_asked():
    async with hub_with(asks_back(a=FORM), OK) as hub:
        client = await old_client(hub)
        plain = client.request()
        headers = ((b"accept", b"application/json"), (b"mcp-session-id", client.session))
        plain.request = msgspec.structs.replace(plain.request, headers=headers)
        done = await hub(plain)
        assert "takes no question" in refusal(done)[1]
        assert not hub.gateway.waiting


@virtual_time()
async def test_a_client_that_stays_away_is_not_waited_for():
    async with hub_with(asks_back(a=FORM, b=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        asked.gone()
        await asyncio.sleep(60)
        assert hub["calc"].executed("add") == 1
        assert not hub.gateway.waiting
        assert hub.at_rest()


@virtual_time()
async def test_cancelling_works_between_rounds_and_in_them():
    async with hub_with(asks_back(a=FORM), HANGS) as hub:
        client = await old_client(hub)
        between = await hub(client.request(message_id="m"))
        await client.note("notifications/cancelled", {"requestId": "m"})
        assert "gave the call up" in refusal(between)[1]
        assert not hub.gateway.waiting
    async with hub_with(asks_back(a=FORM), HANGS) as hub:
        client = await old_client(hub)
        within = await hub(client.request(message_id="m"))
        await client.answer(questions(within)[0])
        assert hub["calc"].flying
        await client.note("notifications/cancelled", {"requestId": "m"})
        assert within.over
        assert not hub["calc"].flying
        assert hub.at_rest()


@virtual_time()
async def test_cancelling_works_between_later_rounds_too():
    async with hub_with(asks_back(a=FORM), asks_back(b=FORM), HANGS) as hub:
        client = await old_client(hub)
        asked = await hub(client.request(message_id="m"))
        await client.answer(questions(asked)[0])
        await client.note("notifications/cancelled", {"requestId": "m"})
        assert "gave the call up" in refusal(asked)[1]
        assert not hub.gateway.waiting


@virtual_time()
async def test_the_time_for_answers_is_over_once_all_have_come():
    async with hub_with(asks_back(a=FORM), later(OK, 10 * SECOND)) as hub:
        hub.gateway.answer_span = 5 * SECOND
        client = await old_client(hub)
        asked = await client.call()
        await client.answer(questions(asked)[0])
        await asyncio.sleep(11)
        assert asked.result["content"]


@virtual_time()
async def test_a_hub_that_stops_ends_what_waits_between_rounds():
    async with hub_with(asks_back(a=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await hub.gateway.drain(20_000 * MILLISECOND)
        assert refusal(asked) == ("overloaded", "The hub is stopping")
        assert not hub.gateway.waiting


@virtual_time()
async def test_a_round_that_the_hub_refuses_ends_the_call_with_that_error():
    async with hub_with(asks_back(a=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        hub.catalog.get("calc").endpoint = msgspec.structs.replace(
            hub.catalog.get("calc").endpoint, enabled=False
        )
        hub.catalog.routes.clear()
        await client.answer(questions(asked)[0])
        assert refusal(asked)[0] == "unknown_target"


@virtual_time()
async def test_only_the_server_that_asked_gets_the_answer():
    """R34: a fallback that asked is asked again, though the first is well by then."""
    from support.fake_upstream import REFUSED

    def first(fake):
        fake.answers["add"] = [REFUSED, OK]

    def twin(fake):
        fake.answers["add"] = [asks_back("s", a=FORM), OK]

    endpoint = server("calc", fallbacks=("twin",), attempts=1)
    async with doors(endpoint, "twin", prepare={"calc": first, "twin": twin}) as hub:
        client = await old_client(hub)
        asked = await client.call()
        await client.answer(questions(asked)[0])
        assert asked.result["_meta"]["io.agenthub/served_by"] == "twin"
        assert hub["twin"].executed("add") == 2
        assert hub["calc"].executed("add") == 0


@virtual_time()
async def test_a_page_gets_an_id_and_is_done_when_it_is_not_asked_for_again():
    async with hub_with(
        asks_back("1", a=PAGE),
        asks_back("2", a=PAGE),
        asks_back("3", b=FORM),
        asks_back("4", a=PAGE),
        OK,
    ) as hub:
        client = await old_client(hub)
        asked = await client.call()
        first = questions(asked)[0]["params"]
        assert first["url"] == PAGE["params"]["url"]
        await client.answer(questions(asked)[0], {"action": "accept"})
        again = questions(asked)[1]["params"]
        assert again["elicitationId"] == first["elicitationId"]
        assert not notes(asked, COMPLETE)
        await client.answer(questions(asked)[1], {"action": "accept"})
        assert notes(asked, COMPLETE) == [{"elicitationId": first["elicitationId"]}]
        await client.answer(questions(asked)[2])
        assert questions(asked)[3]["params"]["elicitationId"] != first["elicitationId"]
        await client.answer(questions(asked)[3], {"action": "decline"})
        assert asked.over
        assert len(notes(asked, COMPLETE)) == 1


@virtual_time()
async def test_a_page_that_the_user_did_not_open_is_never_done():
    async with hub_with(asks_back(a=PAGE, b={**PAGE}), OK) as hub:
        client = await old_client(hub)
        asked = await client.call()
        first, second = questions(asked)
        assert first["params"]["elicitationId"] != second["params"]["elicitationId"]
        await client.answer(first, {"action": "decline"})
        await client.answer(second, {"action": "accept"})
        assert notes(asked, COMPLETE) == [{"elicitationId": second["params"]["elicitationId"]}]
        assert asked.result["content"]


@pytest.mark.parametrize(
    "wrong",
    [
        b'"inputRequests":7', b'"inputRequests":{"a":7}', b'"inputRequests":{"a":{"method":"x"}}',
        b'"inputRequests":{"a":{"method":"roots/list","params":[]}}', b'"requestState":7',
        b'"inputRequests":{"a":{"params":{}}}',
    ],
)  # fmt: skip
def test_a_question_of_the_wrong_shape_is_the_servers_fault(wrong):
    @virtual_time()
    async def run():
        body = b'{"resultType":"input_required",%b}' % wrong
        async with hub_with(result(body, result_type="input_required")) as hub:
            client = await old_client(hub)
            assert refusal(await client.call())[0] == "upstream_protocol"

    run()


@virtual_time()
async def test_a_server_may_not_ask_too_many_things_at_once():
    many = {f"k{number}": FORM for number in range(33)}
    async with hub_with(asks_back(**many)) as hub:
        client = await old_client(hub)
        assert "more than 32 things" in refusal(await client.call())[1]


@virtual_time()
async def test_a_key_of_idempotency_runs_the_last_round_once():
    """R33: a round that asks is no answer that could be kept."""
    key = {"_meta": {"io.agenthub/idempotencyKey": "k"}}
    async with hub_with(asks_back("s", a=FORM), OK) as hub:
        client = await old_client(hub)
        asked = await client.call({**ADD, **key})
        await client.answer(questions(asked)[0])
        assert asked.result["content"]
        again = await client.call({**ADD, **key})
        assert again.result["content"]
        assert hub["calc"].executed("add") == 2


@virtual_time()
async def test_a_slow_client_pauses_the_round_that_runs():
    async with hub_with(asks_back(a=FORM), HANGS) as hub:
        client = await old_client(hub)
        asked = await client.call()
        asked.backlog = 300_000
        rounds = hub.gateway.waiting.copy().pop()
        rounds.pause()
        rounds.resume()
        await client.answer(questions(asked)[0])
        (attempt,) = hub["calc"].flying
        attempt.note("notifications/progress", b"{}")
        assert attempt.paused == 1
        asked.drained()
        assert attempt.paused == 0
