"""Equal calls have equal digests, and others have others."""

import hashlib

import pytest
from msgspec import Raw, structs

from agenthub.domain.call import Call
from agenthub.domain.caller import Caller

CALL = Call(
    "1", Caller("anna", frozenset()), "mcp", "files", "tools/call", "read",
    {"arguments": Raw(b'{"path":"a"}'), "x": Raw(b"1")}, {}, 9,
)  # fmt: skip


def test_the_digest_is_that_of_what_is_asked_for():
    parts = [b"files", b"tools/call", b"read", b'arguments:{"path":"a"}', b"x:1"]
    assert CALL.digest() == hashlib.sha256(b"\0".join(parts)).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"id": "2"},
        {"caller": Caller("bert", frozenset())},
        {"door": "rest"},
        {"deadline": 10},
        {"idempotency_key": "k"},
        {"meta": {"a": Raw(b"1")}},
        {"params": {"x": Raw(b"1"), "arguments": Raw(b'{"path":"a"}')}},
    ],
)
def test_who_asks_and_how_does_not_change_it(change):
    assert structs.replace(CALL, **change).digest() == CALL.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "other"},
        {"method": "prompts/get"},
        {"name": "write"},
        {"params": {}},
        {"params": {"arguments": Raw(b'{"path":"b"}'), "x": Raw(b"1")}},
        {"params": {"arguments": Raw(b'{"path":"a"}'), "y": Raw(b"1")}},
    ],
)
def test_what_is_asked_for_does(change):
    assert structs.replace(CALL, **change).digest() != CALL.digest()
