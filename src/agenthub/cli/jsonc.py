"""JSON as editors keep it: with comments and trailing commas. Read it, or change one member of it.

Comments and trailing commas are blanked out, character by character, so that every place in what
is left is the same place in the file: a change touches its own bytes, and comments stay.
"""

import json
import re
from collections.abc import Sequence
from json.decoder import scanstring  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from typing import Any, Final, NamedTuple, cast

from agenthub.cli.ending import Failed

_COMMENT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(//[^\n]*|/\*.*?\*/)', re.DOTALL)
_TRAILING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(,)(?=\s*[}\]])', re.DOTALL)
_SPACE: Final = re.compile(r"\s*")
_NOT_A_LINE_END: Final = re.compile(r"[^\r\n]")
_DECODER: Final = json.JSONDecoder()


class Member(NamedTuple):
    """A member of an object: its key, and where its value stands."""

    key: str
    start: int
    end: int


def loads(text: str, source: str) -> Any:
    """The value. Raises Failed with the line; an empty text is an empty object."""
    clean = _cleaned(text)
    if not clean.strip():
        return {}
    try:
        return json.loads(clean)
    except json.JSONDecodeError as error:
        raise Failed(f"{source}:{error.lineno}: not JSON: {error.msg}.") from None
    except RecursionError:
        raise Failed(f"{source}: nested too deeply.") from None


def with_member(text: str, path: Sequence[str], value: Any, source: str) -> str:
    """The text with the value at the path of keys; everything else stays as it is written.

    Raises:
        Failed: It is not JSON, or what the path goes through is no object.
    """
    before = loads(text, source)
    if not isinstance(before, dict):
        raise Failed(f"{source}: expected a JSON object.")
    if not _cleaned(text).strip():
        comments = f"{text.rstrip()}\n" if text.strip() else ""
        return f"{comments}{json.dumps(_nested(path, value), indent=2, ensure_ascii=False)}\n"
    changed = _changed(text, path, value, source)
    _assert_only(path, value, cast("dict[str, Any]", before), loads(changed, source))
    return changed


def _changed(text: str, path: Sequence[str], value: Any, source: str) -> str:
    clean = _cleaned(text)
    step, at = _indent(text), _SPACE.match(clean)
    place = at.end() if at else 0
    for depth, key in enumerate(path):
        members = _members(clean, place)
        found = [member for member in members if member.key == key]
        last = depth == len(path) - 1
        if not found:
            made = _rendered(_nested(path[depth + 1 :], value), step, depth + 1)
            return _inserted(text, place, f"{json.dumps(key)}: {made}", step, depth, bool(members))
        if last:
            made = _rendered(value, step, depth + 1)
            return text[: found[-1].start] + made + text[found[-1].end :]
        place = found[-1].start
        if clean[place] != "{":
            raise Failed(f"{source}: {'.'.join(path[: depth + 1])}: expected an object.")
    raise AssertionError("a path has a key")


def _inserted(text: str, brace: int, made: str, step: str, depth: int, has_more: bool) -> str:  # noqa: FBT001
    """The text with a member more, first in the object whose brace is there."""
    line = f"\n{step * (depth + 1)}{made}"
    rest = text[brace + 1 :]
    if has_more:
        return f"{text[: brace + 1]}{line},{rest}"
    rest = rest.lstrip(" \t\r\n")
    return f"{text[: brace + 1]}{line}\n{step * depth}{rest}"


def _members(clean: str, brace: int) -> list[Member]:
    """The members of the object that opens there; the text is known to be JSON."""
    members: list[Member] = []
    at = _skip(clean, brace + 1)
    while clean[at] != "}":
        if clean[at] == ",":
            at = _skip(clean, at + 1)
        key, at = cast("tuple[str, int]", scanstring(clean, at + 1))
        start = _skip(clean, _skip(clean, at) + 1)
        _, end = _DECODER.raw_decode(clean, start)
        members.append(Member(key, start, end))
        at = _skip(clean, end)
    return members


def _skip(clean: str, at: int) -> int:
    found = _SPACE.match(clean, at)
    assert found is not None
    return found.end()


def _cleaned(text: str) -> str:
    """Plain JSON of the same length, each of its characters where it was."""
    if text.startswith("\ufeff"):
        text = " " + text[1:]
    return _TRAILING.sub(_blank, _COMMENT.sub(_blank, text))


def _blank(match: re.Match[str]) -> str:
    return match[0] if match[1] is None else _NOT_A_LINE_END.sub(" ", match[0])


def _indent(text: str) -> str:
    """What one level is indented by in this text; two spaces if it does not tell."""
    found = re.search(r"\{[^\S\n]*\r?\n([ \t]+)\S", text)
    return found[1] if found else "  "


def _rendered(value: Any, step: str, depth: int) -> str:
    lines = json.dumps(value, indent=step, ensure_ascii=False).split("\n")
    return f"\n{step * depth}".join(lines)


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _assert_only(path: Sequence[str], value: Any, before: dict[str, Any], after: Any) -> None:
    """The change did what it should, and nothing else; else nothing may be written."""
    expected = before
    for key in path[:-1]:
        expected = expected.setdefault(key, {})
    expected[path[-1]] = value
    assert after == before, "the change would have touched something else"
