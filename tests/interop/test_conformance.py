"""The official conformance suite through the hub, beside the same suite straight at the server."""

import pytest
from support.conformance import required, run_suite, serving, successes
from support.interop_clients import LEGACY, MODERN
from support.interop_page import check, table
from support.real_hub import RealHub

ANONYMOUS = {"AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "true"}
"""The suite has no key."""


@pytest.fixture(scope="module")
def everything():
    """The address of the server that has what the suite looks for."""
    with serving("everything_server.py") as url:
        yield url


@pytest.fixture(scope="module")
def hub(everything, tmp_path_factory):
    home = tmp_path_factory.mktemp("conformance") / "home"
    with RealHub(home, **ANONYMOUS) as hub:
        hub.command("add", "everything", "--url", everything, "--no-limit")
        hub.ready("everything")
        yield hub


@pytest.mark.timeout(300)
@pytest.mark.parametrize("revision", [MODERN, LEGACY])
def test_what_succeeds_at_the_server_succeeds_through_the_hub(
    revision, everything, hub, tmp_path
):  # fmt: skip
    direct = run_suite(everything, revision, tmp_path / "direct")
    through = run_suite(f"{hub.url}/mcp/everything", revision, tmp_path / "through")
    scenarios = required(revision)
    assert len(scenarios) == {MODERN: 37, LEGACY: 30}[revision]
    assert {one for one in scenarios if "FAILURE" in direct[one].values()} == set()
    failed = {
        one: [name for name, status in through.get(one, {}).items() if status == "FAILURE"]
        for one in scenarios
    }
    assert {one: checks for one, checks in failed.items() if checks} == {}
    lost = {one: successes(direct, one) - successes(through, one) for one in direct}
    assert {one: checks for one, checks in lost.items() if checks} == {}


TASK_SCENARIOS = {
    "tasks-capability-negotiation", "tasks-dispatch-and-envelope", "tasks-lifecycle",
    "tasks-mrtr-composition", "tasks-mrtr-input", "tasks-request-headers",
    "tasks-request-state-removal", "tasks-required-task-error", "tasks-wire-fields",
}  # fmt: skip
"""The suite requires them of nobody; one more, of notifications, it skips itself."""


@pytest.mark.timeout(300)
def test_tasks_succeed_at_their_server_and_through_the_hub(tmp_path):
    with serving("tasks_server.py") as url:
        direct = run_suite(url, MODERN, tmp_path / "direct")
        with RealHub(tmp_path / "home", **ANONYMOUS) as hub:
            hub.command("add", "jobs", "--url", url, "--no-limit")
            hub.ready("jobs")
            through = run_suite(f"{hub.url}/mcp/jobs", MODERN, tmp_path / "through")
    assert all(successes(direct, one) for one in TASK_SCENARIOS)
    for one in TASK_SCENARIOS:
        assert set(direct[one].values()) == set(through[one].values()) == {"SUCCESS"}, one
        assert successes(direct, one) <= successes(through, one), one


IMPOSSIBLE = {
    (MODERN, "legacy"): {
        "input-required-result-basic-elicitation": "it looks for the name that the server gave its"
        " question, and questions of 2025-11-25 have none",
    },
    (LEGACY, "modern"): {},
}
"""What a server of one era alone cannot offer to the other's set."""


@pytest.fixture(scope="module")
def across(everything, tmp_path_factory):
    """By revision and the only era of the server: what the suite found through the hub."""
    found = {}
    for revision, only in IMPOSSIBLE:
        folder = tmp_path_factory.mktemp(f"only-{only}")
        with (
            serving("everything_server.py", "--only", only) as url,
            RealHub(folder / "home", **ANONYMOUS) as hub,
        ):
            hub.command("add", "everything", "--url", url, "--no-limit")
            hub.ready("everything")
            assert hub.servers()["everything"]["era"] == only
            found[revision, only] = run_suite(f"{hub.url}/mcp/everything", revision, folder / "out")
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("revision", "only"), IMPOSSIBLE)
def test_a_server_of_one_era_passes_the_other_s_set(revision, only, everything, across, tmp_path):
    direct, through = run_suite(everything, revision, tmp_path / "direct"), across[revision, only]
    impossible = IMPOSSIBLE[revision, only]
    scenarios = required(revision)
    failed = {one for one in scenarios if "FAILURE" in through[one].values()}
    assert failed == set(impossible)
    # Some would pass if nothing were there at all: so each check counts that a dual server passes.
    lost = {one: successes(direct, one) - successes(through, one) for one in scenarios - failed}
    assert {one: checks for one, checks in lost.items() if checks} == {}


@pytest.mark.timeout(300)
def test_the_figures_in_the_reference_are_what_was_found(hub, across, tmp_path):
    rows, reasons = [], []
    for revision in (MODERN, LEGACY):
        same = run_suite(f"{hub.url}/mcp/everything", revision, tmp_path / revision)
        (only, other) = next((era, found) for (of, era), found in across.items() if of == revision)
        for server, found in (("of both eras", same), (f"{only} only", other)):
            scenarios = required(revision)
            passed = sum("FAILURE" not in found[one].values() for one in scenarios)
            rows.append([revision, server, f"{passed} of {len(scenarios)}"])
        reasons += [f"- {one}: {why}." for one, why in IMPOSSIBLE[revision, only].items()]
    heads = ["scenarios required by", "server behind the hub", "pass"]
    check("conformance", "\n".join([*table(heads, rows), "", "Impossible:", "", *reasons]))
