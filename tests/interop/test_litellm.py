"""LiteLLM as it is released, proxy and SDK, tells a real hub what its calls used and cost.

Three ways: its own callback `generic_api`, and the hub's logger in the proxy and in a program. Each
has a key of its own, so that the ledger tells them apart. What LiteLLM says that a call cost is
what the hub booked, to the nano-dollar.
"""

import json
import os
import subprocess
from contextlib import closing
from decimal import Decimal

import httpx2
import pytest
from support.interop_clients import INSTALLED, INTEROP, ROOT, environment, free_port
from support.priced_provider import PricedProvider
from support.serve_hub import serving, until

BIN = INSTALLED / "litellm" / "bin"
MASTER = "sk-" + "m" * 40
START_S, CLIENT_S = 90, 120
ASKED = [{"role": "user", "content": "hello"}]
NAMES = {"chat": "gpt-5.5", "messages": "claude-sonnet-4-5"}


def settings(provider, hub, key):
    models = [
        {"model_name": "gpt-5.5", "litellm_params": {
            "model": "openai/gpt-5.5", "api_base": f"{provider}/v1", "api_key": "x"}},
        {"model_name": "claude-sonnet-4-5", "litellm_params": {
            "model": "anthropic/claude-sonnet-4-5", "api_base": provider, "api_key": "x"}},
        {"model_name": "by-the-hub", "litellm_params": {
            "model": "openai/fast", "api_base": f"{hub.url}/v1", "api_key": hub.token}},
    ]  # fmt: skip
    return {
        "model_list": models,
        "litellm_settings": {"callbacks": ["hub", "agenthub.integrations.litellm.hub"]},
        "callback_settings": {"hub": {
            "callback_type": "generic_api", "endpoint": f"{hub.url}/api/ingest/litellm",
            "headers": {"Authorization": f"Bearer {key}"},
        }},
    }  # fmt: skip


@pytest.fixture(scope="module")
def provider():
    with closing(PricedProvider()) as provider:
        yield provider.url


@pytest.fixture(scope="module")
def hub(tmp_path_factory, provider):
    home = tmp_path_factory.mktemp("told") / "hub"
    home.mkdir()
    (home / "agenthub.yaml").write_text(f"""
endpoints:
  p: {{url: {provider}/v1, llm: {{provider: openai, wires: [chat], models: [gpt-5.5]}}}}
models: {{fast: [p/gpt-5.5]}}
""")  # fmt: skip
    with serving(home) as served:
        yield served


@pytest.fixture(scope="module")
def keys(hub):
    made = {}
    for name in ("generic", "logger", "sdk"):
        status, said = hub.ask("POST", "/api/keys", {"name": name, "scopes": ["ingest"]})
        assert status == 201, said
        made[name] = (said["id"], said["key"])
    return made


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, provider, hub, keys):
    folder = tmp_path_factory.mktemp("litellm")
    file = folder / "config.yaml"
    file.write_text(json.dumps(settings(provider, hub, keys["generic"][1])))
    port = free_port()
    environ = {
        **environment(), "PYTHONPATH": str(ROOT / "src"), "LITELLM_MASTER_KEY": MASTER,
        "AGENTHUB_URL": hub.url, "AGENTHUB_INGEST_KEY": keys["logger"][1],
        "AGENTHUB_SPOOL": str(folder / "spool"), "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",
    }  # fmt: skip
    command = [BIN / "litellm", "--config", file, "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=environ,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _lives(process, url, log), START_S, what="LiteLLM's proxy")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _lives(process, url, log):
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        return httpx2.get(f"{url}/health/liveliness", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def ask(proxy, model, *, stream=False):
    """What it cost, as LiteLLM says in a header of an answer that is no stream."""
    body = {"model": model, "messages": ASKED, "max_tokens": 99, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    headers = {"Authorization": f"Bearer {MASTER}"}
    with httpx2.Client(trust_env=False, timeout=30) as client:
        answer = client.post(f"{proxy}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return None if stream else Decimal(answer.headers["x-litellm-response-cost"])


def booked(hub, key):
    """Model and cost of each call under a key."""
    calls = hub.get(f"/api/usage/calls?period=month&limit=500&key={key}")["calls"]
    assert {one["source"] for one in calls} <= {"litellm"}
    assert {one["basis"] for one in calls} <= {"ingested"}
    assert all(one["price_ref"].startswith("catalog:") for one in calls)
    return sorted((one["model"], Decimal(one["cost_usd"])) for one in calls)


@pytest.fixture(scope="module")
def costs(proxy):
    """Of one call of each model; each was asked once so and once as a stream."""
    found = {model: ask(proxy, model) for model in NAMES.values()}
    for model in NAMES.values():
        ask(proxy, model, stream=True)
    return found


@pytest.mark.parametrize("way", ["generic", "logger"])
def test_what_the_proxy_tells_is_booked_once_and_costs_what_it_says(hub, keys, costs, way):
    expected = sorted((model, cost) for model, cost in costs.items() for _ in range(2))
    until(lambda: len(booked(hub, keys[way][0])) >= len(expected), 30, what="the reports")
    assert booked(hub, keys[way][0]) == expected


def test_what_the_proxy_sent_to_the_hub_itself_is_in_its_books_once(hub, proxy, keys, costs):
    def calls():
        return hub.get("/api/usage/calls?period=month&limit=500")["calls"]

    known = len(calls())
    ask(proxy, "by-the-hub")
    ask(proxy, "gpt-5.5")  # whose two reports come after
    until(lambda: len(calls()) >= known + 3, 30, what="the reports")
    new = calls()[: len(calls()) - known]
    assert sorted(one["source"] for one in new) == ["litellm", "litellm", "proxy"]


def test_what_a_program_with_the_sdk_tells_is_booked_once_and_costs_what_it_says(
    hub, provider, keys, tmp_path
):
    environ = {
        **environment(), "PYTHONPATH": str(ROOT / "src"), "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    done = subprocess.run(
        [BIN / "python", INTEROP / "client_litellm.py", provider, hub.url, keys["sdk"][1],
         tmp_path / "spool"],
        capture_output=True, text=True, timeout=CLIENT_S, check=False, env=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chat, again, messages, anew = (Decimal(repr(cost)) for cost in json.loads(done.stdout))
    assert (chat, messages) == (again, anew)
    expected = sorted([("gpt-5.5", chat)] * 3 + [("claude-sonnet-4-5", messages)] * 3)
    until(lambda: len(booked(hub, keys["sdk"][0])) >= 6, 30, what="the reports")
    assert booked(hub, keys["sdk"][0]) == expected
    assert os.listdir(tmp_path / "spool") == []  # noqa: PTH208 - names are enough
