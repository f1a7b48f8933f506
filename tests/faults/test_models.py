"""Faults of LLM providers on the whole way, with the bounds of the catalogue, in virtual time."""

import asyncio
import itertools

import pytest
from msgspec import structs
from support.fake_upstream import Act
from support.llm_hub import chat, models
from support.model_calls import provider, used
from support.virtual_time import virtual_time

from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND


def refusing(status, **facts):
    return Act(Reply(Ending.ERROR, status=status, error=b'{"error":{}}', **facts), runs=False)


def storm(hub, name, refusal, span):
    """It refuses so for so long, and then is well. Says when it was asked, from now on."""
    began, asked = hub.clock.now(), []

    def answer(_):
        since = hub.clock.now() - began
        asked.append(since)
        return refusal if since < span else used()

    hub[name].answers["small"] = answer
    return asked


@virtual_time(seeds=3)
async def test_f29_a_storm_of_callers_waits_for_the_pause_that_was_asked_for():
    async with models(provider("p")) as hub:
        asked = storm(hub, "p", refusing(429, retry_after_ms=2_000), 2 * SECOND)
        first = hub.send(chat("p/small"))
        await asyncio.sleep(0.1)
        crowd = [hub.send(chat("p/small")) for _ in range(100)]
        await asyncio.sleep(1.8)
        assert len(asked) == 1, "one told it, and nobody else asked"
        assert {one.status for one in crowd} == {429}, "who comes meanwhile is told at once"
        await asyncio.sleep(0.6)
        assert first.status == 200, "the first one waited, and was answered within 2.5 s"
        assert (await hub(chat("p/small"))).status == 200
        assert hub.at_rest()


@virtual_time()
async def test_f29_callers_go_on_to_the_next_provider():
    async with models(provider("p"), provider("q")) as hub:
        hub.catalog.models.reload({"fast": ["p/small", "q/small"]})
        storm(hub, "p", refusing(429, retry_after_ms=600_000), 600 * SECOND)
        hub["q"].answers["small"] = used()
        told = [await hub(chat("fast")) for _ in range(5)]
        assert [one.header(b"x-agenthub-served-by") for one in told] == [b"q"] * 5
        assert hub["p"].arrived("small") == 1


@pytest.mark.parametrize("told", [None, 0, 10**12])
@virtual_time()
async def test_f30_without_a_pause_that_can_be_kept_there_is_no_tight_loop(told):
    async with models(provider("p", attempts=3)) as hub:
        asked = storm(hub, "p", refusing(429, retry_after_ms=told), 10**6 * SECOND)
        exchange = await hub(chat("p/small"), 60)
        assert exchange.status == 429
        assert len(asked) <= 3
        gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
        assert all(gap >= 100 * MILLISECOND for gap in gaps)


@pytest.mark.parametrize(
    "refusal",
    [refusing(429, exhausted=True), refusing(402), refusing(400, exhausted=True)],
)
@virtual_time()
async def test_f31_who_has_no_money_there_is_sent_to_the_next_provider_at_once(refusal):
    async with models(provider("p"), provider("q")) as hub:
        hub.catalog.models.reload({"fast": ["p/small", "q/small"]})
        hub["p"].answers["small"], hub["q"].answers["small"] = refusal, used()
        exchange = await hub(chat("fast"))
        assert (exchange.status, hub["p"].arrived("small")) == (200, 1)
        assert exchange.header(b"x-agenthub-served-by") == b"q"


@virtual_time(seeds=3)
async def test_f32_an_overloaded_provider_is_not_asked_more_than_it_must_be():
    async with models(provider("p")) as hub:
        asked = storm(hub, "p", refusing(529), 5 * SECOND)
        calls = []
        for _ in range(200):
            calls.append(hub.send(chat("p/small")))
            await asyncio.sleep(0.05)
        await asyncio.sleep(30)
        assert all(one.over for one in calls)
        assert len(asked) <= 1.2 * len(calls)
        assert [one.status for one in calls[-20:]] == [200] * 20, "it is well again"
        assert hub.at_rest()


@virtual_time()
async def test_f34_usage_that_cannot_be_is_never_a_negative_cost():
    async with models(provider("p")) as hub:
        reply = used().reply
        seen = structs.replace(reply.seen, usage=None, bad_usage=True, counted=30)
        hub["p"].answers["small"] = Act(structs.replace(reply, seen=seen))
        await hub(chat("p/small"))
        (row,) = hub.ledger.rows.values()
        assert row.charge.cost > 0
        assert row.charge.basis.value == "estimated"
