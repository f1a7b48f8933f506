"""aimock as a provider behind a real hub: what it says it answered is what the ledger holds."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from support.aimock import aimock
from support.serve_hub import config, serving, until

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
FIXTURES = [{"match": {"userMessage": "hello"}, "response": {"content": "Hi!", "usage": USAGE}}]
ASKED = [{"role": "user", "content": "hello"}]
BODIES = {
    "/v1/chat/completions": {"model": "gpt-5.5", "messages": ASKED},
    "/v1/responses": {"model": "gpt-5.5", "input": "hello"},
    "/v1/messages": {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": ASKED},
}
EACH = 10


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as address:
        yield address


@pytest.fixture(scope="module")
def hub(tmp_path_factory, mock):
    home = tmp_path_factory.mktemp("behind") / "hub"
    config(home, f"""
endpoints:
  mock:
    url: {mock}/v1
    llm: {{wires: [chat, responses, messages], models: ["gpt-*", "claude-*"]}}
prices:
  - {{provider: mock, model: gpt-5.5, input: "1.00", output: "5.00"}}
  - {{provider: mock, model: claude-sonnet-4-5, input: "1.00", output: "5.00"}}
""")  # fmt: skip
    with serving(home) as served:
        until(lambda: served.server("mock")["health"] == "ok", what="aimock")
        yield served


def ask(hub, path, *, stream):
    headers = {"Authorization": f"Bearer {hub.token}"}
    body = {**BODIES[path], "stream": stream}
    with httpx2.Client(trust_env=False, timeout=30) as client:
        answer = client.post(hub.url + path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return path


def test_what_it_answered_is_what_the_ledger_holds(hub, mock):
    wishes = [(path, stream) for path in BODIES for stream in (False, True)] * EACH
    with ThreadPoolExecutor(12) as crowd:
        asked = Counter(crowd.map(lambda wish: ask(hub, wish[0], stream=wish[1]), wishes))
    journal = httpx2.get(f"{mock}/__aimock/journal", trust_env=False).json()
    answered = [one for one in journal if one["method"] == "POST"]
    assert {one["response"]["status"] for one in answered} == {200}
    assert Counter(one["path"] for one in answered) == asked
    calls = hub.get("/api/usage/calls?limit=200")["calls"]
    assert Counter(one["model"] for one in calls) == Counter(
        one["body"]["model"] for one in answered
    )
    assert {(one["state"], one["basis"]) for one in calls} == {("settled", "provider")}
    assert {one["cost_usd"] for one in calls} == {"0.000046"}, "at $1 and $5 a million"
    total = hub.get("/api/usage/summary")["total"]
    assert (total["calls"], total["input_tokens"]) == (len(answered), 11 * len(answered))
