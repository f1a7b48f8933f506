"""How far the budgets with a ladder are, looked at beside the calls."""

from support.house import house
from support.virtual_time import passes, virtual_time

from agenthub.domain.account import Facts
from agenthub.domain.budget import Budget
from agenthub.domain.errors import StorageFailed
from agenthub.domain.ladder import Step
from agenthub.domain.period import Period
from agenthub.domain.span import SECOND
from agenthub.ledger import Standing


def put(hub, limit=100, **more):
    budget = Budget("b", limit, period=Period("lifetime"), ladder=(Step(50, "m"),), **more)
    hub.ledger.kept = {"b": budget}
    hub.till.take([budget])
    hub.till.moved()


class Asked:
    """Counts the questions, and may fail."""

    def __init__(self, usage):
        self._usage, self.number, self.broken = usage, 0, False

    async def standing(self, on):
        self.number += 1
        if self.broken:
            raise StorageFailed("The disk is full.")
        return await self._usage.standing(on)


def watched(hub):
    hub.ladders._usage = asked = Asked(hub.ledger)
    return asked


@virtual_time()
async def test_without_a_ladder_nothing_is_asked():
    async with house() as hub:
        asked = watched(hub)
        for _ in range(100):
            hub.till.moved()
        await passes(60 * SECOND)
        assert asked.number == 0
        assert hub.ladders.easing(lambda: 1 / 0) is None, "not even whom it concerns"


@virtual_time()
async def test_a_crowd_of_moves_is_one_question_and_a_quiet_hub_asks_every_few_seconds():
    async with house() as hub:
        asked = watched(hub)
        put(hub)
        for _ in range(100):
            hub.till.moved()
        await passes(SECOND)
        assert asked.number == 1
        await passes(60 * SECOND)
        assert asked.number <= 14


@virtual_time()
async def test_a_limit_of_nothing_is_used_up():
    async with house() as hub:
        put(hub, 0)
        await passes(SECOND)
        assert hub.ladders.easing(Facts).use == "m"


@virtual_time()
async def test_while_the_database_is_away_what_was_known_holds():
    async with house() as hub:
        asked = watched(hub)
        put(hub, 0)
        await passes(SECOND)
        asked.broken = True
        hub.till.moved()
        await passes(20 * SECOND)
        assert hub.ladders.easing(Facts).use == "m"
        asked.broken = False
        put(hub, 1)
        await passes(SECOND)
        assert hub.ladders.easing(Facts) is None


@virtual_time()
async def test_after_its_end_nothing_is_asked():
    async with house() as hub:
        put(hub)
        await passes(SECOND)
        asked = watched(hub)
        hub.ladders.close()
        hub.till.moved()
        await passes(60 * SECOND)
        assert asked.number == 0


@virtual_time()
async def test_a_budget_that_is_suspended_eases_nothing():
    async with house() as hub:
        put(hub, 0, suspended_until=hub.clock.wall() // SECOND + 60)
        await passes(2 * SECOND)
        assert hub.ladders.easing(Facts) is None
        await passes(61 * SECOND)
        assert hub.ladders.easing(Facts).use == "m"


@virtual_time()
async def test_what_was_credited_counts_to_the_limit():
    async with house() as hub:
        put(hub, 100)
        asked = watched(hub)
        asked.standing = lambda on: _standing(asked)
        asked.found = Standing(settled=60)
        hub.till.moved()
        await passes(SECOND)
        assert hub.ladders.easing(Facts).use == "m"
        asked.found = Standing(settled=60, credit=100)
        hub.till.moved()
        await passes(SECOND)
        assert hub.ladders.easing(Facts) is None


async def _standing(asked):
    return (asked.found,)


@virtual_time()
async def test_a_budget_of_nothing_eases_nothing_once_its_ladder_is_taken_away():
    async with house() as hub:
        put(hub, 0)
        await passes(SECOND)
        assert hub.ladders.easing(Facts).use == "m"
        hub.till.take([])
        hub.till.moved()
        await passes(SECOND)
        assert not hub.ladders._spent, "nothing is worked out for calls any more"
