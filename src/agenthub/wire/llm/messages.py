"""Anthropic's messages. The usage comes in two parts, which are merged and not added.

    message_start {message: {usage}} … content_block_delta … message_delta {usage} message_stop

The counts of `message_delta` are cumulative; those of `message_start` hold where it says nothing.
Its own `output_tokens` is a placeholder. `input_tokens` is without what came from the cache.

Source: Anthropic API reference, "Streaming Messages", "Prompt caching".
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.usage import Usage
from agenthub.wire.llm.seen import Tally, count, members, needed, part, text_bytes


class _Message(Struct):
    model: Any = None
    usage: Any = None
    content: Any = None
    error: Raw = Raw()


class _Event(Struct):
    type: Any = None
    delta: Any = None
    message: Any = None
    usage: Any = None
    error: Raw = Raw()


_event = msgspec.json.Decoder(_Event).decode
_message = msgspec.json.Decoder(_Message).decode


class MessagesTally(Tally):
    __slots__ = ()

    def take(self, data: bytes) -> bool:
        try:
            event = _event(data)
        except (ValueError, RecursionError):
            return False
        if event.type == "content_block_delta":
            self.counted += text_bytes(event.delta)
        elif event.type == "message_start":
            message = members(event.message)
            self.name(message.get("model"))
            self._merge(message.get("usage"))
        elif event.type == "message_delta":
            self._merge(event.usage)
        elif event.type == "message_stop":
            self.complete = True
        self.fail(event.error)
        return False

    def answer(self, body: bytes) -> None:
        try:
            message = _message(body)
        except (ValueError, RecursionError):
            return
        self.name(message.model)
        self._merge(message.usage)
        self.fail(message.error)
        self.complete = not self.error
        self.counted = text_bytes(message.content)

    def _merge(self, usage: Any) -> None:
        if type(usage) is not dict:
            self.told = self.told if usage is None else usage
            return
        said = {name: value for name, value in members(usage).items() if value is not None}
        self.told = {**members(self.told), **said}
        tier, speed = said.get("service_tier"), said.get("speed")
        for service in (tier, speed):
            if service != "standard":
                self.name(None, service)

    def read_usage(self, told: Mapping[str, Any]) -> Usage:
        read, written = (
            count(told, "cache_read_input_tokens"),
            count(told, "cache_creation_input_tokens"),
        )
        self.searches = count(part(told, "server_tool_use"), "web_search_requests")
        return Usage(
            needed(told, "input_tokens") + read + written,
            read,
            written,
            count(part(told, "cache_creation"), "ephemeral_1h_input_tokens"),
            count(told, "output_tokens"),
            count(part(told, "output_tokens_details"), "thinking_tokens"),
        ).sound()
