"""The demo model's requests and answers on each wire: chat, responses, messages, embeddings.

Source: the API references of OpenAI and Anthropic.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from agenthub.demo.mind import Asked, Thought, Tool, pieces_of

_encode = msgspec.json.Encoder().encode
CREATED: Final = 1_767_225_600
VECTOR: Final = 16
"""Numbers of an embedding."""


class Counted(Struct, frozen=True):
    """Tokens of a call."""

    read: int
    cached: int
    """Part of `read`."""
    written: int


class Said(Struct, frozen=True):
    """An answer, before it has a shape."""

    id: str
    model: str
    thought: Thought
    is_short: bool
    """Whether it was cut at the tokens that were asked for."""
    count: Counted


# ---------------------------------------------------------------- requests


def asked_of(wire: str, body: Mapping[str, Any]) -> Asked:
    """What is asked, of a request on this wire."""
    if wire == "responses":
        items: Any = body.get("input")
        last = {"content": items} if isinstance(items, str) else _last(items)
        is_result = last.get("type") == "function_call_output"
        text = _text(last.get("output") if is_result else last.get("content"))
        return Asked(text, is_result, _tools(body, lambda tool: tool, "parameters"))
    last = _last(body.get("messages"))
    content = last.get("content")
    if wire == "messages":
        results = [one for one in map(_object, _list(content)) if one.get("type") == "tool_result"]
        text = _text(results[-1].get("content")) if results else _text(content)
        return Asked(text, bool(results), _tools(body, lambda tool: tool, "input_schema"))
    tools = _tools(body, lambda tool: _object(tool.get("function")), "parameters")
    return Asked(_text(content), last.get("role") == "tool", tools)


def _tools(
    body: Mapping[str, Any],
    inner: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    schema: str,
) -> Sequence[Tool]:
    found: list[Tool] = []
    for one in _list(body.get("tools")):
        tool = inner(_object(one))
        name = tool.get("name")
        if isinstance(name, str):
            words = tool.get("description")
            told = words if isinstance(words, str) else ""
            found.append(Tool(name, told, _object(tool.get(schema))))
    return found


def _text(content: Any) -> str:
    """Of a message, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = (_object(one).get("text") for one in _list(content))
    return "\n".join(part for part in parts if isinstance(part, str))


# ---------------------------------------------------------------- whole answers


def whole(wire: str, said: Said) -> bytes:
    return _encode(_WHOLE[wire](said))


def _chat(said: Said) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{said.id}", "object": "chat.completion", "created": CREATED,
        "model": said.model, "usage": _chat_usage(said.count),
        "choices": [{
            "index": 0, "message": _chat_message(said), "logprobs": None,
            "finish_reason": _finish(said),
        }],
    }  # fmt: skip


def _chat_message(said: Said) -> dict[str, Any]:
    thought = said.thought
    if not thought.tool:
        return {"role": "assistant", "content": thought.text, "refusal": None}
    call = {"id": f"call_{said.id}", "type": "function", "function": _function(thought)}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _function(thought: Thought) -> dict[str, str]:
    return {"name": thought.tool, "arguments": _encode(thought.arguments).decode()}


def _finish(said: Said) -> str:
    return "tool_calls" if said.thought.tool else "length" if said.is_short else "stop"


def _chat_usage(count: Counted) -> dict[str, Any]:
    return {
        "prompt_tokens": count.read, "completion_tokens": count.written,
        "total_tokens": count.read + count.written,
        "prompt_tokens_details": {"cached_tokens": count.cached},
    }  # fmt: skip


def _response(said: Said) -> dict[str, Any]:
    return {**_response_head(said, "completed"), "output": [_item(said)], "usage": _used(said)}


def _response_head(said: Said, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{said.id}", "object": "response", "created_at": CREATED, "status": status,
        "model": said.model, "output": [], "parallel_tool_calls": True, "tool_choice": "auto",
        "tools": [], "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "temperature": 1.0, "top_p": 1.0, "usage": None,
    }  # fmt: skip


def _item(said: Said) -> dict[str, Any]:
    thought = said.thought
    if thought.tool:
        return {
            "type": "function_call", "id": f"fc_{said.id}", "call_id": f"call_{said.id}",
            "status": "completed", **_function(thought),
        }  # fmt: skip
    return {
        "type": "message", "id": f"msg_{said.id}", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": thought.text, "annotations": []}],
    }  # fmt: skip


def _used(said: Said) -> dict[str, Any]:
    count = said.count
    return {
        "input_tokens": count.read, "input_tokens_details": {"cached_tokens": count.cached},
        "output_tokens": count.written, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": count.read + count.written,
    }  # fmt: skip


def _message(said: Said) -> dict[str, Any]:
    thought = said.thought
    block: dict[str, Any] = {"type": "text", "text": thought.text}
    if thought.tool:
        block = {
            "type": "tool_use", "id": f"toolu_{said.id}", "name": thought.tool,
            "input": thought.arguments,
        }  # fmt: skip
    return {**_message_head(said), "content": [block], "stop_reason": _stop(said)} | {
        "usage": {**_input(said.count), "output_tokens": said.count.written}
    }


def _message_head(said: Said) -> dict[str, Any]:
    return {
        "id": f"msg_{said.id}", "type": "message", "role": "assistant", "model": said.model,
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {**_input(said.count), "output_tokens": 1},
    }  # fmt: skip


def _input(count: Counted) -> dict[str, int]:
    return {
        "input_tokens": count.read - count.cached, "cache_read_input_tokens": count.cached,
        "cache_creation_input_tokens": 0,
    }  # fmt: skip


def _stop(said: Said) -> str:
    return "tool_use" if said.thought.tool else "max_tokens" if said.is_short else "end_turn"


_WHOLE: Final = {"chat": _chat, "responses": _response, "messages": _message}


def embeddings(model: str, inputs: Any, count: int) -> bytes:
    """A vector for each text, by its hash."""
    texts = _list(inputs) if isinstance(inputs, list) else [inputs]
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(str(text))}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return _encode({"object": "list", "data": data, "model": model, "usage": usage})


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [(byte - 128) / 128 for byte in digest[:VECTOR]]


# ---------------------------------------------------------------- streams


def events(wire: str, said: Said) -> Iterator[bytes]:
    """The events of a stream, in their order."""
    return _STREAMS[wire](said)


def _chat_events(said: Said) -> Iterator[bytes]:
    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice]})

    head = {
        "id": f"chatcmpl-{said.id}", "object": "chat.completion.chunk", "created": CREATED,
        "model": said.model,
    }  # fmt: skip
    yield chunk({"role": "assistant", "content": ""})
    thought = said.thought
    if thought.tool:
        call = {"index": 0, "id": f"call_{said.id}", "type": "function"}
        yield chunk({"tool_calls": [{**call, "function": {"name": thought.tool, "arguments": ""}}]})
        for piece in pieces_of(_function(thought)["arguments"]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    for piece in pieces_of(thought.text):
        yield chunk({"content": piece})
    yield chunk({}, _finish(said))
    yield _data({**head, "choices": [], "usage": _chat_usage(said.count)})
    yield b"data: [DONE]\n\n"


def _response_events(said: Said) -> Iterator[bytes]:
    number = iter(range(1_000_000))

    def one(kind: str, **facts: Any) -> bytes:
        return _event(kind, {"type": kind, "sequence_number": next(number), **facts})

    item = _item(said)
    at = {"output_index": 0, "item_id": item["id"]}
    yield one("response.created", response=_response_head(said, "in_progress"))
    if said.thought.tool:
        begun: dict[str, Any] = {**item, "arguments": "", "status": "in_progress"}
        yield one("response.output_item.added", output_index=0, item=begun)
        for piece in pieces_of(item["arguments"]):
            yield one("response.function_call_arguments.delta", **at, delta=piece)
        yield one("response.function_call_arguments.done", **at, arguments=item["arguments"])
    else:
        begun = {**item, "content": [], "status": "in_progress"}
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
        yield one("response.output_item.added", output_index=0, item=begun)
        yield one("response.content_part.added", **at, content_index=0, part=part)
        for piece in pieces_of(said.thought.text):
            yield one("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=[])
        text = said.thought.text
        yield one("response.output_text.done", **at, content_index=0, text=text, logprobs=[])
        done = {**part, "text": text}
        yield one("response.content_part.done", **at, content_index=0, part=done)
    yield one("response.output_item.done", output_index=0, item=item)
    yield one("response.completed", response=_response(said))


def _message_events(said: Said) -> Iterator[bytes]:
    def one(kind: str, **facts: Any) -> bytes:
        return _event(kind, {"type": kind, **facts})

    thought = said.thought
    yield one("message_start", message=_message_head(said))
    if thought.tool:
        block: dict[str, Any] = {
            "type": "tool_use", "id": f"toolu_{said.id}", "name": thought.tool, "input": {}
        }  # fmt: skip
        kind, key, text = "input_json_delta", "partial_json", _encode(thought.arguments).decode()
    else:
        block, kind, key, text = {"type": "text", "text": ""}, "text_delta", "text", thought.text
    yield one("content_block_start", index=0, content_block=block)
    for piece in pieces_of(text):
        yield one("content_block_delta", index=0, delta={"type": kind, key: piece})
    yield one("content_block_stop", index=0)
    usage = {**_input(said.count), "output_tokens": said.count.written}
    delta = {"stop_reason": _stop(said), "stop_sequence": None}
    yield one("message_delta", delta=delta, usage=usage)
    yield one("message_stop")


_STREAMS: Final = {
    "chat": _chat_events, "responses": _response_events, "messages": _message_events,
}  # fmt: skip


def _data(said: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % _encode(said)


def _event(kind: str, said: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(said))


def _last(messages: Any) -> Mapping[str, Any]:
    found = _list(messages)
    return _object(found[-1]) if found else {}


def _object(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
