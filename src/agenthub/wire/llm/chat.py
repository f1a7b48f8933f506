"""OpenAI's chat completions as all the world speaks them, and embeddings.

The usage may stand on any chunk: OpenAI's has no choices, llama.cpp's was on the last with one,
Groq's is under `x_groq`, and some say it anew on each. The last one holds.

A stream's chunks mostly differ in nothing but a word: where the last chunk that was read has its
word is remembered, and of one that is the same before and after it, only the word is looked at.

Source: OpenAI API reference, "Chat streaming"; ggml-org/llama.cpp #15443; money.md §2.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.money import NanoUsd
from agenthub.domain.price import nano_usd
from agenthub.domain.usage import Usage
from agenthub.wire.llm.seen import Tally, count, is_text, members, needed, objects, part, text_bytes

DONE = b"[DONE]"
LOOKS_MAX: Final = 64
"""Chunks of a stream in which the word's place is looked for: some providers fill each of theirs up
with a text of its own."""
_CONTENT = re.compile(rb'"content"\s*:\s*"([^"]*)"')
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')


class _Chunk(Struct):
    model: Any = None
    choices: Any = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Raw = Raw()


_chunk = msgspec.json.Decoder(_Chunk).decode


class ChatTally(Tally):
    __slots__ = ("_after", "_before", "_looks")

    def __init__(self) -> None:
        super().__init__()
        self._before = self._after = b""
        """What stands around the word of the last chunk; empty: that one was not so plain."""
        self._looks = 0

    def take(self, data: bytes) -> bool:
        if self._before and self._is_known(data):
            return False
        self._before = b""
        if data.strip() == DONE:
            self.complete = True
            return False
        chunk = self._read(data)
        if chunk is None:
            return False
        choices = chunk.choices
        if type(choices) is list and choices:
            known, found = self.counted, objects(choices)
            for choice in found:
                self.counted += text_bytes(choice.get("delta") or choice.get("text"))
            if self._looks < LOOKS_MAX:
                self._looks += 1
                self._learn(data, found, self.counted - known)
            return False
        return choices == [] and chunk.usage is not None and b'"error"' not in data

    def _is_known(self, data: bytes) -> bool:
        """Whether it is the last chunk with another word, which is counted then."""
        before, after = self._before, self._after
        start, end = len(before), len(data) - len(after)
        if start > end or not (data.startswith(before) and data.endswith(after)):
            return False
        word = data[start:end]
        if not _PLAIN.fullmatch(word) or not (word.isascii() or is_text(word)):
            return False
        self.counted += len(word)
        return True

    def _learn(self, data: bytes, choices: list[Any], counted: int) -> None:
        """Remember where the word stands, if it is surely the only one that was counted.

        Without a backslash, each string is as it is written, and a name is in quotes nowhere else.
        All but the word is the same then, so nothing else of it can say anything new.
        """
        if len(choices) != 1 or b"\\" in data:
            return
        word = members(choices[0].get("delta")).get("content")
        match = _CONTENT.search(data)
        if match is None or type(word) is not str or not 0 < len(match[1]) == counted:
            return
        if match[1] == word.encode() and _CONTENT.search(data, match.end()) is None:
            self._before, self._after = data[: match.start(1)], data[match.end(1) :]

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
