"""The SDKs of OpenAI and Anthropic as they are released, at a real hub with its demo model."""

import json
import subprocess

import pytest
from support.interop_clients import INSTALLED, INTEROP, environment
from support.serve_hub import serving, until

SAID = "You said: Good morning"
ADDED = "The tool answered: 5"
SUM = '{"a":2,"b":3}'
CHECKS = {
    "chat": [SAID, True],
    "chat_stream": [SAID, 0],
    "chat_stream_with_usage": [0, True],
    "chat_tools": ["tool_calls", SUM, ADDED],
    "responses": ["completed", SAID, True],
    "responses_stream": [SAID],
    "responses_tools": ["function_call", SUM],
    "messages": ["end_turn", SAID, True],
    "messages_stream": [SAID, "end_turn", True],
    "messages_tools": ["tool_use", {"a": 2, "b": 3}, ADDED],
    "count_tokens": True,
    "embeddings": [2, True, True],
    "models": [True, True, ["demo/demo-1", "demo/demo-1"]],
    "unknown_model": [["NotFoundError", 404, "not_found_error"]] * 2,
    "wrong_key": [["AuthenticationError", 401, "urn:agenthub:error:unauthorized"]] * 2,
    "cut": [["APIError", None, "api_error"], ["APIStatusError", 200, "api_error"],
            ["APIError", None, "api_error"]],
    "abort": True,
}  # fmt: skip
CLIENT_S = 120
OPEN = {"reserved", "unknown"}


def client(hub, *checks):
    """What the SDKs say. All in one process: to start it takes longer than to ask."""
    python = INSTALLED / "python" / "bin" / "python"
    done = subprocess.run(
        [python, INTEROP / "client_llm.py", hub.url, hub.token, *checks],
        capture_output=True, text=True, timeout=CLIENT_S, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def charges(hub):
    status, page = hub.ask("GET", "/api/usage/calls?limit=200")
    assert status == 200, page
    return page["calls"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("sdks") / "hub") as served:
        until(lambda: served.server("demo")["health"] == "ok", what="the demo model")
        yield served


@pytest.fixture(scope="module")
def said(hub):
    return client(hub, *CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_the_sdks_work_unmodified(said, check):
    assert said[check] == CHECKS[check]


def test_what_the_sdks_asked_is_booked_an_aborted_stream_too(hub, said):
    assert said["abort"]
    until(lambda: not OPEN & {one["state"] for one in charges(hub)}, what="every call's bill")
    costs = [one["cost_usd"] for one in charges(hub) if one["state"] == "settled"]
    assert len(costs) >= 13
    assert "0.00" not in costs


def test_a_used_up_budget_is_a_permission_denied_that_no_sdk_repeats(hub, said):
    assert said
    status, kept = hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": "0.000001"})
    assert status == 200, kept
    _, before = hub.ask("GET", "/api/calls?limit=200")
    told = client(hub, "broke")["broke"]
    assert told == [["PermissionDeniedError", 403, "budget_exceeded"]] * 5
    _, after = hub.ask("GET", "/api/calls?limit=200")
    assert len(after["calls"]) - len(before["calls"]) == len(told)
