"""The hub's agent over aimock, a provider that nobody here wrote: tools in three providers' shapes.

The server behind is a real one too: what it was asked for stands in the call log.
"""

import json
import sys

import httpx2
import pytest
from support.aimock import aimock
from support.serve_hub import config, serving, until

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
CALLS = [
    {"name": "calculator__add", "arguments": {"a": 2, "b": 3}},
    {"name": "calculator__multiply", "arguments": {"a": 2, "b": 3}},
]
FIXTURES = [
    {"match": {"userMessage": "both", "hasToolResult": True},
     "response": {"content": "Five and six.", "usage": USAGE}},
    {"match": {"userMessage": "both"}, "response": {"toolCalls": CALLS, "usage": USAGE}},
    {"match": {"userMessage": "hello"}, "response": {"content": "Hi there!", "usage": USAGE}},
]  # fmt: skip
PROVIDERS = {
    "openai": ("v1", "chat, responses"), "anthropic": ("v1", "messages"),
    "google": ("v1beta", "gemini"),
}  # fmt: skip


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as address:
        yield address


@pytest.fixture(scope="module")
def hub(tmp_path_factory, mock):
    home = tmp_path_factory.mktemp("agent") / "hub"
    providers = "".join(
        f"  {name}:\n    url: {mock}/{path}\n    llm: {{provider: {name}, wires: [{wires}]}}\n"
        for name, (path, wires) in PROVIDERS.items()
    )
    prices = "".join(
        f'  - {{provider: {name}, model: "*", input: "1.00", output: "5.00"}}\n'
        for name in PROVIDERS
    )
    config(home, f"""
endpoints:
{providers}
  calculator:
    command: [{sys.executable}, -m, agenthub.demo.calculator]
prices:
{prices}
chat: {{approval: none}}
""")  # fmt: skip
    with serving(home) as served:
        served.until_well("calculator")
        yield served


def events_of(hub, message, model, **more):
    status, run = hub.ask("POST", "/api/chat", {"message": message, "model": model, **more})
    assert status == 202, run
    headers = {"Authorization": f"Bearer {hub.token}"}
    with httpx2.Client(trust_env=False, timeout=30) as client:
        text = client.get(f"{hub.url}/api/chat/runs/{run['run']}/events", headers=headers).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_uses_two_tools_at_once_and_goes_on_with_what_they_said(hub, mock, provider):
    events = events_of(hub, "Please do both", f"{provider}/some-model")
    assert events[-1]["state"] == "done", events
    ends = {one["text"] for one in events if one["type"] == "tool_end"}
    assert ends == {"5", "6"}
    assert "".join(one["text"] for one in events if one["type"] == "delta") == "Five and six."
    assert (events[-1]["model_calls"], events[-1]["tool_calls"]) == (2, 2)
    used = [one for one in events if one["type"] == "usage"]
    assert [one["cost_usd"] for one in used] == ["0.000046"] * 2, "at $1 and $5 a million"
    assert events[-1]["cost_usd"] == "0.000092"
    journal = httpx2.get(f"{mock}/__aimock/journal", trust_env=False).json()
    asked = [one for one in journal if one["method"] == "POST"]
    assert {one["response"]["status"] for one in asked} == {200}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_it_answered_costs_what_the_provider_counted(hub, mock, provider):
    events = events_of(hub, "hello", f"{provider}/plain")
    assert "".join(one["text"] for one in events if one["type"] == "delta") == "Hi there!"
    by = hub.get("/api/usage/by-session")["groups"]
    (own,) = [one for one in by if one["name"] == events[0]["run"]]
    assert (own["input_tokens"], own["output_tokens"]) == (11, 7)
    assert own["cost_usd"] == events[-1]["cost_usd"]


def test_a_conversation_goes_on_with_another_provider(hub):
    first = events_of(hub, "Please do both", "openai/m")
    more = {"conversation": first[0]["conversation"]}
    for provider in ("anthropic", "google", "openai"):
        events = events_of(hub, "hello", f"{provider}/m", **more)
        assert "".join(one["text"] for one in events if one["type"] == "delta") == "Hi there!"
    until(lambda: hub.get("/api/usage/budgets")["budgets"][0]["reserved_usd"] == "0.00")
