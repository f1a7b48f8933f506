"""What others report: priced, counted to budgets, once, and not if the hub carried it."""

import pytest
from msgspec import structs
from support.money import settlement
from support.rest_hub import USER, RestHub

from agenthub.domain.account import Facts
from agenthub.domain.span import MICROSECOND
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import Hold
from agenthub.wire.ingest.report import Report

REPORT = Report("r1", "litellm", "s1", "nobody", "none", Usage(10, output_tokens=5), 700, 0, 0)


def carried(hub, now_us, **facts):
    hold = Hold("own", "boot", now_us, 9, Facts(session="s1", **facts), (), now_us + 60)
    hub.usage.reserve(hold, lambda _: None)
    booked = structs.replace(settlement("own", 9, Basis.PROVIDER), model="none", usage=REPORT.usage)
    hub.usage.settle(booked, lambda _: None)


@pytest.fixture
def hub():
    hub = RestHub()
    hub.budgets._tell()
    return hub


async def test_what_is_reported_counts_to_budgets_once(hub):
    assert await hub.intake.take(USER, [REPORT, REPORT], "litellm") == 1
    assert await hub.intake.take(USER, [REPORT], "litellm") == 0

    (status,) = await hub.budgets.status(hub.budgets.all())
    row = await hub.usage.charge(f"{USER.id}:r1")
    assert status.standing.settled == row.cost > 0
    assert (row.basis, row.facts.source) == ("ingested", "litellm")


async def test_what_the_hub_carried_itself_is_passed_over(hub):
    now_us = hub.clock.wall() // MICROSECOND
    carried(hub, now_us)
    other = structs.replace(REPORT, id="r2", usage=Usage(11))
    alone = structs.replace(REPORT, id="r3", session="")

    assert await hub.intake.take(USER, [REPORT, other, alone], "litellm") == 2


async def test_a_report_from_the_future_counts_now(hub):
    now_us = hub.clock.wall() // MICROSECOND
    await hub.intake.take(USER, [structs.replace(REPORT, ended_us=now_us * 9)], "litellm")

    assert (await hub.usage.charge(f"{USER.id}:r1")).at_us == now_us


class NoPrices:
    def price(self, *asked):
        return None


@pytest.mark.parametrize(("reported", "basis"), [(700, "ingested"), (None, "unpriced")])
async def test_without_a_price_the_reported_cost_counts_or_it_is_unpriced(hub, reported, basis):
    hub.intake._till.prices = NoPrices()
    await hub.intake.take(USER, [structs.replace(REPORT, reported=reported)], "litellm")

    row = await hub.usage.charge(f"{USER.id}:r1")
    assert (row.basis, row.cost or None) == (basis, reported)


# ------------------------------------------------------------ what the hub carried itself


class Counted:
    """How often it was asked for calls."""

    def __init__(self, usage):
        self._usage, self.asked = usage, 0

    async def calls(self, *args, **more):
        self.asked += 1
        return await self._usage.calls(*args, **more)


async def test_a_delivery_costs_one_question_for_each_session(hub):
    hub.intake._usage = counted = Counted(hub.usage)
    some = [
        structs.replace(REPORT, id=f"r{n}", session=f"s{n % 2}", usage=Usage(n)) for n in range(50)
    ]
    assert await hub.intake.take(USER, some, "otlp") == 50
    assert counted.asked == 2


async def test_a_call_that_is_still_under_way_is_not_counted_by_its_report(hub):
    """The report may be quicker than the end of the call."""
    now_us = hub.clock.wall() // MICROSECOND
    facts = Facts(session="s1", model="none")
    hub.usage.reserve(Hold("own", "boot", now_us, 9, facts, (), now_us + 60), lambda _: None)
    assert await hub.intake.take(USER, [REPORT], "otlp") == 0
    other = structs.replace(REPORT, id="r2", model="another")
    assert await hub.intake.take(USER, [REPORT, other], "otlp") == 1


@pytest.mark.parametrize("name", ["demo/none", "an-alias"])
async def test_a_client_knows_a_model_by_the_hubs_name_for_it(hub, name):
    """As Codex does, whose own telemetry says what it was told to ask for."""
    carried(hub, hub.clock.wall() // MICROSECOND)
    assert await hub.intake.take(USER, [structs.replace(REPORT, model=name)], "otlp") == 0


async def test_what_it_carried_long_before_is_another_call(hub):
    now_us = hub.clock.wall() // MICROSECOND
    carried(hub, now_us - 600_000_000)
    second = structs.replace(REPORT, id="r2", ended_us=now_us - 600_000_000)
    assert await hub.intake.take(USER, [REPORT, second], "otlp") == 1
    assert await hub.usage.charge(f"{USER.id}:r1") is not None


async def test_one_call_stands_for_one_report(hub):
    carried(hub, hub.clock.wall() // MICROSECOND)
    assert await hub.intake.take(USER, [REPORT, structs.replace(REPORT, id="r2")], "otlp") == 1


# ------------------------------------------------------------ sums, and subscriptions


SUM = structs.replace(REPORT, id="sum1", is_sum=True)


async def test_a_sum_counts_where_no_call_of_its_session_was_reported(hub):
    later = structs.replace(SUM, id="sum2", usage=Usage(1))
    assert await hub.intake.take(USER, [SUM], "otlp") == 1
    assert await hub.intake.take(USER, [SUM, later], "otlp") == 1, "the next minute counts too"


@pytest.mark.parametrize("by_hub", [False, True])
async def test_a_sum_of_calls_that_are_known_is_passed_over(hub, by_hub):
    if by_hub:
        carried(hub, hub.clock.wall() // MICROSECOND)
    else:
        await hub.intake.take(USER, [structs.replace(REPORT, usage=Usage(3))], "otlp")
    assert await hub.intake.take(USER, [SUM], "otlp") == 0


async def test_what_a_subscription_pays_for_costs_nothing_and_is_counted(hub):
    hub.budgets._tell()
    await hub.intake.take(USER, [structs.replace(REPORT, is_subscribed=True)], "otlp")
    row = await hub.usage.charge(f"{USER.id}:r1")
    assert (row.cost, row.basis, row.price_ref) == (0, "ingested", "subscription")
    assert row.usage == REPORT.usage
    (status,) = await hub.budgets.status(hub.budgets.all())
    assert status.standing.settled == 0


@pytest.mark.parametrize(
    ("reported", "basis"), [(700, "ingested"), (0, "unpriced"), (None, "unpriced")]
)
async def test_a_report_without_counts_is_never_free(hub, reported, basis):
    report = structs.replace(REPORT, usage=Usage(), reported=reported)
    await hub.intake.take(USER, [report], "litellm")
    row = await hub.usage.charge(f"{USER.id}:r1")
    assert (row.basis, row.cost or None) == (basis, reported or None)
