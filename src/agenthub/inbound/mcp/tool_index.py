"""Which tools of a list are meant by some words: BM25, by SQLite's full-text search in memory.

What a tool is found by: its name (`readFile` as read and file), its title and description, and the
names and descriptions of its parameters; the name counts most. Words are stemmed.
Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009);
https://www.sqlite.org/fts5.html#the_bm25_function
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field

TOOLS_MAX: Final = 2_000
"""Indexed, the first by name: to index as many takes 80 ms, in which nothing else is answered."""
WORDS_MAX: Final = 32
"""Of a query; the rest is not looked for."""
TEXT_MAX: Final = 4_000
"""Characters of one tool's text that are indexed."""
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAKE = """CREATE VIRTUAL TABLE tool USING fts5 (
    name, words, content = '', tokenize = 'porter unicode61')"""
_ADD = "INSERT INTO tool (rowid, name, words) VALUES (?, ?, ?)"
_FIND = "SELECT rowid FROM tool WHERE tool MATCH ? ORDER BY bm25(tool, 4.0, 1.0), rowid LIMIT ?"


class _Tool(Struct):
    name: str
    title: Any = ""
    description: Any = ""
    inputSchema: dict[str, Any] = field(default_factory=dict[str, Any])  # noqa: N815 - the protocol's


_decode = msgspec.json.Decoder(_Tool).decode


class ToolIndex:
    """An index of tool definitions, raw JSON; it does not change."""

    def __init__(self, tools: Sequence[bytes]) -> None:
        import sqlite3  # noqa: PLC0415 - most hubs are never searched

        self.tools = tools
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.execute(_MAKE)
        self._db.execute("BEGIN")
        self._db.executemany(_ADD, ((n, *_texts(tool)) for n, tool in enumerate(tools[:TOOLS_MAX])))
        self._db.execute("COMMIT")

    def find(self, query: str, limit: int) -> list[bytes]:
        """At most so many definitions, the best match first; any word of the query is enough."""
        words = _WORD.findall(_split(query))[:WORDS_MAX]
        if not words:
            return []
        # In quotes a word is a word: nothing of the client's is read as the language of FTS5.
        match = " OR ".join(f'"{word}"' for word in words)
        return [self.tools[row] for (row,) in self._db.execute(_FIND, (match, limit))]

    def close(self) -> None:
        self._db.close()


def _texts(tool: bytes) -> tuple[str, str]:
    found = _decode(tool)
    words = [_text(found.title), _text(found.description)]
    parameters = found.inputSchema.get("properties")
    if isinstance(parameters, dict):
        for name, about in parameters.items():  # pyright: ignore[reportUnknownVariableType]
            words.append(_split(str(name)))  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(about, dict):
                words.append(_text(about.get("description")))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    # `_` parts words for the tokenizer, `__` and `-` too.
    return _split(found.name), " ".join(words)[:TEXT_MAX]


def _split(name: str) -> str:
    return _HUMP.sub(" ", name).replace("_", " ")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
