"""Which era an HTTP server speaks, and from what that is never concluded."""

import msgspec
import pytest

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.outbound.http_opening import Failed, Opening, Step
from agenthub.outbound.stdio_opening import Opened

DISCOVERED = Reply(
    Ending.RESULT,
    result=b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"instructions":"hi"}',
)
INITIALIZED = Reply(Ending.RESULT, result=b'{"protocolVersion":"2025-06-18","capabilities":{}}')
ACCEPTED = Reply(Ending.STATUS, status=202)


def error(code: int, status: int = 400, data: object = None) -> Reply:
    body: dict[str, object] = {"code": code, "message": f"no {code}"}
    if data is not None:
        body["data"] = data
    return Reply(Ending.ERROR, error=msgspec.json.encode(body), code=code, status=status)


def status(number: int) -> Reply:
    return Reply(Ending.STATUS, status=number)


def discover() -> Opening:
    return Opening(initialize_first=False)


def test_a_result_that_names_no_version_is_none_of_a_modern_server():
    """As a server gives that answers whatever it is asked."""
    empty = Reply(Ending.RESULT, result=b"{}")
    opening = discover()
    assert opening.answered(empty, {}) is Step.INITIALIZE
    failed = opening.answered(error(-32601), {})
    assert "discover: it names no version" in failed.diagnosis.problem


def test_a_result_is_modern():
    opened = discover().answered(DISCOVERED, {})
    assert isinstance(opened, Opened)
    assert (opened.era, opened.version, opened.instructions) == (Era.MODERN, "2026-07-28", "hi")


@pytest.mark.parametrize(
    "reply",
    [
        error(-32020), error(-32021), error(-32022), error(-32601, 404),
        error(-32022, data={"supported": ["2026-07-28"], "requested": "x"}),
        error(-32022, data={"supported": "nonsense"}),
    ],
)  # fmt: skip
def test_a_recognised_modern_error_is_modern(reply: Reply):
    opened = discover().answered(reply, {})
    assert isinstance(opened, Opened)
    assert opened.era is Era.MODERN


@pytest.mark.parametrize(
    "reply",
    [
        error(-32600), error(-32000), error(-32602, 200), error(-32601, 200), error(-32603, 200),
        status(400), status(404), status(405), status(406), status(202),
        Reply(Ending.PROTOCOL, status=200, detail="HTTP 200 with 'text/html' is no answer"),
        error(-32022, data={"supported": ["2025-11-25"]}),
    ],
)  # fmt: skip
def test_any_other_answer_leads_to_initialize(reply: Reply):
    opening = discover()
    assert opening.answered(reply, {}) is Step.INITIALIZE
    assert opening.answered(INITIALIZED, {b"mcp-session-id": b"s1"}) is Step.INITIALIZED
    opened = opening.answered(ACCEPTED, {})
    assert isinstance(opened, Opened)
    assert (opened.era, opened.version) == (Era.LEGACY, "2025-06-18")
    assert opening.session == "s1"


TROUBLE = [
    *map(status, [301, 302, 307, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504, 529]),
    error(-32603, 500), error(-32000, 429), error(-32600, 401),
    Reply(Ending.LOST, loss=3, detail="lost"), Reply(Ending.TIMEOUT, detail="silent"),
    Reply(Ending.UNREACHED, Written.NONE, detail="refused"),
    Reply(Ending.TOO_LARGE, detail="large"),
]  # fmt: skip


@pytest.mark.parametrize("reply", TROUBLE)
@pytest.mark.parametrize("before", [[], [status(404)]])
def test_trouble_is_no_verdict(reply: Reply, before: list[Reply]):
    opening = discover()
    for earlier in before:
        opening.answered(earlier, {})
    failed = opening.answered(reply, {})
    assert isinstance(failed, Failed)
    assert failed.reply.written is Written.NONE, "what callers wanted was not sent"
    assert failed.reply.detail
    if reply.ending in {Ending.STATUS, Ending.ERROR}:
        assert (failed.reply.ending, failed.reply.status) == (Ending.STATUS, reply.status)
    else:
        assert (failed.reply.ending, failed.reply.loss) == (Ending.UNREACHED, reply.loss)


def test_a_pause_that_was_asked_for_is_told():
    reply = Reply(Ending.STATUS, status=429, retry_after_ms=2_000)
    failed = discover().answered(reply, {})
    assert isinstance(failed, Failed)
    assert failed.reply.retry_after_ms == 2_000


def test_a_known_old_server_is_initialized_first_and_else_discovered():
    opening = Opening(initialize_first=True)
    assert opening.step is Step.INITIALIZE
    assert opening.answered(error(-32601, 404), {}) is Step.DISCOVER
    assert isinstance(opening.answered(DISCOVERED, {}), Opened)


def test_a_server_that_refuses_both_ways_is_none():
    opening = discover()
    assert opening.answered(error(-32600), {}) is Step.INITIALIZE
    failed = opening.answered(error(-32602, 200), {})
    assert isinstance(failed, Failed)
    assert failed.reply.ending is Ending.UNREACHED
    assert "discover: no -32600; initialize: no -32602" in failed.diagnosis.problem


def test_an_address_without_an_endpoint_keeps_its_status():
    opening = discover()
    opening.answered(status(404), {})
    failed = opening.answered(status(404), {})
    assert isinstance(failed, Failed)
    assert (failed.reply.ending, failed.reply.status) == (Ending.STATUS, 404)
    assert "path" in failed.diagnosis.hint


def test_a_page_of_html_is_no_server():
    opening = discover()
    page = Reply(Ending.PROTOCOL, status=200, detail="HTTP 200 with 'text/html' is no answer")
    opening.answered(page, {})
    failed = opening.answered(page, {})
    assert isinstance(failed, Failed)
    assert "text/html" in failed.diagnosis.problem


def test_an_error_without_sense_is_named_by_its_code():
    opening = discover()
    broken = Reply(Ending.ERROR, error=b'{"code":-1}', code=-1, status=200)
    opening.answered(broken, {})
    failed = opening.answered(Reply(Ending.ERROR, error=b"[]", code=-2, status=200), {})
    assert isinstance(failed, Failed)
    assert "discover: -1; initialize: -2" in failed.diagnosis.problem


@pytest.mark.parametrize(
    ("result", "headers"),
    [
        (b'{"capabilities":{}}', {}),
        (b'{"protocolVersion":"1.0"}', {}),
        (b'{"protocolVersion":"2025-06-18\\r\\nX: y"}', {}),
        (b'{"protocolVersion":"2025-06-18"}', {b"mcp-session-id": b"a b"}),
        (b'{"protocolVersion":"2025-06-18"}', {b"mcp-session-id": b"\xff"}),
    ],
)
def test_an_unsound_initialize_result_is_refused(result: bytes, headers: dict):
    opening = Opening(initialize_first=True)
    failed = opening.answered(Reply(Ending.RESULT, result=result), headers)
    assert isinstance(failed, Failed)


def test_a_server_of_the_future_is_refused_in_words():
    failed = discover().answered(error(-32022, data={"supported": ["2031-01-01"]}), {})
    assert isinstance(failed, Failed)
    assert "2031-01-01" in failed.diagnosis.problem


@pytest.mark.parametrize(
    "reply", [ACCEPTED, status(200), status(400), error(-32601), Reply(Ending.PROTOCOL)]
)
def test_how_initialized_is_taken_does_not_matter(reply: Reply):
    opening = Opening(initialize_first=True)
    opening.answered(INITIALIZED, {})
    assert isinstance(opening.answered(reply, {}), Opened)


@pytest.mark.parametrize("reply", [status(503), Reply(Ending.LOST, loss=1, detail="lost")])
def test_trouble_after_initialize_is_trouble(reply: Reply):
    opening = Opening(initialize_first=True)
    opening.answered(INITIALIZED, {})
    assert isinstance(opening.answered(reply, {}), Failed)
