"""What a `_meta` says, worked out once; and that a look at it is as good as all rungs."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exchange import CAPABILITIES, INFO, VERSION

from agenthub.domain.errors import HubError
from agenthub.inbound.exchange import Request
from agenthub.inbound.mcp.said import check_meta, said_in
from agenthub.inbound.mcp.transport.request import (
    UnsupportedVersion,
    check,
    check_headers,
    check_version,
    heading_of,
)
from agenthub.wire.jsonrpc import read_message

META = {VERSION: "2026-07-28", CAPABILITIES: {}}


def message(meta, method="tools/call", **params):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return read_message(msgspec.json.encode(body))


def test_requests_that_say_the_same_are_looked_at_once():
    assert said_in(message(META, name="a")) is said_in(message(META, name="b"))


def test_what_goes_on_is_all_but_the_protocols_own_and_the_hubs():
    meta = {**META, INFO: {"name": "x"}, "progressToken": 7, "io.agenthub/deadlineMs": 5}
    said = said_in(message({**meta, "io.agenthub/idempotencyKey": "k", "own.example/a": [1]}))
    passed = {name: bytes(value) for name, value in said.passed_on.items()}
    assert passed == {"progressToken": b"7", "own.example/a": b"[1]"}
    assert (said.version, said.client_info) == ("2026-07-28", b'{"name":"x"}')
    assert (bytes(said.deadline), bytes(said.idempotency_key)) == (b"5", b'"k"')


def test_what_is_not_of_the_new_era_has_no_version():
    for meta in ({}, {VERSION: "2026-07-28"}, {**META, VERSION: 1}, {**META, CAPABILITIES: "x"}):
        assert said_in(message(meta)).version == ""


def by_rungs(asked, headers):
    check_meta(asked)
    check_headers(asked, headers)
    check_version(asked)


def outcome(checked, *asked):
    try:
        checked(*asked)
    except HubError as error:
        return error.code, str(error)
    return None


VALUES = st.sampled_from(
    [None, b"tools/call", b"add", b"\xc3\xa9", b"\xe9", b"=?base64?YWRk?=", b""]
)
NAMES = st.sampled_from(["add", "\xe9", "=?base64?YWRk?=", "", None, 7])
METAS = st.sampled_from([META, {}, {**META, VERSION: "2099-01-01"}, {**META, CAPABILITIES: 1}])


@given(
    METAS, st.sampled_from([b"2026-07-28", b"2099-01-01"]), VALUES, VALUES, NAMES,
    st.sampled_from(["tools/call", "ping", "\xe9"]),
)  # fmt: skip
def test_one_look_lets_pass_what_the_rungs_let_pass(meta, version, method, name, named, asked):
    """And refuses with the same words, whatever the headers' spelling."""
    given_ = {b"mcp-protocol-version": version, b"mcp-method": method, b"mcp-name": name}
    headers = {key: value for key, value in given_.items() if value is not None}
    params = {} if named is None else {"name": named}
    heading = heading_of(Request("POST", "/mcp", b"", tuple(headers.items()), b""))
    one = message(meta, asked, **params)
    for _ in range(2):
        assert outcome(check, one, heading) == outcome(by_rungs, one, headers)


def test_a_version_that_nobody_speaks_is_refused_however_well_it_agrees():
    one = message({**META, VERSION: "2099-01-01"}, "ping")
    headers = ((b"mcp-protocol-version", b"2099-01-01"), (b"mcp-method", b"ping"))
    with pytest.raises(UnsupportedVersion):
        check(one, heading_of(Request("POST", "/mcp", b"", headers, b"")))
