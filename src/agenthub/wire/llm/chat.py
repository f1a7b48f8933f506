"""OpenAI's chat completions as all the world speaks them, and embeddings.

The usage may stand on any chunk: OpenAI's has no choices, llama.cpp's was on the last with one,
Groq's is under `x_groq`, and some say it anew on each. The last one holds.

Source: OpenAI API reference, "Chat streaming"; ggml-org/llama.cpp #15443; money.md §2.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.money import NanoUsd
from agenthub.domain.price import nano_usd
from agenthub.domain.usage import Usage
from agenthub.wire.llm.seen import Tally, count, members, needed, objects, part, text_bytes

DONE = b"[DONE]"


class _Chunk(Struct):
    model: Any = None
    choices: Any = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Raw = Raw()


_chunk = msgspec.json.Decoder(_Chunk).decode


class ChatTally(Tally):
    __slots__ = ()

    def take(self, data: bytes) -> bool:
        if data.strip() == DONE:
            self.complete = True
            return False
        chunk = self._read(data)
        if chunk is None:
            return False
        choices = chunk.choices
        if type(choices) is list and choices:
            for choice in objects(choices):
                self.counted += text_bytes(choice.get("delta") or choice.get("text"))
            return False
        return choices == [] and chunk.usage is not None and b'"error"' not in data

    def answer(self, body: bytes) -> None:
        chunk = self._read(body)
        if chunk is None:
            return
        self.complete = not self.error
        for choice in objects(chunk.choices):
            self.counted += text_bytes(choice.get("message") or choice.get("text"))

    def _read(self, data: bytes) -> _Chunk | None:
        try:
            chunk = _chunk(data)
        except (ValueError, RecursionError):
            return None
        self.name(chunk.model, chunk.service_tier)
        if chunk.usage is not None:
            self.told = chunk.usage
        elif chunk.x_groq is not None:
            self.told = members(chunk.x_groq).get("usage", self.told)
        self.fail(chunk.error)
        return chunk

    def read_usage(self, told: Mapping[str, Any]) -> Usage:
        """Some leave the reasoning out of `completion_tokens`, but not out of the total."""
        whole_in, out = needed(told, "prompt_tokens"), count(told, "completion_tokens")
        whole_out = max(out, count(told, "total_tokens") - whole_in)
        in_parts, out_parts = (
            part(told, "prompt_tokens_details"),
            part(told, "completion_tokens_details"),
        )
        self.searches = count(told, "num_search_queries")
        read = count(in_parts, "cached_tokens") or count(told, "prompt_cache_hit_tokens")
        return Usage(
            whole_in,
            read,
            count(in_parts, "cache_write_tokens"),
            0,
            whole_out,
            count(out_parts, "reasoning_tokens") or count(told, "reasoning_tokens"),
            count(in_parts, "audio_tokens"),
            count(out_parts, "audio_tokens"),
        ).sound()

    def reported(self) -> NanoUsd | None:
        """OpenRouter's `usage.cost`."""
        return nano_usd(members(self.told).get("cost"))
