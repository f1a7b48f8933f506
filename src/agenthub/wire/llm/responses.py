"""OpenAI's responses. The usage stands in the last event, which carries the whole response.

    response.created … output_text.delta … response.completed | incomplete | failed

Source: OpenAI API reference, "Streaming events" of the Responses API.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.money import NanoUsd
from agenthub.domain.price import nano_usd
from agenthub.domain.usage import Usage
from agenthub.wire.llm.seen import Tally, count, members, needed, objects, part, text_bytes

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
SEARCH = "web_search_call"
_WORDS = frozenset({
    "response.output_text.delta", "response.refusal.delta",
    "response.function_call_arguments.delta", "response.custom_tool_call_input.delta",
    "response.mcp_call_arguments.delta", "response.code_interpreter_call_code.delta",
    "response.reasoning_text.delta", "response.reasoning_summary_text.delta",
    "response.audio.transcript.delta",
})  # fmt: skip
_TYPE = re.compile(rb'"type"\s*:\s*"(response\.[a-z]+)"')


class _Response(Struct):
    model: Any = None
    usage: Any = None
    service_tier: Any = None
    output: Any = None
    status: Any = None
    error: Raw = Raw()


class _Part(Struct):
    """Of an event; its response is read when there is need."""

    type: Any = None
    delta: Any = None
    item: Any = None
    response: Raw = Raw()


_event = msgspec.json.Decoder(_Part).decode
_response = msgspec.json.Decoder(_Response).decode


class ResponsesTally(Tally):
    __slots__ = ()

    def take(self, data: bytes) -> bool:
        try:
            event = _event(data)
            if event.type in _WORDS:
                self.counted += text_bytes(event.delta)
            elif memoryview(event.response):
                self._note(_response(event.response))
                self.complete = self.complete or event.type in ENDS
            elif event.type == "error" or (event.type is None and b'"error"' in data):
                self.fail(data.strip())
            elif event.type == "response.output_item.done":
                self._search([event.item])
        except (ValueError, RecursionError, TypeError):
            pass  # what cannot be read is passed on, and says nothing
        return False

    def answer(self, body: bytes) -> None:
        try:
            response = _response(body)
        except (ValueError, RecursionError):
            return
        self._note(response)
        self.complete = not self.error or response.status in ("failed", "incomplete")
        self.counted = text_bytes(response.output)
        self._search(response.output)

    def large(self, head: bytes, tail: bytes) -> None:
        """The last event carries all that was said before. Its usage stands near its end."""
        kind = _TYPE.search(head)
        usage = last_object(tail, b"usage")
        if kind and kind[1].decode() in ENDS and usage is not None:
            self.told = usage
            self.complete = True

    def _note(self, response: _Response) -> None:
        self.name(response.model, response.service_tier)
        if response.usage is not None:
            self.told = response.usage
        self.fail(response.error)

    def _search(self, items: Any) -> None:
        self.searches += sum(item.get("type") == SEARCH for item in objects(items))

    def read_usage(self, told: Mapping[str, Any]) -> Usage:
        in_parts, out_parts = (
            part(told, "input_tokens_details"),
            part(told, "output_tokens_details"),
        )
        return Usage(
            needed(told, "input_tokens"),
            count(in_parts, "cached_tokens"),
            count(in_parts, "cache_write_tokens"),
            0,
            count(told, "output_tokens"),
            count(out_parts, "reasoning_tokens"),
        ).sound()

    def reported(self) -> NanoUsd | None:
        """OpenRouter's `usage.cost`."""
        return nano_usd(members(self.told).get("cost"))


def last_object(tail: bytes, name: bytes) -> Any:
    """The value of the last member of that name. Inside a text its quotes would be escaped."""
    start = tail.rfind(b'"%b"' % name)
    value = tail[start + len(name) + 2 :].lstrip() if start >= 0 else b""
    end = 0
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*"|[{}]', value):
        depth += {b"{": 1, b"}": -1}.get(match[0], 0)
        if depth <= 0:
            end = match.end()
            break
    try:
        return msgspec.json.decode(value[:end].lstrip(b": \r\n\t"))
    except (ValueError, RecursionError):
        return None
