"""What schemas cost, and which are refused before anything is compiled (A32)."""

import pytest

from agenthub.wire.schema_bounds import DEPTH_MAX, PARTS_MAX, VISITS_MAX, take_apart

STRING = {"type": "string"}


def refs(*names):
    return [{"$ref": f"#/$defs/{name}"} for name in names]


def doubled(levels):
    """Each definition names the next one twice."""
    defs = {f"d{n}": {"anyOf": refs(f"d{n + 1}", f"d{n + 1}")} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": defs | {f"d{levels}": STRING}}


def doubled_below(levels):
    """The same, each time one value further inside."""
    defs = {
        f"d{n}": {"allOf": [{"properties": {"p": ref}} for ref in refs(f"d{n + 1}", f"d{n + 1}")]}
        for n in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": defs | {f"d{levels}": STRING}}


def nested(levels):
    schema = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "visits"),
    [
        ({}, 1),
        (STRING, 1),
        ({"properties": {"a": STRING, "b": STRING}}, 2),
        ({"properties": {"a": STRING, "b": {"anyOf": [STRING, STRING]}}}, 4),
        ({"anyOf": [STRING, {"type": "number"}, True]}, 3),
        ({"enum": [1, 2, 3]}, 4),
        ({"if": {}, "then": {}, "else": {}, "not": {}}, 5),
        ({"oneOf": [{}], "dependentSchemas": {"a": {}}, "dependencies": {"a": {}, "b": ["c"]}}, 4),
        ({"prefixItems": [{}, {}], "items": {}, "contains": {}}, 4),
        ({"items": [{}, {}], "additionalItems": {}}, 3),
        ({"patternProperties": {"a": {}, "b": {}}, "additionalProperties": {}}, 4),
        ({"propertyNames": {}, "unevaluatedProperties": {}, "unevaluatedItems": {}}, 4),
        ({"items": {"items": {"items": {}}}}, 4),
        ({"anyOf": [{"items": {}}, {"items": {}}]}, 5),
        ({"$defs": {"a": {"anyOf": [{}, {}]}}, "definitions": {"b": {}}}, 1),
        ({"$defs": {"a": {"anyOf": [{}, {}]}}, "$ref": "#/$defs/a"}, 4),
        ({"const": {"$ref": "http://x"}, "default": {"$ref": "#/no"}, "examples": [{}]}, 1),
        ({"properties": {"$ref": STRING, "$id": STRING, "enum": STRING}}, 2),
        ({"custom": {"anyOf": [STRING, STRING]}, "$ref": "#/custom"}, 4),
        (doubled(3), 30),
    ],
)
def test_the_visits_of_one_value_are_counted(schema, visits):
    assert take_apart(schema).visits == visits


@pytest.mark.parametrize(
    ("schema", "patterns"),
    [
        (STRING, 0),
        ({"pattern": "a"}, 1),
        ({"$defs": {"a": {"pattern": "a"}}, "patternProperties": {"b": {}, "c": {}}}, 3),
        ({"properties": {"pattern": STRING}}, 0),
    ],
)
def test_the_patterns_are_counted(schema, patterns):
    assert take_apart(schema).patterns == patterns


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"not": {"$ref": "#"}},
        {"$dynamicRef": "#me", "$dynamicAnchor": "me"},
        {"$recursiveRef": "#"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"$defs": {"a": {"anyOf": refs("b")}, "b": {"if": {"$ref": "#/$defs/a"}}}},
    ],
)
def test_a_schema_that_refers_to_itself_without_end_is_refused(schema):
    with pytest.raises(ValueError, match="refers to itself"):
        take_apart(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"child": {"$ref": "#"}}},
        {"items": {"$ref": "#"}},
        {"$defs": {"tree": {"additionalProperties": {"$ref": "#/$defs/tree"}}}},
        {"anyOf": [STRING, {"items": {"$ref": "#"}}, {"properties": {"a": {"$ref": "#"}}}]},
    ],
)
def test_a_circle_that_ends_with_the_value_is_fine(schema):
    shape = take_apart(schema)
    assert shape.circular
    assert shape.visits < 20


def test_without_circles_none_is_seen():
    assert not take_apart(doubled(3)).circular
    assert not take_apart({"properties": {"a": STRING}}).circular


@pytest.mark.parametrize("make", [doubled, doubled_below])
def test_work_that_multiplies_is_refused(make):
    """Thirty levels would be a billion visits."""
    assert take_apart(make(10)).visits <= VISITS_MAX
    with pytest.raises(ValueError, match=f"more than {VISITS_MAX} ways"):
        take_apart(make(30))


def test_the_limit_of_visits_is_exact():
    assert take_apart({"enum": [1] * (VISITS_MAX - 1)}).visits == VISITS_MAX
    with pytest.raises(ValueError, match="ways through it"):
        take_apart({"enum": [1] * VISITS_MAX})


def test_too_many_schemas_are_refused():
    take_apart({"allOf": [{"type": "object"} for _ in range(PARTS_MAX - 1)]})
    with pytest.raises(ValueError, match=f"more than {PARTS_MAX} schemas"):
        take_apart({"allOf": [{"type": "object"} for _ in range(PARTS_MAX)]})


def test_too_much_depth_is_refused_wherever_it_is():
    take_apart(nested(DEPTH_MAX - 1))
    for schema in (nested(DEPTH_MAX), nested(1_000), {"default": nested(100)}):
        with pytest.raises(ValueError, match=f"nested deeper than {DEPTH_MAX}"):
            take_apart(schema)
    lists = []
    for _ in range(100):
        lists = [lists]
    with pytest.raises(ValueError, match="nested deeper"):
        take_apart({"enum": lists})


@pytest.mark.parametrize(
    "ref",
    ["http://127.0.0.1/x", "https://example.com/s#/a", "file:///etc/passwd", "other", "urn:a:b",
     "//evil", None, 7, ["#"], {"a": 1}],
)  # fmt: skip
def test_nothing_outside_is_referred_to(ref):
    with pytest.raises(ValueError, match=r"^\$ref: |refers to itself"):
        take_apart({"properties": {"a": {"$ref": ref}}, "$id": "https://example.com/root"})


@pytest.mark.parametrize(
    "ref", ["#/$defs/gone", "#/a/b/c", "#gone", "#/allOf/1", "#/allOf/x", "#/type", "#/allOf", "#/"]
)
def test_a_reference_that_leads_nowhere_is_refused(ref):
    with pytest.raises(ValueError, match=r"^\$ref: no such"):
        take_apart({"type": "object", "allOf": [{}], "properties": {"a": {"$ref": ref}}})


@pytest.mark.parametrize(
    "ref",
    ["#/$defs/a~1b~0c", "#/$defs/a%2Fb~0c", "#/allOf/0", "#here", "#dynamic", "#old",
     "https://example.com/root#here", "#/custom/schema", "#/$defs/yes"],
)  # fmt: skip
def test_a_reference_inside_is_followed(ref):
    schema = {
        "$id": "https://example.com/root",
        "$defs": {
            "a/b~c": STRING,
            "yes": True,
            "x": {"$anchor": "here"},
            "y": {"$dynamicAnchor": "dynamic"},
            "z": {"$id": "#old"},
        },
        "custom": {"schema": STRING},
        "allOf": [{}],
        "properties": {"a": {"$ref": ref}},
    }
    assert take_apart(schema).visits == 4


def test_a_reference_to_the_root_by_its_own_address_is_one():
    shape = take_apart({"$id": "urn:me", "items": {"$ref": "urn:me"}})
    assert shape.circular


def test_another_address_inside_is_refused():
    """References would mean something else from there on."""
    with pytest.raises(ValueError, match=r"^\$id: expected none inside"):
        take_apart({"$defs": {"a": {"$id": "https://example.com/a"}}})


@pytest.mark.parametrize(
    "dialect",
    ["https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#",
     "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema",
     "https://json-schema.org/draft/2019-09/schema", ""],
)  # fmt: skip
def test_a_dialect_is_known(dialect):
    take_apart({"$schema": dialect})


@pytest.mark.parametrize(
    "dialect", ["http://json-schema.org/draft-04/schema#", "http://127.0.0.1/evil", 7, None, ["x"]]
)
def test_a_dialect_is_refused(dialect):
    with pytest.raises(ValueError, match=r"^\$schema: expected 2020-12 or draft-07"):
        take_apart({"$schema": dialect})


@pytest.mark.parametrize(
    "schema",
    [{"allOf": 7}, {"properties": 7}, {"items": 7}, {"enum": 7}, {"not": [{}]}, {"$defs": []},
     {"patternProperties": None}, {"properties": {"a": 7}}],
)  # fmt: skip
def test_nonsense_is_left_to_the_compiler(schema):
    assert take_apart(schema).visits == 1


def test_what_is_shown_of_a_reference_is_short():
    with pytest.raises(ValueError, match="…") as caught:
        take_apart({"$ref": "http://example.com/" + "x" * 1_000})
    assert len(str(caught.value)) < 150
