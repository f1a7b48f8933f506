from support.money import settlement

from agenthub.domain.account import Facts
from agenthub.domain.usage import Basis
from agenthub.ledger import Hold


def book(hub, call, cost, basis=Basis.PROVIDER, **facts):
    at_s = hub.clock.wall() // 1_000_000_000
    hub.usage.reserve(
        Hold(call, "boot", at_s * 1_000_000, 0, Facts(**facts), (), at_s + 60), lambda _: None
    )
    hub.usage.settle(settlement(call, cost, basis, model=""), lambda _: None)


def test_nothing_was_spent_in_a_new_home(cli):
    lines = [line.split() for line in cli("usage").out.splitlines()]
    assert lines == [
        ["MONTH", "COST", "CALLS", "INPUT", "CACHED", "OUTPUT"],
        ["all", "$0.00", "0", "0", "0", "0"],
    ]


def test_it_is_broken_down_by_model_the_dearest_first(cli, hub):
    book(hub, "a", 5_000_000, model="small")
    book(hub, "b", 9_000_000, model="large")
    lines = [line.split() for line in cli("usage", "--by", "model").out.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["large", "$0.009", "1"], ["small", "$0.005", "1"], ["all", "$0.014", "2"]
    ]  # fmt: skip
    said = cli("usage", "--by", "model", "--json").json
    assert (said["by"], said["total"]["cost_usd"]) == ("model", "0.014")


def test_it_is_broken_down_by_time_in_a_zone(cli, hub):
    book(hub, "a", 5_000_000)
    shown = cli("usage", "--each", "day", "--tz", "Asia/Seoul")
    assert [line.split()[0] for line in shown.out.splitlines()] == ["DAY", "2023-11-15", "all"]
    assert "Asia/Seoul" in shown.err
    hours = cli("usage", "--each", "hour", "--period", "day").out.splitlines()
    assert hours[1].startswith("2023-11-14 22:00")


def test_what_has_no_price_or_is_a_guess_is_told(cli, hub):
    book(hub, "a", 0, Basis.UNPRICED)
    book(hub, "b", 7, Basis.ESTIMATED)
    said = cli("usage").err
    assert "1 calls have no price" in said
    assert "1 calls are the hub's own estimate" in said


def test_two_ways_to_break_it_down_are_one_too_many(cli):
    assert cli("usage", "--by", "key", "--each", "day").code == 2
    refused = cli("usage", "--tz", "Mars")
    assert (refused.code, "time zone" in refused.err) == (1, True)
