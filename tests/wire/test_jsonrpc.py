import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.errors import HubError
from agenthub.wire import jsonrpc
from agenthub.wire.jsonrpc import (
    META_BYTES_MAX,
    METAS_MAX,
    BadJson,
    InvalidMeta,
    InvalidRequest,
    Kind,
    Message,
    error_message,
    notification,
    read_message,
    result_message,
    with_members,
    without_members,
)


def raw(members):
    return {name: bytes(value) for name, value in members.items()}


def refused(body):
    with pytest.raises(InvalidRequest) as caught:
        read_message(body)
    return caught.value


# ---------------------------------------------------------------- reading


def test_a_request_keeps_the_text_of_its_id_and_params():
    message = read_message(
        b'{"jsonrpc":"2.0","id":"a\\u0062","method":"tools/call","params":'
        b'{"name":"echo","arguments":{ "x" : 1.10, "y":1e2 },"_meta":{"progressToken": 7}}}'
    )
    assert message.kind is Kind.REQUEST
    assert message.id == b'"a\\u0062"'
    assert message.method == "tools/call"
    assert raw(message.params) == {"name": b'"echo"', "arguments": b'{ "x" : 1.10, "y":1e2 }'}
    assert raw(message.meta) == {"progressToken": b"7"}
    assert message.parsed == {
        "name": "echo",
        "arguments": {"x": 1.1, "y": 100.0},
        "_meta": {"progressToken": 7},
    }


def test_a_request_may_have_no_params_and_params_no_meta():
    for body, params in (
        (b'{"method":"ping","id":1,"jsonrpc":"2.0"}', {}),
        (b'{"method":"ping","id":1,"jsonrpc":"2.0","params":{"a":[]}}', {"a": []}),
    ):
        message = read_message(body)
        assert message.kind is Kind.REQUEST
        assert message.meta == {}
        assert message.parsed == params
        assert raw(message.params) == {k: json.dumps(v).encode() for k, v in params.items()}


def asking(meta):
    return read_message(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":%b}}' % meta)


def test_messages_that_say_the_same_of_themselves_share_their_notes():
    first, second = asking(b'{"a":1}'), asking(b'{"a":1}')
    assert first.notes is second.notes
    assert asking(b'{"a": 1}').notes is not first.notes
    assert read_message(b'{"jsonrpc":"2.0","id":1,"method":"ping"}').notes is not first.notes


def test_what_is_kept_of_metas_is_bounded():
    """What stood there before is read again, and comes out as before."""
    large = b'{"a":"%b"}' % (b"x" * META_BYTES_MAX)
    assert asking(large).notes is not asking(large).notes
    first = asking(b'{"a":1}')
    for number in range(METAS_MAX):
        asking(b'{"b":%d}' % number)
    again = asking(b'{"a":1}')
    assert again.notes is not first.notes
    assert raw(again.meta) == raw(first.meta) == {"a": b"1"}


def test_a_notification_has_no_id():
    message = read_message(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}')
    assert (message.kind, message.id) == (Kind.NOTIFICATION, b"")


@pytest.mark.parametrize("part", ["result", "error"])
def test_a_response_is_told_from_a_request(part):
    message = read_message(b'{"jsonrpc":"2.0","id":3,"%b":{"a":1.0}}' % part.encode())
    assert (message.kind, message.id, message.method) == (Kind.RESPONSE, b"3", "")
    assert bytes(getattr(message, part)) == b'{"a":1.0}'


@pytest.mark.parametrize(
    "text", ["0", "-1", str(2**53 - 1), str(1 - 2**53), '""', json.dumps("x" * 256)]
)
def test_an_id_comes_back_as_it_was_sent(text):
    body = f'{{"jsonrpc":"2.0","id": {text} ,"method":"ping"}}'.encode()
    message = read_message(body)
    assert message.id == text.encode()
    assert json.loads(result_message(message.id, b"{}"))["id"] == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["null", "1.0", "1e3", "true", "{}", "[1]", str(2**53), str(-(2**53)), json.dumps("x" * 257)],
)
def test_an_id_that_not_every_reader_can_hold_is_refused(text):
    for kind in ('"method":"ping"', '"result":{}'):
        error = refused(f'{{"jsonrpc":"2.0","id":{text},{kind}}}'.encode())
        assert (error.code, error.message_id) == (-32600, None)
        assert str(error).startswith("id: expected ")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"method":"ping"', 'jsonrpc: expected "2.0"'),
        ('"jsonrpc":"1.0","method":"ping"', 'jsonrpc: expected "2.0"'),
        ('"jsonrpc":2.0,"method":"ping"', 'jsonrpc: expected "2.0"'),
        ('"jsonrpc":"2.0","method":7', "method: expected a name"),
        ('"jsonrpc":"2.0","method":""', "method: expected a name"),
        ('"jsonrpc":"2.0","method":"a","params":[1]', "params: expected an object"),
        ('"jsonrpc":"2.0","method":"a","params":null', "params: expected an object"),
        ('"jsonrpc":"2.0","method":"a","Method":"b"', "Unknown members: 'Method'"),
        ('"jsonrpc":"2.0","method":"a","result":{}', "Unknown members: 'result'"),
        ('"jsonrpc":"2.0","result":{},"extra":1', "Unknown members: 'extra'"),
        ('"jsonrpc":"2.0"', "Expected a `method`, or an `id` with `result` or `error`"),
        (
            '"jsonrpc":"2.0","result":{},"error":{}',
            "Expected a `method`, or an `id` with `result` or `error`",
        ),
        (
            '"jsonrpc":"2.0","Method":"a"',
            "Expected a `method`, or an `id` with `result` or `error`",
        ),
    ],
)
def test_what_is_no_message_is_refused_with_its_id(members, expected):
    error = refused(f'{{{members},"id":"q"}}'.encode())
    assert str(error) == expected
    assert (error.code, error.status, error.message_id) == (-32600, 400, b'"q"')


def test_a_response_without_an_id_is_refused():
    error = refused(b'{"jsonrpc":"2.0","result":{}}')
    assert str(error) == "Expected a `method`, or an `id` with `result` or `error`"
    assert error.message_id is None


def test_many_unknown_members_are_named_in_short():
    error = refused(b'{"jsonrpc":"2.0","id":1,"method":"a","z":1,"y":1,"x":1,"%b":1}' % (b"w" * 99))
    assert str(error) == f"Unknown members: '{'w' * 32}', 'x', 'y'"


def test_a_batch_and_what_is_no_object_are_refused():
    assert str(refused(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]')) == "A batch is not taken"
    assert str(refused(b"[]")) == "A batch is not taken"
    assert str(refused(b'"ping"')) == "Expected a JSON object"


@pytest.mark.parametrize(("ident", "expected"), [('"id":4,', b"4"), ("", None)])
def test_meta_that_is_no_object_is_a_fault_of_the_params(ident, expected):
    with pytest.raises(InvalidMeta) as caught:
        read_message(f'{{{ident}"jsonrpc":"2.0","method":"a","params":{{"_meta":[]}}}}'.encode())
    assert (caught.value.code, caught.value.message_id) == (-32602, expected)


def test_what_is_no_strict_json_is_no_message():
    with pytest.raises(BadJson):
        read_message(b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}')


# ---------------------------------------------------------------- writing


def test_messages_are_written_around_raw_parts():
    assert result_message(b"1", b'{"a":1.10}') == b'{"jsonrpc":"2.0","id":1,"result":{"a":1.10}}'
    assert result_message(b'"x"', msgspec.Raw(b"{}")) == b'{"jsonrpc":"2.0","id":"x","result":{}}'
    assert notification('a"b', b'{"x":1}') == b'{"jsonrpc":"2.0","method":"a\\"b","params":{"x":1}}'


@pytest.mark.parametrize(
    ("data", "tail"),
    [(None, b""), ({"code": "x"}, b',"data":{"code":"x"}'), (b"[1.0]", b',"data":[1.0]')],
)
def test_an_error_carries_data_of_either_form(data, tail):
    written = error_message(b"9", -31001, 'no "x"', data)
    head = b'{"jsonrpc":"2.0","id":9,"error":{"code":-31001,"message":"no \\"x\\""'
    assert written == head + tail + b"}}"


def test_an_error_for_a_message_that_could_not_be_read_has_a_null_id():
    assert json.loads(error_message(None, -32700, "bad")) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32700, "message": "bad"},
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{}", b'{"_meta":{"k":1}}'),
        (b" { } ", b' {"_meta":{"k":1}}'),
        (b'{"a":1.10}', b'{"a":1.10,"_meta":{"k":1}}'),
        (b'{ "a" : [ 1 ] }\n', b'{ "a" : [ 1 ],"_meta":{"k":1}}'),
        (b'{"a":{}}', b'{"a":{},"_meta":{"k":1}}'),
        (b'{"_meta":0,"a":1.10}', b'{"_meta":{"k":1},"a":1.10}'),
        (b'{"\\u005fmeta":0,"a": "\\n"}', b'{"_meta":{"k":1},"a":"\\n"}'),
        (b'{"a":"\\u00e4"}', b'{"a":"\\u00e4","_meta":{"k":1}}'),
        (b'{"a":{"_meta":5}}', b'{"a":{"_meta":5},"_meta":{"k":1}}'),
    ],
)
def test_a_member_is_added_or_replaced_and_the_others_stay(before, after):
    assert with_members(before, {"_meta": b'{"k":1}'}) == after


def test_a_member_whose_slash_is_escaped_is_found():
    assert with_members(b'{"a\\/b":1}', {"a/b": b"2"}) == b'{"a/b":2}'
    assert without_members(b'{"a\\/b":1,"c":2}', ["a/b"]) == b'{"c":2}'


def test_members_are_taken_out_and_the_others_stay():
    whole = b'{"ttlMs":5,"tools":[ 1.10 ],"_meta":{}}'
    assert without_members(whole, ["ttlMs", "cacheScope"]) == b'{"tools":[ 1.10 ],"_meta":{}}'
    untouched = b'{ "tools" : [] }'
    assert without_members(untouched, ["ttlMs"]) is untouched
    assert without_members(b'{"a":"ttlMs"}', ["ttlMs"]) == b'{"a":"ttlMs"}'


@pytest.mark.parametrize("body", [b'["a"]', b'"a"', b"7", b"", b'{"a"'])
def test_only_an_object_has_members(body):
    for change in (lambda: with_members(body, {"a": b"1"}), lambda: without_members(body, ["a"])):
        with pytest.raises(BadJson, match="Expected a JSON object"):
            change()


OBJECTS = st.dictionaries(
    st.sampled_from(["a", "b", "c/d", "_meta", "ä"]),
    st.recursive(
        st.none() | st.integers(0, 9) | st.text(st.sampled_from('a"{}:,\\/u_'), max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner),
        max_leaves=4,
    ),
)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
def test_members_come_and_go_as_in_a_dict(members, ascii_only, indent):
    written = json.dumps(members, ensure_ascii=ascii_only, indent=indent).encode()
    added = json.loads(with_members(written, {"a": b"[5]", "c/d": b"6"}))
    assert added == {**members, "a": [5], "c/d": 6}
    left = json.loads(without_members(written, {"a", "_meta"}))
    assert left == {name: members[name] for name in members if name not in {"a", "_meta"}}


# ---------------------------------------------------------------- what came before

SAID = b'{"io.modelcontextprotocol/clientInfo":{"name":"a:b","version":"1"}}'
HEAD = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":'
TAIL = b',"_meta":' + SAID + b"}}"


def read_cold(body):
    """As if nothing was read before."""
    kept = dict(jsonrpc._metas)
    jsonrpc._metas.clear()
    try:
        return read_message(body)
    except HubError as error:
        return type(error), str(error), getattr(error, "message_id", None)
    finally:
        jsonrpc._metas.update(kept)


def read_warm(body):
    asking(SAID)
    try:
        return read_message(body)
    except HubError as error:
        return type(error), str(error), getattr(error, "message_id", None)


def facts(read):
    if not isinstance(read, Message):
        return read
    return read.kind, read.method, read.id, raw(read.params), raw(read.meta), read.parsed


ODD = [
    HEAD + b'{"name":"x","arguments":{"a":":"}' + TAIL,
    HEAD + b'{"name":"\xc3\xa9","arguments":[1,{"a":2}],"n":null' + TAIL,
    # A member twice: of the message, of its params, of the arguments.
    HEAD + b'{"name":"x","name":"y"' + TAIL,
    HEAD + b'{"name":"x","n\\u0061me":"y"' + TAIL,
    HEAD + b'{"name":"x","arguments":{"a":1,"a":2}' + TAIL,
    HEAD + b'{"name":"x","_meta":{}' + TAIL,
    HEAD + b'{"name":"x"' + TAIL[:-1] + b',"method":"tools/call"}',
    HEAD + b'{"name":"x"' + TAIL[:-1] + b',"id":8}',
    HEAD + b'{"name":"x","name":"\\u003a"' + TAIL,
    # Colons where none is expected.
    HEAD + b'{"name":"x","a:b":1' + TAIL,
    HEAD.replace(b"tools/call", b"a:b") + b'{"name":"x"' + TAIL,
    HEAD.replace(b"tools/call", b"") + b'{"name":"x"' + TAIL,
    # Two readers may read these in two ways.
    HEAD + b'{"name":"x","arguments":18446744073709551616' + TAIL,
    HEAD + b'{"name":"x","arguments":1e999' + TAIL,
    HEAD + b'{"name":"x","arguments":NaN' + TAIL,
    HEAD + b'{"name":"\xff"' + TAIL,
    HEAD + b'{"name":"\\ud800"' + TAIL,
    HEAD + b'{"n\xff":"x"' + TAIL,
    HEAD + b'{"name":"x","arguments":' + b"[" * 62 + b"]" * 62 + TAIL,
    HEAD + b'{"name":"x","arguments":' + b"[" * 63 + b"]" * 63 + TAIL,
    HEAD + b'{"name":"x"' + TAIL + b"{}",
    *(
        HEAD.replace(b"7", ident) + b'{"name":"x"' + TAIL
        for ident in (b'"a"', b"-1", b"1.0", b"null", b"9" * 15, b"9" * 16, b"1" * 30)
    ),
    (HEAD + b'{"name":"x"' + TAIL).replace(b'"id":7,', b""),
]


@pytest.mark.parametrize("body", ODD)
def test_a_message_means_the_same_whether_its_meta_came_before_or_not(body):
    assert facts(read_warm(body)) == facts(read_cold(body))


@given(
    st.lists(st.tuples(st.sampled_from(["name", "arguments", "a:", "_meta"]), st.booleans())),
    st.recursive(
        st.integers(-(2**65), 2**65) | st.text(':\\"aé{', max_size=4) | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(":a", max_size=2), inner)
        ),
        max_leaves=6,
    ),
    st.booleans(),
)
def test_whatever_is_written_means_the_same_the_second_time(members, value, ascii_only):
    written = [
        json.dumps(name).encode()
        + b":"
        + (SAID if known else json.dumps(value, ensure_ascii=ascii_only).encode())
        for name, known in members
    ]
    body = HEAD + b"{" + b",".join(written) + b"}}"
    assert facts(read_warm(body)) == facts(read_cold(body))
