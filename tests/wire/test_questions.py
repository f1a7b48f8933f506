"""What a server may ask, given what the client declared."""

import msgspec
import pytest

from agenthub.wire.questions import (
    can_be_asked,
    declared_for_questions,
    is_answer,
    missing_for,
    naming,
    permitted,
    read_input_required,
)

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
    ("policy", "declared", "left"),
    [
        ("all", b'{"roots": {} }', b'{"roots": {} }'),
        ("none", b"{}", b"{}"),
        ("none", b'{"roots":{},"extensions":{"a":{}}}', b'{"extensions":{"a":{}}}'),
        ("no-pages", b'{"elicitation":{"url":{}},"roots":{}}', b'{"roots":{}}'),
        ("no-pages", b'{"elicitation":{"url":{},"form":{}}}', b'{"elicitation":{"form":{}}}'),
        ("no-pages", b'{"elicitation":{}}', b'{"elicitation":{}}'),
        ("no-pages", b'{"elicitation":7}', b'{"elicitation":7}'),
    ],
)  # fmt: skip
def test_an_operator_lets_a_server_ask_less(policy, declared, left):
    assert permitted(declared, policy) == left


@pytest.mark.parametrize(
    ("method", "params", "shown"),
    [
        (ELICIT, b'{"message":"Your name?","x":1.0}', b'{"message":"git: Your name?","x":1.0}'),
        (ELICIT, b'{"message":7}', b'{"message":"git asks"}'),
        (ELICIT, b"{}", b'{"message":"git asks"}'),
        (SAMPLE, b'{"message":"x"}', b'{"message":"x"}'),
    ],
)
def test_a_question_to_a_person_says_who_asks(method, params, shown):
    assert naming("git", method, params) == shown


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


@pytest.mark.parametrize(
    ("method", "answer", "fits"),
    [
        (ELICIT, b'{"action":"accept","content":{"a":1}}', True),
        (ELICIT, b'{"action":"decline"}', True),
        (ELICIT, b'{"action":"cancel","content":null}', True),
        (ELICIT, b'{"action":"maybe"}', False),
        (ELICIT, b'{"action":"accept","content":[]}', False),
        (ELICIT, b"{}", False),
        (SAMPLE, b'{"role":"assistant","model":"m","content":{"type":"text"}}', True),
        (SAMPLE, b'{"role":"assistant","model":"m","content":[{"type":"text"}]}', True),
        (SAMPLE, b'{"role":"assistant","content":{"type":"text"}}', False),
        (ROOTS, b'{"roots":[{"uri":"file:///"}]}', True),
        (ROOTS, b'{"roots":[]}', True),
        (ROOTS, b'{"roots":["file:///"]}', False),
        (ROOTS, b"null", False),
    ],
)
def test_an_answer_has_the_shape_that_its_question_asks_for(method, answer, fits):
    assert is_answer(method, answer) is fits


def test_a_result_that_asks_is_read_with_its_state_as_it_was_written():
    found = read_input_required(
        b'{"inputRequests":{"a":{"method":"roots/list"}},"requestState":"\\u00e9"}'
    )
    assert bytes(found.state) == b'"\\u00e9"'
    assert bytes(found.requests["a"].params) == b"{}"
    assert not read_input_required(b"{}").state


@pytest.mark.parametrize(
    "wrong",
    [
        b"[]", b'{"requestState":7}', b'{"requestState":null}', b'{"inputRequests":[]}',
        b'{"inputRequests":{"a":{"method":"tools/call"}}}',
        b'{"inputRequests":{"a":{"method":"roots/list","params":7}}}',
    ],
)  # fmt: skip
def test_a_result_that_asks_in_a_wrong_shape_is_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's errors are such, too
        read_input_required(wrong)
