"""Anthropic's messages.

Results of tools are the user's, and all of one turn stand in one message. Source: Anthropic API
reference, "Messages", "Streaming Messages".
"""

from typing import Any, Final

import msgspec
from msgspec import Struct, field

from agenthub.domain.dialogue import Ask, Delta, Message, Role, Stop, ToolCall, Turn
from agenthub.wire.dialogue.shape import (
    ARGUMENTS_MAX,
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

TOKENS: Final = 8_192
"""Of an answer; this wire wants a bound."""
STOPS: Final = {
    "end_turn": Stop.END, "tool_use": Stop.END, "stop_sequence": Stop.END, "pause_turn": Stop.END,
    "max_tokens": Stop.LENGTH, "model_context_window_exceeded": Stop.LENGTH,
    "refusal": Stop.REFUSED,
}  # fmt: skip


class MessagesCodec:
    """shape.Codec."""

    headers = (JSON, (b"anthropic-version", b"2023-06-01"))

    def address(self) -> tuple[str, str]:
        return "/messages", ""

    def encode(self, ask: Ask) -> bytes:
        body: dict[str, Any] = {
            "model": ask.model,
            "max_tokens": TOKENS if ask.max_tokens is None else ask.max_tokens,
            "messages": _alternating(sound(ask.messages)),
            "stream": True,
        }
        if ask.system:
            body["system"] = ask.system
        if ask.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
                for tool in ask.tools
            ]
        return msgspec.json.encode(body)

    def reader(self) -> "MessagesReader":
        return MessagesReader()

    def whole(self, body: bytes) -> Turn:
        gathering, said = Gathering(), decoded(body)
        if error := said.get("error"):
            gathering.fail(words_of(error))
        for block in elements(said, "content"):
            if block.get("type") == "tool_use":
                arguments = msgspec.json.encode(member(block, "input")).decode()
                name = named(text_in(block, "id"), gathering.calls)
                gathering.wish(ToolCall(name, text_in(block, "name"), arguments))
            elif block.get("type") == "text":
                gathering.say(text_in(block, "text"))
        _stop(gathering, said)
        return gathering.turn()

    def problem(self, body: bytes) -> str:
        return problem_of(body)


class _Block(Struct):
    id: str
    name: str
    whole: dict[str, Any]
    """The input, where it came with the block's start."""
    pieces: list[str] = field(default_factory=list[str])
    size: int = 0


class MessagesReader(EventReader):
    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[Any, _Block] = {}
        """Calls that are under way, by the index of their block."""

    def take(self, data: bytes) -> list[Delta]:
        event, gathering = decoded(data), self.gathering
        kind, index = event.get("type"), str(event.get("index"))
        if kind == "content_block_start":
            block = member(event, "content_block")
            if block.get("type") == "tool_use":
                start = _Block(text_in(block, "id"), text_in(block, "name"), member(block, "input"))
                self._blocks[index] = start
            return gathering.say(text_in(block, "text"))
        if kind == "content_block_delta":
            return self._delta(index, member(event, "delta"))
        if kind == "content_block_stop":
            self._close(index)
        elif kind == "message_delta":
            _stop(gathering, member(event, "delta"))
        elif kind == "error":
            gathering.fail(words_of(event.get("error")))
        return []

    def _delta(self, index: str, delta: dict[str, Any]) -> list[Delta]:
        block = self._blocks.get(index)
        if block is not None:
            piece = text_in(delta, "partial_json")
            block.size += len(piece)
            if block.size > ARGUMENTS_MAX:
                self.gathering.fail(f"the arguments of a call are over {ARGUMENTS_MAX:,} bytes")
            else:
                block.pieces.append(piece)
        return self.gathering.say(text_in(delta, "text"))

    def _close(self, index: str) -> None:
        block = self._blocks.pop(index, None)
        if block is not None:
            arguments = "".join(block.pieces) or msgspec.json.encode(block.whole).decode()
            name = named(block.id, self.gathering.calls)
            self.gathering.wish(ToolCall(name, block.name, arguments))


def _stop(gathering: Gathering, said: dict[str, Any]) -> None:
    if (reason := text_in(said, "stop_reason")) and gathering.stop is None:
        gathering.stop = STOPS.get(reason, Stop.END)


def _alternating(messages: list[Message]) -> list[dict[str, Any]]:
    """The user's blocks that follow one another are one message."""
    found: list[dict[str, Any]] = []
    for one in messages:
        role = "assistant" if one.role is Role.ASSISTANT else "user"
        if found and found[-1]["role"] == role:
            found[-1]["content"] += _blocks(one)
        else:
            found.append({"role": role, "content": _blocks(one)})
    return found


def _blocks(one: Message) -> list[dict[str, Any]]:
    if one.role is Role.TOOL:
        block: dict[str, Any] = {
            "type": "tool_result", "tool_use_id": one.call_id, "content": one.text or "(nothing)",
        }  # fmt: skip
        return [{**block, "is_error": True} if one.is_error else block]
    text = user_text(one) if one.role is Role.USER else one.text
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)}
        for call in one.calls
    ]
    return blocks or [{"type": "text", "text": "(nothing)"}]
