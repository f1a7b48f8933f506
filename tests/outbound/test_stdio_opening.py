"""Finding out which era a stdio server speaks."""

from collections.abc import Mapping
from itertools import count

import msgspec
import pytest

from agenthub.domain.call import Era
from agenthub.outbound.mcp_message import Message, parse
from agenthub.outbound.stdio_opening import SAID_MAX, Opened, Opening, Unfit

INITIALIZED = {
    "protocolVersion": "2025-03-26",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "old"},
}


def opening(*, initialize_first: bool = False) -> Opening:
    return Opening(count(1).__next__, initialize_first=initialize_first)


def method(data: bytes) -> str:
    return msgspec.json.decode(data)["method"]


def answer(number: int, **parts: object) -> Message:
    message = parse(msgspec.json.encode({"jsonrpc": "2.0", "id": number, **parts}))
    assert message is not None
    return message


def error(number: int, code: int, data: Mapping[str, object] | None = None) -> Message:
    return answer(number, error={"code": code, "message": "no", **({"data": data} if data else {})})


def test_a_discover_result_is_modern():
    one = opening()
    assert method(one.begin()) == "server/discover"
    assert not one.heard
    result = {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "instructions": "hi",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "new"}},
    }
    assert one.answered(answer(1, result=result)) == Opened(
        Era.MODERN, "2026-07-28", b'{"name":"new"}', b'{"tools":{}}', "hi"
    )
    assert one.heard


@pytest.mark.parametrize("name", ["capabilities", "serverInfo"])
def test_who_says_too_much_of_itself_is_not_taken(name):
    """Each client is told of it."""
    said = {**INITIALIZED, name: {"x": "x" * SAID_MAX}}
    one = opening(initialize_first=True)
    one.begin()
    assert name in one.answered(answer(1, result=said)).problem


def test_instructions_are_cut():
    one = opening(initialize_first=True)
    one.begin()
    opened = one.answered(answer(1, result={**INITIALIZED, "instructions": "x" * SAID_MAX + "y"}))
    assert opened.instructions == "x" * SAID_MAX


def test_any_other_error_is_followed_by_initialize():
    for code in (-32601, -32602, -32600, -32000, 1):
        one = opening()
        one.begin()
        data = one.answered(error(1, code))
        assert isinstance(data, bytes)
        assert msgspec.json.decode(data)["params"]["protocolVersion"] == "2025-11-25"
        assert one.answered(answer(2, result=INITIALIZED)) == Opened(
            Era.LEGACY, "2025-03-26", b'{"name":"old"}', b'{"tools":{}}'
        )


def test_an_unsupported_version_that_names_ours_or_none_is_modern():
    for data in ({"supported": ["2026-07-28"]}, None):
        one = opening()
        one.begin()
        assert one.answered(error(1, -32022, data)) == Opened(Era.MODERN, "2026-07-28")


def test_an_unsupported_version_that_names_old_ones_is_followed_by_initialize():
    one = opening()
    one.begin()
    data = one.answered(error(1, -32022, {"supported": ["2025-11-25"]}))
    assert isinstance(data, bytes)
    assert method(data) == "initialize"


def test_a_server_from_the_future_is_named():
    one = opening()
    one.begin()
    unfit = one.answered(error(1, -32022, {"supported": ["2027-01-01"]}))
    assert isinstance(unfit, Unfit)
    assert "2027-01-01" in unfit.problem


def test_after_silence_both_are_tried_and_the_first_answer_wins():
    one = opening()
    one.begin()
    assert method(one.silent()) == "initialize"
    assert one.silent() == b""
    assert one.answered(error(1, -32601)) is None, "initialize is under way already"
    assert isinstance(one.answered(answer(2, result=INITIALIZED)), Opened)


def test_initialize_first_falls_back_to_discover():
    one = opening(initialize_first=True)
    assert method(one.begin()) == "initialize"
    data = one.answered(error(1, -32601))
    assert isinstance(data, bytes)
    assert method(data) == "server/discover"
    modern = {"supportedVersions": ["2026-07-28"]}
    assert isinstance(one.answered(answer(2, result=modern)), Opened)


def test_a_server_that_answers_whatever_it_is_asked_is_initialized():
    one = opening()
    one.begin()
    assert method(one.answered(answer(1, result={}))) == "initialize"
    assert one.answered(answer(2, result=INITIALIZED)).era is Era.LEGACY


def test_after_silence_of_initialize_discover_is_tried():
    one = opening(initialize_first=True)
    one.begin()
    assert method(one.silent()) == "server/discover"


def test_who_refuses_both_is_unfit():
    one = opening()
    one.begin()
    one.answered(error(1, -32601))
    unfit = one.answered(answer(2, error={"code": 5}))
    assert unfit == Unfit("it refused both ways to begin (server/discover: no; initialize: 5)")


def test_an_answer_without_result_and_error_is_a_refusal():
    one = opening()
    one.begin()
    assert isinstance(one.answered(answer(1)), bytes)
    assert isinstance(one.answered(answer(2)), Unfit)


def test_a_first_answer_of_the_wrong_shape_is_unfit():
    one = opening(initialize_first=True)
    one.begin()
    unfit = one.answered(answer(1, result={"protocolVersion": 7}))
    assert isinstance(unfit, Unfit)
    assert "wrong shape" in unfit.problem


def test_answers_to_others_are_not_its_own():
    one = opening()
    one.begin()
    for odd in (7, "1", None):
        message = parse(msgspec.json.encode({"id": odd, "result": {}}))
        assert message is not None
        assert one.answered(message) is None
    assert not one.heard
