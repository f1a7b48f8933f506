"""A tool's input schema: looked at before the tool is offered, then held against arguments.

The schema comes from a server, the arguments from a client; neither may cost the hub its time.
So nothing is fetched, patterns run in linear time where they can and under a limit where they
cannot, and a schema that is too large, too deep or in a circle is refused as a whole (A32, A33).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema_rs
import msgspec

BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 64
BACKTRACK_MAX: Final = 10_000
PROBLEM_MAX: Final = 300

_LINEAR = jsonschema_rs.RegexOptions(size_limit=256 * 1024, dfa_size_limit=1024 * 1024)
_LIMITED = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=BACKTRACK_MAX, size_limit=256 * 1024, dfa_size_limit=1024 * 1024
)


class Validator:
    """A compiled schema."""

    __slots__ = ("_compiled",)

    def __init__(self, compiled: jsonschema_rs.Validator) -> None:
        self._compiled = compiled

    def check(self, arguments: object) -> str | None:
        """The first problem, for people; None: they fit. Values are not repeated."""
        try:
            if self._compiled.is_valid(arguments):
                return None
            for error in self._compiled.iter_errors(arguments):
                where = ".".join(map(str, error.instance_path))[:100]
                text = error.message[:PROBLEM_MAX]
                return f"{where}: {text}" if where else text
        except ValueError as error:
            return str(error).partition("\n")[0][:PROBLEM_MAX]
        return "they do not fit"


def inspect(schema: Mapping[str, Any]) -> None:
    """Raise ValueError for a schema that no argument should be held against."""
    _check_size(schema)
    compile_schema(schema)


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """Raises ValueError for what is no schema, or refers to something that is not in it."""
    try:
        return Validator(_compile(schema, _LINEAR))
    except ValueError:
        pass
    try:
        return Validator(_compile(schema, _LIMITED))
    except ValueError as error:
        text = str(error).partition("\n")[0]
        raise ValueError(f"inputSchema: {text[:PROBLEM_MAX]}") from None


def _compile(schema: Mapping[str, Any], patterns: Any) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        dict(schema), pattern_options=patterns, offline=True, validate_formats=False,
        mask="the value",
    )  # fmt: skip


def _check_size(schema: Mapping[str, Any]) -> None:
    level: list[Any] = [schema]
    for _ in range(DEPTH_MAX):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            break
    else:
        raise ValueError(f"inputSchema: nested deeper than {DEPTH_MAX}")
    if len(msgspec.json.encode(schema)) > BYTES_MAX:
        raise ValueError(f"inputSchema: larger than {BYTES_MAX} bytes")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    elif isinstance(value, list):
        yield from value  # pyright: ignore[reportUnknownVariableType]
