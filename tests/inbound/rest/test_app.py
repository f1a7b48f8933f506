"""What holds for every route: who may, how errors look, what is described."""

import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.rest_hub import ADMIN, LIMITED, READER, USER, RestServer

from agenthub.domain.caller import Caller
from agenthub.domain.endpoint import Endpoint
from agenthub.health import ServerHealth
from agenthub.inbound.rest.health import HealthDoor

ROUTES = [
    ("GET", "/api/endpoints", "read"),
    ("POST", "/api/endpoints", "admin"),
    ("GET", "/api/endpoints/calculator", "read"),
    ("PUT", "/api/endpoints/calculator", "admin"),
    ("DELETE", "/api/endpoints/calculator", "admin"),
    ("POST", "/api/endpoints/calculator/test", "admin"),
    ("GET", "/api/tools", "tools"),
    ("POST", "/api/tools/call", "tools"),
    ("GET", "/api/gateway/circuit-breakers", "read"),
    ("GET", "/api/gateway/circuit-breaker/calculator", "read"),
    ("PUT", "/api/gateway/circuit-breaker/calculator/config", "admin"),
    ("POST", "/api/gateway/circuit-breaker/calculator/open", "admin"),
    ("POST", "/api/gateway/circuit-breaker/calculator/close", "admin"),
    ("POST", "/api/gateway/circuit-breaker/calculator/reset", "admin"),
    ("GET", "/api/gateway/metrics", "read"),
    ("GET", "/api/calls", "read"),
    ("GET", "/api/events", "read"),
    ("GET", "/api/keys", "admin"),
    ("POST", "/api/keys", "admin"),
    ("DELETE", "/api/keys/k0", "admin"),
    ("GET", "/api/tools/pending", "read"),
    ("POST", "/api/tools/approve", "admin"),
    ("PUT", "/api/keys/k0/terms", "admin"),
    ("POST", "/api/keys/k0/rotate", "admin"),
    ("POST", "/api/endpoints/calculator/login", "admin"),
    ("GET", "/api/endpoints/calculator/login", "admin"),
    ("DELETE", "/api/endpoints/calculator/login", "admin"),
    ("POST", "/api/ingest/litellm", "ingest"),
    ("GET", "/api/views", "read"),
    ("POST", "/api/views", "admin"),
    ("GET", "/api/views/view0", "read"),
    ("PUT", "/api/views/view0", "admin"),
    ("DELETE", "/api/views/view0", "admin"),
    ("GET", "/api/usage/summary", "read"),
    ("GET", "/api/usage/by-model", "read"),
    ("GET", "/api/usage/calls", "read"),
    ("GET", "/api/usage/calls/c0", "read"),
    ("GET", "/api/usage/reconcile", "admin"),
    ("POST", "/api/usage/reconcile/c0", "admin"),
    ("GET", "/api/usage/entries", "admin"),
    ("POST", "/api/usage/rebuild", "admin"),
    ("GET", "/api/usage/budget", "read"),
    ("PUT", "/api/usage/budget", "admin"),
    ("GET", "/api/usage/alerts", "read"),
    ("GET", "/api/usage/budgets", "read"),
    ("POST", "/api/usage/budgets", "admin"),
    ("GET", "/api/usage/budgets/b0", "read"),
    ("PUT", "/api/usage/budgets/b0", "admin"),
    ("DELETE", "/api/usage/budgets/b0", "admin"),
    ("POST", "/api/usage/budgets/b0/suspend", "admin"),
    ("POST", "/api/usage/budgets/b0/credit", "admin"),
    ("POST", "/api/chat", "llm"),
    ("GET", "/api/chat/runs/r0", "llm"),
    ("GET", "/api/chat/runs/r0/events", "llm"),
    ("POST", "/api/chat/runs/r0/cancel", "llm"),
    ("POST", "/api/chat/runs/r0/approve", "llm"),
    ("POST", "/api/chat/runs/r0/answer", "llm"),
    ("GET", "/api/chat/conversations", "llm"),
    ("GET", "/api/chat/conversations/v0", "llm"),
    ("PUT", "/api/chat/conversations/v0", "llm"),
    ("DELETE", "/api/chat/conversations/v0", "llm"),
    ("GET", "/api/chat/conversations/v0/export", "llm"),
    ("GET", "/api/check", "read"),
    ("GET", "/metrics", "read"),
]
BODIES = [
    route
    for route in ROUTES
    if route[0] in {"POST", "PUT"} and not route[1].endswith(("/test", "/rebuild", "/cancel"))
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_each_route_needs_its_scope_and_nothing_less(rest, hub, method, path, scope):
    callers = {"read": READER, "tools": USER}
    lacking = [caller for name, caller in callers.items() if name != scope]
    for caller in [*lacking, Caller("none", frozenset()), None]:
        answer = await rest(method, path, as_=caller)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert hub.gateway.calls == []
    assert set(hub.catalog.all) == {"calculator", "other"}


QUERY = st.dictionaries(
    st.sampled_from(["limit", "before", "endpoint", "outcome", "caller", "seconds", "event", "x"]),
    st.sampled_from(["-1", "0", "1", "1e9", "9" * 30, "NaN", "' OR 1=1 --", "%00", "\u2028", ""]),
    max_size=3,
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False,
        allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip
FIELDS = """name url command env headers fallbacks fallback_url rate_limit breaker timeouts tools
tool server arguments deadline_ms idempotency_key reason ttl_s scopes endpoints failure_threshold
recovery_timeout_ms terms names allow deny read_only search instructions views
endpoint pinning""".split()  # noqa: SIM905 - they read better so
BODY = st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=5) | VALUE
NAME = st.just("calculator") | st.sampled_from(
    ["other", "nothing", "'", "%00", "..%2f", "a" * 300, "%F0%9F%92%A9"]
)


@pytest.mark.parametrize(("method", "path", "scope"), [r for r in ROUTES if "events" not in r[1]])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=st.just({}) | QUERY, body=BODY, name=NAME)
async def test_nothing_that_is_sent_makes_a_bug(  # noqa: PLR0917
    rest, hub, method, path, scope, query, body, name
):
    """A52: what is odd is refused, and what is refused is a problem."""
    hub.catalog.all["calculator"] = RestServer(Endpoint("calculator", url="http://x.test/"))
    path = path.replace("calculator", name).replace("k0", name).replace("view0", name)
    more = {} if method == "GET" else {"json": body}
    answer = await rest(method, path, params=query, **more)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_list_of_routes_is_whole(rest):
    paths = (await rest.get("/openapi.json")).json()["paths"]
    described = {(m.upper(), p) for p, operations in paths.items() for m in operations}
    known = {
        (m, p.replace("/calculator", "/{name}").replace("/k0", "/{key_id}")
              .replace("/view0", "/{name}").replace("/c0", "/{name}").replace("/b0", "/{name}")
              .replace("/by-model", "/by-{group}").replace("/r0", "/{run}")
              .replace("/v0", "/{name}"))
        for m, p, _ in ROUTES
    }  # fmt: skip
    assert described == known


@pytest.mark.parametrize(("method", "path", "scope"), BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'{"a":1,"a":2}', b'{"x":NaN}', b'{"x":1e999}', b'{"x":-Infinity}',
        b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"name":"\xed\xa0\x80"}',
        b'{"x":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
async def test_a_body_that_is_no_strict_json_is_refused(rest, method, path, scope, body):
    answer = await rest(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] in {"invalid_params", "bad_json"}
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json"])
async def test_a_form_of_another_site_is_no_body(rest, kind):
    answer = await rest(
        "POST", "/api/keys", content=b'{"name":"x"}', headers={"content-type": kind}
    )
    assert answer.status_code == 400
    assert "content-type" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/endpoints/", 404),
        ("GET", "/api/../etc/passwd", 404),
        ("PATCH", "/api/endpoints", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/docs", 404),
    ],
)
async def test_unknown_addresses_and_methods_are_problems(rest, method, path, status):
    answer = await rest(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"]
    if status == 405:
        assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_unknown_parameters_are_refused(rest, method, path, scope):
    answer = await rest(method, f"{path}?surprise=1")
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "'surprise': unknown query parameter",
    )


async def test_a_bug_is_a_plain_500_with_an_id_and_a_line_in_the_log(rest, hub, caplog):
    """A49."""
    hub.store.page = RuntimeError("/secret/path SELECT canary")
    answer = await rest.get("/api/calls")
    problem = answer.json()
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["detail"]) == ("internal", "Something went wrong in the hub")
    assert "canary" not in answer.text
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.request_id == problem["request_id"]
    assert "canary" in caplog.text


async def test_the_description_names_all_and_holds_no_secret(rest):
    answer = await rest.get("/openapi.json")
    described = answer.json()
    assert described["info"]["title"] == "AgentHub"
    schemas = described["components"]["schemas"]
    assert {"Endpoint", "EndpointView", "BreakerConfig", "Problem", "CallEnded"} <= set(schemas)
    assert "HTTPValidationError" not in schemas
    references = {part.split('"')[0] for part in answer.text.split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
    create = described["paths"]["/api/endpoints"]["post"]
    assert create["operationId"] == "add_endpoint"
    assert set(create["responses"]) == {"201", "4XX", "5XX"}
    body = create["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Endpoint"}
    ids = [op["operationId"] for ops in described["paths"].values() for op in ops.values()]
    assert len(ids) == len(set(ids))
    assert (await rest.get("/openapi.json")).content == answer.content


async def test_what_is_counted_is_shown(rest, hub):
    hub.metrics.call_ended("calculator", "ok", 1_000_000, 1)
    shown = (await rest.get("/api/gateway/metrics")).json()
    assert shown["endpoints"]["calculator"]["outcomes"] == {"ok": 1}
    page = await rest.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'agenthub_calls_total{endpoint="calculator",outcome="ok"} 1' in page.text
    for path in ("/metrics", "/api/gateway/metrics"):
        assert (await rest.get(path, as_=LIMITED)).status_code == 403


async def test_the_check_says_of_each_server_what_it_is_and_how_it_is(rest, hub):
    hub.health.status = "degraded"
    hub.health.servers = {"other": ServerHealth("down", "port refused")}
    shown = (await rest.get("/api/check")).json()
    assert (shown["status"], shown["reasons"]) == ("degraded", ["other: port refused"])
    assert shown["servers"][1] == {
        "name": "other",
        "health": "down",
        "reason": "port refused",
        "hint": "",
        "transport": "http",
        "era": "modern",
        "timeouts_ms": {"connect": 5_000, "idle": 60_000, "call": 60_000},
        "breaker": "closed, opens after 5 failures",
        "limit": "5 calls/s, 10 at once",
        "fallbacks": [],
        "sign_in": None,
    }
    limited = (await rest.get("/api/check", as_=LIMITED)).json()
    assert [line["name"] for line in limited["servers"]] == ["calculator"]
    assert limited["reasons"] == []


class TestHealth:
    async def ask(self, hub, path, method="GET", caller=None):
        sent = []

        async def send(message):
            sent.append(message)

        state = {} if caller is None else {"caller": caller}
        scope = {"type": "http", "method": method, "path": path, "state": state}
        await HealthDoor(hub.health)(scope, None, send)
        body = sent[1]["body"]
        return sent[0]["status"], json.loads(body) if body else None

    async def test_the_hub_lives_whatever_its_servers_do(self, hub):
        hub.health.status = "down"
        assert await self.ask(hub, "/healthz") == (200, {"status": "ok"})
        assert await self.ask(hub, "/healthz", "HEAD") == (200, None)
        assert await self.ask(hub, "/healthz", "POST") == (405, None)

    @pytest.mark.parametrize(("status", "code"), [("ok", 200), ("degraded", 200), ("down", 503)])
    async def test_ready_means_that_calls_can_be_answered(self, hub, status, code):
        hub.health.status, hub.health.own = status, ("other: port refused",)
        shown = {"status": status, "reasons": ["other: port refused"]}
        assert await self.ask(hub, "/readyz", caller=READER) == (code, shown)
        assert await self.ask(hub, "/readyz", caller=ADMIN) == (code, shown)

    async def test_only_an_admin_hears_what_a_server_said_on_stderr(self, hub):
        """A48."""
        hub.health.status = "degraded"
        hub.health.servers = {"other": ServerHealth("down", "exited with code 1", "its words")}
        _, shown = await self.ask(hub, "/readyz", caller=READER)
        assert shown["reasons"] == ["other: exited with code 1"]
        _, shown = await self.ask(hub, "/readyz", caller=ADMIN)
        assert shown["reasons"] == ["other: exited with code 1: its words"]

    @pytest.mark.parametrize("caller", [None, LIMITED, USER])
    async def test_who_may_not_see_the_servers_hears_no_reasons(self, hub, caller):
        """A50."""
        hub.health.status, hub.health.own = "degraded", ("other: port refused",)
        assert await self.ask(hub, "/readyz", caller=caller) == (200, {"status": "degraded"})


def test_fastapi_is_not_loaded_before_it_is_needed():
    code = (
        "import sys, agenthub.inbound.rest, agenthub.inbound.rest.health;"
        "sys.exit(any(m.partition('.')[0] in {'fastapi', 'pydantic', 'starlette'}"
        " for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
