"""The plan's one budget, and all budgets, over REST."""

import pytest
from msgspec import structs
from support.money import settlement
from support.rest_hub import LIMITED, READER

from agenthub.domain.account import Facts
from agenthub.domain.budget import DEFAULT
from agenthub.domain.errors import StorageFailed
from agenthub.domain.money import USD
from agenthub.ledger import Hold

ONE, ALL = "/api/usage/budget", "/api/usage/budgets"


def spend(hub, cost, *, call="c1", **facts):
    """A call that cost so much, now."""
    now_s = hub.clock.wall() // 1_000_000_000
    named = Facts(**facts)
    on = tuple(
        one.hold_on(named, now_s) for one in hub.budgets.all() if one.subject.concerns(named)
    )
    hold = Hold(call, "boot", now_s * 1_000_000, 0, named, on, now_s + 60)
    hub.usage.reserve(hold, lambda _: None)
    hub.usage.settle(settlement(call, cost), lambda _: None)


async def test_the_budget_of_the_plan_is_100_dollars_a_month(rest):
    answer = await rest.get(ONE, as_=READER)
    assert answer.status_code == 200
    said = answer.json()
    assert said | {"period_start": 0, "resets_at": 0} == {
        "monthly_budget_usd": "100.00", "current_spending_usd": "0.00", "usage_percentage": "0.00",
        "alert_level": "safe", "can_proceed": True, "period_start": 0, "resets_at": 0,
    }  # fmt: skip
    assert said["period_start"] < said["resets_at"]


@pytest.mark.parametrize(
    ("spent", "shown", "level", "proceeds"),
    [
        (899_999_999, "89.99", "safe", True), (900_000_000, "90.00", "warning", True),
        (1_000_000_000, "100.00", "critical", True), (1_099_999_999, "109.99", "critical", True),
        (1_100_000_000, "110.00", "blocked", False),
    ],
)  # fmt: skip
async def test_levels_are_told_by_what_is_spent(rest, hub, spent, shown, level, proceeds):
    await rest.put(ONE, {"monthly_budget_usd": "1.00"})
    spend(hub, spent)
    said = (await rest.get(ONE)).json()
    assert (said["usage_percentage"], said["alert_level"], said["can_proceed"]) == (
        shown, level, proceeds
    )  # fmt: skip


async def test_a_budget_is_changed_by_who_has_seen_it_last(rest, hub):
    tag = (await rest.get(ONE)).headers["etag"]
    changed = await rest.put(ONE, {"monthly_budget_usd": "50.5"}, headers={"if-match": tag})
    assert changed.json()["monthly_budget_usd"] == "50.50"
    stale = await rest.put(ONE, {"monthly_budget_usd": "1.00"}, headers={"if-match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert hub.budgets.get("default").limit == 50 * USD + USD // 2
    assert hub.usage.kept["default"].limit == 50 * USD + USD // 2


@pytest.mark.parametrize(
    "amount", ["-1", "NaN", "1e3", "", "1.0000000001", "999999999999", "1,5", " 1", "0x1"]
)
async def test_what_is_no_amount_is_refused(rest, amount):
    answer = await rest.put(ONE, {"monthly_budget_usd": amount})
    assert answer.status_code == 400
    assert "decimal text" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [{}, {"monthly_budget_usd": 5}, {"monthly_budget_usd": "1", "x": 1}]
)
async def test_a_body_of_another_shape_is_refused(rest, body):
    assert (await rest.put(ONE, body)).status_code == 400


async def test_a_deleted_budget_is_made_again_by_setting_it(rest, hub):
    assert (await rest("DELETE", f"{ALL}/default")).status_code == 204
    assert (await rest.get(ONE)).status_code == 404
    assert (await rest.put(ONE, {"monthly_budget_usd": "7.00"})).status_code == 200
    assert hub.budgets.get("default").limit == 7 * USD


WANTED = {
    "id": "team-ops", "name": "Ops", "limit_usd": "5.00",
    "subject": {"kind": "team", "name": "ops"},
    "period": {"kind": "day", "tz": "Asia/Seoul"}, "warning": 50, "critical": 80, "blocked": 100,
    "on_unpriced": "0.01",
}  # fmt: skip


async def test_a_budget_is_added_shown_changed_and_removed(rest, hub):
    made = await rest.post(ALL, WANTED)
    assert made.status_code == 201
    assert made.headers["location"] == f"{ALL}/team-ops"
    shown = (await rest.get(f"{ALL}/team-ops", as_=READER)).json()
    assert {key: shown[key] for key in WANTED if key not in {"subject", "period"}} == {
        key: WANTED[key] for key in WANTED if key not in {"subject", "period"}
    }
    assert (shown["spent_usd"], shown["level"], shown["can_proceed"]) == ("0.00", "safe", True)
    spend(hub, 3 * USD, team="ops")
    listed = (await rest.get(ALL)).json()["budgets"]
    assert [(one["id"], one["spent_usd"], one["level"]) for one in listed] == [
        ("default", "3.00", "safe"), ("team-ops", "3.00", "warning")
    ]  # fmt: skip
    changed = await rest.put(f"{ALL}/team-ops", {**WANTED, "limit_usd": "3.00"})
    assert changed.json()["level"] == "blocked"
    assert not changed.json()["can_proceed"]
    assert (await rest("DELETE", f"{ALL}/team-ops")).status_code == 204
    assert (await rest.get(f"{ALL}/team-ops")).status_code == 404


async def test_a_budget_without_an_id_gets_one(rest):
    made = (await rest.post(ALL, {"limit_usd": "1.00"})).json()
    assert len(made["id"]) == 12
    assert (await rest.get(f"{ALL}/{made['id']}")).status_code == 200


async def test_each_session_has_a_budget_of_its_own_that_is_shown_without_a_sum(rest):
    wanted = {
        "id": "run", "limit_usd": "0.50", "subject": {"kind": "session", "name": "*"},
        "period": {"kind": "run"},
    }  # fmt: skip
    shown = (await rest.post(ALL, wanted)).json()
    assert (shown["spent_usd"], shown["level"], shown["can_proceed"]) == (None, None, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limit_usd": "-1"}, "decimal text"),
        ({"warning": 0}, "per cent"),
        ({"critical": 200, "blocked": 150}, "per cent"),
        ({"subject": {"kind": "planet", "name": "x"}}, "subject.kind"),
        ({"subject": {"kind": "all", "name": "x"}}, "subject.name"),
        ({"period": {"kind": "month", "start": 31}}, "period.start"),
        ({"period": {"kind": "day", "tz": "Mars/Olympus"}}, "time zone"),
        ({"on_unpriced": "perhaps"}, "on_unpriced"),
        ({"id": "x" * 300}, "characters"),
        ({"name": "'; DROP TABLE budget; --" * 20}, "characters"),
    ],
)
async def test_a_budget_that_cannot_be_is_refused_by_field(rest, hub, change, words):
    """A52."""
    answer = await rest.post(ALL, WANTED | change)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]
    assert list(hub.usage.kept) == ["default"]


async def test_a_name_is_taken_once_and_is_not_changed(rest):
    await rest.post(ALL, WANTED)
    assert (await rest.post(ALL, WANTED)).status_code == 409
    other = await rest.put(f"{ALL}/team-ops", {**WANTED, "id": "other"})
    assert other.status_code == 400
    assert (await rest.put(f"{ALL}/gone", {**WANTED, "id": "gone"})).status_code == 404
    assert (await rest("DELETE", f"{ALL}/gone")).status_code == 404


async def test_a_budget_is_suspended_for_a_while_and_says_why(rest, hub):
    await rest.put(ONE, {"monthly_budget_usd": "1.00"})
    spend(hub, 2 * USD)
    pause = {"seconds": 600, "reason": "release night"}
    shown = (await rest.post(f"{ALL}/default/suspend", pause)).json()
    assert shown["can_proceed"]
    assert shown["reason"] == "release night"
    assert shown["suspended_until"] == hub.clock.wall() // 1_000_000_000 + 600
    again = (await rest.post(f"{ALL}/default/suspend", {"seconds": 0, "reason": "over"})).json()
    assert not again["can_proceed"]


@pytest.mark.parametrize(
    "pause", [{"seconds": -1, "reason": "x"}, {"seconds": 90_000, "reason": "x"}, {"reason": " "}]
)
async def test_a_budget_is_not_suspended_for_ever_nor_without_a_reason(rest, hub, pause):
    assert (await rest.post(f"{ALL}/default/suspend", pause)).status_code == 400
    assert hub.budgets.get("default").suspended_until == 0


async def test_room_is_credited_to_the_present_window(rest, hub):
    await rest.put(ONE, {"monthly_budget_usd": "1.00"})
    spend(hub, 2 * USD)
    gift = {"amount_usd": "5.00", "reason": "customer pays"}
    shown = (await rest.post(f"{ALL}/default/credit", gift)).json()
    assert (shown["credit_usd"], shown["level"], shown["can_proceed"]) == ("5.00", "safe", True)
    assert (await rest.get(ONE)).json()["usage_percentage"] == "33.33"
    refused = await rest.post(f"{ALL}/default/credit", {"amount_usd": "5.00", "reason": ""})
    assert refused.status_code == 400


async def test_a_change_that_cannot_be_kept_changes_nothing(rest, hub, monkeypatch):
    async def full(*_):
        raise StorageFailed("The disk is full.")

    monkeypatch.setattr(hub.usage, "put_budget", full)
    monkeypatch.setattr(hub.usage, "delete_budget", full)
    assert (await rest.put(ONE, {"monthly_budget_usd": "1.00"})).status_code == 503
    assert (await rest("DELETE", f"{ALL}/default")).status_code == 503
    assert hub.budgets.get("default") == DEFAULT


async def test_a_key_for_a_part_of_the_hub_sees_no_budgets(rest):
    limited = structs.replace(LIMITED, scopes=READER.scopes)
    for path in (ONE, ALL, f"{ALL}/default"):
        assert (await rest.get(path, as_=limited)).status_code == 403


async def test_there_are_only_so_many(rest, hub, monkeypatch):
    monkeypatch.setattr("agenthub.budgets.BUDGETS_MAX", 1)
    answer = await rest.post(ALL, WANTED)
    assert (answer.status_code, list(hub.usage.kept)) == (409, ["default"])
