"""Google's generateContent. Usage is on every piece of a stream, and the last one holds.

What was thought is beside the candidates' tokens, and what tools brought in beside the prompt's. A
stream ends with a `finishReason`, or with a prompt that was blocked; there is no other end.

Source: Gemini API reference, `GenerateContentResponse`, `UsageMetadata`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.usage import TOKENS_MAX, Usage
from agenthub.wire.llm.responses import last_object
from agenthub.wire.llm.seen import Tally, count, members, needed, objects, text_bytes


class _Piece(Struct, rename="camel"):
    candidates: Any = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    model_version: Any = None
    error: Raw = Raw()


_piece = msgspec.json.Decoder(_Piece).decode


class GeminiTally(Tally):
    __slots__ = ()

    def take(self, data: bytes) -> bool:
        try:
            piece = _piece(data)
        except (ValueError, RecursionError):
            return False
        self.name(piece.model_version)
        if piece.usage_metadata is not None:
            self.told = piece.usage_metadata
        for candidate in objects(piece.candidates):
            self.counted += text_bytes(candidate.get("content"))
            self.complete = self.complete or bool(candidate.get("finishReason"))
        if members(piece.prompt_feedback).get("blockReason"):
            self.complete = True
        self.fail(piece.error)
        if self.error:
            self.complete = False
        return False

    def answer(self, body: bytes) -> None:
        """A piece, or an array of all of them."""
        try:
            pieces = msgspec.json.decode(body, type=list[Raw]) if body.lstrip()[:1] == b"[" else ()
        except (ValueError, RecursionError):
            return
        for piece in pieces or (body,):
            self.take(bytes(piece))

    def large(self, head: bytes, tail: bytes) -> None:  # noqa: ARG002 - the port's
        """Images come in one piece, and the usage after them."""
        usage = last_object(tail, b"usageMetadata")
        if usage is not None:
            self.told = usage
            self.complete = b'"finishReason"' in tail

    def read_usage(self, told: Mapping[str, Any]) -> Usage:
        thought = count(told, "thoughtsTokenCount")
        asked = _parts(told, "promptTokensDetails")
        said = _parts(told, "candidatesTokensDetails")
        whole_out = count(told, "candidatesTokenCount") + thought
        self.images = min(said.get("IMAGE", 0), whole_out)
        return Usage(
            needed(told, "promptTokenCount") + count(told, "toolUsePromptTokenCount"),
            count(told, "cachedContentTokenCount"),
            0,
            0,
            whole_out,
            thought,
            asked.get("AUDIO", 0),
            said.get("AUDIO", 0),
        ).sound()


def _parts(told: Mapping[str, Any], name: str) -> dict[str, int]:
    """Tokens by modality."""
    found: dict[str, int] = {}
    for detail in objects(told.get(name)):
        kind = str(detail.get("modality"))
        found[kind] = min(found.get(kind, 0) + count(detail, "tokenCount"), TOKENS_MAX)
    return found
