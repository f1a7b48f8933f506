r"""What a server's texts hold that is not meant for who reads them: told, and not passed on (A29).

    hidden_characters   takes no place on the screen: tags, direction marks, zero width
    terminal_escapes    moves the cursor, links, colours
    html_comment        is in no page that shows the text
    markup              would run or load something in a page
    instructions        speaks to the model instead of about the tool
    long_text           more than 4 KiB

The first three are taken out of descriptions and titles before a client gets them: nobody who
looks at the tool would see them, and a model would read them. The others are only told: they are
there to be seen. Joiners stay where scripts and emoji need them. What is kept and hashed is always
the server's own text.

Source: T2; Unicode TR 36 and TR 39; ECMA-48; OWASP MCP03.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from agenthub.wire import jsonrpc

LONG: Final = 4 * 1024
"""Characters of a text from which on it is told."""
OFFERED_MAX: Final = 16 * 1024
"""Characters of a description that clients get."""
SCANNED_MAX: Final = 64 * 1024
"""Characters of a text that are looked at for that; and of a tool's, for instructions."""
TEXTS_MAX: Final = 1024 * 1024
"""Characters of a tool's texts that are looked at for anything else."""
DEPTH_MAX: Final = 64
"""What is nested deeper was refused before."""
READ_BY_MODELS: Final = frozenset(
    {"annotations", "arguments", "description", "inputSchema", "outputSchema", "title"}
)
"""Members of a tool, prompt or resource."""

_ESCAPES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[@-_]?"
)
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b"
    r"\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SELECTORS = re.compile(
    # After a sign of its own, one of them chooses its form; more, or others, are a hidden text.
    r"(?<=[\x00-\x22\x24-\x29\x2b-\x2f\x3a-\x7f\u200c\u200d\ufe00-\ufe0f])[\ufe00-\ufe0f]+"
    r"|(?<=[#*0-9])[\ufe00-\ufe0e][\ufe00-\ufe0f]*"
)
_JOINERS = re.compile(
    r"(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f\u200c\u200d])"
    r"|[\u200c\u200d]{2,}"
)
_UNSEEN: Final = (_ESCAPES, _HIDDEN, _SELECTORS, _JOINERS)
"""In this order; what one of them leaves gives no work to those before it."""
_CANDIDATE = re.compile(f"[\x1b{_HIDDEN.pattern[1:-1]}\u200c\u200d\ufe00-\ufe0f]")
"""Without one of these there is nothing that nobody would see: most texts have none."""
_LINES = re.compile("[\r\u2028\u2029]")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_MARKUP = re.compile(
    r"<\s*/?\s*(?:script|iframe|img|svg|object|embed|style|link|meta|form|a)\b|javascript:"
)
_INSTRUCTIONS = re.compile(
    r"\b(?:ignore|disregard|forget|override) (?:(?:all|any|the|your|of|these|those|every) ){0,4}"
    r"(?:previous|prior|above|earlier|preceding|other|system)\b"
    r"|\b(?:do not|don't|never) (?:tell|mention|inform|reveal|show|notify|let)"
    r" (?:(?:this|it|that|any|to|the) ){0,4}(?:user|human)"
    r"|<\s*/?\s*(?:important|system|instructions?|secret|hidden|assistant)\s*>"
    r"|\b(?:system prompt|without (?:telling|informing|asking) the user)\b"
)
CUES: Final = (
    "ignore", "disregard", "forget", "override", "do not", "don't", "never", "system prompt",
    "without", "<",
)  # fmt: skip
"""Without one of these there are no instructions: looking for them is far quicker."""
_ODD = re.compile(rb"[\x7f-\xff]|\\[ubf]|<!--")
"""In the bytes of JSON: there may be something to take out."""


def escaped(text: str) -> str:
    r"""One line of text, with all that nobody would see written as `\u200b`."""
    for pattern in (*_UNSEEN, _LINES):
        text = pattern.sub(_as_escape, text)
    return text


def _as_escape(match: re.Match[str]) -> str:
    return "".join(c if " " <= c <= "~" else f"\\u{ord(c):04x}" for c in match[0])


def visible(text: str) -> str:
    """The text without what nobody would see, and not longer than a client should have to read."""
    # A space, so that what stood around a comment does not become another one.
    shown = _COMMENT.sub(" ", _seen(text[:SCANNED_MAX]))
    is_whole = len(text) <= SCANNED_MAX and len(shown) <= OFFERED_MAX
    return shown if is_whole else shown[:OFFERED_MAX] + "…"


def _seen(text: str) -> str:
    if not _CANDIDATE.search(text):
        return text
    for pattern in _UNSEEN:
        text = pattern.sub("", text)
    return text


# ---------------------------------------------------------------- items of lists


def visible_item(item: bytes) -> bytes:
    """The item as clients get it: its descriptions and titles made visible, the rest as it came."""
    if len(item) <= OFFERED_MAX and not _ODD.search(item):
        return item
    whole = cast("dict[str, Any]", msgspec.json.decode(item))
    read = {key: value for key, value in whole.items() if key in READ_BY_MODELS}
    shown = _visible_members(read, 0)
    changed = {key: shown[key] for key in shown if shown[key] is not read[key]}
    if not changed:
        return item
    return jsonrpc.with_members(item, {k: msgspec.json.encode(v) for k, v in changed.items()})


def _visible_members(members: dict[str, Any], depth: int) -> dict[str, Any]:
    """The same object if there is nothing to take out."""
    shown = {
        key: _visible_text(value)
        if key in {"description", "title"} and isinstance(value, str)
        else _visible_value(value, depth + 1)
        for key, value in members.items()
    }
    return shown if any(shown[key] is not members[key] for key in members) else members


def _visible_value(value: Any, depth: int) -> Any:
    if depth >= DEPTH_MAX:
        return value
    if isinstance(value, dict):
        return _visible_members(cast("dict[str, Any]", value), depth)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        shown = [_visible_value(inner, depth + 1) for inner in items]
        return shown if any(a is not b for a, b in zip(shown, items, strict=True)) else items
    return value


def _visible_text(text: str) -> str:
    shown = visible(text)
    return text if shown == text else shown


# ---------------------------------------------------------------- telling


def suspicions(tool: dict[str, Any]) -> tuple[str, ...]:
    """What is odd in a definition, by the names above; it is looked for everywhere in it."""
    texts = list(_texts(tool))
    whole = "\n".join(texts)[:TEXTS_MAX]
    seen = _seen(whole)
    # Read as a model would: compatible letters as one, one space as a gap.
    scanned = " ".join(unicodedata.normalize("NFKC", seen[:SCANNED_MAX]).lower().split())
    found = {
        "hidden_characters": seen is not whole and seen != _ESCAPES.sub("", whole),
        "terminal_escapes": seen is not whole and _ESCAPES.search(whole),
        "html_comment": "<!--" in seen,
        "markup": _MARKUP.search(scanned),
        "instructions": any(map(scanned.__contains__, CUES)) and _INSTRUCTIONS.search(scanned),
        "long_text": any(len(text) > LONG for text in texts),
    }
    return tuple(name for name, hit in found.items() if hit)


def _texts(value: Any) -> Iterator[str]:
    """All texts in it, keys too; without recursion."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack += reversed([*value, *value.values()])  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        elif isinstance(value, list):
            stack += reversed(value)  # pyright: ignore[reportUnknownArgumentType]
