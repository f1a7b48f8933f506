import pytest
from support.money import settlement

from agenthub.domain.account import Facts
from agenthub.domain.usage import Basis
from agenthub.ledger import Hold, Proof


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


def test_a_key_is_shown_by_its_name(cli, hub):
    cli("key", "create", "laptop", "--scope", "llm")
    book(hub, "a", 5_000_000, key="k0")
    book(hub, "b", 4_000_000, key="gone")
    lines = cli("usage", "--by", "key").out.splitlines()
    assert lines[1].startswith("laptop (k0)  $0.005")
    assert lines[2].startswith("gone         $0.004")
    said = cli("usage", "--by", "key", "--json").json
    assert [(one["name"], one["label"]) for one in said["groups"]] == [
        ("k0", "laptop"),
        ("gone", ""),
    ]


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


def test_the_sums_are_proved(cli, hub, monkeypatch):
    assert cli("usage", "rebuild").out == "All sums agree with the ledger.\n"
    assert cli("usage", "rebuild", "--json").json == {"counters": 0, "slots": 0}

    async def rebuild():
        return Proof(1, 20)

    monkeypatch.setattr(hub.usage, "rebuild", rebuild)
    mended = cli("usage", "rebuild")
    assert (mended.code, mended.out) == (1, "")
    assert "1 counters of budgets and 20 sums of usage differed" in mended.err
    told = cli("usage", "rebuild", "--json")
    assert (told.code, told.json) == (1, {"counters": 1, "slots": 20})


@pytest.mark.parametrize("option", ["--by=key", "--home={}", "--json"])
def test_an_option_before_the_command_is_refused(cli, home, option):
    refused = cli("usage", option.format(home), "rebuild")
    assert (refused.code, "behind the command" in refused.err) == (2, True)


def test_two_ways_to_break_it_down_are_one_too_many(cli):
    assert cli("usage", "--by", "key", "--each", "day").code == 2
    refused = cli("usage", "--tz", "Mars")
    assert (refused.code, "time zone" in refused.err) == (1, True)


def test_a_range_of_days_begins_at_midnight_of_the_zone(cli, hub):
    book(hub, "a", 5_000_000)  # At 22:13 in UTC, which is the next day in Seoul.
    days = "--from", "2023-11-15", "--to", "2023-11-16"
    seoul = cli("usage", *days, "--tz", "Asia/Seoul", "--json").json
    assert (seoul["starts_at"], seoul["ends_at"]) == (1_699_974_000, 1_700_060_400)
    assert seoul["total"]["calls"] == 1
    assert cli("usage", *days, "--json").json["total"]["calls"] == 0
    assert cli("usage", *days, "--by", "model").out.split()[0] == "MODEL"
    assert cli("usage", *days).out.split()[0] == "RANGE"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--from", "2023-11-15"], 2, "--from and --to"),
        (["--from", "2023-11-15", "--to", "2023-11-16", "--period", "day"], 2, "--from and --to"),
        (["--from", "yesterday", "--to", "2023-11-16"], 2, "yesterday"),
        (["--from", "2023-11-16", "--to", "2023-11-15"], 1, "`from` before `to`"),
        (["--from", "1969-11-16", "--to", "2023-11-15"], 1, "from"),
        (["--from", "2023-11-15", "--to", "2023-11-16", "--tz", "Mars"], 1, "time zone"),
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_refused_in_words(cli, options, code, words):
    refused = cli("usage", *options)
    assert (refused.code, words in refused.err) == (code, True), refused.err
