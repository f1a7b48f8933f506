"""`--arg k=v` into the arguments that a tool's schema asks for.

schema says       `--arg a=2` becomes
number, integer   2
boolean           yes/no, true/false, on/off, 1/0
string            the text as it is, also `2` and `true`
array             JSON, or one item per `--arg` of the same name
object            JSON
nothing           JSON if it reads as JSON, else text
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from click import UsageError

TRUTHS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
REFERENCES_MAX: Final = 8
"""How often `$ref` is followed; a schema may refer to itself."""

_INTEGER = re.compile(r"[-+]?\d{1,4000}")

Schema = Mapping[str, Any]


class Unfit(Exception):
    """The text is not what the schema expects; says what is."""


def arguments(words: Sequence[str], schema: Schema, base: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call: `base`, with each `k=v` over it. Raises UsageError."""
    given: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg: expected NAME=VALUE, got {word[:40]!r}.")
        given.setdefault(name, []).append(text)
    properties = object_of(schema.get("properties"))
    made = dict(base)
    for name, texts in given.items():
        try:
            made[name] = _value(texts, object_of(properties.get(name)), schema)
        except Unfit as unfit:
            raise UsageError(f"--arg {name}: {unfit}.") from None
    return made


def _value(texts: list[str], schema: Schema, root: Schema) -> Any:
    schema = _followed(schema, root)
    kinds = _kinds(schema)
    if len(texts) > 1:
        if "array" not in kinds:
            raise Unfit("given twice, and it takes one value")
        items = object_of(schema.get("items"))
        return [_value([text], items, root) for text in texts]
    text = texts[0]
    for option in _options(schema):
        try:
            return _value([text], option, root)
        except Unfit:
            continue
    if not kinds:
        return _guess(text)
    return _typed(text, kinds, schema, root)


def _typed(text: str, kinds: Sequence[str], schema: Schema, root: Schema) -> Any:
    """The narrowest of these types that the text fits; a string last, for everything fits it."""
    for kind in ("null", "boolean", "integer", "number", "array", "object"):
        if kind in kinds and (kind != "boolean" or "string" not in kinds or text in TRUTHS):
            try:
                return _one(text, kind, schema, root)
            except Unfit:
                if len(kinds) == 1:
                    raise
    if "string" in kinds:
        return text
    raise Unfit(f"expected {' or '.join(kinds)}, got {text[:40]!r}")


def _one(text: str, kind: str, schema: Schema, root: Schema) -> Any:
    if kind == "null" and text == "null":
        return None
    if kind == "boolean" and text.lower() in TRUTHS:
        return TRUTHS[text.lower()]
    if kind in {"integer", "number"}:
        number = _number(text)
        if isinstance(number, int) or (number is not None and kind == "number"):
            return number
    if kind in {"array", "object"} and text[:1] == ("[" if kind == "array" else "{"):
        return _json(text, kind)
    if kind == "array" and text and "items" in schema:
        return [_value([text], object_of(schema["items"]), root)]
    article = "an" if kind[0] in "aio" else "a"
    as_json = " as JSON" if kind in {"array", "object"} else ""
    raise Unfit(f"expected {article} {kind}{as_json}, got {text[:40]!r}")


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return None
    if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _json(text: str, kind: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"expected an {kind} as JSON: {error}") from None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _guess(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _kinds(schema: Schema) -> list[str]:
    """The types that the schema allows; none if it does not say."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    if isinstance(kind, list):
        return [word for word in cast("list[object]", kind) if isinstance(word, str)]
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return list(dict.fromkeys(_kind_of(value) for value in cast("list[object]", values)))


def _kind_of(value: object) -> str:
    kinds = ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"))
    named = (name for kind, name in kinds if isinstance(value, kind))
    return next(named, "null" if value is None else "object")


def _options(schema: Schema) -> list[Schema]:
    """The alternatives, those that take any text last."""
    found: object = schema.get("anyOf") or schema.get("oneOf")
    listed = cast("list[object]", found) if isinstance(found, list) else []
    options = [object_of(option) for option in listed]
    return sorted(options, key=lambda option: not option or "string" in _kinds(option))


def _followed(schema: Schema, root: Schema) -> Schema:
    for _ in range(REFERENCES_MAX):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = object_of(found).get(part.replace("~1", "/").replace("~0", "~"))
        schema = object_of(found)
    return {}


def object_of(value: Any) -> Schema:
    """The value if it is an object, else an empty one: servers write odd schemas."""
    return cast("Schema", value) if isinstance(value, dict) else {}
