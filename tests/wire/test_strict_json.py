import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agenthub.wire.strict_json import DEPTH_MAX, BadJson, parse


def refused(body):
    with pytest.raises(BadJson) as caught:
        parse(body)
    assert caught.value.code == -32700
    assert caught.value.status == 400
    return str(caught.value)


def nested(depth, inside=b""):
    return b"[" * depth + inside + b"]" * depth


TWICE = [
    b'{"method":"a","method":"b"}',
    b'{"a":{"b":1,"b":1}}',
    b'[{"a":1},{"a":1,"a":2}]',
    b'{"a":1,"\\u0061":2}',
    b'{"a":"\\n","a":"\\n"}',
    b'{"a":":","a":1}',
    # A colon that the writer spelled out would balance the one that was lost.
    b'{"a":1,"a":"\\u003a"}',
    b'{"a":1,"a":"\\u003A"}',
    b'{"":1,"":2}',
]


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_stands_twice_in_one_object_is_refused(body):
    assert refused(body) == "The JSON has the same key twice in one object"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        b'{"a":"a:b","a:b":":::"}',
        b'{"a":"\\u003a","b":"\\\\u003a"}',
        b'{"a":"\\"a\\":1","b":"\\u00e4\\n\\/"}',
        b'{"__proto__":{"constructor":1}}',
        b' \t\r\n{ "a" : [ 1 , -0 , 1.5E-3 , null , true , false ] } \n',
    ],
)
def test_a_document_that_can_be_read_in_one_way_only_is_read_so(body):
    assert parse(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"{}x", b"{} {}", b"[1,]", b'{"a":1,}', b"{'a':1}", b"{a:1}",
        b"NaN", b"[NaN]", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5000,
        b"{}//x", b"/**/{}", b"{}\0", b"01", b"1.", b".5", b"+1", b"0x10", b"True",
        b'"\x01"', b'"a\nb"', b'"\\x41"', b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\ud800"',
        b'{"\\ud800":1}', b'"\\ud800A....."', b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
        "{}".encode("utf-32"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused_in_words(body):
    assert refused(body).startswith("Not strict JSON: ")


@pytest.mark.parametrize(
    "body", [b'"\xff"', b'{"\xff":1}', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"']
)
def test_what_is_not_utf_8_is_refused(body):
    assert refused(body) == "The JSON is not UTF-8"


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1, 0])
def test_an_integer_of_64_bits_is_read_exactly(number):
    assert parse(b'{"n":%d}' % number) == {"n": number}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
def test_an_integer_beyond_64_bits_is_refused(number):
    assert refused(b'{"n":[%d]}' % number) == "The JSON has an integer beyond 64 bits"


def test_as_deep_as_allowed_is_read_and_one_deeper_is_refused():
    assert parse(nested(DEPTH_MAX)) == json.loads(nested(DEPTH_MAX))
    assert parse(nested(DEPTH_MAX, b"1")) == json.loads(nested(DEPTH_MAX, b"1"))
    assert parse(b'{"a":' + nested(DEPTH_MAX - 1) + b"}")
    for body in (nested(DEPTH_MAX + 1), b'{"a":' + nested(DEPTH_MAX) + b"}"):
        assert refused(body) == f"The JSON is nested deeper than {DEPTH_MAX}"


def test_many_brackets_side_by_side_or_in_strings_are_not_depth():
    assert parse(b"[" + b"[],{}," * 200 + b"{}]") == [[], {}] * 200 + [{}]
    assert parse(b'"' + b"[" * 500 + b'"') == "[" * 500


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_without_end_is_refused_without_a_crash(opening):
    assert refused(opening * 100_000)


# ---------------------------------------------------------------- against a slow, exact reader

KEYS = st.sampled_from(["a", "b", ":", "", "ä", "__proto__", 'a"', "\\u003a", "\U0001f600"])
TEXTS = KEYS | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = (
    st.integers()
    | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    | st.floats(allow_nan=False, allow_infinity=False)
)


class Pairs(list):
    """An object as written: keys may stand twice."""


VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(KEYS, inner), max_size=3).map(Pairs)
    ),
    max_leaves=12,
)  # fmt: skip


@st.composite
def spelled(draw, text):
    """The text as a JSON string, some of its characters spelled out."""
    parts = []
    for letter in text:
        plain = json.dumps(letter, ensure_ascii=False)[1:-1]
        utf16 = letter.encode("utf-16-be").hex()
        units = [utf16[at : at + 4] for at in range(0, len(utf16), 4)]
        escaped = "".join("\\u" + draw(st.sampled_from([u, u.upper()])) for u in units)
        parts.append(draw(st.sampled_from([plain, plain, escaped])))
    return '"' + "".join(parts) + '"'


@st.composite
def documents(draw):
    def write(value):
        if isinstance(value, Pairs):
            members = (f"{draw(spelled(key))}:{write(inner)}" for key, inner in value)
            return "{" + ",".join(members) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(write, value)) + "]"
        return draw(spelled(value)) if isinstance(value, str) else json.dumps(value)

    return write(draw(VALUES)).encode()


def reference(body):
    """The rules, one by one, slowly; raises ValueError."""

    def whole(text):
        number = int(text)
        if not -(2**63) <= number < 2**64:
            raise ValueError(text)
        return number

    def broken(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(text)
        return number

    def constant(text):
        raise ValueError(text)

    def pairs(found):
        if len(dict(found)) != len(found):
            raise ValueError("twice")
        return dict(found)

    text = body.decode()
    value = json.loads(
        text, parse_int=whole, parse_float=broken, parse_constant=constant, object_pairs_hook=pairs
    )
    json.dumps(value, ensure_ascii=False).encode()  # refuses half surrogate pairs
    return value


def judged(read, body):
    try:
        return repr(read(body))
    except (BadJson, ValueError, RecursionError):
        return "refused"


@given(documents())
@example(b'{"a":1,"a":"\\u003a"}')
def test_it_agrees_with_an_exact_reader_on_documents(body):
    assert judged(parse, body) == judged(reference, body)


@given(documents(), st.data())
def test_it_agrees_with_an_exact_reader_on_damaged_documents(body, data):
    at = data.draw(st.integers(0, len(body)))
    gone = data.draw(st.integers(0, 3))
    junk = data.draw(
        st.sampled_from([b"", b"\\ud800", b"\xff", b"\xc3", b",", b'"', b"NaN", b"0", b":", b"e9"])
        | st.binary(max_size=3)
    )
    damaged = body[:at] + junk + body[at + gone :]
    assert judged(parse, damaged) == judged(reference, damaged)
