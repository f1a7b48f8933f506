"""What a server may ask, given what the client declared."""

import msgspec
import pytest

from agenthub.wire.questions import can_be_asked, declared_for_questions, missing_for

ELICIT, SAMPLE, ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"


@pytest.mark.parametrize(
    ("method", "params", "declared", "missing"),
    [
        (ROOTS, {}, {"roots": {}}, {}),
        (ROOTS, {}, {"roots": {"listChanged": True}}, {}),
        (ROOTS, {}, {"sampling": {}}, {"roots": {}}),
        (SAMPLE, {"messages": []}, {"sampling": {}}, {}),
        (SAMPLE, {"messages": []}, {}, {"sampling": {}}),
        (SAMPLE, {"messages": []}, {"sampling": True}, {"sampling": {}}),
        (SAMPLE, {"tools": []}, {"sampling": {}}, {"sampling": {"tools": {}}}),
        (SAMPLE, {"toolChoice": {}}, {"sampling": {}}, {"sampling": {"tools": {}}}),
        (SAMPLE, {"tools": []}, {"sampling": {"tools": {}}}, {}),
        (ELICIT, {"message": "?"}, {"elicitation": {}}, {}),
        (ELICIT, {"mode": "form"}, {"elicitation": {"form": {}}}, {}),
        (ELICIT, {"mode": "form"}, {"elicitation": {"form": {}, "url": {}}}, {}),
        (ELICIT, {"message": "?"}, {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
        (ELICIT, {"mode": "url"}, {"elicitation": {}}, {"elicitation": {"url": {}}}),
        (ELICIT, {"mode": "url"}, {"elicitation": {"form": {}}}, {"elicitation": {"url": {}}}),
        (ELICIT, {"mode": "url"}, {"elicitation": {"url": {}}}, {}),
        (ELICIT, {"message": "?"}, {}, {"elicitation": {}}),
    ],
)
def test_a_client_is_asked_only_what_it_declared(method, params, declared, missing):
    encode = msgspec.json.encode
    assert missing_for(method, encode(params), encode(declared)) == missing


def test_what_is_no_object_declares_nothing():
    assert missing_for(ROOTS, b"", b"[1]") == {"roots": {}}
    assert missing_for(ROOTS, b"", b"{") == {"roots": {}}
    assert missing_for(ROOTS, b"{}", b"") == {"roots": {}}


def test_only_the_three_questions_are_known():
    with pytest.raises(ValueError, match="ping is no question"):
        missing_for("ping", b"{}", b"{}")


@pytest.mark.parametrize(
    ("declared", "can"),
    [
        (b"{}", False),
        (b'{"extensions":{}}', False),
        (b'{"roots":{}}', True),
        (b'{"sampling":{}}', True),
        (b'{"elicitation":{}}', True),
        (b"[", False),
    ],
)
def test_a_client_can_be_asked_once_it_declares_any_of_the_three(declared, can):
    assert can_be_asked(declared) is can


def test_clients_that_answer_the_same_questions_declare_the_same():
    one = declared_for_questions(b'{"roots": {"b":1,"a":2}, "elicitation":{}, "experimental":{}}')
    other = declared_for_questions(
        b'{"elicitation":{},"roots":{"a":2,"b":1},"extensions":{"x":{}}}'
    )
    assert one == other == b'{"elicitation":{},"roots":{"a":2,"b":1}}'
