"""A tool's input schema: looked at before the tool is offered, then held against arguments.

    server's schema ──inspect──► refused: the tool is not offered
                        └──────► compile_schema ──► Validator.check(arguments) ──► problem | None

The schema comes from a server, the arguments from a client; neither may take the hub's time (A32,
A33). Nothing is ever fetched. What a schema can cost is counted first (`schema_bounds`). Patterns
run in an automaton, whose time is the product of its size and the text's; so the larger the
automaton, the shorter the text that it meets. Patterns that look around or back need a
backtracking engine, and meet the least. Formats are notes, as the specification has them.
"""

from typing import Any, Final

import jsonschema_rs
import msgspec
from msgspec import Struct

from agenthub.wire.schema_bounds import Shape, take_apart

BYTES_MAX: Final = 256 * 1024
KEY_MAX: Final = 1_024
"""Characters of a name, where names are held against patterns."""
CHEAP: Final = 16
"""Visits of one value below which arguments of any size are checked: 2 million values in 0.3 s."""
WORK_MAX: Final = 5_000_000
"""Visits of one check; 50 ms."""
TEXTS_MAX: Final = 8
"""How many texts of the longest kind may meet patterns in one check."""
EXPLAINED_MAX: Final = 1_000
"""Visits up to which a problem is explained: explaining costs far more than finding out."""
PROBLEM_MAX: Final = 300
UNEXPLAINED: Final = "they do not fit the input schema"


class Tier(Struct, frozen=True):
    """What patterns up to a size may be used for."""

    options: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions
    patterns_max: int
    """Each may take its size in memory."""
    text_max: int
    """Characters of a text, divided by the number of patterns; 50 ms, the explanation included."""


DFA_BYTES: Final = 256 * 1024


def _linear(size_kib: int, patterns_max: int, text_max: int) -> Tier:
    options = jsonschema_rs.RegexOptions(size_limit=size_kib << 10, dfa_size_limit=DFA_BYTES)
    return Tier(options, patterns_max, text_max)


TIERS: Final = (
    _linear(4, 256, 64 * 1024),
    _linear(32, 64, 8 * 1024),
    _linear(256, 16, 2 * 1024),
    _linear(1024, 8, 1024),
    Tier(
        jsonschema_rs.FancyRegexOptions(
            backtrack_limit=10_000, size_limit=256 * 1024, dfa_size_limit=DFA_BYTES
        ),
        patterns_max=16,
        text_max=2 * 1024,
    ),
)


class Validator:
    """A compiled schema. `text_max`: the longest text that its patterns are tried on."""

    __slots__ = ("_circular", "_compiled", "_is_cheap", "_visits", "text_max")

    def __init__(self, compiled: jsonschema_rs.Validator, shape: Shape, text_max: int) -> None:
        self._compiled = compiled
        self._visits = shape.visits
        self._circular = shape.circular
        self._is_cheap = shape.visits <= CHEAP and not text_max
        self.text_max = text_max

    def check(self, arguments: object) -> str | None:
        """What is wrong with them, for people; None: they fit. Values are not repeated."""
        if not self._is_cheap and not self._is_affordable(arguments, WORK_MAX):
            return "they are too large to be checked"
        if self._compiled.is_valid(arguments):
            return None
        return self._explain(arguments)

    def _explain(self, arguments: object) -> str:
        if self._circular or not self._is_affordable(arguments, EXPLAINED_MAX):
            return UNEXPLAINED
        error = next(self._compiled.iter_errors(arguments))
        where = ".".join(map(str, error.instance_path))[:100]
        text = error.message[:PROBLEM_MAX]
        if self.text_max and isinstance(error.instance, str):
            too_long = len(error.instance) > self.text_max
            text = f"longer than the {self.text_max} characters checked" if too_long else text
        return f"{where}: {text}" if where else text

    def _is_affordable(self, arguments: object, work_max: int) -> bool:
        """Whether there are few enough values in it, and little enough text for patterns."""
        values, text = work_max // self._visits, TEXTS_MAX * self.text_max
        stack: list[Any] = [arguments]
        while stack:
            value = stack.pop()
            values -= 1
            if isinstance(value, str):
                text -= len(value) if len(value) <= self.text_max else 0
            elif isinstance(value, dict):
                text -= sum(map(len, value)) if self.text_max else 0  # pyright: ignore[reportUnknownArgumentType]
                stack.extend(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(value, list):
                stack.extend(value)  # pyright: ignore[reportUnknownArgumentType]
            if values < 0 or text < 0:
                return False
        return True


def inspect(schema: dict[str, Any], what: str = "inputSchema") -> None:
    """Raise ValueError for a schema that nothing should be held against."""
    compile_schema(schema, what)


def compile_schema(schema: dict[str, Any], what: str = "inputSchema") -> Validator:
    """Raises ValueError for what is no schema, costs too much, or refers to something outside."""
    try:
        shape = take_apart(schema)
        encoded = msgspec.json.encode(schema)
        _check_size(encoded)
        if not shape.patterns:
            return Validator(_compile(schema, TIERS[0]), shape, 0)
        return _compile_patterns(encoded)
    except ValueError as error:
        text = str(error).partition("\n")[0]
        raise ValueError(f"{what}: {text[:PROBLEM_MAX]}") from None


def _check_size(encoded: bytes) -> None:
    if len(encoded) > BYTES_MAX:
        raise ValueError(f"larger than {BYTES_MAX} bytes")


def _compile_patterns(encoded: bytes) -> Validator:
    """By the first tier that takes all of its patterns."""
    problem = ValueError("it has too many patterns")
    for tier in TIERS:
        schema: dict[str, Any] = msgspec.json.decode(encoded)
        shape = take_apart(schema)
        if shape.patterns > tier.patterns_max:
            continue
        text_max = tier.text_max // shape.patterns
        for part in shape.parts:
            _guard(part.body, text_max)
        try:
            return Validator(_compile(schema, tier), shape, text_max)
        except ValueError as error:
            problem = error
    raise problem


def _guard(body: dict[str, Any], text_max: int) -> None:
    """Let the pattern be tried on short texts only; a longer one does not fit."""
    others = body.get("allOf", [])
    if "pattern" not in body or not isinstance(others, list):
        return
    pattern = {"pattern": body.pop("pattern")}
    never = {"type": "null"}
    body["allOf"] = [*others, {"if": {"maxLength": text_max}, "then": pattern, "else": never}]


def _compile(schema: dict[str, Any], tier: Tier) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        schema,
        pattern_options=tier.options,
        offline=True,
        validate_formats=False,
        mask="the value",
    )
