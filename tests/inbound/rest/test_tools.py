import pytest
from support.rest_hub import LIMITED, USER, Part

from agenthub.domain.endpoint import Endpoint, Timeouts, ToolPolicy
from agenthub.domain.errors import CircuitOpen
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND

CALL = "/api/tools/call"


async def test_tools_are_listed_also_of_servers_that_are_away(rest, hub):
    hub.catalog.all["other"].why = "circuit open"
    shown = (await rest.get("/api/tools", as_=USER)).json()["tools"]
    assert [(t["endpoint"], t["name"], t["unavailable"]) for t in shown] == [
        ("calculator", "add", ""),
        ("other", "add", "circuit open"),
    ]
    assert shown[0]["definition"] == {"name": "add", "inputSchema": {"type": "object"}}


async def test_tools_of_one_server(rest):
    shown = (await rest.get("/api/tools?endpoint=other")).json()["tools"]
    assert [t["endpoint"] for t in shown] == ["other"]
    assert (await rest.get("/api/tools?endpoint=none")).status_code == 404
    shown = (await rest.get("/api/tools", as_=LIMITED)).json()["tools"]
    assert [t["endpoint"] for t in shown] == ["calculator"]
    assert (await rest.get("/api/tools?endpoint=other", as_=LIMITED)).status_code == 404


async def test_a_server_without_lists_or_switched_off_offers_nothing(rest, hub):
    hub.catalog.all["other"].listing = None
    calculator = hub.catalog.all["calculator"]
    calculator.endpoint = Endpoint("calculator", url="http://x/", enabled=False)
    assert (await rest.get("/api/tools")).json() == {"tools": []}
    assert (await rest.get("/api/endpoints/other")).json()["listed_at_s"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"server": "calculator", "tool": "add", "arguments": {"a": 2}},
        {"tool": "calculator__add", "arguments": {"a": 2}},
    ],
)
async def test_a_call_goes_through_the_gateway(rest, hub, body):
    answer = await rest.post(CALL, body, as_=USER)
    assert answer.json() == {
        "result": {"content": []},
        "is_error": False,
        "served_by": "calculator",
        "attempts": 1,
        "request_id": "r-1",
    }
    (call,) = hub.gateway.calls
    assert (call.caller, call.door, call.endpoint, call.name) == (USER, "rest", "calculator", "add")
    assert bytes(call.params["arguments"]) == b'{"a":2}'
    assert bytes(call.params["name"]) == b'"add"'
    assert call.deadline == hub.clock.now() + 60_000 * MILLISECOND
    assert call.size_bytes > 0


@pytest.mark.parametrize(
    ("timeouts", "policy", "wish", "span"),
    [
        (60_000, None, None, 60_000),
        (60_000, 90_000, None, 90_000),
        (60_000, 500, None, 500),
        (60_000, None, 100, 100),
        (60_000, None, 10**15, 60_000),
        (900_000, None, None, 300_000),
    ],
)
async def test_the_shortest_time_counts(rest, hub, timeouts, policy, wish, span):
    """R40."""
    hub.catalog.all["calculator"].endpoint = Endpoint(
        "calculator",
        url="http://x/",
        timeouts=Timeouts(call_ms=timeouts),
        tools={"add": ToolPolicy(timeout_ms=policy)},
    )
    await rest.post(CALL, {"tool": "calculator__add", "deadline_ms": wish})
    assert hub.gateway.calls[0].deadline == hub.clock.now() + span * MILLISECOND


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "tool"),
        ({"tool": 5}, 400, "tool"),
        ({"tool": "add"}, 400, "server__tool"),
        ({"tool": "none__add"}, 404, "none"),
        ({"tool": "calculator__add", "arguments": []}, 400, "arguments"),
        ({"tool": "calculator__add", "deadline_ms": 0}, 400, "deadline_ms"),
        ({"tool": "calculator__add", "deadline_ms": "5"}, 400, "deadline_ms"),
        ({"tool": "calculator__add", "idempotency_key": ""}, 400, "idempotency_key"),
        ({"tool": "calculator__add", "idempotency_key": "k" * 257}, 400, "idempotency_key"),
        ({"tool": "calculator__add", "door": "mcp"}, 400, "door"),
    ],
)
async def test_a_wrong_call_is_refused_before_it_begins(rest, hub, body, status, words):
    answer = await rest.post(CALL, body)
    assert (answer.status_code, hub.gateway.calls) == (status, [])
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"idempotency_key": "k"}, {}),
        ({}, {"Idempotency-Key": "k"}),
        ({"idempotency_key": "k"}, {"Idempotency-Key": "other"}),
    ],
)
async def test_a_key_in_the_body_or_in_the_header_is_passed_on(rest, hub, body, headers):
    await rest.post(CALL, {"tool": "calculator__add", **body}, headers=headers)
    assert hub.gateway.calls[0].idempotency_key == "k"


async def test_a_limited_key_calls_its_servers_only(rest, hub):
    assert (await rest.post(CALL, {"tool": "other__add"}, as_=LIMITED)).status_code == 404
    hub.gateway.end.served_by = "other"
    answer = await rest.post(CALL, {"tool": "calculator__add"}, as_=LIMITED)
    assert answer.json()["served_by"] == "another"


async def test_a_refusal_of_the_hub_is_a_problem(rest, hub):
    hub.gateway.end = CircuitOpen(retry_after_ms=1_500, server="calculator", request_id="r-1")
    answer = await rest.post(CALL, {"tool": "calculator__add"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    problem = answer.json()
    assert (problem["code"], problem["retry_after_ms"]) == ("circuit_open", 1_500)
    assert (problem["executed"], problem["request_id"]) == ("no", "r-1")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (b'{"code":-32603,"message":"boom"}', "boom (-32603)"),
        (b'{"message":5}', " (-32603)"),
    ],
)
async def test_an_error_of_the_server_is_told_in_its_words(rest, hub, error, words):
    reply = Reply(Ending.ERROR, error=error, code=-32603)
    hub.gateway.end = Part(reply=reply, served_by="calculator", attempts=2)
    answer = await rest.post(CALL, {"tool": "calculator__add"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (502, "upstream_error")
    assert (problem["server"], problem["attempt_count"]) == ("calculator", 2)
    assert words in problem["detail"]


async def test_a_question_of_the_server_is_an_error_here(rest, hub):
    hub.gateway.end = Part(
        reply=Reply(Ending.RESULT, result=b"{}", result_type="input_required"),
        served_by="calculator", attempts=1,
    )  # fmt: skip
    answer = await rest.post(CALL, {"server": "calculator", "tool": "add"}, as_=USER)
    assert answer.status_code == 501
    assert answer.json()["code"] == "interactive_unsupported"
