"""Two tools that stand for many: `search_tools` and `call_tool`, offered instead of a long list.

    tools/list                     search_tools, call_tool
    search_tools {query, limit}    the hub's answer: names, descriptions, schemas of what fits best
    call_tool {name, arguments}    the call of that tool, as if it had been called by its name

So a client's model reads the definitions that it needs, and not all of them. `call_tool` takes the
way of every call, as the tool that it names: its server's guards, its schema, its line in the log.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain.call import Era
from agenthub.domain.caller import Caller
from agenthub.domain.errors import InvalidParams
from agenthub.inbound.mcp.terms import SERVER_INFO, SERVER_INFO_KEY, Context, Replies
from agenthub.inbound.mcp.tool_index import TOOLS_MAX, ToolIndex
from agenthub.wire.jsonrpc import Message

SEARCH: Final = "search_tools"
CALL: Final = "call_tool"
LONG: Final = 40
"""Tools from which on a list is long (`auto`). Source: Cursor takes 40 and drops the rest."""
FOUND: Final = 5
FOUND_MAX: Final = 20
ANSWER_MAX_BYTES: Final = 32 * 1024
"""Of what is found; a definition that does not fit is left out, and that is said."""
QUERY_MAX: Final = 1_000
INDEXES_MAX: Final = 16

_encode = msgspec.json.Encoder().encode
_raw = msgspec.json.Decoder(dict[str, Raw]).decode


class _Shown(Struct, omit_defaults=True):
    """What is told of a tool that was found, raw."""

    name: str
    title: Raw = Raw()
    description: Raw = Raw()
    inputSchema: Raw = Raw()  # noqa: N815 - the protocol's own name
    annotations: Raw = Raw()


_shown = msgspec.json.Decoder(_Shown).decode


def offered(caller: Caller) -> list[bytes]:
    """The definitions of both tools, for this caller."""
    reads = caller.reach is not None and caller.reach.tools.read_only
    return [_SEARCH_TOOL, _call_tool(read_only=reads)]


def stand_in(caller: Caller, tools: int) -> bool:
    """Whether both are offered instead of so many tools."""
    return caller.search == "on" or (caller.search == "auto" and tools > LONG)


def names_own(message: Message) -> bool:
    """Whether the message calls something by the name of one of the two."""
    return message.method == "tools/call" and message.parsed.get("name") in (SEARCH, CALL)


class ToolSearch:
    """Answers `search_tools`, with an index for each list that is searched."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[bytes, ToolIndex] = OrderedDict()
        """By the list's text, which says all that can be found: none is ever out of date."""

    def answer(
        self, message: Message, context: Context, tools: Sequence[bytes], replies: Replies
    ) -> None:
        """Raises InvalidParams."""
        query, limit = _wish(message.parsed.get("arguments", {}))
        text = _encode(self.found(tools, query, limit)).decode()
        result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
        if context.era is Era.MODERN:
            result |= {"resultType": "complete", "_meta": {SERVER_INFO_KEY: Raw(SERVER_INFO)}}
        replies.result(_encode(result))

    def found(self, tools: Sequence[bytes], query: str, limit: int) -> dict[str, Any]:
        """What the model is told."""
        found: dict[str, Any] = {"tools": []}
        room, left_out = ANSWER_MAX_BYTES, list[str]()
        for tool in self._index(tools).find(query, limit):
            told = _shown(tool)
            size = len(_encode(told))
            if size > room:
                left_out.append(told.name)
                continue
            room -= size
            found["tools"].append(told)
        if left_out:
            found["too_large_to_show"] = left_out
        if len(tools) > TOOLS_MAX:
            found["not_searched"] = len(tools) - TOOLS_MAX
        return found

    def _index(self, tools: Sequence[bytes]) -> ToolIndex:
        key = b",".join(tools)
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = ToolIndex(tools)
            if len(self._indexes) > INDEXES_MAX:
                self._indexes.popitem(last=False)[1].close()
        self._indexes.move_to_end(key)
        return index


def called(message: Message) -> Message:
    """The call that `call_tool` stands for. Raises InvalidParams."""
    wish = message.parsed.get("arguments")
    name = wish.get("name") if isinstance(wish, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    arguments = wish.get("arguments", {}) if isinstance(wish, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise InvalidParams(f"{CALL}: expected a tool's `name` and an object `arguments`")
    raw = _raw(message.params["arguments"])
    return structs.replace(
        message,
        params={
            **message.params,
            "name": Raw(_encode(name)),
            "arguments": raw.get("arguments", Raw(b"{}")),
        },
        parsed={**message.parsed, "name": name, "arguments": arguments},
    )


def _wish(arguments: Any) -> tuple[str, int]:
    """Raises InvalidParams."""
    query = arguments.get("query") if isinstance(arguments, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    limit = arguments.get("limit", FOUND) if isinstance(arguments, dict) else FOUND  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(query, str) or not 1 <= len(query) <= QUERY_MAX:
        raise InvalidParams(f"{SEARCH}: query: expected 1 to {QUERY_MAX:,} characters")
    if type(limit) is not int or not 1 <= limit <= FOUND_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidParams(f"{SEARCH}: limit: expected an integer from 1 to {FOUND_MAX}")
    return query, limit


_SEARCH_TOOL: Final = _encode(
    {
        "name": SEARCH,
        "title": "Search tools",
        "description": (
            "Find tools by what they do. Returns the names, descriptions and input schemas of the"
            f" best matches; call one with {CALL}."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What you want to do, in a few words."},
                "limit": {
                    "type": "integer", "minimum": 1, "maximum": FOUND_MAX, "default": FOUND,
                },
            },
            "required": ["query"],
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }
)  # fmt: skip


def _call_tool(*, read_only: bool) -> bytes:
    return _encode(
        {
            "name": CALL,
            "title": "Call a tool",
            "description": f"Call a tool that {SEARCH} found, with arguments as its schema says.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": f"As {SEARCH} gave it."},
                    "arguments": {"type": "object", "description": "As the tool's inputSchema."},
                },
                "required": ["name"],
            },
            # What is called may do anything that a tool may do.
            "annotations": {"readOnlyHint": read_only, "destructiveHint": not read_only},
        }
    )
