import pytest


def test_breakers_are_listed(cli, hub):
    hub.catalog.all["other"].lane.breaker.force_open(hub.clock.now(), "deploy", 60 * 10**9)
    shown = cli("breaker", "list").out.splitlines()
    assert shown[0].split() == ["SERVER", "STATE", "LEVEL", "AGAIN", "IN", "WHY"]
    assert shown[1].split() == ["calculator", "closed", "0", "-"]
    assert shown[2].split() == ["other", "forced_open", "0", "60.0", "s", "deploy"]
    assert len(cli("breaker", "list", "--json").json["circuit_breakers"]) == 2


def test_no_breakers(cli, hub):
    hub.catalog.all.clear()
    assert cli("breaker", "list").out == "No servers, so no breakers.\n"


def test_an_operator_opens_closes_and_resets(cli, hub):
    breaker = hub.catalog.all["other"].lane.breaker
    opened = cli("breaker", "open", "other", "--reason", "deploy", "--for", "60")
    assert opened.out == "The breaker of other is forced open.\n"
    assert breaker.note == "admin: deploy"
    assert cli("breaker", "close", "other").out == "The breaker of other is forced closed.\n"
    assert cli("breaker", "reset", "other").out == "The breaker of other is closed.\n"


@pytest.mark.parametrize(
    ("word", "state"), [("open", "forced_open"), ("close", "forced_closed"), ("reset", "closed")]
)
def test_programs_are_told_the_breaker(cli, word, state):
    shown = cli("breaker", word, "other", "--json").json
    assert (shown["endpoint"], shown["state"]) == ("other", state)


@pytest.mark.parametrize(
    "arguments", [["open", "other", "--for", "0"], ["open"], ["shut", "other"]]
)
def test_wrong_usage(cli, module, arguments):
    assert cli("breaker", *arguments).code == 2
    assert module.opened == []


def test_a_server_that_is_not_there_is_told(cli):
    refused = cli("breaker", "open", "nothing")
    assert (refused.code, "unknown_target" in refused.err) == (1, True)
