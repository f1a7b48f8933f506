"""MCP messages on a pipe."""

import json

import msgspec
import pytest
from msgspec import Raw

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending
from agenthub.domain.span import SECOND
from agenthub.outbound import mcp_message as wire
from agenthub.ports import Outgoing


def test_a_kind_of_result_that_an_old_server_made_up_is_taken_out():
    line = b'{"jsonrpc":"2.0","id":1,"result":{"a":1.0,"resultType":"task"}}'
    told = wire.of_old_server(wire.reply_of(wire.parse(line), line, 200))
    assert (told.result, told.result_type, told.status) == (b'{"a":1.0}', "complete", 200)
    plain = b'{"jsonrpc":"2.0","id":1,"result":{"a":1.0}}'
    reply = wire.reply_of(wire.parse(plain), plain)
    assert wire.of_old_server(reply) is reply


def outgoing(**facts: object) -> Outgoing:
    base = Outgoing("tools/call", "add", {}, {}, deadline=10 * SECOND)
    return msgspec.structs.replace(base, **facts)


def sent(out: Outgoing, era: Era = Era.MODERN, now: int = 0) -> dict:
    data = wire.attempt_request(7, out, era, now)
    assert data is not None
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    return json.loads(data)


def test_a_modern_request_says_everything_itself():
    message = sent(outgoing(capabilities=b'{"elicitation":{}}', client_info=b'{"name":"c"}'))
    assert message == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {
            "name": "add",
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
                "io.modelcontextprotocol/clientInfo": {"name": "c"},
                "io.agenthub/deadlineMs": 9_950,
            },
        },
    }


def test_without_client_info_the_hub_gives_its_own():
    meta = sent(outgoing())["params"]["_meta"]
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "agenthub"


def test_the_time_left_is_never_less_than_a_millisecond():
    meta = sent(outgoing(), now=11 * SECOND)["params"]["_meta"]
    assert meta["io.agenthub/deadlineMs"] == 1


@pytest.mark.parametrize("era", list(Era))
def test_the_progress_token_is_the_hubs(era: Era):
    out = outgoing(meta={"progressToken": Raw(b'"mine"'), "traceparent": Raw(b'"t"')})
    meta = sent(out, era)["params"]["_meta"]
    assert (meta["progressToken"], meta["traceparent"]) == (7, "t")


def test_an_old_server_gets_no_empty_meta():
    assert "_meta" not in sent(outgoing(), Era.LEGACY)["params"]


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("tools/call", {"name": "srv__x"}, {"name": "x"}),
        ("prompts/get", {"name": "srv__x"}, {"name": "x"}),
        ("resources/read", {"uri": "hub://x"}, {"uri": "x"}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "srv__x"}, "argument": {}},
            {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {}},
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "hub://x"}},
            {"ref": {"type": "ref/resource", "uri": "x"}},
        ),
        ("completion/complete", {}, {}),
    ],
)
def test_the_name_is_the_servers_own(method: str, params: dict, expected: dict):
    raw = {key: Raw(msgspec.json.encode(value)) for key, value in params.items()}
    message = sent(outgoing(method=method, name="x", params=raw), Era.LEGACY)
    assert message["params"] == expected


def test_a_list_has_no_name():
    message = sent(
        outgoing(method="tools/list", name="", params={"cursor": Raw(b'""')}), Era.LEGACY
    )
    assert message["params"] == {"cursor": ""}


@pytest.mark.parametrize("line", [b"", b"hello", b"[]", b"3", b'{"id":1.5}', b'{"id":true}', b"{"])
def test_what_is_no_message_is_none(line: bytes):
    assert wire.parse(line) is None


def reply(line: bytes):
    message = wire.parse(line)
    assert message is not None
    return wire.reply_of(message, line)


def test_a_result_is_passed_on_byte_for_byte():
    result = b'{ "content" : [],"x":1e400,  "isError":true}'
    found = reply(b'{"id":1,"result":' + result + b"}")
    assert (found.ending, found.result, found.is_error) == (Ending.RESULT, result, True)
    assert found.result_type == "complete"


def test_a_null_is_error_is_none():
    assert not reply(b'{"id":1,"result":{"isError":null,"resultType":"input_required"}}').is_error


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":1}',
        b'{"id":1,"result":{},"error":{"code":1}}',
        b'{"id":1,"result":null}',
        b'{"id":1,"result":{"isError":"yes"}}',
        b'{"id":1,"error":{"code":"x"}}',
        b'{"id":1,"result":{"a":"\xff"}}',
    ],
)
def test_an_unsound_answer_is_a_breach_of_protocol(line: bytes):
    assert reply(line).ending is Ending.PROTOCOL


def test_text_beyond_ascii_is_fine():
    assert reply('{"id":1,"result":{"a":"é"}}'.encode()).ending is Ending.RESULT


@pytest.mark.parametrize(
    ("head", "number"),
    [
        (b'{"jsonrpc":"2.0","id":12,"result":{"a', 12),
        (b' { "id" : 3 , "error" :', 3),
        (b'{"result":{"id":4,"result"', None),
        (b'{"id":"5","result":', None),
    ],
)
def test_the_id_of_a_long_line_is_read_from_its_head(head: bytes, number: int | None):
    assert wire.head_id(head) == number


def test_progress_without_a_token_is_nobodys():
    assert wire.progress_token(Raw(b'{"progress":1}')) is None


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (b'{"tools":{"listChanged":true},"prompts":{}}', {"toolsListChanged": True}),
        (b'{"resources":{"listChanged":true,"subscribe":true}}', {"resourcesListChanged": True}),
        (b'{"tools":null}', {}),
        (b'{"tools":[]}', {}),
    ],
)
def test_what_can_be_listened_to_is_what_the_server_can_tell(capabilities: bytes, expected: dict):
    assert wire.list_changes(capabilities) == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(b'{"logging":{}}', True), (b"{}", False), (b"[]", False)],
)
def test_who_can_log_says_so(capabilities: bytes, expected: object):
    assert wire.can_log(capabilities) is expected


def test_log_levels_are_ordered_and_nonsense_is_none():
    assert wire.level_of(Raw(b'"debug"')) == 0
    assert wire.level_of(Raw(b'"emergency"')) == 7
    assert [wire.level_of(raw) for raw in (None, Raw(b'"x"'), Raw(b"3"))] == [None, None, None]
    assert wire.log_level(Raw(b'{"level":"error"}')) == 4
    assert wire.log_level(Raw(b'{"level":1}')) == wire.log_level(Raw(b'{"level":"x"}')) == 8


@pytest.mark.parametrize(
    "result",
    [
        b"{}",
        b'{"isError":true}',
        b'{"resultType":"input_required","_meta":{}}',
        b'{"x":"\xc3\xa9"}',
    ],
)
def test_a_plain_result_is_read_as_any_other(result: bytes):
    line = b'{"jsonrpc":"2.0","id":7,"result":' + result + b"}"
    message = wire.parse(line)
    assert message is not None
    assert wire.plain_reply(line, 7, 200) == wire.reply_of(message, line, 200)


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":8,"result":{}}',
        b'{"jsonrpc":"2.0","id":70,"result":{}}',
        b'{"id":7,"result":{}}',
        b'{"jsonrpc":"2.0","id":7,"error":{"code":1}}',
        b'{"jsonrpc":"2.0","id":7,"result":{}}\n',
        b'{"jsonrpc":"2.0","id":7,"result":{}',
        b'{"jsonrpc":"2.0","id":7,"result":{},"id":9}',
        b'{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1}}',
        b'{"jsonrpc":"2.0","id":7,"result":{}}}',
        b'{"jsonrpc":"2.0","id":7,"result":[]}',
        b'{"jsonrpc":"2.0","id":7,"result":{"isError":3}}',
        b'{"jsonrpc":"2.0","id":7,"result":{"x":"\xff"}}',
    ],
)
def test_what_is_no_plain_result_of_this_request_is_read_the_whole_way(line: bytes):
    assert wire.plain_reply(line, 7, 200) is None


def test_the_stream_that_news_came_on_is_read_from_its_tag():
    tagged = b'{"_meta":{"io.modelcontextprotocol/subscriptionId":%b}}'
    assert wire.subscription_id(Raw(tagged % b"7")) == 7
    for other in (b"{}", b"[]", tagged % b"[]"):
        assert wire.subscription_id(Raw(other)) is None


def test_whether_a_server_tells_of_resources_stands_in_its_capabilities():
    assert wire.can_subscribe(b'{"resources":{"subscribe":true}}')
    for other in (b"{}", b"[]", b'{"resources":{}}', b'{"resources":{"subscribe":false}}'):
        assert not wire.can_subscribe(other)


SAID = [
    b'{"jsonrpc":"2.0","id":7,"result":{"resultType":"%s","_meta":{}}}',
    b'{"jsonrpc":"2.0","id":"%s","error":{"code":1,"message":"%s"}}',
    b'{"method":"%s","params":{"level":"%s","progressToken":"%s","requestId":"%s"}}',
    b'{"_meta":{"io.modelcontextprotocol/subscriptionId":"%s"},"level":"%s"}',
    b'"%s"',
]
READERS = [
    wire.parse, wire.error_head, wire.subscription_id, wire.progress_token, wire.cancelled_id,
    wire.level_of, wire.log_level, wire.can_log, wire.can_subscribe, wire.list_changes,
    lambda said: wire.plain_reply(said, 7, 200),
    lambda said: (found := wire.parse(said)) and wire.reply_of(found, said),
]  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_whatever_bytes_a_server_writes_in_a_string_nothing_is_raised(said):
    for odd in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\x00", b"\n", b"\xf4\x90\x80\x80"):
        line = said.replace(b"%s", odd)
        for read in READERS:
            read(line)
