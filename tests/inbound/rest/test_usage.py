"""What was spent, over REST: sums, breakdowns, calls, exports, and what is put right."""

import csv
import io
import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.money import settlement
from support.rest_hub import LIMITED, READER, Rest, RestHub

from agenthub.domain import money
from agenthub.domain.account import Facts
from agenthub.domain.usage import Basis
from agenthub.ledger import Hold

SUMMARY, CALLS = "/api/usage/summary", "/api/usage/calls"
ZONES = ["Asia/Seoul", "UTC", "America/Los_Angeles"]
YEAR = (1_767_225_600, 1_798_761_600)
"""2026, UTC."""


def book(hub, call, at_s, cost=1_000, basis=Basis.PROVIDER, **facts):
    hold = Hold(call, "boot", at_s * 1_000_000, cost, Facts(**facts), (), at_s + 60)
    hub.usage.reserve(hold, lambda _: None)
    hub.usage.settle(settlement(call, cost, basis, model=""), lambda _: None)


def month(zone, year, number):
    after = (year + number // 12, number % 12 + 1)
    place = ZoneInfo(zone)
    return tuple(
        int(datetime(y, m, 1, tzinfo=place).timestamp()) for y, m in ((year, number), after)
    )


@pytest.fixture(scope="module")
def shared():
    """For all examples: a REST door takes 70 ms to build, and a hundred of them the test's time."""
    return Rest(RestHub())


@given(
    st.lists(st.tuples(st.integers(*YEAR), st.integers(0, 10**12)), max_size=12),
    st.integers(1, 12),
    st.sampled_from(["day", "week", "hour"]),
    st.sampled_from([*ZONES, "Asia/Kolkata", "Europe/Berlin", "America/St_Johns"]),
)
async def test_the_days_of_a_month_are_the_month_in_every_zone(
    shared, spent, number, group_by, zone
):
    rest, hub = shared, shared.hub
    hub.usage.rows.clear()
    for index, (at_s, cost) in enumerate(spent):
        book(hub, f"c{index}", at_s, cost)
    since, until = month(zone, 2026, number)
    said = (
        await rest.get(f"{SUMMARY}?from={since}&to={until}&tz={zone}&group_by={group_by}")
    ).json()
    there = sum(cost for at_s, cost in spent if since <= at_s < until)
    assert money.parse(said["total"]["cost_usd"]) == there
    assert sum(money.parse(span["cost_usd"]) for span in said["spans"]) == there
    assert said["spans"][0]["starts_at"] == since
    assert said["spans"][-1]["ends_at"] == until
    for one, other in zip(said["spans"], said["spans"][1:], strict=False):
        assert one["ends_at"] == other["starts_at"]


@pytest.mark.parametrize(("zone", "hours"), [("America/Los_Angeles", 23), ("UTC", 24)])
async def test_a_day_on_which_the_clocks_change_has_its_own_length(rest, zone, hours):
    since, until = month(zone, 2026, 3)
    said = (await rest.get(f"{SUMMARY}?from={since}&to={until}&tz={zone}&group_by=day")).json()
    eighth = said["spans"][7]
    assert eighth["ends_at"] - eighth["starts_at"] == hours * 3600


@pytest.mark.parametrize("period", ["hour", "day", "week", "month"])
async def test_the_present_is_asked_for_by_name(rest, hub, period):
    now_s = hub.clock.wall() // 1_000_000_000
    book(hub, "c", now_s, 5_000_000_000, model="gpt")
    said = (await rest.get(f"{SUMMARY}?period={period}&group_by=hour", as_=READER)).json()
    assert said["starts_at"] <= now_s < said["ends_at"]
    assert said["total"] == {
        "cost_usd": "5.00", "calls": 1, "errors": 0, "unpriced_calls": 0, "estimated_calls": 0,
        "input_tokens": 100, "cache_read_tokens": 40, "cache_write_tokens": 20,
        "output_tokens": 30, "reasoning_tokens": 10,
    }  # fmt: skip
    assert said["timezone"] == "UTC"


async def test_the_time_zone_of_the_settings_counts_where_none_is_asked_for(rest, hub):
    """As it is now: the file may have changed since the start."""
    hub.budgets.timezone = "Asia/Seoul"
    assert (await rest.get(SUMMARY)).json()["timezone"] == "Asia/Seoul"
    assert (await rest.get(f"{SUMMARY}?tz=UTC")).json()["timezone"] == "UTC"


async def test_what_has_no_price_and_what_is_a_guess_is_counted_apart(rest, hub):
    now_s = hub.clock.wall() // 1_000_000_000
    book(hub, "a", now_s, 0, Basis.UNPRICED)
    book(hub, "b", now_s, 7, Basis.ESTIMATED)
    total = (await rest.get(SUMMARY)).json()["total"]
    assert (total["calls"], total["unpriced_calls"], total["estimated_calls"]) == (2, 1, 1)


@pytest.mark.parametrize(
    "query",
    [
        "period=year", "period=day&from=0&to=900", "from=900", "from=900&to=900", "from=1&to=900",
        "from=0&to=901", "from=-900&to=900", "from=x&to=900", "tz=Mars", "tz=../etc/passwd",
        "group_by=minute", "from=0&to=99999900&group_by=hour", "limit=5", "from=0&to=9" + "9" * 30,
        "key=" + "x" * 300,
    ],
)  # fmt: skip
async def test_a_range_that_is_none_is_refused(rest, query):
    """A52."""
    answer = await rest.get(f"{SUMMARY}?{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid_params", "bad_setting"}


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("model", ["large", "small"]), ("key", ["k2", "k1"]), ("team", ["ops", ""]),
        ("provider", ["openai", "groq"]), ("session", ["s", ""]), ("endpoint", ["e", ""]),
        ("tool", ["", "t"]), ("source", ["proxy"]),
    ],
)  # fmt: skip
async def test_it_is_broken_down_by_whatever_was_booked_the_dearest_first(rest, hub, group, names):
    now_s = hub.clock.wall() // 1_000_000_000
    book(hub, "a", now_s, 5, model="small", key="k1", provider="groq", tool="t")
    book(
        hub, "b", now_s, 9, model="large", key="k2", provider="openai", team="ops", session="s",
        endpoint="e",
    )  # fmt: skip
    said = (await rest.get(f"/api/usage/by-{group}", as_=READER)).json()
    assert (said["by"], [one["name"] for one in said["groups"]]) == (group, names)
    assert sum(money.parse(one["cost_usd"]) for one in said["groups"]) == 14
    assert money.parse(said["total"]["cost_usd"]) == 14


async def test_there_is_no_breakdown_by_anything_else(rest):
    assert (await rest.get("/api/usage/by-colour")).status_code == 404


async def test_filters_let_only_their_calls_pass(rest, hub):
    now_s = hub.clock.wall() // 1_000_000_000
    book(hub, "a", now_s, 5, model="small", key="k1")
    book(hub, "b", now_s, 9, model="large", key="k2")
    for query, cost in (("key=k1", 5), ("model=large", 9), ("key=k1&model=large", 0)):
        said = (await rest.get(f"{SUMMARY}?{query}")).json()
        assert money.parse(said["total"]["cost_usd"]) == cost
    assert (await rest.get(f"{SUMMARY}?key=' OR 1=1 --")).json()["total"]["calls"] == 0


async def test_calls_are_paged_newest_first_with_all_that_is_known(rest, hub):
    now_s = hub.clock.wall() // 1_000_000_000
    for index in range(3):
        book(hub, f"c{index}", now_s, index, model="m", session="s")
    page = (await rest.get(f"{CALLS}?limit=2", as_=READER)).json()
    assert [one["id"] for one in page["calls"]] == ["c2", "c1"]
    rest_of_it = (await rest.get(f"{CALLS}?limit=2&before={page['next_before']}")).json()
    assert [one["id"] for one in rest_of_it["calls"]] == ["c0"]
    one = (await rest.get(f"{CALLS}/c2")).json()
    assert (one["model"], one["session"], one["state"], one["basis"]) == (
        "m", "s", "settled", "provider"
    )  # fmt: skip
    assert [attempt["no"] for attempt in one["attempts"]] == [1, 2]
    assert (await rest.get(f"{CALLS}/gone")).status_code == 404
    assert (await rest.get(f"{CALLS}?session=other")).json()["calls"] == []


async def test_all_calls_are_exported_and_no_cell_is_a_formula(rest, hub):
    now_s = hub.clock.wall() // 1_000_000_000
    for index in range(5):
        book(hub, f"c{index}", now_s, index, model="=cmd()")
    table = await rest.get(f"{CALLS}?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["id"] for row in rows] == ["c4", "c3", "c2", "c1", "c0"]
    assert rows[0]["model"] == "'=cmd()"
    lines = (await rest.get(f"{CALLS}?format=jsonl")).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["c4", "c3", "c2", "c1", "c0"]
    assert (await rest.get(f"{CALLS}?format=xml")).status_code == 400


async def test_a_limited_key_sees_what_it_spent_itself(rest, hub):
    now_s = hub.clock.wall() // 1_000_000_000
    limited = structs.replace(LIMITED, scopes=READER.scopes)
    book(hub, "mine", now_s, 5, key=limited.id)
    book(hub, "other", now_s, 9, key="k2")
    for path in (SUMMARY, f"{SUMMARY}?key=k2", "/api/usage/by-model"):
        said = (await rest.get(path, as_=limited)).json()
        assert money.parse(said["total"]["cost_usd"]) == 5
    listed = (await rest.get(CALLS, as_=limited)).json()["calls"]
    assert [one["id"] for one in listed] == ["mine"]
    assert (await rest.get(f"{CALLS}/mine", as_=limited)).status_code == 200
    assert (await rest.get(f"{CALLS}/other", as_=limited)).status_code == 404


async def test_a_guess_is_put_right_by_an_invoice_and_nothing_is_overwritten(rest, hub):
    now_s = hub.clock.wall() // 1_000_000_000
    book(hub, "c", now_s, 7, Basis.ESTIMATED)
    (unsettled,) = (await rest.get("/api/usage/reconcile")).json()["calls"]
    assert (unsettled["id"], unsettled["basis"]) == ("c", "estimated")
    evidence = {"cost_usd": "0.01", "reason": "invoice 5"}
    fixed = (await rest.post("/api/usage/reconcile/c", evidence)).json()
    assert fixed["cost_usd"] == "0.01"
    (entry,) = (await rest.get("/api/usage/entries")).json()["entries"]
    assert (entry["kind"], entry["call"], entry["reason"]) == (
        "adjustment", "c", "admin: invoice 5"
    )  # fmt: skip
    assert entry["delta_usd"] == "0.009999993"
    gone = await rest.post("/api/usage/reconcile/gone", evidence)
    assert gone.status_code == 404
    blank = await rest.post("/api/usage/reconcile/c", {"cost_usd": "1", "reason": " "})
    assert blank.status_code == 400


async def test_all_sums_are_made_anew_and_say_whether_they_had_agreed(rest):
    assert (await rest.post("/api/usage/rebuild")).json() == {"counters": 0, "slots": 0}
