import pytest

from agenthub.domain.ladder import Step
from agenthub.domain.money import USD


def test_the_budget_of_a_new_home_is_shown(cli):
    lines = [line.split() for line in cli("budget", "show").out.splitlines()]
    assert lines[0] == ["ID", "OF", "PERIOD", "LIMIT", "SPENT", "IN", "FLIGHT", "LEVEL"]
    assert lines[1] == ["default", "all", "month", "$100.00", "$0.00", "$0.00", "safe"]
    (one,) = cli("budget", "show", "--json").json["budgets"]
    assert (one["id"], one["limit_usd"]) == ("default", "100.00")


def test_the_limit_is_set(cli, hub):
    assert cli("budget", "set", "5").out == "default: $5.00, $0.00 spent: safe.\n"
    assert hub.budgets.get("default").limit == 5 * USD
    assert cli("budget", "set", "6.5", "--json").json["limit_usd"] == "6.50"
    refused = cli("budget", "set", "much")
    assert (refused.code, "decimal text" in refused.err) == (1, True)


def test_a_budget_is_added_changed_and_removed(cli, hub):
    added = cli(
        "budget", "add", "ops", "2", "--of", "team:ops", "--period", "day", "--tz", "Asia/Seoul",
        "--blocked", "100",
    )  # fmt: skip
    assert added.out == "ops: $2.00, $0.00 spent: safe.\n"
    budget = hub.budgets.get("ops")
    assert (budget.subject.kind, budget.subject.name, budget.period.tz) == (
        "team", "ops", "Asia/Seoul"
    )  # fmt: skip
    assert (budget.warning, budget.critical, budget.blocked) == (90, 100, 100)
    assert cli("budget", "set", "3", "ops").out.startswith("ops: $3.00")
    assert hub.budgets.get("ops").subject.name == "ops"
    lines = [line.split() for line in cli("budget", "show").out.splitlines()]
    assert lines[2][:4] == ["ops", "team", "ops", "day"]
    taken = cli("budget", "add", "ops", "2")
    assert (taken.code, "There is a budget 'ops' already" in taken.err) == (1, True)
    assert cli("budget", "remove", "ops").out == "Removed the budget ops.\n"
    assert cli("budget", "remove", "default", "--json").json == {
        "id": "default", "status": "removed"
    }  # fmt: skip
    assert "No budgets" in cli("budget", "show").out


def test_each_session_has_its_own(cli):
    added = cli("budget", "add", "run", "0.5", "--of", "session:*", "--period", "run")
    assert added.out == "run: $0.50.\n"
    rolling = cli("budget", "add", "five", "1", "--period", "hours", "--start", "5")
    assert rolling.code == 0
    lines = [line.split() for line in cli("budget", "show").out.splitlines()]
    assert lines[2][2:5] == ["5", "hours", "$1.00"]
    assert lines[3][-3:] == ["-", "-", "-"]


def test_a_budget_is_suspended_and_credited_with_a_reason(cli, hub):
    assert cli("budget", "suspend", "default").code == 2
    cli("budget", "suspend", "default", "--minutes", "10", "--reason", "release")
    assert hub.budgets.get("default").reason == "release"
    assert cli("budget", "show").out.splitlines()[1].endswith("suspended")
    credited = cli("budget", "credit", "default", "5", "--reason", "customer", "--json").json
    assert credited["credit_usd"] == "5.00"


@pytest.mark.parametrize("words", [("set", "1", "gone"), ("remove", "gone")])
def test_a_budget_that_is_not_there_is_told(cli, words):
    refused = cli("budget", *words)
    assert (refused.code, "There is no budget 'gone'" in refused.err) == (1, True)


def test_what_budgets_reached_is_shown(cli, hub):
    assert cli("budget", "alerts").out.startswith("No alerts")
    hub.alert_rows.add(1, state="sent", told_at=1_800_000_000)
    hub.alert_rows.add(2)
    lines = cli("budget", "alerts").out.splitlines()
    assert lines[0].split() == ["AT", "(UTC)", "BUDGET", "LEVEL", "SPENT", "LIMIT", "WEBHOOK"]
    assert lines[1].split() == ["now", "b", "warning", "$0.0000009", "$0.000001", "new"]
    assert lines[2].split()[:2] == ["2027-01-15", "08:00"]
    assert lines[2].split()[-1] == "sent"
    assert [one["number"] for one in cli("budget", "alerts", "--json").json["alerts"]] == [2, 1]
    assert len(cli("budget", "alerts", "--limit", "1", "--json").json["alerts"]) == 1


def test_a_ladder_is_written_step_by_step_and_stays_when_the_limit_changes(cli, hub):
    cli(
        "budget", "add", "ops", "2", "--ladder", "80,use=demo/demo-mini",
        "--ladder", "95,use=demo/demo-mini,max_tokens=500",
    )  # fmt: skip
    ladder = (Step(80, "demo/demo-mini"), Step(95, "demo/demo-mini", 500))
    assert hub.budgets.get("ops").ladder == ladder
    cli("budget", "set", "3", "ops")
    assert hub.budgets.get("ops").ladder == ladder
    found = [one for one in cli("budget", "show", "--json").json["budgets"] if one["id"] == "ops"]
    assert found[0]["ladder"][1] == {"at": 95, "use": "demo/demo-mini", "max_tokens": 500}


@pytest.mark.parametrize(
    "ladder", ["", "x,use=m", "80", "80,use=", "80,max_tokens=-1", "80,max_tokens=x", "80,cheap=m",
               "120,use=m", "80,max_tokens=0"],
)  # fmt: skip
def test_a_ladder_that_cannot_be_is_refused_in_words(cli, hub, ladder):
    refused = cli("budget", "add", "ops", "2", "--ladder", ladder)
    assert refused.code in {1, 2}
    assert "ladder" in refused.err
    assert all(one.id != "ops" for one in hub.budgets.all())
