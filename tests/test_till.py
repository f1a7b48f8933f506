"""Money on the way of a call: held before it is spent, booked before the caller hears the end."""

import asyncio

import msgspec
import pytest
from msgspec import structs
from support.fake_upstream import BUSY, HANGS, OK, REFUSED, Act, error, lost, status, tool
from support.house import ANNA, BERT, house, server
from support.model_calls import ask, provider, saw, says_nothing, used
from support.virtual_time import settled, virtual_time

from agenthub.domain.account import State
from agenthub.domain.budget import Budget, Subject
from agenthub.domain.endpoint import ToolPolicy, ToolPrice
from agenthub.domain.errors import BudgetExceeded, StorageFailed, Unpriced
from agenthub.domain.money import USD
from agenthub.domain.outcome import Cause, Ending, Reply
from agenthub.domain.period import Period
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.usage import Basis, Usage
from agenthub.meter import SLICE, WHOLE
from agenthub.passage import USED
from agenthub.wire.llm.picture import Pictures

EXACT = 100 * 1_000 + 10 * 5_000
"""What `used()` costs of the small model."""


def limit(hub, amount, **more):
    """The only budget: blocks at its limit exactly."""
    budget = Budget("b", amount, period=Period("lifetime"), blocked=100, **more)
    hub.ledger.kept = {budget.id: budget}
    hub.till.take([budget])
    return budget


def only(hub):
    (row,) = hub.ledger.rows.values()
    return row


@virtual_time()
async def test_a_free_call_never_touches_the_ledger():
    async with house("calculator") as hub:
        await hub.result("calculator", "add")
        assert hub.ledger.writes == []


@virtual_time()
async def test_money_is_held_before_the_first_byte_and_booked_before_the_caller_hears_the_end():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        hub.ledger.hold_back()
        heard, _ = ask(hub, "p/small")
        await settled()
        assert hub["p"].arrived("small") == 0
        hub.ledger.go_on()
        hub.ledger.hold_back()
        await asyncio.sleep(1)
        assert hub["p"].arrived("small") == 1
        assert heard.answers == []
        hub.ledger.go_on()
        assert heard.answer.reply.ending is Ending.RESULT
        assert heard.answer.cost == EXACT
        row = only(hub)
        assert (row.charge.state, row.charge.cost) == (State.SETTLED, EXACT)
        assert row.charge.basis is Basis.PROVIDER
        assert row.hold.amount == 115 * 1_000 + WHOLE * 5_000
        assert row.settlement.usage == Usage(input_tokens=100, output_tokens=10)
        assert hub.at_rest()


@virtual_time()
async def test_whom_it_is_booked_on_stands_in_the_hold():
    caller = structs.replace(ANNA, team="ops")
    async with house(provider("p", prices="openai")) as hub:
        hub["p"].answers["small"] = used()
        ask(hub, "p/small", caller=caller)
        await asyncio.sleep(1)
        facts = only(hub).hold.facts
        told = (facts.key, facts.team, facts.provider, facts.endpoint, facts.model, facts.door)
        assert told == ("anna", "ops", "openai", "p", "small", "llm")


@virtual_time()
async def test_what_asks_for_less_output_holds_less():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        ask(hub, "p/small", most=10)
        ask(hub, "p/small", stream=True)
        await asyncio.sleep(1)
        held = sorted(row.hold.amount for row in hub.ledger.rows.values())
        assert held == [115_000 + 10 * 5_000, 115_000 + SLICE * 5_000]


@virtual_time()
async def test_a_budget_that_is_used_up_stops_a_call_before_it_is_sent():
    async with house(provider("p")) as hub:
        limit(hub, 1_000)
        heard, _ = ask(hub, "p/small")
        await settled()
        refusal = heard.answer.error
        assert isinstance(refusal, BudgetExceeded)
        said = refusal.data()
        assert (said["scope"], said["budget"], said["limit"]) == ("all", "b", "0.000001")
        assert said["executed"] == "no"
        assert not said["retryable"]
        assert hub["p"].arrived("small") == 0
        assert hub.ledger.rows == {}
        assert hub.at_rest()


@virtual_time()
async def test_a_budget_of_a_key_stops_that_key_only():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        limit(hub, 1_000, subject=Subject("key", "bert"))
        anna, _ = ask(hub, "p/small")
        bert, _ = ask(hub, "p/small", caller=BERT)
        await asyncio.sleep(1)
        assert anna.answer.error is None
        assert bert.answer.error.data()["scope"] == "key:bert"


@virtual_time()
async def test_without_a_ledger_nothing_that_costs_money_is_sent():
    async with house(provider("p")) as hub:
        hub.ledger.broken = StorageFailed("The disk is full.")
        heard, _ = ask(hub, "p/small")
        await settled()
        assert isinstance(heard.answer.error, StorageFailed)
        assert heard.answer.error.server == "p"
        assert hub["p"].arrived("small") == 0


@virtual_time()
async def test_an_answer_is_not_kept_back_when_its_booking_fails_for_the_hold_counts_then():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        heard, _ = ask(hub, "p/small")
        hub.ledger.broken = StorageFailed("The disk is full.")
        await asyncio.sleep(1)
        assert heard.answer.reply.ending is Ending.RESULT
        assert only(hub).charge.state is State.RESERVED


@virtual_time()
async def test_a_call_that_is_repeated_has_one_hold_and_one_cost():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = [status(503), used()]
        heard, _ = ask(hub, "p/small")
        await asyncio.sleep(10)
        assert heard.answer.attempts == 2
        assert hub.ledger.writes == ["reserve", "settle"]
        first, second = only(hub).attempts
        assert (first.no, first.status, first.cost) == (1, 503, None)
        assert (second.no, second.outcome, second.cost) == (2, "ok", EXACT)
        assert only(hub).charge.cost == EXACT


@virtual_time()
async def test_the_next_provider_is_asked_where_the_first_is_busy():
    async with house(provider("p", attempts=1), provider("q")) as hub:
        hub["p"].answers["small"] = BUSY
        hub["q"].answers["large"] = used()
        heard, _ = ask(hub, "p/small", "q/large")
        await asyncio.sleep(10)
        assert heard.answer.served_by == "q"
        assert only(hub).hold.amount == 115 * 10_000 + WHOLE * 50_000, "the dearest of both"
        assert only(hub).charge.cost == 10 * EXACT


@virtual_time()
async def test_what_surely_cost_nothing_gives_its_hold_back():
    async with house(provider("p", attempts=1)) as hub:
        hub["p"].answers["small"] = error(0, status=400, runs=False)
        heard, _ = ask(hub, "p/small")
        hub["p"].answers["large"] = REFUSED
        gone, _ = ask(hub, "p/large")
        await asyncio.sleep(10)
        assert heard.answer.reply.status == 400
        assert gone.answer.error is not None
        states = {row.charge.state for row in hub.ledger.rows.values()}
        assert states == {State.RELEASED}


@virtual_time()
async def test_what_may_have_been_billed_is_booked_as_an_estimate():
    async with house(provider("p", attempts=1)) as hub:
        hub["p"].answers["small"] = lost()
        heard, _ = ask(hub, "p/small", most=20)
        await asyncio.sleep(10)
        assert heard.answer.error.executed == "unknown"
        charge = only(hub).charge
        assert (charge.cost, charge.basis) == (115_000 + 20 * 5_000, Basis.ESTIMATED)


@virtual_time()
async def test_a_stream_whose_provider_fails_in_the_middle_costs_what_was_seen_of_it():
    async with house(provider("p", attempts=1)) as hub:
        broken = Reply(Ending.ERROR, status=500, error=b"{}", seen=saw(complete=False, tokens=7))
        hub["p"].answers["small"] = Act(broken, after=MILLISECOND)
        ask(hub, "p/small", stream=True)
        await asyncio.sleep(10)
        charge = only(hub).charge
        assert (charge.cost, charge.basis) == (115_000 + 7 * 5_000, Basis.PARTIAL)


@virtual_time()
async def test_a_provider_that_says_nothing_of_usage_is_estimated_by_what_was_seen():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = says_nothing()
        heard, _ = ask(hub, "p/small")
        await asyncio.sleep(1)
        charge = only(hub).charge
        assert (charge.cost, charge.basis) == (115_000 + 7 * 5_000, Basis.ESTIMATED)
        assert heard.answer.cost == charge.cost


@virtual_time()
async def test_the_model_that_answered_is_priced_before_the_one_that_was_asked():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used(model="large")
        ask(hub, "p/small")
        await asyncio.sleep(1)
        assert only(hub).charge.cost == 10 * EXACT
        assert only(hub).settlement.model == "large"


@virtual_time()
async def test_a_cost_of_the_providers_own_counts_only_where_it_is_trusted():
    async with house(provider("p", llm={"trusts_cost": True}), provider("q")) as hub:
        for name in "pq":
            hub[name].answers["small"] = used(reported=42)
            ask(hub, f"{name}/small")
        await asyncio.sleep(1)
        assert sorted(row.charge.cost for row in hub.ledger.rows.values()) == [42, EXACT]


# ------------------------------------------------------------ without a price


@virtual_time()
async def test_a_model_without_a_price_is_refused_where_a_budget_wants_to_know_prices():
    async with house(provider("p")) as hub:
        with pytest.raises(Unpriced, match="no price for odd"):
            ask(hub, "p/odd")
        assert hub["p"].arrived("small") == 0
        assert hub.at_rest()


@virtual_time()
async def test_a_model_without_a_price_is_unpriced_and_never_free_where_it_is_allowed():
    async with house(provider("p")) as hub:
        limit(hub, USD, on_unpriced="allow")
        hub["p"].answers["odd"] = used()
        heard, _ = ask(hub, "p/odd")
        await asyncio.sleep(1)
        assert heard.answer.cost is None
        assert only(hub).charge.basis is Basis.UNPRICED


@virtual_time()
async def test_a_budgets_own_price_stands_for_a_missing_one():
    async with house(provider("p")) as hub:
        limit(hub, USD, on_unpriced=1_000)
        hub["p"].answers["odd"] = used()
        ask(hub, "p/odd")
        await asyncio.sleep(1)
        assert only(hub).hold.amount == 1_000
        assert (only(hub).charge.cost, only(hub).settlement.price_ref) == (1_000, "fallback")


@virtual_time()
async def test_of_several_budgets_own_prices_the_highest_is_held():
    async with house(provider("p")) as hub:
        budgets = [
            Budget(name, USD, period=Period("lifetime"), on_unpriced=price)
            for name, price in (("a", 1_000), ("b", 3_000), ("c", 2_000))
        ]
        hub.ledger.kept = {one.id: one for one in budgets}
        hub.till.take(budgets)
        hub["p"].answers["odd"] = used()
        ask(hub, "p/odd")
        await asyncio.sleep(1)
        assert only(hub).hold.amount == 3_000


@virtual_time()
async def test_a_cost_that_is_partly_a_guess_is_called_one():
    """The first attempt said what it had used so far; the second one what it cost."""
    async with house(provider("p", attempts=1), provider("q")) as hub:
        said = Usage(input_tokens=100, output_tokens=10)
        hub["p"].answers["small"] = status(503, seen=saw(said, complete=False))
        hub["q"].answers["small"] = used()
        heard, _ = ask(hub, "p/small", "q/small", most=20)
        await asyncio.sleep(10)
        charge = only(hub).charge
        assert heard.answer.served_by == "q"
        assert charge.cost == 2 * EXACT
        assert charge.basis is Basis.PARTIAL


@virtual_time()
async def test_a_hold_outlives_the_last_moment_of_its_call():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        ask(hub, "p/small", seconds=600)
        await asyncio.sleep(1)
        hold = only(hub).hold
        assert hold.expires_at_s > hold.at_us // 1_000_000 + 600


@virtual_time()
async def test_a_model_of_ones_own_goes_on_when_all_budgets_are_used_up_and_is_written_down():
    async with house(provider("p", llm={"is_free": True})) as hub:
        limit(hub, 0)
        hub["p"].answers["odd"] = used()
        heard, _ = ask(hub, "p/odd")
        await asyncio.sleep(1)
        assert heard.answer.cost == 0
        assert hub.ledger.writes == []
        assert only(hub).settlement.usage.output_tokens == 10
        hub.ledger.broken = StorageFailed("The disk is full.")
        heard, _ = ask(hub, "p/odd")
        await asyncio.sleep(1)
        assert heard.answer.error is None


@virtual_time()
async def test_a_model_of_ones_own_that_is_not_there_costs_nothing():
    async with house(provider("p", attempts=1, llm={"is_free": True})) as hub:
        hub["p"].answers["odd"] = REFUSED
        heard, _ = ask(hub, "p/odd")
        await asyncio.sleep(1)
        assert heard.answer.error is not None
        assert hub.ledger.writes == []


@virtual_time()
async def test_what_providers_do_for_nothing_holds_nothing():
    async with house(provider("p")) as hub:
        limit(hub, 0)
        hub["p"].answers["small"] = used()
        heard, _ = ask(hub, "p/small", free=True)
        await asyncio.sleep(1)
        assert heard.answer.error is None
        assert hub.ledger.writes == []


@virtual_time()
async def test_a_dear_provider_behind_a_free_one_is_held_for():
    async with house(provider("own", llm={"is_free": True}, attempts=1), provider("p")) as hub:
        hub["own"].answers["small"] = REFUSED
        hub["p"].answers["small"] = used()
        heard, _ = ask(hub, "own/small", "p/small")
        await asyncio.sleep(5)
        assert (heard.answer.served_by, heard.answer.cost) == ("p", EXACT)


# ------------------------------------------------------------ clients that go, streams that flow


@virtual_time()
async def test_a_client_that_hangs_up_is_billed_exactly_if_the_model_ends_soon():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used(after=3 * SECOND)
        heard, passage = ask(hub, "p/small", stream=True)
        await asyncio.sleep(1)
        passage.cancel(Cause.CLIENT)
        passage.cancel(Cause.CLIENT)
        await asyncio.sleep(10)
        assert only(hub).charge.basis is Basis.PROVIDER
        assert len(heard.answers) == 1
        assert hub.at_rest()


@virtual_time()
async def test_a_model_that_writes_on_without_its_client_is_cut_and_billed_for_what_was_seen():
    cut = saw(complete=False, tokens=50)
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = Act(None, cut=cut)
        _, passage = ask(hub, "p/small", stream=True)
        await asyncio.sleep(1)
        passage.cancel(Cause.CLIENT)
        await asyncio.sleep(4)
        assert only(hub).charge.state is State.RESERVED
        await asyncio.sleep(2)
        charge = only(hub).charge
        assert (charge.cost, charge.basis) == (115_000 + 50 * 5_000, Basis.PARTIAL)
        assert hub.at_rest()


@virtual_time()
async def test_a_call_without_its_client_is_not_repeated():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = structs.replace(status(503), after=SECOND)
        _, passage = ask(hub, "p/small")
        await settled()
        passage.cancel(Cause.CLIENT)
        await asyncio.sleep(20)
        assert hub["p"].arrived("small") == 1
        assert only(hub).charge.state is State.RELEASED


@virtual_time()
async def test_only_so_many_go_on_without_their_clients(monkeypatch):
    monkeypatch.setattr("agenthub.gateway.DRAINS_MAX", 1)
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = Act(None, cut=saw(complete=False, tokens=1))
        passages = [ask(hub, "p/small")[1] for _ in range(2)]
        await settled()
        for passage in passages:
            passage.cancel(Cause.CLIENT)
        await asyncio.sleep(1)
        assert len(hub.gateway.in_flight) == 1
        await asyncio.sleep(9)
        assert hub.at_rest()


@virtual_time()
async def test_a_client_that_goes_while_money_is_held_gets_it_back():
    async with house(provider("p")) as hub:
        hub.ledger.hold_back()
        heard, passage = ask(hub, "p/small")
        await settled()
        passage.cancel(Cause.CLIENT)
        assert heard.answers == []
        hub.ledger.go_on()
        await settled()
        assert len(heard.answers) == 1
        assert hub["p"].arrived("small") == 0
        assert only(hub).charge.state is State.RELEASED
        assert hub.at_rest()


def flow(*tokens, then=None, cut=None):
    """A stream: so many tokens of output, one word of it after the other."""
    notes = tuple((USED, b"%d" % count) for count in tokens)
    return Act(then, after=SECOND, notes=notes, cut=cut)


@virtual_time()
async def test_a_stream_that_writes_more_than_it_held_holds_more():
    usage = Usage(input_tokens=100, output_tokens=9_000)
    end = Reply(Ending.RESULT, status=200, seen=saw(usage))
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = flow(10, 3_500, 3_600, 7_900, 12_000, then=end)
        heard, _ = ask(hub, "p/small", stream=True)
        await asyncio.sleep(0.5)
        assert only(hub).charge.hold == 115_000 + 4 * SLICE * 5_000 - SLICE * 5_000 + SLICE * 5_000
        await asyncio.sleep(1)
        assert heard.notes == []
        assert hub.ledger.writes.count("top_up") == 3
        assert heard.answer.cost == 100 * 1_000 + 9_000 * 5_000


@virtual_time()
async def test_a_stream_is_cut_where_no_budget_has_room_for_more():
    cut = saw(complete=False, tokens=3_500)
    async with house(provider("p")) as hub:
        limit(hub, 115_000 + SLICE * 5_000)
        hub["p"].answers["small"] = flow(3_500, cut=cut)
        heard, _ = ask(hub, "p/small", stream=True)
        await asyncio.sleep(1)
        assert isinstance(heard.answer.error, BudgetExceeded)
        assert heard.answer.error.data()["budget"] == "b"
        charge = only(hub).charge
        assert (charge.cost, charge.basis) == (115_000 + 3_500 * 5_000, Basis.PARTIAL)
        assert hub.at_rest()


@virtual_time()
async def test_a_stream_goes_on_when_the_ledger_cannot_say():
    end = Reply(Ending.RESULT, status=200, seen=saw(Usage(output_tokens=5_000)))
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = flow(3_500, then=end)
        heard, _ = ask(hub, "p/small", stream=True)
        await settled()
        hub.ledger.broken = StorageFailed("The disk is full.")
        await asyncio.sleep(0.5)
        hub.ledger.broken = None
        await asyncio.sleep(1)
        assert heard.answer.error is None


@virtual_time()
async def test_a_call_that_is_over_is_not_cut_by_a_refusal_that_comes_late():
    end = Reply(Ending.RESULT, status=200, seen=saw(Usage(output_tokens=3_600)))
    async with house(provider("p")) as hub:
        limit(hub, 115_000 + SLICE * 5_000)
        hub["p"].answers["small"] = flow(3_500, then=end)
        heard, _ = ask(hub, "p/small", stream=True)
        await settled()
        hub.ledger.hold_back()
        await asyncio.sleep(1)
        assert (hub.ledger.writes[-2:], heard.answers) == (["top_up", "settle"], [])
        hub.ledger.go_on()
        assert heard.answer.error is None
        assert only(hub).charge.cost == 3_600 * 5_000


@virtual_time()
async def test_what_a_free_call_of_a_model_has_used_is_no_news():
    end = Reply(Ending.RESULT, status=200, seen=saw())
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = flow(3_500, then=end)
        heard, _ = ask(hub, "p/small", free=True)
        await asyncio.sleep(1)
        assert heard.notes == []
        assert heard.answer.error is None


# ------------------------------------------------------------ all together


@virtual_time(seeds=200)
async def test_a_hundred_at_the_last_cent_never_pass_the_wall_and_nothing_stays_held():
    async with house(provider("p", concurrency=100)) as hub:
        budget = limit(hub, 10 * (115_000 + 50 * 5_000))
        hub["p"].answers["small"] = used(after=MILLISECOND)
        heard = [ask(hub, "p/small", most=50)[0] for _ in range(100)]
        reserved, settled_, _ = structs.astuple(hub.ledger._standing(budget.hold_on(None, 0)))
        assert reserved + settled_ <= budget.wall
        await asyncio.sleep(5)
        passed = sum(one.answer.error is None for one in heard)
        assert passed == 10
        reserved, settled_, _ = structs.astuple(hub.ledger._standing(budget.hold_on(None, 0)))
        assert (reserved, settled_) == (0, 10 * EXACT)
        assert hub.at_rest()


@virtual_time()
async def test_a_budget_of_a_tools_server_says_nothing_of_models():
    async with house(server("calculator"), provider("p")) as hub:
        hub["p"].answers["small"] = used()
        limit(hub, 0, subject=Subject("endpoint", "calculator"))
        heard, _ = ask(hub, "p/small")
        await asyncio.sleep(1)
        assert heard.answer.error is None
        assert msgspec.json.decode(await hub.result("calculator", "add"))


@virtual_time()
async def test_a_repeated_key_is_not_paid_twice():
    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = used()
        ask(hub, "p/small", key="k")
        await asyncio.sleep(1)
        again, _ = ask(hub, "p/small", key="k")
        await asyncio.sleep(1)
        assert again.answer.reply.ending is Ending.RESULT
        assert hub["p"].arrived("small") == 1
        assert len(hub.ledger.rows) == 1


# ------------------------------------------------------------ tools


def paid(name="calculator", each="0.01", **more):
    """A server whose `add` costs something."""
    policy = ToolPolicy(price=ToolPrice(each, **more.pop("price", {})), **more.pop("policy", {}))
    return server(name, tools={"add": policy}, **more)


@virtual_time()
async def test_a_tool_with_a_price_is_held_for_and_booked():
    caller = structs.replace(ANNA, team="ops")
    async with house(paid()) as hub:
        hub.ledger.hold_back()
        heard, _ = hub.begin("calculator", "add", caller=caller)
        await settled()
        assert hub["calculator"].arrived("add") == 0
        hub.ledger.go_on()
        await asyncio.sleep(1)
        assert heard.answer.cost == USD // 100
        row = only(hub)
        assert row.hold.amount == row.charge.cost == USD // 100
        assert (row.charge.basis, row.settlement.price_ref) == (Basis.FIXED, "each")
        facts = row.hold.facts
        told = (facts.key, facts.team, facts.endpoint, facts.tool, facts.model, facts.door)
        assert told == ("anna", "ops", "calculator", "calculator__add", "", "test")
        assert hub.at_rest()


@virtual_time()
async def test_a_used_up_budget_stops_paid_tools_and_lets_free_ones_go_on():
    def has_both(fake):
        fake.tools = {"add": tool("add"), "well": tool("well")}

    async with house(paid(), prepare={"calculator": has_both}) as hub:
        limit(hub, USD // 200)
        heard, _ = hub.begin("calculator", "add")
        await settled()
        assert heard.answer.error.data()["code"] == "budget_exceeded"
        assert heard.answer.error.data()["limit"] == "0.005"
        assert hub["calculator"].arrived("add") == 0
        free, _ = hub.begin("calculator", "well")
        await asyncio.sleep(1)
        assert free.answer.error is None
        assert hub.ledger.rows == {}


@virtual_time()
async def test_a_budget_may_be_for_one_tool():
    async with house(paid(), paid("other")) as hub:
        limit(hub, 0, subject=Subject("tool", "calculator__add"))
        stopped, _ = hub.begin("calculator", "add")
        other, _ = hub.begin("other", "add")
        await asyncio.sleep(1)
        assert stopped.answer.error.data()["scope"] == "tool:calculator__add"
        assert other.answer.cost == USD // 100


@virtual_time()
async def test_a_tool_that_never_ran_gives_its_hold_back_and_one_that_may_have_run_is_estimated():
    async with house(paid(attempts=1)) as hub:
        hub["calculator"].answers["add"] = [REFUSED, lost()]
        for _ in range(2):
            hub.begin("calculator", "add")
            await asyncio.sleep(1)
        charges = [row.charge for row in hub.ledger.rows.values()]
        assert [charge.state for charge in charges] == [State.RELEASED, State.SETTLED]
        assert (charges[1].cost, charges[1].basis) == (USD // 100, Basis.ESTIMATED)


@virtual_time()
async def test_a_tool_is_paid_by_the_server_that_served_it():
    async with house(paid(fallbacks=("other",), policy={"replay": "safe"}, attempts=1),
                     paid("other", each="0.03")) as hub:  # fmt: skip
        hub["calculator"].answers["add"] = REFUSED
        heard, _ = hub.begin("calculator", "add")
        await asyncio.sleep(5)
        assert heard.answer.served_by == "other"
        assert (only(hub).hold.amount, only(hub).charge.cost) == (3 * USD // 100, 3 * USD // 100)


@virtual_time()
async def test_a_tool_has_its_price_before_its_server_was_ever_listed():
    def mute(fake):
        fake.mute = True

    async with house(paid(), listed=False, prepare={"calculator": mute}) as hub:
        hub.begin("calculator", "add")
        await asyncio.sleep(1)
        assert only(hub).hold.amount == USD // 100


@virtual_time()
async def test_a_client_that_leaves_a_paid_tool_ends_it_at_once():
    async with house(paid()) as hub:
        hub["calculator"].answers["add"] = HANGS
        _, passage = hub.begin("calculator", "add")
        await asyncio.sleep(0.1)
        passage.cancel(Cause.CLIENT)
        await settled()
        assert not passage.draining
        assert only(hub).charge.basis is Basis.ESTIMATED
        assert hub.at_rest()


@virtual_time()
async def test_a_server_cannot_speak_to_the_till():
    """`llm/used` is a word between the hub's own parts."""
    async with house(paid()) as hub:
        note = (USED, b'{"x":1}')
        hub["calculator"].answers["add"] = structs.replace(OK, notes=(note,))
        heard, _ = hub.begin("calculator", "add")
        await asyncio.sleep(1)
        assert heard.notes == [note]
        assert only(hub).charge.cost == USD // 100


# ------------------------------------------------------------ who is asked, and who served


def limits(hub, *budgets):
    """The only budgets; each blocks at its limit exactly."""
    made = [
        Budget(f"{kind} {name}", amount, period=Period("lifetime"), blocked=100,
               subject=Subject(kind, name))
        for kind, name, amount in budgets
    ]  # fmt: skip
    hub.ledger.kept = {one.id: one for one in made}
    hub.till.take(made)
    return made


async def spent(hub, *budgets):
    """What stands on each: (held, spent)."""
    facts, now_s = only(hub).hold.facts, hub.clock.wall() // SECOND
    found = await hub.ledger.standing([one.hold_on(facts, now_s) for one in budgets])
    return [(one.reserved, one.settled) for one in found]


def two(**more):
    return provider("p", prices="openai", attempts=1), provider("q", prices="anthropic", **more)


HELD = 10 * (115 * 1_000 + WHOLE * 5_000)
"""For both: what the large model may cost, which is ten times the small one's."""
EACH_OF_BOTH = [
    ("provider", "openai", HELD), ("provider", "anthropic", HELD), ("endpoint", "p", HELD),
    ("endpoint", "q", HELD), ("model", "small", HELD), ("model", "large", HELD),
    ("key", "anna", HELD),
]  # fmt: skip


@virtual_time()
async def test_a_call_is_booked_under_who_served_it_and_counts_to_no_other():
    async with house(*two()) as hub:
        hub["p"].answers["small"] = BUSY
        hub["q"].answers["large"] = used()
        budgets = limits(hub, *EACH_OF_BOTH)
        ask(hub, "p/small", "q/large")
        assert await spent(hub, *budgets) == [(HELD, 0)] * 7, "held for each that may serve it"
        await asyncio.sleep(5)
        row = only(hub)
        facts = row.hold.facts
        assert (facts.provider, facts.endpoint, facts.model) == ("anthropic", "q", "large")
        assert (facts.key, facts.door) == ("anna", "llm")
        assert row.charge.cost == 10 * EXACT
        assert [one.endpoint for one in row.attempts] == ["p", "q"]
        assert await spent(hub, *budgets) == [
            (0, 0), (0, 10 * EXACT), (0, 0), (0, 10 * EXACT), (0, 0), (0, 10 * EXACT),
            (0, 10 * EXACT),
        ]  # fmt: skip
        assert hub.ledger.writes == ["reserve", "move", "settle"]
        assert hub.at_rest()


@virtual_time()
async def test_what_the_first_serves_counts_to_no_budget_of_its_fallback():
    async with house(*two()) as hub:
        hub["p"].answers["small"] = used()
        budgets = limits(hub, *EACH_OF_BOTH)
        ask(hub, "p/small", "q/large")
        await asyncio.sleep(1)
        assert only(hub).hold.facts.provider == "openai"
        assert await spent(hub, *budgets) == [
            (0, EXACT), (0, 0), (0, EXACT), (0, 0), (0, EXACT), (0, 0), (0, EXACT),
        ]  # fmt: skip


@virtual_time()
async def test_where_all_budgets_concern_who_served_nothing_is_moved():
    async with house(*two()) as hub:
        hub["p"].answers["small"] = used()
        limits(hub, ("key", "anna", USD), ("endpoint", "p", USD))
        ask(hub, "p/small", "q/small")
        await asyncio.sleep(1)
        assert hub.ledger.writes == ["reserve", "settle"]


@virtual_time()
async def test_a_fallback_is_not_asked_where_a_budget_of_its_own_is_used_up():
    """Neither is it passed by, nor does it stop the calls that others have room for."""
    async with house(*two()) as hub:
        hub["p"].answers["small"] = BUSY
        hub["q"].answers["large"] = used()
        limits(hub, ("provider", "anthropic", HELD - 1), ("key", "anna", USD))
        heard, _ = ask(hub, "p/small", "q/large")
        await asyncio.sleep(5)
        assert hub["p"].arrived("small") == 1
        assert hub["q"].arrived("large") == 0
        assert heard.answer.served_by == "p"
        assert only(hub).charge.state is State.RELEASED
        assert hub.at_rest()


@virtual_time()
async def test_of_several_fallbacks_those_are_asked_that_there_is_room_for():
    three = (*two(), provider("r", prices="groq"))
    async with house(*three) as hub:
        hub["p"].answers["small"] = BUSY
        hub["r"].answers["small"] = used()
        limits(hub, ("endpoint", "q", 0), ("model", "large", 0))
        heard, _ = ask(hub, "p/small", "q/large", "r/small")
        await asyncio.sleep(5)
        assert (hub["q"].arrived("large"), heard.answer.served_by) == (0, "r")
        assert only(hub).hold.facts.provider == "groq"


@virtual_time()
async def test_who_has_no_room_for_the_first_is_told_so():
    async with house(*two()) as hub:
        hub["q"].answers["large"] = used()
        limits(hub, ("provider", "openai", 0))
        heard, _ = ask(hub, "p/small", "q/large")
        await asyncio.sleep(1)
        assert heard.answer.error.data()["scope"] == "provider:openai"
        assert hub["q"].arrived("large") == 0


@virtual_time()
async def test_a_model_of_ones_own_goes_on_where_there_is_no_room_for_its_dear_fallback():
    own = provider("own", llm={"is_free": True})
    async with house(own, provider("p")) as hub:
        hub["own"].answers["small"] = used()
        limits(hub, ("key", "anna", 1_000))
        heard, _ = ask(hub, "own/small", "p/small")
        await asyncio.sleep(1)
        assert (heard.answer.served_by, heard.answer.cost) == ("own", 0)
        assert only(hub).charge.cost == 0
        hub["own"].answers["small"] = REFUSED
        heard, _ = ask(hub, "own/small", "p/small")
        await asyncio.sleep(5)
        assert heard.answer.error is not None
        assert hub["p"].arrived("small") == 0, "not for nothing"
        assert hub.at_rest()


@virtual_time()
async def test_a_model_of_ones_own_is_booked_where_it_was_served():
    own = [provider(name, llm={"is_free": True}, attempts=1) for name in ("own", "spare")]
    async with house(*own) as hub:
        hub["own"].answers["small"] = REFUSED
        hub["spare"].answers["small"] = used()
        ask(hub, "own/small", "spare/small")
        await asyncio.sleep(5)
        assert only(hub).hold.facts.endpoint == "spare"


@virtual_time()
async def test_a_client_that_goes_while_a_fallback_is_left_out_leaves_nothing_held():
    async with house(*two()) as hub:
        limits(hub, ("endpoint", "q", 0), ("key", "anna", USD))
        hub.ledger.hold_back()
        heard, passage = ask(hub, "p/small", "q/large")
        await settled()
        passage.cancel(Cause.CLIENT)
        hub.ledger.go_on()
        await asyncio.sleep(1)
        assert hub.ledger.writes == ["reserve", "release"]
        assert hub.ledger.rows == {}
        assert len(heard.answers) == 1
        assert hub.at_rest()


@virtual_time()
async def test_where_both_cost_something_the_whole_counts_to_the_budgets_of_both():
    """Never too little: which part is whose is told by the attempts."""
    async with house(*two()) as hub:
        unsure = Reply(Ending.STATUS, status=500, seen=saw(Usage(input_tokens=100), complete=False))
        hub["p"].answers["small"] = Act(unsure)
        hub["q"].answers["large"] = used()
        budgets = limits(hub, *EACH_OF_BOTH)
        ask(hub, "p/small", "q/large")
        await asyncio.sleep(5)
        row = only(hub)
        assert [one.cost for one in row.attempts] == [100 * 1_000, 10 * EXACT]
        assert row.hold.facts.provider == "anthropic"
        assert await spent(hub, *budgets) == [(0, 100 * 1_000 + 10 * EXACT)] * 7


@virtual_time()
async def test_a_stream_is_not_cut_by_a_budget_of_a_fallback_that_was_not_asked():
    usage = Usage(input_tokens=100, output_tokens=5_000)
    end = Reply(Ending.RESULT, status=200, seen=saw(usage))
    async with house(*two()) as hub:
        act = flow(3_500, then=end)
        hub["p"].answers["small"] = structs.replace(act, notes=(("llm/head", b""), *act.notes))
        first = 115_000 + SLICE * 5_000
        budgets = limits(hub, ("endpoint", "q", first), ("endpoint", "p", USD))
        heard, _ = ask(hub, "p/small", "q/small", stream=True)
        await asyncio.sleep(1)
        assert heard.answer.reply.ending is Ending.RESULT
        assert hub.ledger.writes == ["reserve", "top_up", "move", "top_up", "settle"]
        assert only(hub).charge.hold == first + SLICE * 5_000
        assert await spent(hub, *budgets) == [(0, 0), (0, heard.answer.cost)]
        assert hub.at_rest()


@virtual_time()
async def test_a_budget_of_a_fallback_is_let_off_only_when_nobody_else_can_be_asked():
    """A stream that says something, and fails before any of it was passed on."""
    failed = BUSY.reply
    async with house(*two()) as hub:
        hub["p"].answers["small"] = flow(3_500, then=failed)
        hub["q"].answers["small"] = used()
        first = 115_000 + SLICE * 5_000
        [budget] = limits(hub, ("endpoint", "q", first))
        heard, _ = ask(hub, "p/small", "q/small", stream=True)
        await asyncio.sleep(5)
        assert heard.answer.served_by == "q"
        assert await spent(hub, budget) == [(0, heard.answer.cost)]


@virtual_time()
async def test_a_tool_is_booked_at_the_server_that_served_it_under_the_name_it_was_called_by():
    async with house(paid(fallbacks=("other",)), paid(name="other")) as hub:
        hub["calculator"].answers["add"] = REFUSED
        budgets = limits(
            hub, ("endpoint", "calculator", USD), ("endpoint", "other", USD),
            ("tool", "calculator__add", USD),
        )  # fmt: skip
        hub.begin("calculator", "add")
        await asyncio.sleep(5)
        facts = only(hub).hold.facts
        assert (facts.endpoint, facts.tool) == ("other", "calculator__add")
        cent = USD // 100
        assert await spent(hub, *budgets) == [(0, 0), (0, cent), (0, cent)]


@virtual_time()
async def test_a_budget_that_is_removed_while_it_says_no_is_told_by_its_id():
    async with house(*two()) as hub:
        limits(hub, ("endpoint", "q", 0))
        hub.ledger.hold_back()
        heard, _ = ask(hub, "p/small", "q/large")
        await settled()
        hub.till.take([])
        hub.ledger.go_on()
        await settled()
        assert heard.answer.error.data()["budget"] == "endpoint q"


@virtual_time()
async def test_a_picture_is_held_for_by_its_pixels_and_not_by_its_bytes():
    class Request:
        pictures = Pictures(1, 6_400, 240)

    async with house(provider("p")) as hub:
        hub["p"].answers["small"] = says_nothing()
        ask(hub, "p/small", request=Request())
        await asyncio.sleep(1)
        row = only(hub)
        read = 57 // 3 + 16 + 6_400
        assert row.hold.amount == read * 1_000 + WHOLE * 5_000
        assert row.settlement.usage.input_tokens == read


@virtual_time()
async def test_a_tool_is_held_for_where_only_its_fallback_costs_something():
    async with house(server("calculator", fallbacks=("dear",)), paid("dear")) as hub:
        hub["calculator"].alive = False
        hub["calculator"].die()
        heard, _ = hub.begin("calculator", "add")
        await asyncio.sleep(10)
        assert heard.answer.served_by == "dear"
        assert only(hub).charge.cost == USD // 100
