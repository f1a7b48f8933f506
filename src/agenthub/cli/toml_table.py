"""Change one table of a TOML file, and leave every other byte as it is.

The table's lines are found by their heads, and what came out is read again: if anything but the
table has changed, nothing is written. So a file that is written in another way (an inline table,
a head inside a text) is refused in words, not spoilt.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from agenthub.cli.ending import Failed

_HEAD: Final = re.compile(r"\s*\[(\[?)([^\[\]]+)\]\]?\s*(?:#.*)?")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_IDLE: Final = re.compile(r"\s*(?:#.*)?")
"""A line that says nothing."""

Table = Mapping[str, Any]


def loads(text: str, source: str) -> dict[str, Any]:
    """The file's value. Raises Failed."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failed(f"{source}: not TOML: {error}.") from None


def with_table(text: str, path: tuple[str, str], value: Table, source: str) -> str:
    """The text with `[path]` holding the value. Raises Failed."""
    before = loads(text, source)
    made = render(path, value)
    lines, at = _without(text.splitlines(keepends=True), path)
    if at is None:
        old = "".join(lines).rstrip("\n")
        changed = f"{old}\n\n{made}" if old else made
    else:
        changed = "".join([*lines[:at], made, *lines[at:]])
    _check(path, value, before, changed, source)
    return changed


def render(path: Sequence[str], value: Table) -> str:
    """The table, a key a line; tables in it in one line."""
    lines = [f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(key)} = {_value(item)}" for key, item in value.items()]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = cast("Table", value).items()
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in cast("list[Any]", value)) + "]"
    # TOML's basic strings are JSON's, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _without(lines: list[str], path: tuple[str, str]) -> tuple[list[str], int | None]:
    """The lines without the table and those below it, and where it stood."""
    kept: list[str] = []
    idle: list[str] = []
    at: int | None = None
    inside = False
    for line in lines:
        head = _HEAD.fullmatch(line.rstrip("\r\n"))
        if head is not None:
            was, inside = inside, not head[1] and _path(head[2])[:2] == path
            # Remarks before a head are about what comes, so they stay with it.
            kept += idle if was and not inside else []
            idle = []
            at = len(kept) if inside and at is None else at
        if not inside:
            kept.append(line)
        elif _IDLE.fullmatch(line.rstrip("\r\n")):
            idle.append(line)
        else:
            idle = []
    return kept + (idle if inside else []), at


def _path(words: str) -> tuple[str, ...]:
    """The keys that a head names."""
    try:
        table: Any = tomllib.loads(f"[{words}]")
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while table:
        ((key, table),) = table.items()
        path.append(key)
    return tuple(path)


def _check(path: tuple[str, str], value: Table, before: Table, changed: str, source: str) -> None:
    section, name = path
    expected = {**before, section: {**before.get(section, {}), name: value}}
    try:
        fits = tomllib.loads(changed) == expected
    except tomllib.TOMLDecodeError:
        fits = False
    if not fits:
        raise Failed(
            f"{source}: cannot be changed without touching more than [{section}.{name}];"
            " put the entry in by hand."
        )
