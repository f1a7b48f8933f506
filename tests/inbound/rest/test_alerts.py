"""Alerts over REST: which budgets reached which level, and who may hear of it."""

import pytest
from support.rest_hub import LIMITED, READER, Rest, RestHub

from agenthub.domain.events import BudgetReached

ALERTS = "/api/usage/alerts"


@pytest.fixture
def hub():
    hub = RestHub()
    hub.alert_rows.add(1, 2, 3, state="told", told_at=5)
    return hub


@pytest.fixture
def rest(hub):
    return Rest(hub)


async def test_they_are_shown_newest_first_and_by_pages(rest):
    page = (await rest.get(f"{ALERTS}?limit=2", as_=READER)).json()
    assert [one["number"] for one in page["alerts"]] == [3, 2]
    assert page["alerts"][0] == {
        "number": 3, "id": "t3", "budget": "b", "level": "warning", "spent_usd": "0.0000009",
        "limit_usd": "0.000001", "starts_at": 1, "ends_at": 2, "told_at": 5, "state": "told",
        "tries": 0,
    }  # fmt: skip
    rest_of_it = (await rest.get(f"{ALERTS}?limit=2&before={page['next_before']}")).json()
    assert [one["number"] for one in rest_of_it["alerts"]] == [1]
    assert rest_of_it["next_before"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "before=0", "before=x", "budget=b"])
async def test_a_page_that_there_cannot_be_is_refused(rest, query):
    assert (await rest.get(f"{ALERTS}?{query}")).status_code == 400


async def test_a_key_that_is_limited_to_a_part_of_the_hub_sees_none(rest):
    assert (await rest.get(ALERTS, as_=LIMITED)).status_code == 403


async def test_a_budgets_level_is_an_event_and_counted(hub, rest):
    hub.bus.sinks.append(hub.metrics.event)
    hub.bus.event(BudgetReached(1, "b", "critical", "1.00", "1.00", 1, 2))
    assert b'agenthub_budget_alerts_total{level="critical"} 1' in hub.metrics.render()
    assert hub.metrics.snapshot()["budget_alerts"] == {"critical": 1}
