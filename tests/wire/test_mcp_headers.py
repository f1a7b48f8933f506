"""The rules of the specification, and agreement with the SDK, which other servers run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared import inbound as sdk

from agenthub.wire.mcp_headers import (
    BadAnnotation,
    HeaderMismatch,
    check_params,
    decode,
    encode,
    encode_params,
    param_headers,
    received_params,
)

# ---------------------------------------------------------------- one value


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("echo", "echo"),
        ("", ""),
        ("a b", "a b"),
        (" a", "=?base64?IGE=?="),
        ("a ", "=?base64?YSA=?="),
        (" ", "=?base64?IA==?="),
        ("a\r\nX: 1", "=?base64?YQ0KWDogMQ==?="),
        ("Zürich", "=?base64?WsO8cmljaA==?="),
        ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ("=?BASE64?YQ==?=", "=?BASE64?YQ==?="),
    ],
)
def test_a_value_travels_as_it_is_or_in_base64(value, header):
    assert encode(value) == header
    assert decode(header) == value


@pytest.mark.parametrize(
    "header",
    ["=?base64?%?=", "=?base64?YQ?=", "=?base64?YR==?=", "=?base64?/w==?=", "=?base64?ä?="],
)
def test_a_malformed_value_is_refused(header):
    with pytest.raises(HeaderMismatch) as caught:
        decode(header)
    assert (caught.value.code, caught.value.status) == (-32020, 400)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_and_the_sdk_reads_it(value):
    header = encode(value)
    assert header.isascii()
    assert header.isprintable()
    assert decode(header) == value == sdk.decode_header_value(header)


@given(st.text(st.sampled_from("=?base64YQRw/+ \n%ä")) | st.text())
def test_what_the_sdk_refuses_is_refused(inside):
    for header in (f"=?base64?{inside}?=", inside):
        try:
            expected = sdk.decode_header_value(header)
        except ValueError:  # the SDK's own way to refuse what is not ASCII
            expected = None
        if expected is None:
            with pytest.raises(HeaderMismatch):
                decode(header)
        else:
            assert decode(header) == expected


# ---------------------------------------------------------------- a tool's annotations


def annotated(kind="string", name="Region"):
    return {"type": kind, "x-mcp-header": name}


def schema(**properties):
    return {"type": "object", "properties": properties}


def test_annotated_properties_are_found_at_any_depth_of_properties():
    found = param_headers(
        schema(
            region=annotated(),
            size=annotated("integer", "Size"),
            deep={"type": "object", "properties": {"flag": annotated("boolean", "X-Flag")}},
            plain={"type": "number"},
        )
    )
    assert {key: (h.name, h.path, h.kind) for key, h in found.items()} == {
        "mcp-param-region": ("Mcp-Param-Region", ("region",), "string"),
        "mcp-param-size": ("Mcp-Param-Size", ("size",), "integer"),
        "mcp-param-x-flag": ("Mcp-Param-X-Flag", ("deep", "flag"), "boolean"),
    }


@pytest.mark.parametrize(
    "data", ["const", "default", "enum", "examples", "properties", "$defs", "allOf", "title"]
)
def test_an_annotation_inside_data_is_no_annotation(data):
    assert param_headers({"type": "object", data: annotated(name=7)["x-mcp-header"]}) == {}
    if data in {"const", "default", "title"}:
        assert param_headers({"type": "object", data: annotated(name=7)}) == {}


def test_a_property_may_bear_the_annotations_name():
    assert param_headers(schema(**{"x-mcp-header": {"type": "string"}})) == {}


BAD = [
    annotated(),
    schema(a=annotated(name="")),
    schema(a=annotated(name="a b")),
    schema(a=annotated(name="a:b")),
    schema(a=annotated(name="a\r\nX-Evil: 1")),
    schema(a=annotated(name="Ä")),
    schema(a=annotated(name="a\n")),
    schema(a=annotated(name=7)),
    schema(a=annotated(name=10**5000)),
    schema(a=annotated(name=None)),
    schema(a=annotated("number")),
    schema(a=annotated("object")),
    schema(a={"x-mcp-header": "A"}),
    schema(a=annotated(["string"])),
    schema(a=annotated(name="Same"), b=annotated(name="sAME")),
    schema(a={"type": "array", "items": annotated()}),
    schema(a={"anyOf": [annotated()]}),
    {**schema(), "$defs": {"a": annotated()}},
    {**schema(), "additionalProperties": schema(a=annotated())},
    {**schema(), "patternProperties": {".*": annotated()}},
    {**schema(), "if": {"not": {"allOf": [{"prefixItems": [annotated()]}]}}},
]


@pytest.mark.parametrize("bad", BAD)
def test_an_annotation_that_breaks_a_rule_is_refused_here_and_by_the_sdk(bad):
    assert sdk.find_invalid_x_mcp_header(bad)
    with pytest.raises(BadAnnotation, match="x-mcp-header"):
        param_headers(bad)


SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "boolean", "number", ["string"]]),
            "x-mcp-header": st.sampled_from(["A", "a", "B-c", "", "x y", 7]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner) | st.just([]),
            "items": inner | st.lists(inner, max_size=1),
            "anyOf": st.lists(inner, max_size=2) | inner,
            "$defs": st.dictionaries(st.sampled_from("ab"), inner) | st.just([]),
            "default": inner,
        },
    ),
    max_leaves=6,
)


@given(SCHEMAS)
def test_it_finds_the_annotations_that_the_sdk_finds(input_schema):
    if sdk.find_invalid_x_mcp_header(input_schema):
        with pytest.raises(BadAnnotation):
            param_headers(input_schema)
    else:
        found = param_headers(input_schema).values()
        ours = {header.path: header.name.removeprefix("Mcp-Param-") for header in found}
        assert ours == sdk.x_mcp_header_map(input_schema)


# ---------------------------------------------------------------- a call's headers

TOOL = schema(
    region=annotated(),
    size=annotated("integer", "Size"),
    deep=schema(flag=annotated("boolean", "Flag")),
)
HEADERS = param_headers(TOOL)


def mismatch(arguments, received):
    with pytest.raises(HeaderMismatch) as caught:
        check_params(HEADERS, arguments, received)
    return str(caught.value)


def test_arguments_become_headers_and_what_is_absent_does_not():
    assert encode_params(HEADERS, {"region": "Zürich", "size": 42, "deep": {"flag": True}}) == {
        "Mcp-Param-Region": "=?base64?WsO8cmljaA==?=",
        "Mcp-Param-Size": "42",
        "Mcp-Param-Flag": "true",
    }
    for nothing in ({}, None, [], {"region": None, "deep": 7}, {"region": {"a": 1}, "size": []}):
        assert encode_params(HEADERS, nothing) == {}
        check_params(HEADERS, nothing, {})
    assert encode_params(HEADERS, {"size": 42.0, "region": 1.5}) == {
        "Mcp-Param-Size": "42",
        "Mcp-Param-Region": "1.5",
    }


def test_a_header_must_come_with_its_argument_and_say_the_same():
    region = {"mcp-param-region": "us"}
    check_params(HEADERS, {"region": "us"}, {**region, "mcp-param-unknown": "x"})
    check_params(HEADERS, {"region": "us"}, {"mcp-param-region": "=?base64?dXM=?="})
    assert mismatch({"region": "eu"}, region) == "Mcp-Param-Region is not the argument 'region'"
    assert mismatch({"region": "US"}, region) == "Mcp-Param-Region is not the argument 'region'"
    assert (
        mismatch({"region": "us"}, {})
        == "Mcp-Param-Region is missing: the argument 'region' is there"
    )
    assert mismatch({}, region) == "Mcp-Param-Region came: the argument 'region' is not there"
    assert mismatch({"region": [1]}, region).startswith("Mcp-Param-Region came")
    assert "malformed" in mismatch({"region": "us"}, {"mcp-param-region": "=?base64?%?="})


@pytest.mark.parametrize(
    ("value", "header", "same"),
    [
        (42, "42", True), (42, "42.0", True), (42.0, "42", True), (42.0, "42.00", True),
        (42, "43", False), (42, "42.5", False), (42, "4.2e1", False), (42, "+42", False),
        (42, " 42", False), (42.5, "42", False), (42.5, "42.5", True), (-7, "-7.0", True),
        (2**63, "9223372036854775808", True), (2**53 + 1, str(2**53), False),
        (True, "1", False), (True, "true", True), ("42", "42.0", False), ("42", "42", True),
        (1, "9" * 5000, False), (42, "٤٢", False),
    ],
)  # fmt: skip
def test_an_integer_is_compared_as_a_number(value, header, same):
    received = {"mcp-param-size": header}
    if same:
        check_params(HEADERS, {"size": value}, received)
    else:
        assert mismatch({"size": value}, received) == "Mcp-Param-Size is not the argument 'size'"
    assert same is (sdk.validate_mcp_param_headers(TOOL, {"size": value}, received) is None)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.lists(st.integers(), max_size=1)
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "region": VALUES,
        "size": VALUES,
        "deep": VALUES | st.fixed_dictionaries({}, optional={"flag": VALUES}),
    },
)


@given(ARGUMENTS)
def test_the_headers_that_are_sent_pass_the_own_check(arguments):
    sent = encode_params(HEADERS, arguments)
    check_params(HEADERS, arguments, {name.lower(): value for name, value in sent.items()})


@given(ARGUMENTS)
def test_the_headers_that_the_sdk_sends_pass(arguments):
    sent = sdk.mcp_param_headers(sdk.x_mcp_header_map(TOOL), arguments)
    if not any(isinstance(v, float) for v in [*arguments.values(), arguments.get("deep")]):
        lines = [(name.encode(), value.encode()) for name, value in sent.items()]
        deep = arguments.get("deep")
        if not (isinstance(deep, dict) and isinstance(deep.get("flag"), float)):
            check_params(HEADERS, arguments, received_params(lines))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "region": st.text(st.characters(exclude_categories=["Cs"])),
            "size": st.integers() | st.integers(-(2**53), 2**53).map(float),
            "deep": st.fixed_dictionaries({"flag": st.booleans()}),
        },
    )
)
def test_the_headers_of_fitting_arguments_pass_the_sdk(arguments):
    sent = encode_params(HEADERS, arguments)
    assert sdk.validate_mcp_param_headers(TOOL, arguments, sent) is None


def test_received_headers_are_collected_by_name_in_lower_case():
    lines = [(b"Mcp-Param-Region", b"us"), (b"mcp-name", b"x"), (b"mcp-param-size", b"4")]
    assert received_params(lines) == {"mcp-param-region": "us", "mcp-param-size": "4"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([(b"mcp-param-a", b"1"), (b"Mcp-Param-A", b"1")], "mcp-param-a came twice"),
        ([(b"mcp-param-a", b"\xfc")], "mcp-param-a is not ASCII"),
    ],
)
def test_a_header_that_two_readers_may_read_in_two_ways_is_refused(lines, expected):
    with pytest.raises(HeaderMismatch, match=expected):
        received_params(lines)
