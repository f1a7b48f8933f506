"""What a JSON Schema costs, found without running it: its parts, its circles, its worst case.

    part ──here──► parts that look at the same value      allOf, anyOf, oneOf, not, if, $ref …
         ──below─► parts that look at values inside it    properties, items, contains …

A circle that only stays *here* never ends; one that goes *below* ends with the value. Where many
parts look at one value, and inside each of them many more, the work multiplies: thirty lines of
`$defs`, each naming the next one twice, are a billion visits. So the visits are counted, along the
worst way from the root to one value inside. (In circles the compiled validator remembers what it
has seen; they count once.)

Nothing outside of the schema is ever referred to. Source: JSON Schema 2020-12, and draft-07; rule
A32; MCP 2026-07-28, Tools (no network `$ref`, bounded depth and time).
"""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from msgspec import Struct, field

PARTS_MAX: Final = 10_000
VISITS_MAX: Final = 100_000
"""For one value; a visit takes about 10 ns."""
DEPTH_MAX: Final = 64
SHOWN: Final = 64

DIALECTS: Final = frozenset({
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft-07/schema",
})  # fmt: skip

_HERE: Final = frozenset({"not", "if", "then", "else"})
_HERE_MANY: Final = frozenset({"allOf", "anyOf", "oneOf"})
_HERE_NAMED: Final = frozenset({"dependentSchemas", "dependencies"})
_BELOW: Final = frozenset({
    "additionalItems", "additionalProperties", "contains", "items", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_KEPT: Final = frozenset({"$defs", "definitions"})
_REFS: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_ANCHORS: Final = frozenset({"$anchor", "$dynamicAnchor"})


class Part(Struct, eq=False, gc=False):
    """One schema inside the schema."""

    body: dict[str, Any]
    own: int = 1
    """Visits of this part alone."""
    here: list["Part"] = field(default_factory=list["Part"])
    apart: list["Part"] = field(default_factory=list["Part"])
    """Below, each for a value of its own."""
    together: list["Part"] = field(default_factory=list["Part"])
    """Below, and all may look at one value."""
    wide: int = 0
    """Visits of one value, by this part and all that look at the same value."""
    deep: int = 0
    """Visits of one value inside it, and inside that one, and so on."""


class Shape(Struct):
    """A schema taken apart."""

    parts: list[Part]
    """The whole first."""
    visits: int
    """Of one value, at most."""
    circular: bool

    patterns: int
    """How many patterns there are, for texts and for names."""


def take_apart(schema: dict[str, Any]) -> Shape:
    """Raises ValueError for what is too large or too deep, or refers to itself or outside."""
    _check_depth(schema)
    dialect = schema.get("$schema", "")
    if not isinstance(dialect, str) or (dialect and dialect.rstrip("#") not in DIALECTS):
        raise ValueError(f"$schema: expected 2020-12 or draft-07, got {_shown(dialect)}")
    parts = _Reader(schema).read()
    circular = _count(parts)
    visits = parts[0].wide + parts[0].deep
    if visits > VISITS_MAX:
        raise ValueError(f"more than {VISITS_MAX} ways through it for one value")
    return Shape(parts, visits, circular, sum(_patterns(part.body) for part in parts))


def _patterns(body: dict[str, Any]) -> int:
    return ("pattern" in body) + len(_values(body.get("patternProperties")))


def _check_depth(schema: object) -> None:
    level: list[object] = [schema]
    for _ in range(DEPTH_MAX):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEPTH_MAX}")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    elif isinstance(value, list):
        yield from value  # pyright: ignore[reportUnknownVariableType]


# ---------------------------------------------------------------- reading


class _Reader:
    """Finds the parts, and what they refer to. Data (`const`, `default`, …) is not entered."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._id = root.get("$id", "")
        self._parts: dict[int, Part] = {}
        self._anchors: dict[str, Part] = {}
        self._refs: list[tuple[Part, str]] = []
        self._unread: list[Part] = []

    def read(self) -> list[Part]:
        self._part(self._root)
        self._read_all()
        while self._refs:
            part, ref = self._refs.pop()
            part.here.append(self._target(ref))
            self._read_all()
        return list(self._parts.values())

    def _part(self, body: dict[str, Any]) -> Part:
        part = self._parts.get(id(body))
        if part is None:
            if len(self._parts) >= PARTS_MAX:
                raise ValueError(f"more than {PARTS_MAX} schemas in it")
            part = self._parts[id(body)] = Part(body)
            self._unread.append(part)
        return part

    def _read_all(self) -> None:
        while self._unread:
            part = self._unread.pop()
            for keyword, value in part.body.items():
                self._read(part, keyword, value)

    def _read(self, part: Part, keyword: str, value: Any) -> None:
        if keyword in _HERE:
            part.here += self._schemas([value])
        elif keyword in _HERE_MANY:
            part.here += self._schemas(value)
        elif keyword in _HERE_NAMED:
            part.here += self._schemas(_values(value))
        elif keyword == "items" and isinstance(value, list):
            part.apart += self._schemas(value)
        elif keyword in _BELOW:
            part.together += self._schemas([value])
        elif keyword in {"properties", "prefixItems"}:
            part.apart += self._schemas(_values(value))
        elif keyword == "patternProperties":
            part.together += self._schemas(_values(value))
        elif keyword in _KEPT:
            self._schemas(_values(value))
        else:
            self._read_other(part, keyword, value)

    def _read_other(self, part: Part, keyword: str, value: Any) -> None:
        if keyword in _REFS:
            self._refs.append((part, str(value)))
        elif keyword in _ANCHORS:
            self._anchors[str(value)] = part
        elif keyword == "enum" and isinstance(value, list):
            part.own += len(value)  # pyright: ignore[reportUnknownArgumentType]
        elif keyword == "$id" and part.body is not self._root:
            if not str(value).startswith("#"):
                raise ValueError(f"$id: expected none inside, got {_shown(value)}")
            self._anchors[str(value)[1:]] = part

    def _schemas(self, values: Any) -> list[Part]:
        if not isinstance(values, list):
            return []
        return [self._part(value) for value in values if isinstance(value, dict)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

    def _target(self, ref: str) -> Part:
        place, _, fragment = ref.partition("#")
        if place and place != str(self._id).partition("#")[0]:
            raise ValueError(f"$ref: expected a place in the schema itself, got {_shown(ref)}")
        if fragment and not fragment.startswith("/"):
            found = self._anchors.get(fragment)
            if found is None:
                raise ValueError(f"$ref: no such anchor, {_shown(ref)}")
            return found
        value: Any = self._root
        for step in fragment.split("/")[1:]:
            value = _step(value, step)
        if isinstance(value, bool):
            return Part({})
        if not isinstance(value, dict):
            raise ValueError(f"$ref: no such place, {_shown(ref)}")  # noqa: TRY004 - bad data
        return self._part(value)  # pyright: ignore[reportUnknownArgumentType]


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def _step(value: Any, step: str) -> Any:
    """One step of a JSON pointer; None where it leads nowhere. Source: RFC 6901."""
    name = unquote(step).replace("~1", "/").replace("~0", "~")
    if isinstance(value, dict):
        return value.get(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):  # pyright: ignore[reportUnknownArgumentType]
        return value[int(name)]  # pyright: ignore[reportUnknownVariableType]
    return None


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


# ---------------------------------------------------------------- counting


def _count(parts: list[Part]) -> bool:
    """Give each part its visits, those it rests on first. True: there are circles."""
    _refuse_circles_here(parts)
    circular = False
    done: set[Part] = set()
    open_: set[Part] = set()
    for first in parts:
        stack = [first]
        while stack:
            part = stack[-1]
            if part in done:
                stack.pop()
            elif part in open_:
                _weigh(part)
                done.add(stack.pop())
            else:
                open_.add(part)
                for inner in (*part.here, *part.apart, *part.together):
                    if inner not in open_:
                        stack.append(inner)
                    elif inner not in done:
                        circular = True
    return circular


def _weigh(part: Part) -> None:
    below = max((p.wide + p.deep for p in part.apart), default=0)
    below += sum(p.wide + p.deep for p in part.together)
    part.wide = min(part.own + sum(p.wide for p in part.here), VISITS_MAX + 1)
    part.deep = min(below + sum(p.deep for p in part.here), VISITS_MAX + 1)


def _refuse_circles_here(parts: list[Part]) -> None:
    """Take away, one by one, what nothing is left to look at together with; circles stay."""
    waits = dict.fromkeys(parts, 0)
    for part in parts:
        for inner in part.here:
            waits[inner] = waits.get(inner, 0) + 1
    free = [part for part, count in waits.items() if not count]
    while free:
        part = free.pop()
        del waits[part]
        for inner in part.here:
            waits[inner] -= 1
            if not waits[inner]:
                free.append(inner)
    if waits:
        raise ValueError("a schema in it refers to itself")
