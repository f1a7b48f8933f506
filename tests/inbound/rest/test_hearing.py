import pytest
from msgspec import structs
from support.rest_hub import READER, RestServer

from agenthub.domain.caller import Reach
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.events import (
    BreakerChanged,
    BudgetReached,
    CallEnded,
    ClockEvent,
    ServerChanged,
    ViewChanged,
)
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import Renamed, View
from agenthub.inbound.rest.hearing import heard, hears_of, seen

OF_WEB = structs.replace(READER, endpoints=frozenset({"web"}))
OF_SEARCH = structs.replace(
    READER, reach=Reach(ToolSet(("web__search", "agenthub://web/a*")), None)
)
READS = structs.replace(READER, reach=Reach(ToolSet(("web__*",), read_only=True), None))


@pytest.fixture
def web(hub):
    for name in ("web", "docs"):
        server = hub.catalog.all[name] = RestServer(Endpoint(name, url="http://127.0.0.1:9/mcp"))
        server.reading = {"search"}
    return hub


def call(endpoint, name, method="tools/call"):
    return CallEnded(1, "id", endpoint, endpoint, method, name, "ok", 1, 5)


def breaker(endpoint, tool):
    return BreakerChanged(1, endpoint, tool, "closed", "open", 1, "x", 0, None, {})


@pytest.mark.parametrize(
    ("caller", "known", "unknown"),
    [
        (READER, [("web", "x"), ("docs", "x"), ("gone", "x")], []),
        (OF_WEB, [("web", "x")], [("docs", "search")]),
        (OF_SEARCH, [("web", "search")], [("web", "x"), ("docs", "search"), ("gone", "search")]),
        (READS, [("web", "search")], [("web", "write"), ("docs", "search")]),
    ],
)
def test_a_key_hears_of_calls_to_what_it_may_touch(web, caller, known, unknown):
    for place in known:
        assert hears_of(web, caller, place[0], "tools/call", place[1]), place
        assert heard(web, caller, call(*place)) == call(*place)
        assert heard(web, caller, breaker(*place)) == breaker(*place)
    for place in unknown:
        assert not hears_of(web, caller, place[0], "tools/call", place[1]), place
        assert heard(web, caller, call(*place)) is None
        assert heard(web, caller, breaker(*place)) is None


def test_a_server_that_is_gone_tells_a_reader_of_nothing(web):
    del web.catalog.all["web"]
    assert not hears_of(web, READS, "web", "tools/call", "search")
    assert hears_of(web, OF_SEARCH, "web", "tools/call", "search")


def test_resources_are_known_by_their_address(web):
    assert hears_of(web, OF_SEARCH, "web", "resources/read", "a:b")
    assert not hears_of(web, OF_SEARCH, "web", "resources/read", "b:b")


def test_what_is_of_no_tool_is_told_by_its_server_and_without_names_of_tools(web):
    waits = ServerChanged(1, "web", "pending", "secret (new)")
    assert heard(web, READER, waits) == heard(web, OF_WEB, waits) == waits
    assert heard(web, OF_SEARCH, waits) == ServerChanged(1, "web", "pending")
    assert heard(web, OF_SEARCH, ServerChanged(1, "docs", "lost")) is None
    assert heard(web, OF_SEARCH, breaker("web", "")) == breaker("web", "")
    assert heard(web, OF_SEARCH, breaker("docs", "")) is None
    assert heard(web, OF_SEARCH, ClockEvent(1, "stall", "x")) == ClockEvent(1, "stall", "x")


def test_what_budgets_reach_is_told_to_those_who_see_the_whole_hub(web):
    reached = BudgetReached(1, "b", "warning", "0.90", "1.00", 1, 2)
    assert heard(web, READER, reached) == reached
    for caller in (OF_WEB, OF_SEARCH):
        assert heard(web, caller, reached) is None


def test_views_are_told_of_to_whom_they_exist_for(web):
    of_view = structs.replace(READER, reach=Reach(ToolSet(), {"mine": ToolSet(("web__*",))}))
    assert heard(web, of_view, ViewChanged(1, "mine", "changed")) is not None
    assert heard(web, of_view, ViewChanged(1, "other", "changed")) is None


def test_a_view_names_nothing_that_is_not_there_for_a_key(web):
    names = {"find": Renamed("web__search"), "s": Renamed("docs__secret"), "x": Renamed("odd")}
    view = View("some", names=names, allow=("docs__*",), deny=("docs__no",))
    assert seen(web, READER, view) == view
    for caller in (OF_WEB, OF_SEARCH):
        assert seen(web, caller, view) == View("some", names={"find": Renamed("web__search")})
