"""Requests as bytes: what is in them, and what can never get into them."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agenthub.domain.call import Era
from agenthub.domain.errors import BadSetting
from agenthub.domain.span import SECOND
from agenthub.outbound.http_request import Origin, RequestHead, is_session_id, origin_of
from agenthub.outbound.mcp_message import meta_of
from agenthub.ports import Outgoing
from agenthub.wire import mcp_headers

ORIGIN = Origin("example.test", 80, tls=False, target="/mcp")


def head(era: Era = Era.MODERN, session: str = "", **headers: str) -> RequestHead:
    made = RequestHead(ORIGIN, headers)
    made.settle(era, "2026-07-28" if era is Era.MODERN else "2025-06-18", session)
    return made


def outgoing(method: str = "tools/call", name: str = "add", **facts) -> Outgoing:
    facts = {"params": {"arguments": Raw(b'{ "a":1 }')}, "meta": {}} | facts
    return Outgoing(method=method, name=name, deadline=10 * SECOND, **facts)


def parts(data: bytes) -> tuple[str, dict[str, str], bytes]:
    """First line, headers (each once), body; the lengths agree."""
    start, _, body = data.partition(b"\r\n\r\n")
    first, *lines = start.decode("ascii").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in pairs}
    assert len(headers) == len(pairs)
    assert int(headers.get("content-length", "0")) == len(body)
    return first, headers, body


def test_a_modern_call_repeats_what_the_body_says():
    first, headers, body = parts(head().call(7, outgoing(), 0))
    assert first == "POST /mcp HTTP/1.1"
    assert headers["host"] == "example.test"
    assert headers["accept"] == "application/json, text/event-stream"
    assert headers["accept-encoding"] == "identity"
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "add")
    message = json.loads(body)
    assert (message["jsonrpc"], message["id"], message["method"]) == ("2.0", 7, "tools/call")
    assert message["params"]["name"] == "add"
    assert b'"arguments":{ "a":1 }' in body, "what the client wrote goes on byte for byte"
    meta = message["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.agenthub/deadlineMs"] == 9_950


@pytest.mark.parametrize("info", [b"", b'{"name":"c","version":"1"}', b'"%b"' % (b"x" * 2_000)])
@pytest.mark.parametrize("capabilities", [b"{}", b'{"roots":{}}', b""])
def test_what_a_client_says_of_itself_is_told_the_same_whether_or_not_it_is_kept_ready(
    info: bytes, capabilities: bytes
):
    call = outgoing(client_info=info, capabilities=capabilities)
    for _ in range(2):
        meta = json.loads(parts(head().call(7, call, 0))[2])["params"]["_meta"]
        assert meta == msgspec.json.decode(msgspec.json.encode(meta_of(7, call, Era.MODERN, 0)))


def test_a_call_without_params_has_its_meta_too():
    body = parts(head().call(7, outgoing("x/y", "", params={}), 0))[2]
    assert list(json.loads(body)["params"]) == ["_meta"]


def test_what_the_caller_passes_on_stands_beside_it():
    body = parts(head().call(7, outgoing(meta={"a/b": Raw(b"[1]")}), 0))[2]
    meta = json.loads(body)["params"]["_meta"]
    assert meta["a/b"] == [1]
    assert meta["io.agenthub/deadlineMs"] == 9_950


def test_an_old_server_gets_its_session_and_no_new_headers():
    call = outgoing(headers={"Mcp-Param-Region": "eu"})
    _, headers, body = parts(head(Era.LEGACY, "s1").call(7, call, 0))
    assert (headers["mcp-session-id"], headers["mcp-protocol-version"]) == ("s1", "2025-06-18")
    assert not {"mcp-method", "mcp-name", "mcp-param-region"} & headers.keys()
    assert "_meta" not in json.loads(body)["params"]


@pytest.mark.parametrize(
    ("method", "name", "expected"),
    [
        ("prompts/get", "p", "p"),
        ("resources/read", "file:///a b", "file:///a b"),
        ("resources/read", "file:///ü", "=?base64?ZmlsZTovLy/DvA==?="),
        ("tools/call", "a\r\nX-Evil: 1", "=?base64?YQ0KWC1FdmlsOiAx?="),
        ("completion/complete", "p", None),
        ("tools/list", "", None),
    ],
)
def test_the_name_is_repeated_for_the_methods_that_have_one(
    method: str, name: str, expected: str | None
):
    _, headers, _ = parts(head().call(1, outgoing(method, name, params={}), 0))
    assert headers.get("mcp-name") == expected


@given(
    st.text(), st.dictionaries(st.text(max_size=9), st.text(max_size=20), max_size=3),
    st.text(min_size=1),
)  # fmt: skip
def test_no_name_or_value_can_end_a_headers_line(name: str, extra: dict, method: str):
    extra = {f"Mcp-Param-{key}": value for key, value in extra.items()}
    plain = {"host", "user-agent", "accept-encoding", "content-type", "accept", "content-length"}
    try:
        data = head().call(1, outgoing(method, name, params={}, headers=extra), 0)
    except UnicodeEncodeError:
        return  # Half a surrogate pair has no bytes.
    start = data.partition(b"\r\n\r\n")[0]
    for line in start.split(b"\r\n")[1:]:
        assert line.isascii()
        assert all(byte >= 0x20 and byte != 0x7F for byte in line)
        known = line.partition(b":")[0].decode().lower()
        assert known in plain or known.startswith("mcp-")


def test_what_a_parameter_header_carries_can_be_read_again():
    call = outgoing(headers={"Mcp-Param-Ok": "eu", "Mcp-Param-Odd": "ü\r\n", "Bad Name": "x"})
    _, headers, _ = parts(head().call(1, call, 0))
    assert headers["mcp-param-ok"] == "eu"
    assert mcp_headers.decode(headers["mcp-param-odd"]) == "ü\r\n"
    assert "bad name" not in headers


def test_configured_headers_are_sent_with_everything():
    made = head(Era.LEGACY, "s1", Authorization=" Bearer x ")
    for data in (made.call(1, outgoing(), 0), made.get(), made.delete(), made.first(b"{}"),
                 made.probe("server/discover", b"{}"), made.own(b"{}")):  # fmt: skip
        assert parts(data)[1]["authorization"] == "Bearer x"


def test_a_configured_value_that_would_end_its_line_is_refused():
    with pytest.raises(BadSetting, match=r"headers\.X"):
        RequestHead(ORIGIN, {"X": "a\r\nY: b"})


def test_the_first_words_name_no_session():
    made = head(Era.LEGACY, "s1")
    assert "mcp-session-id" not in parts(made.first(b"{}"))[1]
    _, headers, _ = parts(made.probe("server/discover", b"{}"))
    assert "mcp-session-id" not in headers
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert headers["mcp-method"] == "server/discover"


def test_the_hubs_own_messages_name_their_method_to_a_modern_server():
    assert parts(head().own(b"{}", "subscriptions/listen"))[1]["mcp-method"] == (
        "subscriptions/listen"
    )
    assert "mcp-method" not in parts(head(Era.LEGACY).own(b"{}"))[1]


def test_a_stream_is_resumed_after_the_last_event():
    made = head(Era.LEGACY, "s1")
    first, headers, _ = parts(made.get(b"e7"))
    assert (first, headers["last-event-id"]) == ("GET /mcp HTTP/1.1", "e7")
    assert "last-event-id" not in parts(made.get(b"e\x017"))[1]
    assert parts(made.delete())[0] == "DELETE /mcp HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://127.0.0.1:8080/mcp", "127.0.0.1:8080", "/mcp"),
        ("HTTP://Example.test", "example.test", "/"),
        ("https://example.test/a%20b?x=1&y=%2F", "example.test", "/a%20b?x=1&y=%2F"),
        ("https://example.test:8443/ü?q=ü", "example.test:8443", "/%C3%BC?q=%C3%BC"),
        ("http://[::1]:9/x", "[::1]:9", "/x"),
        ("http://bücher.test:443/", "xn--bcher-kva.test:443", "/"),
    ],
)
def test_an_address_is_taken_apart(url: str, authority: str, target: str):
    origin = origin_of(url)
    assert (origin.authority, origin.target) == (authority, target)
    assert origin.tls is url.lower().startswith("https")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc-123", True), ("", False), ("a b", False), ("a\r\n", False), ("ü", False)],
)
def test_a_session_id_is_visible_ascii(text: str, expected: object):
    assert is_session_id(text) is expected
