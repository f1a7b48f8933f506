"""When the demo servers are there."""

import sys

from agenthub.app.demo import NAMES, demo_endpoints, with_demo
from agenthub.app.wiring import added
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_endpoint
from agenthub.ports import Stored
from agenthub.settings import Settings

OWN = Endpoint("git", command=("git-server",))


def stored(*kept):
    return Stored(kept, (), (), {}, {}, {})


def names(settings, *kept):
    return {endpoint.name for endpoint in added(settings, stored(*kept))}


def test_a_hub_without_servers_has_them():
    assert names(Settings()) == NAMES == {"calculator", "calculator-twin", "flaky", "demo"}


def test_a_hub_with_any_server_has_them_not():
    assert names(Settings(), OWN) == {"git"}
    assert names(Settings(endpoints={"git": OWN})) == set()


def test_a_hub_that_is_told_not_to_has_them_not():
    assert names(Settings(demo=False)) == set()
    assert names(Settings(demo=False), OWN) == {"git"}


def test_a_change_of_one_of_them_is_kept_and_the_others_stay():
    off = Endpoint("flaky", command=("x",), enabled=False)
    assert {e.name: e.enabled for e in with_demo([off])} == {
        "calculator": True, "calculator-twin": True, "flaky": False, "demo": True,
    }  # fmt: skip


def test_they_are_good_records_and_run_by_this_python():
    for endpoint in demo_endpoints():
        check_endpoint(endpoint)
        assert endpoint.llm or endpoint.command[0] == sys.executable
