import json

import pytest
from msgspec import Raw
from support.fake_upstream import tool

from agenthub.domain.pinning import Pin
from agenthub.listing import (
    ITEM_BYTES_MAX,
    ITEMS_MAX,
    Guise,
    Kind,
    Listing,
    ToolFacts,
    name_of,
    pin_of,
    render,
    sorted_items,
)

OBJECT = {"type": "object"}


def raw(**members):
    return Raw(json.dumps(members).encode())


def joined(items, kind, guise):
    return b",".join(item for _, item in render(items, kind, guise))


def shown(piece):
    return json.loads(b"[" + piece + b"]")


# ---------------------------------------------------------------- what can be listed


def test_items_are_kept_byte_for_byte_in_order_of_their_names():
    add = Raw(b'{ "name" :"add", "inputSchema":{"type":"object"}, "unknown": [1.0, 2e3] }')
    kept, excluded = sorted_items(Kind.TOOLS, [tool("sub"), add, tool("mul")])
    assert [name_of(Kind.TOOLS, item) for item in kept] == ["add", "mul", "sub"]
    assert kept[0] is add
    assert excluded == {}


@pytest.mark.parametrize(
    ("kind", "key"),
    [(Kind.PROMPTS, "name"), (Kind.RESOURCES, "uri"), (Kind.TEMPLATES, "uriTemplate")],
)
def test_each_kind_has_its_own_name(kind, key):
    items = [raw(**{key: "b://x"}), raw(**{key: "a://x"}), raw(other="c")]
    kept, excluded = sorted_items(kind, items)
    assert kept == [items[1], items[0]]
    assert excluded == {f"{kind.key} #3": f"an item of {kind.method} has no {key}"}


def test_of_two_items_with_one_name_the_first_counts():
    first, second = tool("add", title="1"), tool("add", title="2")
    kept, excluded = sorted_items(Kind.TOOLS, [first, second])
    assert kept == [first]
    assert excluded == {"add (again)": "the server lists it twice; the first counts"}


def test_what_is_beyond_the_limit_is_dropped_and_said():
    items = [raw(name=f"p{n:05}") for n in range(ITEMS_MAX + 1)]
    kept, excluded = sorted_items(Kind.PROMPTS, items)
    assert len(kept) == ITEMS_MAX
    assert excluded == {f"p{ITEMS_MAX:05}": f"more than {ITEMS_MAX} prompts"}


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (Raw(b"7"), "Expected `object`"),
        (Raw(b'{"name": 7}'), "Expected `str`"),
        (Raw(b'{"name": "x", "title": "\xff", "inputSchema": {}}'), "not UTF-8"),
        (
            Raw(b'{"name":"x","inputSchema":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001),
            "recursion",
        ),
        (Raw(b'{"name":"x","description":"a","inputSchema":{},"description":"b"}'), "same key"),
        (raw(name="x", inputSchema=OBJECT, Description="b"), "looks like 'description'"),
        (tool("x", outputSchema={"$ref": "http://evil.test/schema"}), "outputSchema: $ref"),
        (tool("../x"), "1 to 128"),
        (tool("a" * 129), "1 to 128"),
        (tool("\u202eadd"), "1 to 128"),
        (raw(name="x"), "x: inputSchema is not an object"),
        (raw(name="x", inputSchema=[]), "x: inputSchema is not an object"),
        (tool("x", {"type": "object", "$ref": "http://evil.test/schema"}), "inputSchema"),
        (tool("x", {"type": "nonsense"}), "inputSchema"),
        (tool("x", {"properties": {"a": {"type": "string", "x-mcp-header": "a\r\nb"}}}), "x-mcp"),
    ],
)
def test_a_tool_that_no_client_should_be_offered_is_excluded_and_the_others_stay(item, why):
    kept, excluded = sorted_items(Kind.TOOLS, [item, tool("good")])
    assert [name_of(Kind.TOOLS, item) for item in kept] == ["good"]
    assert list(excluded) == ["tools #1"]
    assert why in excluded["tools #1"]


@pytest.mark.parametrize("kind", [Kind.TOOLS, Kind.PROMPTS])
def test_an_item_of_megabytes_is_excluded(kind):
    items = [tool("huge", description="x" * ITEM_BYTES_MAX), tool("long", description="x" * 10**6)]
    kept, excluded = sorted_items(kind, items)
    assert [name_of(kind, item) for item in kept] == ["long"]
    assert excluded == {f"{kind.key} #1": f"larger than {ITEM_BYTES_MAX} bytes"}


def test_a_server_cannot_speak_in_the_name_of_the_hub():
    """A34: also where the key is written with escapes."""
    forged = Raw(
        b'{"name":"x","inputSchema":{"type":"object"},"a":1.0,'
        b'"\\u005fmeta":{"io.agenthub\\/unavailable":"no","own":{"k":1.50}}}'
    )
    (item,), _ = sorted_items(Kind.TOOLS, [forged])
    item = bytes(item)
    assert json.loads(item)["_meta"] == {"own": {"k": 1.5}}
    assert b'{"k":1.50}' in item
    assert b'"a":1.0' in item


@pytest.mark.parametrize("meta", [5, None, "x", {"own": 1}])
def test_other_meta_stays_as_it_is(meta):
    item = tool("x", _meta=meta)
    assert sorted_items(Kind.TOOLS, [item])[0] == [item]


# ---------------------------------------------------------------- what calls need to know


def test_without_a_pin_no_annotation_is_heard():
    assert ToolFacts(tool("x", annotations={"readOnlyHint": True}), None).heard == {}


@pytest.mark.parametrize("annotations", [None, [1], "x"])
def test_a_tool_without_annotations_has_none(annotations):
    item = tool("x", annotations=annotations)
    assert ToolFacts(item, pin_of(item)).heard == {}


def test_the_annotations_of_the_approved_definition_are_heard():
    item = tool("x", annotations={"readOnlyHint": True, "title": "t"})
    assert ToolFacts(item, pin_of(item)).heard == {"readOnlyHint": True, "title": "t"}


READS, HARMLESS = {"readOnlyHint": True}, {"readOnlyHint": True, "idempotentHint": True}


@pytest.mark.parametrize(
    ("approved", "now", "heard"),
    [({}, READS, {}), (READS, {}, {}), (READS, HARMLESS, READS), (HARMLESS, READS, READS),
     (READS, {"readOnlyHint": 1}, {}), ({"readOnlyHint": "true"}, READS, {})],
)  # fmt: skip
def test_of_a_changed_definition_only_what_was_approved_is_heard(approved, now, heard):
    """R30: from then on, and in the other direction too."""
    pin = pin_of(tool("x", annotations=approved))
    assert ToolFacts(tool("x", description="other", annotations=now), pin).heard == heard


def test_of_a_pin_without_its_definition_nothing_is_heard_after_a_change():
    old = pin_of(tool("x", annotations=READS)).digest
    assert ToolFacts(tool("x", title="t", annotations=READS), Pin(old)).heard == {}
    assert ToolFacts(tool("x", annotations=READS), Pin(old)).heard == READS


def test_the_shape_is_that_of_both_schemas_and_nothing_else():
    shape = ToolFacts(tool("x", description="a"), None).shape
    assert ToolFacts(tool("y", description="b"), None).shape == shape
    assert ToolFacts(tool("x", {"type": "object", "required": ["a"]}), None).shape != shape
    assert ToolFacts(tool("x", outputSchema=OBJECT), None).shape != shape


def test_arguments_are_held_against_the_schema():
    facts = ToolFacts(tool("x", {"type": "object", "required": ["a"]}), None)
    assert facts.problem_with({"a": 1}) is None
    assert "required" in facts.problem_with({})
    assert facts.problem_with({"a": 2}) is None


def test_an_argument_that_is_null_may_be_left_out():
    """Many clients write null for it, and many servers take that; what is required is not null."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    facts = ToolFacts(tool("x", {**schema, "required": ["a"]}), None)
    assert facts.problem_with({"a": "1", "b": None}) is None
    assert "required" in facts.problem_with({"a": None})
    assert facts.problem_with({"a": "1", "b": 7})
    assert facts.problem_with([None])
    nulls = {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]}
    assert ToolFacts(tool("x", nulls), None).problem_with({"a": None}) is None


def test_headers_are_taken_from_the_schema():
    schema = {"type": "object", "properties": {"t": {"type": "string", "x-mcp-header": "Tenant"}}}
    assert list(ToolFacts(tool("x", schema), None).headers) == ["mcp-param-tenant"]


# ---------------------------------------------------------------- how it is shown


def test_one_servers_own_items_are_shown_as_they_came():
    items = [raw(name="a"), Raw(b'{ "name": "b" }')]
    assert joined(items, Kind.PROMPTS, Guise("", "")) == b'{"name": "a"},{ "name": "b" }'


def test_among_many_servers_names_have_prefixes():
    listing = Listing(
        tools=[tool("add")], prompts=[raw(name="hi")], resources=[raw(uri="file:///a", name="a")],
        templates=[raw(uriTemplate="file:///{p}", name="t")],
    )  # fmt: skip
    assert shown(joined(listing.tools, Kind.TOOLS, Guise("calc", "")))[0]["name"] == "calc__add"
    assert shown(joined(listing.prompts, Kind.PROMPTS, Guise("calc", "")))[0]["name"] == "calc__hi"
    resource = shown(joined(listing.resources, Kind.RESOURCES, Guise("calc", "")))[0]
    assert resource == {"uri": "agenthub://calc/file:///a", "name": "a"}
    template = shown(joined(listing.templates, Kind.TEMPLATES, Guise("calc", "")))[0]
    assert template["uriTemplate"] == "agenthub://calc/file:///{p}"


def test_what_nobody_would_see_is_not_passed_on():
    """A29: prompts and resources have descriptions, too."""
    for kind, named in ((Kind.TOOLS, "name"), (Kind.PROMPTS, "name"), (Kind.RESOURCES, "uri")):
        item = raw(**{named: "a", "description": "ad\u200bds\u202e", "_meta": {"title": "\u200b"}})
        (seen,) = shown(joined([item], kind, Guise("", "")))
        assert seen == {named: "a", "description": "adds", "_meta": {"title": "\u200b"}}


@pytest.mark.parametrize(
    ("meta", "kept"), [({}, {}), ({"_meta": {"own": 1}}, {"own": 1}), ({"_meta": 5}, {})]
)
def test_what_is_away_is_marked_and_says_why(meta, kept):
    listing = Listing(tools=[tool("add", **meta)])
    (item,) = shown(joined(listing.tools, Kind.TOOLS, Guise("", "circuit open")))
    assert item["name"] == "add"
    assert item["_meta"] == {**kept, "io.agenthub/unavailable": "circuit open"}


def test_a_listing_knows_its_items_by_kind():
    listing = Listing([tool("a")], [raw(name="b")], [raw(uri="c")], [raw(uriTemplate="d")])
    assert [len(listing.items(kind)) for kind in Kind] == [1, 1, 1, 1]
    assert listing.items(Kind.TEMPLATES) == [raw(uriTemplate="d")]
