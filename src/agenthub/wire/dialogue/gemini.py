"""Gemini's generateContent.

Calls and their results are told apart by the tool's name and their order. What a model thought
comes as a signature beside a call, and is sent back with it. Source: Gemini API reference,
"generateContent", "Thought signatures".
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agenthub.domain.dialogue import Ask, Delta, Message, Role, Stop, ToolCall, Turn
from agenthub.wire.dialogue.shape import (
    JSON,
    EventReader,
    Gathering,
    arguments_of,
    decoded,
    elements,
    member,
    named,
    problem_of,
    sound,
    text_in,
    user_text,
    words_of,
)

REFUSALS: Final = (
    "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
    "IMAGE_SAFETY",
)  # fmt: skip
STOPS: Final = {
    "STOP": Stop.END, "MAX_TOKENS": Stop.LENGTH, "MALFORMED_FUNCTION_CALL": Stop.BROKEN,
    **dict.fromkeys(REFUSALS, Stop.REFUSED),
}  # fmt: skip


class GeminiCodec:
    """shape.Codec."""

    headers = (JSON,)

    def address(self) -> tuple[str, str]:
        return "/models/{model}:streamGenerateContent", "alt=sse"

    def encode(self, ask: Ask) -> bytes:
        body: dict[str, Any] = {"contents": _contents(sound(ask.messages))}
        if ask.system:
            body["systemInstruction"] = {"parts": [{"text": ask.system}]}
        if ask.tools:
            body["tools"] = [
                {
                    "functionDeclarations": [
                        {
                            "name": tool.name, "description": tool.description,
                            "parametersJsonSchema": tool.schema,
                        }
                        for tool in ask.tools
                    ]
                }
            ]  # fmt: skip
        if ask.max_tokens is not None:
            body["generationConfig"] = {"maxOutputTokens": ask.max_tokens}
        return msgspec.json.encode(body)

    def reader(self) -> "GeminiReader":
        return GeminiReader()

    def whole(self, body: bytes) -> Turn:
        gathering = Gathering()
        _take(decoded(body), gathering)
        return gathering.turn()

    def problem(self, body: bytes) -> str:
        return problem_of(body)


class GeminiReader(EventReader):
    def take(self, data: bytes) -> list[Delta]:
        return _take(decoded(data), self.gathering)


def _take(said: dict[str, Any], gathering: Gathering) -> list[Delta]:
    """One answer, or a piece of it."""
    deltas: list[Delta] = []
    if error := said.get("error"):
        gathering.fail(words_of(error))
        return deltas
    if text_in(member(said, "promptFeedback"), "blockReason") and gathering.stop is None:
        gathering.stop = Stop.REFUSED
    for candidate in elements(said, "candidates")[:1]:
        for part in elements(member(candidate, "content"), "parts"):
            if part.get("thought") is True:
                continue
            deltas += gathering.say(text_in(part, "text"))
            if call := member(part, "functionCall"):
                gathering.wish(
                    ToolCall(
                        named(text_in(call, "id"), gathering.calls), text_in(call, "name"),
                        msgspec.json.encode(member(call, "args")).decode(),
                        text_in(part, "thoughtSignature"),
                    )
                )  # fmt: skip
        reason = text_in(candidate, "finishReason")
        if reason and gathering.stop is None:
            stop = STOPS.get(reason, Stop.END)
            if stop is Stop.BROKEN:
                gathering.fail("the model wished for a call that cannot be read")
            gathering.stop = stop
    return deltas


def _contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What follows one another of the same side is one content."""
    found: list[dict[str, Any]] = []
    for one in messages:
        role = "model" if one.role is Role.ASSISTANT else "user"
        if found and found[-1]["role"] == role:
            found[-1]["parts"] += _parts(one)
        else:
            found.append({"role": role, "parts": _parts(one)})
    return found


def _parts(one: Message) -> list[dict[str, Any]]:
    if one.role is Role.TOOL:
        key = "error" if one.is_error else "output"
        return [{"functionResponse": {"name": one.tool, "response": {key: one.text}}}]
    text = user_text(one) if one.role is Role.USER else one.text
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    for call in one.calls:
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": arguments_of(call)}}
        if call.signature:
            part["thoughtSignature"] = call.signature
        parts.append(part)
    return parts
