"""Attacks on the door of models, through a hub that runs: money, addresses, loops."""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pytest
from support.serve_hub import config, serving, until

ASKED = [{"role": "user", "content": "Good morning"}]
INSIDE = "http://169.254.169.254/latest/meta-data"
KEY = "sk-operator"


class Provider(ThreadingHTTPServer):
    """One that answers anything, and keeps what it was asked; `agent` asks the hub again."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked, self.agent = [], None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.say({"data": [{"id": "small"}]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, dict(self.headers.items()), json.loads(body)))
        if self.server.agent is not None:
            self.server.agent(self.headers)
        usage = {"prompt_tokens": 5, "completion_tokens": 5}
        message = {"role": "assistant", "content": "Hi"}
        self.say({"model": "small", "choices": [{"message": message}], "usage": usage})

    def say(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing is printed."""


@pytest.fixture(scope="module")
def provider():
    with Provider() as one:
        yield one
        one.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, provider):
    home = tmp_path_factory.mktemp("attacks") / "hub"
    config(home, f"""
endpoints:
  mine:
    url: {provider.url}/v1
    headers: {{Authorization: Bearer {KEY}}}
    llm: {{wires: [chat, messages], models: [small]}}
  few:
    url: {provider.url}/v1
    llm: {{wires: [chat], is_free: true}}
    rate_limit: {{rps: 0.001, burst: 3}}
  demo: {{llm: {{preset: demo}}}}
prices:
  - {{provider: mine, model: small, input: "1.00", output: "5.00"}}
""")  # fmt: skip
    with serving(home) as served:
        until(lambda: served.server("mine")["health"] == "ok", what="the provider")
        until(lambda: served.server("demo")["health"] == "ok", what="the demo model")
        yield served


def chat(hub, model="demo/demo-1", token=None, **more):
    body = {"model": model, "messages": ASKED, **more}
    return hub.ask("POST", "/v1/chat/completions", body, token=token)


def charges(hub):
    return hub.get("/api/usage/calls?limit=200")["calls"]


def nano(text):
    whole, _, part = text.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))


LIMITS = [
    ("/v1/chat/completions", "{%s}", "max_tokens"),
    ("/v1/chat/completions", "{%s}", "max_completion_tokens"),
    ("/v1/chat/completions", "{%s}", "n"),
    ("/v1/responses", "{%s}", "max_output_tokens"),
    ("/v1/messages", "{%s}", "max_tokens"),
    ("/v1beta/models/mine/small:generateContent", '{"generationConfig":{%s}}', "maxOutputTokens"),
    ("/v1beta/models/mine/small:streamGenerateContent", '{"generation_config":{%s}}',
     "max_output_tokens"),
    ("/v1beta/models/mine/small:generateContent", '{"generationConfig":{%s}}', "candidateCount"),
]  # fmt: skip
CANNOT_BE = ["-1", "1.5", '"5"', '"NaN"', "NaN", "1e9", "-1e9999", "true", "[]", str(10**9)]
CANNOT_BE += [str(2**70), "1" * 5_000]


def raw(hub, path, body):
    """The status, and the words of the error in whatever shape."""
    line = hub.connection()
    headers = {"Authorization": f"Bearer {hub.token}", "Content-Type": "application/json"}
    line.request("POST", path, body, headers)
    answer = line.getresponse()
    status, said = answer.status, json.loads(answer.read())
    line.close()
    return status, said["error"]


@pytest.mark.parametrize(("path", "shape", "name"), LIMITS)
def test_a41_a_longest_answer_that_cannot_be_is_refused(hub, provider, path, shape, name):
    """In every wire, in words with the field's name; what is no JSON number is no JSON."""
    before = len(provider.asked)
    for most in CANNOT_BE:
        body = shape % f'"model":"mine/small","messages":[],"{name}":{most}'
        status, error = raw(hub, path, body)
        assert (status, error.get("type") or error["status"]) in {
            (400, "invalid_request_error"), (400, "INVALID_ARGUMENT"),
        }, most  # fmt: skip
        is_json = most not in {"NaN", "-1e9999", str(2**70), "1" * 5_000}
        words = f"{name}: expected a whole number from" if is_json else ""
        assert words in error["message"], most
        assert error["message"]
    assert len(provider.asked) == before


@pytest.mark.parametrize("name", ["Demo/demo-1", "demo/DEMO-1", "demo/demo-1 ", "d\u0435mo/demo-1"])
def test_a41_another_spelling_of_a_model_is_no_cheaper_one(hub, provider, name):
    before = len(provider.asked)
    assert chat(hub, name)[0] in {400, 403, 404}
    assert len(provider.asked) == before


def test_a41_a_hundred_at_the_last_cent_are_never_over(hub):
    until(lambda: all(one["state"] in {"settled", "released"} for one in charges(hub)))
    spent = sum(nano(one["cost_usd"] or "0") for one in charges(hub))
    limit = spent + 20 * 10**5
    text = f"{limit // 10**9}.{limit % 10**9:09}"
    budget = {"id": "cent", "limit_usd": text, "blocked": 100}
    assert hub.ask("POST", "/api/usage/budgets", budget)[0] == 201
    try:
        with ThreadPoolExecutor(20) as crowd:
            told = list(crowd.map(lambda _: chat(hub, max_tokens=20)[0], range(100)))
        assert set(told) <= {200, 403}
        assert 0 < told.count(200) < 100
        until(lambda: all(one["state"] in {"settled", "released"} for one in charges(hub)))
        status = hub.get("/api/usage/budgets/cent")
        assert nano(status["spent_usd"]) <= limit
        assert chat(hub, max_tokens=200)[1]["error"]["type"] == "budget_exceeded"
    finally:
        assert hub.ask("DELETE", "/api/usage/budgets/cent")[0] == 204


def test_a42_a_limit_holds_whatever_the_headers_say(hub):
    status, made = hub.ask("POST", "/api/keys", {"name": "few", "scopes": ["llm"]})
    assert status == 201, made
    told = []
    for number in range(8):
        line = hub.connection()
        headers = {
            "x-api-key": made["key"], "Content-Type": "application/json",
            "X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.1.{number}",
        }  # fmt: skip
        body = {"model": "few/small", "messages": ASKED}
        line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        told.append(line.getresponse().status)
        line.close()
    assert told == [200] * 3 + [429] * 5


def test_a43_an_agent_that_asks_itself_through_the_hub_comes_to_an_end(hub, provider):
    told = []

    def agent(headers):
        host = hub.url.removeprefix("http://")
        line = http.client.HTTPConnection(host, timeout=20)
        passed = {
            "Authorization": f"Bearer {hub.token}", "Content-Type": "application/json",
            "X-AgentHub-Hops": headers["X-AgentHub-Hops"],
        }  # fmt: skip
        body = json.dumps({"model": "mine/small", "messages": ASKED})
        line.request("POST", "/v1/chat/completions", body, passed)
        answer = line.getresponse()
        told.append((answer.status, answer.read()))
        line.close()

    before, provider.agent = len(provider.asked), agent
    try:
        assert chat(hub, "mine/small")[0] == 200
    finally:
        provider.agent = None
    assert told[0][0] == 400
    assert b"loop" in told[0][1]
    assert len(provider.asked) - before == 8


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "api_key", "extra_headers", "azure_endpoint", "proxy"]
)
def test_a57_nothing_in_a_request_leads_it_elsewhere(hub, provider, name):
    before = len(provider.asked)
    status, said = chat(hub, "mine/small", **{name: INSIDE})
    assert status == 400
    assert name in said["error"]["message"]
    assert len(provider.asked) == before


@pytest.mark.parametrize("model", ["../", "mine/../x", "mine//x", "..", "mine/small?x=1", ""])
def test_a57_no_model_is_a_path(hub, provider, model):
    before = len(provider.asked)
    assert chat(hub, model)[0] in {400, 404}
    assert len(provider.asked) == before


def test_a57_a_provider_sees_the_operators_key_and_none_of_the_clients(hub, provider):
    assert chat(hub, "mine/small", user="root", metadata={"a": "b"})[0] == 200
    path, headers, body = provider.asked[-1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert hub.token not in json.dumps([headers, body])
    assert (body["model"], body["user"], body["metadata"]) == ("small", "root", {"a": "b"})


def test_a58_addresses_in_a_message_are_the_providers_to_fetch(hub, provider):
    with Provider() as inside:
        image = {"type": "image_url", "image_url": {"url": f"{inside.url}/secret.png"}}
        asked = [{"role": "user", "content": [image, {"type": "text", "text": "see"}]}]
        body = {"model": "mine/small", "messages": asked}
        assert hub.ask("POST", "/v1/chat/completions", body)[0] == 200
        assert hub.ask("POST", "/v1/chat/completions", {**body, "model": "demo/demo-1"})[0] == 200
        assert inside.asked == []
        inside.shutdown()
    assert provider.asked[-1][2]["messages"] == asked


ODD = [
    "' OR 1=1 --",
    "x'); DROP TABLE charge;--",
    "%",
    "_",
    "*",
    "\x00",
    "\u2028",
    "9" * 30,
    "-1",
    "NaN",
]
NAMES = {"key", "team", "provider", "model", "endpoint", "tool", "source", "session", "caller"}
READ = [
    "/api/usage/summary", "/api/usage/calls", "/api/usage/by-key", "/api/usage/by-model",
    "/api/usage/by-session", "/api/calls", "/api/usage/entries", "/api/usage/reconcile",
]  # fmt: skip
FILTERS = [
    "key", "team", "provider", "model", "endpoint", "tool", "source", "session", "caller",
    "outcome", "limit", "before", "from", "to", "period", "tz", "group_by", "format",
]  # fmt: skip


@pytest.mark.parametrize("path", READ)
def test_a52_what_is_asked_of_the_ledger_is_a_value_and_never_a_statement(hub, path):
    assert chat(hub)[0] == 200
    until(lambda: charges(hub))
    before = {one["id"] for one in charges(hub)}
    for name in FILTERS:
        for value in ODD:
            status, said = hub.ask("GET", f"{path}?{urlencode({name: value})}")
            assert status in {200, 400}, (name, value, said)
            rows = (said or {}).get("calls", []) if name in NAMES else []
            assert not rows, f"{name}={value!r} matches nothing"
    assert {one["id"] for one in charges(hub)} == before
    assert hub.ask("POST", "/api/usage/rebuild", {})[1] == {"counters": 0, "slots": 0}


def test_a_path_that_models_have_not_is_told_in_the_wires_shape(hub):
    for path in (
        "/v1/batches",
        "/v1/messages/batches",
        "/v1beta/models/small:batchGenerateContent",
    ):
        status, error = raw(hub, path, "{}")
        assert (status, path in error["message"]) == (404, True)
