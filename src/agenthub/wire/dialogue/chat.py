"""OpenAI's chat completions, as all the world speaks them.

Calls of tools come in pieces, told apart by their `index`; some providers give none and send each
call whole. Source: OpenAI API reference, "Chat streaming".
"""

from typing import Any, Final

import msgspec
from msgspec import Struct, field

from agenthub.domain.dialogue import Ask, Delta, Message, Role, Stop, ToolCall, Turn
from agenthub.wire.dialogue.shape import (
    ARGUMENTS_MAX,
    CALLS_MAX,
    JSON,
    EventReader,
    Gathering,
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

STOPS: Final = {
    "stop": Stop.END, "tool_calls": Stop.END, "function_call": Stop.END, "length": Stop.LENGTH,
    "content_filter": Stop.REFUSED,
}  # fmt: skip


class ChatCodec:
    """shape.Codec."""

    headers = (JSON,)

    def address(self) -> tuple[str, str]:
        return "/chat/completions", ""

    def encode(self, ask: Ask) -> bytes:
        said = [{"role": "system", "content": ask.system}] if ask.system else []
        body: dict[str, Any] = {
            "model": ask.model,
            "messages": [*said, *(_message(one) for one in sound(ask.messages))],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if ask.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name, "description": tool.description,
                        "parameters": tool.schema,
                    },
                }
                for tool in ask.tools
            ]  # fmt: skip
        if ask.max_tokens is not None:
            body["max_tokens"] = ask.max_tokens
        return msgspec.json.encode(body)

    def reader(self) -> "ChatReader":
        return ChatReader()

    def whole(self, body: bytes) -> Turn:
        gathering, said = Gathering(), decoded(body)
        if error := said.get("error"):
            gathering.fail(words_of(error))
        for choice in elements(said, "choices")[:1]:
            message = member(choice, "message")
            gathering.say(text_in(message, "content") or text_in(message, "refusal"))
            for one in elements(message, "tool_calls"):
                function = member(one, "function")
                gathering.wish(
                    ToolCall(
                        named(text_in(one, "id"), gathering.calls), text_in(function, "name"),
                        text_in(function, "arguments"),
                    )
                )  # fmt: skip
            _stop(gathering, choice)
        return gathering.turn()

    def problem(self, body: bytes) -> str:
        return problem_of(body)


class _Part(Struct):
    """A call, as far as it has come."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list[str])
    size: int = 0


class ChatReader(EventReader):
    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[Any, _Part] = {}

    def take(self, data: bytes) -> list[Delta]:
        if data.strip() == b"[DONE]":
            return []
        chunk, gathering, deltas = decoded(data), self.gathering, list[Delta]()
        if error := chunk.get("error"):
            gathering.fail(words_of(error))
            return deltas
        for choice in elements(chunk, "choices")[:1]:
            delta = member(choice, "delta")
            deltas += gathering.say(text_in(delta, "content"))
            deltas += gathering.say(text_in(delta, "refusal"))
            for piece in elements(delta, "tool_calls"):
                self._piece(piece)
            _stop(gathering, choice)
        return deltas

    def _piece(self, piece: dict[str, Any]) -> None:
        function, index = member(piece, "function"), piece.get("index")
        key = index if isinstance(index, int) else text_in(piece, "id") or len(self._parts)
        part = self._parts.setdefault(key, _Part(text_in(piece, "id"), ""))
        part.name = part.name or text_in(function, "name")
        part.id = part.id or text_in(piece, "id")
        arguments = text_in(function, "arguments")
        part.size += len(arguments)
        if part.size > ARGUMENTS_MAX or len(self._parts) > CALLS_MAX:
            self.gathering.fail("the model's calls are too many, or too long")
        else:
            part.pieces.append(arguments)

    def end(self) -> Turn:
        gathering = self.gathering
        for part in self._parts.values():
            name = named(part.id, gathering.calls)
            gathering.wish(ToolCall(name, part.name, "".join(part.pieces)))
        self._parts.clear()
        return super().end()


def _stop(gathering: Gathering, choice: dict[str, Any]) -> None:
    """What is known to be none of these is an end too: providers have words of their own."""
    if (reason := text_in(choice, "finish_reason")) and gathering.stop is None:
        gathering.stop = STOPS.get(reason, Stop.END)


def _message(one: Message) -> dict[str, Any]:
    if one.role is Role.USER:
        return {"role": "user", "content": user_text(one)}
    if one.role is Role.TOOL:
        return {"role": "tool", "tool_call_id": one.call_id, "content": one.text}
    said: dict[str, Any] = {"role": "assistant", "content": one.text or None}
    if one.calls:
        said["tool_calls"] = [
            {
                "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in one.calls
        ]  # fmt: skip
    return said
