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
