"""A conversation to bytes and back, in each wire."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from msgspec import Raw

from agenthub.domain.dialogue import Ask, Message, Role, Stop, ToolCall, ToolSpec, Turn
from agenthub.wire.dialogue import codec
from agenthub.wire.dialogue.shape import ARGUMENTS_MAX, CALLS_MAX

CHAT, MESSAGES, GEMINI = WIRES = ("chat", "messages", "gemini")
ADD = ToolSpec("calc__add", "Adds.", Raw(b'{"type":"object"}'))
SAID = (
    Message(Role.USER, "2+3?", context="A page"),
    Message(
        Role.ASSISTANT, "Let me see", calls=(
            ToolCall("a", "calc__add", '{"a":2}', "sig"), ToolCall("b", "calc__add", "no JSON"),
        ),
    ),
    Message(Role.TOOL, "5", call_id="a", tool="calc__add"),
    Message(Role.TOOL, "", call_id="b", tool="calc__add", is_error=True),
    Message(Role.ASSISTANT, "It is 5"),
    Message(Role.USER, "Thanks"),
)  # fmt: skip
ASK = Ask("m", "Be nice", SAID, (ADD,), 100)


def encoded(wire, ask=ASK):
    return json.loads(codec(wire).encode(ask))


def test_chat_as_openai_has_it():
    body = encoded(CHAT)
    assert body["messages"][1]["content"].startswith("The user looks at this page")
    body["messages"][1]["content"] = "…"
    assert body == snapshot({
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be nice"},
            {"role": "user", "content": "…"},
            {
                "role": "assistant",
                "content": "Let me see",
                "tool_calls": [
                    {
                        "id": "a",
                        "type": "function",
                        "function": {"name": "calc__add", "arguments": '{"a":2}'},
                    },
                    {
                        "id": "b",
                        "type": "function",
                        "function": {"name": "calc__add", "arguments": "no JSON"},
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "5"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            {"role": "assistant", "content": "It is 5"},
            {"role": "user", "content": "Thanks"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "calc__add",
                    "description": "Adds.",
                    "parameters": {"type": "object"},
                },
            }
        ],
        "max_tokens": 100,
    })  # fmt: skip


def test_messages_as_anthropic_has_them():
    body = encoded(MESSAGES)
    body["messages"][0]["content"][0]["text"] = "…"
    assert body == snapshot({
        "model": "m",
        "max_tokens": 100,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "…"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see"},
                    {"type": "tool_use", "id": "a", "name": "calc__add", "input": {"a": 2}},
                    {"type": "tool_use", "id": "b", "name": "calc__add", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "5"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "b",
                        "content": "(nothing)",
                        "is_error": True,
                    },
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "It is 5"}]},
            {"role": "user", "content": [{"type": "text", "text": "Thanks"}]},
        ],
        "stream": True,
        "system": "Be nice",
        "tools": [
            {"name": "calc__add", "description": "Adds.", "input_schema": {"type": "object"}}
        ],
    })  # fmt: skip


def test_contents_as_gemini_has_them():
    body = encoded(GEMINI)
    body["contents"][0]["parts"][0]["text"] = "…"
    assert body == snapshot({
        "contents": [
            {"role": "user", "parts": [{"text": "…"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Let me see"},
                    {
                        "functionCall": {"name": "calc__add", "args": {"a": 2}},
                        "thoughtSignature": "sig",
                    },
                    {"functionCall": {"name": "calc__add", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "calc__add", "response": {"output": "5"}}},
                    {"functionResponse": {"name": "calc__add", "response": {"error": ""}}},
                ],
            },
            {"role": "model", "parts": [{"text": "It is 5"}]},
            {"role": "user", "parts": [{"text": "Thanks"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be nice"}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "calc__add",
                        "description": "Adds.",
                        "parametersJsonSchema": {"type": "object"},
                    }
                ]
            }
        ],
        "generationConfig": {"maxOutputTokens": 100},
    })  # fmt: skip


def test_what_is_not_asked_for_is_not_sent():
    bare = Ask("m", "", (Message(Role.USER, "Hi"), Message(Role.USER, " ")))
    assert set(encoded(CHAT, bare)) == {"model", "messages", "stream", "stream_options"}
    assert set(encoded(MESSAGES, bare)) == {"model", "max_tokens", "messages", "stream"}
    assert encoded(MESSAGES, bare)["max_tokens"] == 8_192
    assert encoded(MESSAGES, bare)["messages"][0]["content"][1]["text"] == "(nothing)"
    assert set(encoded(GEMINI, bare)) == {"contents"}
    assert len(encoded(GEMINI, bare)["contents"]) == 1
    assert codec(CHAT).address() == ("/chat/completions", "")
    assert codec(MESSAGES).address() == ("/messages", "")
    assert codec(GEMINI).address() == ("/models/{model}:streamGenerateContent", "alt=sse")
    only_calls = Message(Role.ASSISTANT, "", calls=(ToolCall("1", "t", ""),))
    told = Ask("m", "", (Message(Role.USER, "x"), only_calls, Message(Role.TOOL, "r", call_id="1")))
    assert encoded(CHAT, told)["messages"][1]["content"] is None
    assert encoded(CHAT, told)["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert [one["type"] for one in encoded(MESSAGES, told)["messages"][1]["content"]] == [
        "tool_use"
    ]
    assert len(encoded(GEMINI, told)["contents"][1]["parts"]) == 1


# ---------------------------------------------------------------- answers


def events(*said, kinds=False):
    lines = [one if isinstance(one, str) else json.dumps(one) for one in said]
    heads = [f"event: {one['type']}\n" if kinds else "" for one in said]
    return "".join(f"{h}data: {one}\n\n" for h, one in zip(heads, lines, strict=True)).encode()


def choice(finish=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def piece(index, arguments, **more):
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return {"index": index, "function": function, **more}


CHAT_STREAM = events(
    choice(role="assistant", content=""), choice(content="It "), choice(content="is"),
    choice(tool_calls=[piece(0, "", id="a", name="calc__add")]),
    choice(tool_calls=[piece(0, '{"a"'), piece(1, '{"b":2}', id="b", name="calc__mul")]),
    choice(tool_calls=[piece(0, ":1}")]), choice("tool_calls"), {"choices": [], "usage": {}},
    "[DONE]",
)  # fmt: skip
MESSAGES_STREAM = events(
    {"type": "message_start", "message": {"usage": {}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "thinking_delta", "thinking": "Hm"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "It is"}},
    {"type": "content_block_stop", "index": 1}, {"type": "ping"},
    {"type": "content_block_start", "index": 2,
     "content_block": {"type": "tool_use", "id": "a", "name": "calc__add", "input": {}}},
    {"type": "content_block_delta", "index": 2,
     "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
    {"type": "content_block_delta", "index": 2,
     "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "content_block_start", "index": 3,
     "content_block": {"type": "tool_use", "id": "b", "name": "calc__mul", "input": {"b": 2}}},
    {"type": "content_block_stop", "index": 3},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"},
    kinds=True,
)  # fmt: skip


def parts(*some, **more):
    return {"candidates": [{"content": {"role": "model", "parts": list(some)}, **more}]}


GEMINI_STREAM = events(
    parts({"text": "Hm", "thought": True}, {"text": "It "}), parts({"text": "is"}),
    parts({"functionCall": {"id": "a", "name": "calc__add", "args": {"a": 1}},
           "thoughtSignature": "s"}),
    parts({"functionCall": {"id": "b", "name": "calc__mul", "args": {"b": 2}}},
          finishReason="STOP"), {"usageMetadata": {}},
)  # fmt: skip
STREAMS = {CHAT: CHAT_STREAM, MESSAGES: MESSAGES_STREAM, GEMINI: GEMINI_STREAM}


def answer(wire):
    signature = "s" if wire == GEMINI else ""
    calls = (ToolCall("a", "calc__add", '{"a":1}', signature),
             ToolCall("b", "calc__mul", '{"b":2}'))  # fmt: skip
    return Turn("It is", calls, Stop.END)


def read(wire, *pieces):
    reader = codec(wire).reader()
    texts = [delta.text for one in pieces for delta in reader.feed(one)]
    turn = reader.end()
    assert "".join(texts) == turn.text
    return turn


@pytest.mark.parametrize("wire", WIRES)
@given(data=st.data())
def test_a_streamed_answer_is_read_the_same_however_it_is_cut(wire, data):
    stream = STREAMS[wire]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(wire, *pieces) == answer(wire)


@pytest.mark.parametrize("wire", WIRES)
@given(at=st.integers(0, 1_000), odd=st.binary(max_size=5))
def test_whatever_bytes_come_nothing_is_raised_and_no_half_call_is_made(wire, at, odd):
    stream = STREAMS[wire]
    place = at * len(stream) // 1_000
    turn = read(wire, stream[:place] + odd + stream[place:])
    assert set(turn.calls) <= set(answer(wire).calls) or turn.stop is Stop.END
    codec(wire).whole(stream[:place] + odd)
    cut = read(wire, stream[: place // 2])
    assert (cut.stop, cut.calls) == (Stop.BROKEN, ()) or cut.stop is Stop.END


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_that_ends_in_the_middle_keeps_its_text_and_makes_no_call(wire):
    stream = STREAMS[wire]
    turn = read(wire, stream[: stream.index(b"calc__mul")])
    assert turn == Turn("It is", (), Stop.BROKEN, "the answer ended in the middle")


WHOLE = {
    CHAT: {"choices": [{"message": {"content": "It is", "tool_calls": [
        {"id": "a", "function": {"name": "calc__add", "arguments": '{"a":1}'}},
        {"id": "b", "function": {"name": "calc__mul", "arguments": '{"b":2}'}}]},
        "finish_reason": "tool_calls"}]},
    MESSAGES: {"content": [{"type": "text", "text": "It is"}, {"type": "thinking"},
        {"type": "tool_use", "id": "a", "name": "calc__add", "input": {"a": 1}},
        {"type": "tool_use", "id": "b", "name": "calc__mul", "input": {"b": 2}}],
        "stop_reason": "tool_use"},
    GEMINI: parts({"text": "It is"},
        {"functionCall": {"id": "a", "name": "calc__add", "args": {"a": 1}},
         "thoughtSignature": "s"},
        {"functionCall": {"id": "b", "name": "calc__mul", "args": {"b": 2}}}, finishReason="STOP"),
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_at_once_is_read_too(wire):
    assert codec(wire).whole(json.dumps(WHOLE[wire]).encode()) == answer(wire)
    error = codec(wire).whole(b'{"error":{"message":"boom"}}')
    assert (error.stop, error.problem) == (Stop.BROKEN, "boom")
    assert codec(wire).whole(b"<html>").stop is Stop.BROKEN


STOPS = [
    (CHAT, choice("stop", content="x"), Stop.END),
    (CHAT, choice("length", content="x"), Stop.LENGTH),
    (CHAT, choice("content_filter", content="x"), Stop.REFUSED),
    (CHAT, choice("eos", content="x"), Stop.END),
    (CHAT, choice("stop", refusal="x"), Stop.END),
    (MESSAGES, {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}, Stop.LENGTH),
    (MESSAGES, {"type": "message_delta", "delta": {"stop_reason": "refusal"}}, Stop.REFUSED),
    (MESSAGES, {"type": "message_delta", "delta": {"stop_reason": "new"}}, Stop.END),
    (MESSAGES, {"type": "message_delta", "delta": {"stop_reason": None}}, Stop.BROKEN),
    (GEMINI, parts({"text": "x"}, finishReason="MAX_TOKENS"), Stop.LENGTH),
    (GEMINI, parts({"text": "x"}, finishReason="SAFETY"), Stop.REFUSED),
    (GEMINI, parts({"text": "x"}, finishReason="FUNCTION_CALL"), Stop.END),
    (GEMINI, parts(finishReason="MALFORMED_FUNCTION_CALL"), Stop.BROKEN),
    (GEMINI, {"promptFeedback": {"blockReason": "SAFETY"}}, Stop.REFUSED),
]


@pytest.mark.parametrize(("wire", "event", "stop"), STOPS, ids=range(len(STOPS)))
def test_why_an_answer_ends(wire, event, stop):
    assert read(wire, events(event, event)).stop is stop


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (CHAT, {"error": {"message": "boom"}}),
        (MESSAGES, {"type": "error", "error": {"type": "x", "message": "boom"}}),
        (GEMINI, {"error": {"message": "boom", "status": "INTERNAL"}}),
    ],
)
def test_an_error_in_the_middle_ends_the_answer_and_keeps_its_text(wire, error):
    stream = STREAMS[wire]
    middle = stream.index(b"\n\n", stream.index(b"It is" if wire == MESSAGES else b'"is"')) + 2
    turn = read(wire, stream[:middle] + events(error) + stream[middle:])
    assert turn == Turn("It is", (), Stop.BROKEN, "boom")


def test_chat_without_indexes_or_ids_as_some_providers_write_it():
    def whole(name, **more):
        return {"function": {"name": name, "arguments": "{}"}, **more}

    turn = read(CHAT, events(choice(tool_calls=[whole("x"), whole("y")]),
                             choice("stop", tool_calls=[whole("z", id="k")])))  # fmt: skip
    assert [call.name for call in turn.calls] == ["x", "y", "z"]
    assert [call.id for call in turn.calls] == ["call_1", "call_2", "k"]


def test_chat_that_wishes_too_much_is_broken():
    many = [piece(n, "{}", name="x") for n in range(CALLS_MAX + 1)]
    assert read(CHAT, events(choice("stop", tool_calls=many))).stop is Stop.BROKEN
    long = choice("stop", tool_calls=[piece(0, "x" * (ARGUMENTS_MAX + 1), name="x")])
    assert read(CHAT, events(long)).stop is Stop.BROKEN


def test_messages_that_wish_too_much_are_broken():
    start = {"type": "content_block_start", "index": 0,
             "content_block": {"type": "tool_use", "id": "a", "name": "x"}}  # fmt: skip
    long = {"type": "content_block_delta", "index": 0,
            "delta": {"partial_json": "x" * (ARGUMENTS_MAX + 1)}}  # fmt: skip
    stop = {"type": "content_block_stop", "index": 0}
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    assert read(MESSAGES, events(start, long, stop, end)).stop is Stop.BROKEN
