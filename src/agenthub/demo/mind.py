"""What the demo model says: always the same to the same words, so that it can be shown and tested.

    the last message is a tool's result  ─► it says what the tool said
    a tool's name or description fits    ─► it calls that tool, with arguments from the words
    else                                 ─► it says the words back

Words of fault, anywhere in the last message: `!429` and `!529` are refused, `!slow` takes a second
for each chunk, `!cut` ends in the middle without an end.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from msgspec import Struct

FAULTS: Final = ("!429", "!529", "!slow", "!cut")
BYTES_PER_TOKEN: Final = 4
_WORD = re.compile(r"[a-z0-9]+")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_COMMON: Final = frozenset(
    {"a", "an", "and", "for", "from", "in", "is", "it", "of", "on", "the", "to", "two", "with"}
)


class Tool(Struct, frozen=True):
    name: str
    description: str
    schema: Mapping[str, Any]


class Asked(Struct, frozen=True):
    """A conversation, as far as it matters."""

    text: str
    """Of the last message."""
    is_result: bool
    """Whether that is a tool's result."""
    tools: Sequence[Tool] = ()


class Thought(Struct, frozen=True):
    """What it says, or the tool that it calls."""

    text: str = ""
    tool: str = ""
    arguments: Mapping[str, Any] = {}


def fault_in(text: str) -> str:
    """The first word of fault; empty if there is none."""
    return next((word for word in FAULTS if word in text), "")


def think(asked: Asked) -> Thought:
    text = asked.text.strip()
    if asked.is_result:
        return Thought(f"The tool answered: {text[:500]}")
    words = set(_WORD.findall(text.lower())) - _COMMON
    best, most = None, 0
    for tool in asked.tools:
        fits = len(words & set(_WORD.findall(f"{tool.name} {tool.description}".lower())))
        if fits > most:
            best, most = tool, fits
    if best is not None:
        return Thought(tool=best.name, arguments=_arguments(best.schema, text))
    if not text:
        return Thought("Say something, and I will say it back.")
    return Thought(f"You said: {text}")


def tokens_of(data: bytes | str) -> int:
    size = len(data.encode() if isinstance(data, str) else data)
    return -(-size // BYTES_PER_TOKEN)


def cut_to(text: str, tokens: int) -> tuple[str, bool]:
    """The text within so many tokens, and whether that is less than all of it."""
    if tokens_of(text) <= tokens:
        return text, False
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode(errors="ignore"), True


def pieces_of(text: str) -> list[str]:
    """The text in chunks of five to eleven characters, the same ones each time."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        size = 5 + (start * 7 + len(text)) % 7
        pieces.append(text[start : start + size])
        start += size
    return pieces


def _arguments(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """What the schema requires: the first of an enum, numbers in their order, else the text."""
    numbers = iter(_NUMBER.findall(text))
    found: dict[str, Any] = {}
    properties = _object(schema.get("properties"))
    required = schema.get("required")
    names = cast("list[Any]", required) if isinstance(required, list) else []
    for name in names:
        if not isinstance(name, str):
            continue
        said = _object(properties.get(name))
        options = said.get("enum")
        if isinstance(options, list) and options:
            found[name] = cast("list[Any]", options)[0]
            continue
        kind = str(said.get("type", "string"))
        if kind in {"number", "integer"}:
            number = next(numbers, "0")
            found[name] = int(float(number)) if kind == "integer" else _number(number)
        elif kind == "boolean":
            found[name] = True
        elif kind == "array":
            found[name] = []
        elif kind == "object":
            found[name] = {}
        else:
            found[name] = text
    return found


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _object(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
