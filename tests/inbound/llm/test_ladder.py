"""A budget that is nearly used up makes calls cheaper, by every wire, and the answer says so."""

import json

import pytest
from msgspec import structs
from support.house import BERT, server
from support.llm_hub import ask, chat, models
from support.model_calls import used
from support.virtual_time import passes, virtual_time

from agenthub.domain.budget import Budget, Subject
from agenthub.domain.ladder import Step
from agenthub.domain.money import USD
from agenthub.domain.period import Period
from agenthub.domain.provider import Llm
from agenthub.domain.span import SECOND
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import send_as

ALL = ("chat", "responses", "messages", "gemini", "embeddings")
WIRES = {
    "/v1/chat/completions": ("max_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
    "/v1/responses": ("max_output_tokens", {"input": "Hi"}),
    "/v1/messages": ("max_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
}
HALF = used(100_000, 80_000)
"""Costs half a dollar."""


def provider(name, prices="p"):
    return server(name, llm=Llm(provider=prices, wires=ALL))


async def limited(hub, *steps, **more):
    """The only budget, of a dollar; half of it is spent."""
    budget = Budget("ops", USD, period=Period("lifetime"), blocked=900, ladder=steps, **more)
    hub.ledger.kept = {budget.id: budget}
    hub.till.take([budget])
    hub.till.moved()
    hub["p"].answers["small"] = HALF
    await hub(chat("p/small"))
    for name in hub.upstreams:
        hub[name].answers |= {"small": used(), "large": used()}
    await passes(SECOND)


def sent(hub, name="p"):
    """What the provider was asked for last: its model, and the body."""
    outgoing = hub[name].sent[-1]
    return outgoing.name, json.loads(
        send_as(outgoing.content.request, outgoing.name, include_usage=False)
    )


@virtual_time()
async def test_below_the_first_step_a_call_is_as_it_was_asked_for():
    async with models(provider("p")) as hub:
        await limited(hub, Step(60, "p/large", 5))
        exchange = await hub(chat("p/small", max_tokens=900))
        assert exchange.header(b"x-agenthub-ladder") is None
        assert sent(hub)[0] == "small"


@virtual_time()
async def test_from_a_step_on_another_model_is_asked_and_the_answer_says_so():
    async with models(provider("p"), provider("q")) as hub:
        await limited(hub, Step(50, "q/large"))
        exchange = await hub(chat("p/small"))
        assert exchange.status == 200
        assert exchange.header(b"x-agenthub-ladder") == b"budget=ops; use=q/large"
        assert exchange.header(b"x-agenthub-served-by") == b"q"
        assert hub["q"].arrived("large") == 1
        assert hub.rows[-1].name == "p/small", "the log has what was asked for"


@pytest.mark.parametrize("path", WIRES)
@virtual_time()
async def test_an_answer_is_held_to_fewer_tokens_in_each_wire(path):
    name, said = WIRES[path]
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        for asked, expected in ((900, 7), (3, 3)):
            exchange = await hub(ask(path, {"model": "p/small", name: asked, **said}))
            assert exchange.header(b"x-agenthub-ladder") == b"budget=ops; max_tokens=7"
            assert sent(hub)[1][name] == expected
            assert sent(hub)[1] == {"model": "small", name: expected, **said}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"maxOutputTokens": 900, "temperature": 1}, {"maxOutputTokens": 7, "temperature": 1}),
        ({"max_output_tokens": 900}, {"max_output_tokens": 7}),
        ({"temperature": 1}, {"temperature": 1, "maxOutputTokens": 7}),
        (None, {"maxOutputTokens": 7}),
    ],
)
@virtual_time()
async def test_so_it_is_in_geminis(config, expected):
    said = {"contents": [{"parts": [{"text": "Hi"}]}]}
    asked = said if config is None else {**said, "generationConfig": config}
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        await hub(ask("/v1beta/models/p/small:generateContent", asked))
        assert sent(hub)[1] == {**said, "generationConfig": expected}


@virtual_time()
async def test_a_setting_of_gemini_under_its_other_name_stays_there():
    said = {"contents": [], "generation_config": {"maxOutputTokens": 900}}
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        await hub(ask("/v1beta/models/p/small:generateContent", said))
        assert sent(hub)[1]["generation_config"] == {"maxOutputTokens": 7}


@pytest.mark.parametrize(
    ("prices", "name"), [("openai", "max_completion_tokens"), ("p", "max_tokens")]
)
@virtual_time()
async def test_where_no_bound_was_asked_for_it_has_the_name_that_the_provider_knows(prices, name):
    async with models(provider("p", prices=prices)) as hub:
        await limited(hub, Step(50, max_tokens=7))
        await hub(chat("p/small"))
        assert sent(hub)[1][name] == 7


@virtual_time()
async def test_what_is_held_for_a_shorter_answer_is_less():
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        await hub(chat("p/small"))
        held = [row.hold.amount for row in hub.ledger.rows.values()]
        assert held[1] < held[0]


@virtual_time()
async def test_an_embedding_has_no_length_to_cut():
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        said = {"model": "p/small", "input": "Hi"}
        exchange = await hub(ask("/v1/embeddings", said))
        assert exchange.status == 200
        assert sent(hub)[1] == {"model": "small", "input": "Hi"}


@virtual_time()
async def test_a_model_that_the_caller_may_not_ask_or_nobody_has_is_left_out():
    async with models(provider("p"), provider("q")) as hub:
        await limited(hub, Step(50, "nobody/mini", 7))
        exchange = await hub(chat("p/small"))
        assert (exchange.status, hub["p"].arrived("small")) == (200, 2)
        assert sent(hub)[1]["max_tokens"] == 7


@virtual_time()
async def test_only_calls_that_the_budget_concerns_are_eased():
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7), subject=Subject("key", "anna"))
        assert (await hub(chat("p/small"))).header(b"x-agenthub-ladder")
        assert not (await hub(chat("p/small", caller=BERT))).header(b"x-agenthub-ladder")


@virtual_time()
async def test_a_budget_that_is_suspended_raised_or_gone_eases_nothing():
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        (budget,) = hub.till.budgets()
        far = hub.clock.wall() // SECOND + 3_600
        for change in ({"suspended_until": far}, {"limit": 9 * USD}, {"ladder": ()}):
            hub.till.take([structs.replace(budget, **change)])
            hub.till.moved()
            await passes(SECOND)
            assert not (await hub(chat("p/small"))).header(b"x-agenthub-ladder")


@virtual_time()
async def test_counting_tokens_is_not_eased_for_it_is_free():
    async with models(provider("p")) as hub:
        await limited(hub, Step(50, max_tokens=7))
        said = {"model": "p/small", "messages": []}
        exchange = await hub(ask("/v1/messages/count_tokens", said))
        assert exchange.header(b"x-agenthub-ladder") is None


def test_every_wire_has_a_limit_or_none_on_purpose():
    assert {Dialect(one) for one in ALL} == set(Dialect)
