"""From a tree of text to typed values: nothing unknown, every number in its range.

Errors read `agenthub.yaml:12: endpoints.git.breaker.probes: expected an integer from 1 to 100,
got 'x'`. The types come from the structs themselves (msgspec.inspect), so a new field needs no
line here.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct, inspect

from agenthub.domain.endpoint_check import Bounds
from agenthub.domain.errors import BadSetting
from agenthub.settings.strict_yaml import Items, Node, Scalar, Table, parse

PREFIX: Final = "AGENTHUB__"
TRUTHS: Final = {"true": True, "True": True, "false": False, "False": False}

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}(?:_[0-9]{1,18}){0,5}")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")

Path = tuple[str, ...]
Ranges = Mapping[tuple[type, str], Bounds]


StructT = TypeVar("StructT", bound=Struct)


def build(node: Node, kind: type[StructT], ranges: Ranges) -> StructT:
    """The struct that the tree describes. Raises BadSetting, with line and key."""
    value = _Builder(ranges).value(node, inspect.type_info(kind), ())
    assert isinstance(value, kind)
    return value


def where(node: Node, path: Path) -> str:
    """The origin of what is at the path, or of the nearest that holds it."""
    origin = node.origin
    for key in path:
        if not isinstance(node, Table) or key not in node.entries:
            break
        origin, node = node.entries[key]
    return origin


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty if none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), 1, 0.6)), "")


class _Builder:
    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges

    def value(
        self, node: Node, kind: inspect.Type, path: Path, bounds: Bounds | None = None
    ) -> Any:
        match kind:
            case inspect.UnionType():
                if isinstance(node, Scalar) and node.is_null:
                    return None
                (other,) = (t for t in kind.types if not isinstance(t, inspect.NoneType))
                return self.value(node, other, path, bounds)
            case inspect.StructType():
                return self._struct(node, kind, path)
            case inspect.DictType():
                return self._dict(node, kind, path)
            case inspect.VarTupleType():
                return self._tuple(node, kind, path)
            case _:
                return _scalar(node, kind, path, bounds)

    def _struct(self, node: Node, kind: inspect.StructType, path: Path) -> Any:
        table = _table(node, path)
        fields = {field.name: field for field in kind.fields}
        # In a table of named things the key is the name.
        name = {"name": path[-1]} if path and fields.pop("name", None) else {}
        values: dict[str, Any] = {}
        for key, (origin, child) in table.entries.items():
            field = fields.get(key)
            if field is None:
                raise _unknown(origin, path, key, fields)
            bounds = self._ranges.get((kind.cls, key))
            values[key] = self.value(child, field.type, (*path, key), bounds)
        for key, field in fields.items():
            if field.required and key not in values:
                raise BadSetting(
                    f"{table.origin}: {'.'.join(path)}: expected {key}, which is needed"
                )
        return kind.cls(**values, **name)

    def _dict(self, node: Node, kind: inspect.DictType, path: Path) -> dict[str, Any]:
        entries = _table(node, path).entries
        return {
            key: self.value(child, kind.value_type, (*path, key))
            for key, (_, child) in entries.items()
        }

    def _tuple(self, node: Node, kind: inspect.VarTupleType, path: Path) -> tuple[Any, ...]:
        if isinstance(node, Scalar) and node.variable:
            node = _unfolded(node)
        if not isinstance(node, Items):
            raise _expected(node, path, "a list, as [a, b] or one item a line after `- `")
        return tuple(self.value(item, kind.item_type, path) for item in node.items)


def _unfolded(node: Scalar) -> Node:
    """A list or table in an environment variable: as JSON, or `a,b` for a list."""
    if node.text.lstrip()[:1] not in {"[", "{"}:
        words = (word.strip() for word in node.text.split(","))
        return Items([Scalar(word, node.origin) for word in words if word], node.origin)
    return _at(parse(node.text, node.origin), node.origin)


def _at(node: Node, origin: str) -> Node:
    """The same tree with one origin for all of it."""
    match node:
        case Scalar():
            return msgspec.structs.replace(node, origin=origin)
        case Items():
            return Items([_at(item, origin) for item in node.items], origin)
        case _:
            entries = {k: (origin, _at(child, origin)) for k, (_, child) in node.entries.items()}
            return Table(entries, origin)


def _table(node: Node, path: Path) -> Table:
    if isinstance(node, Scalar) and node.variable and node.text.lstrip().startswith("{"):
        node = _unfolded(node)
    if isinstance(node, Scalar) and node.is_null:
        return Table({}, node.origin)
    if not isinstance(node, Table):
        raise _expected(node, path, "a table of keys and values")
    return node


def _scalar(node: Node, kind: inspect.Type, path: Path, bounds: Bounds | None) -> Any:
    match kind:
        case inspect.BoolType():
            return _truth(node, path)
        case inspect.IntType():
            return _integer(node, path, bounds)
        case inspect.FloatType():
            return _number(node, path, bounds)
        case _:
            return _text(node, path)


def _truth(node: Node, path: Path) -> bool:
    if isinstance(node, Scalar) and node.plain and node.text in TRUTHS:
        return TRUTHS[node.text]
    raise _expected(node, path, "true or false")


def _integer(node: Node, path: Path, bounds: Bounds | None) -> int:
    what = f"an integer {bounds}" if bounds else "an integer"
    if isinstance(node, Scalar) and node.plain and _INTEGER.fullmatch(node.text):
        number = int(node.text)
        if bounds is None or bounds.holds(number):
            return number
    raise _expected(node, path, what)


def _number(node: Node, path: Path, bounds: Bounds | None) -> float:
    what = f"a number {bounds}" if bounds else "a number"
    if isinstance(node, Scalar) and node.plain and _DECIMAL.fullmatch(node.text):
        number = float(node.text)
        if bounds is None or bounds.holds(number):
            return number
    raise _expected(node, path, what)


def _text(node: Node, path: Path) -> str:
    if isinstance(node, Scalar) and not node.is_null:
        return node.text
    raise _expected(node, path, "text")


def _expected(node: Node, path: Path, what: str) -> BadSetting:
    match node:
        case Scalar() if node.is_null:
            got = "nothing"
        case Scalar():
            got = repr(node.text if len(node.text) <= 40 else node.text[:37] + "…")
            got += "" if node.plain else " in quotes"
        case Items():
            got = "a list"
        case _:
            got = "a table"
    key = ".".join(path) or "the file"
    return BadSetting(f"{node.origin}: {key}: expected {what}, got {got}")


def _unknown(origin: str, path: Path, key: str, known: Iterable[str]) -> BadSetting:
    near = nearest(key, known)
    parts = origin.removeprefix(PREFIX).split("__")
    if origin.startswith(PREFIX) and len(path) < len(parts):
        parts[len(path)] = near.upper()
        hint = f"; did you mean {PREFIX}{'__'.join(parts)}?" if near else ""
        return BadSetting(f"{origin}: no such setting{hint}")
    hint = f"; did you mean {near}?" if near else f"; known here: {', '.join(sorted(known))}"
    return BadSetting(f"{origin}: {'.'.join([*path, key[:64]])}: unknown key{hint}")
