"""Streams: whatever the cuts, the client gets the same bytes and the same is seen (P7, P9)."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.price import Extra
from agenthub.domain.usage import Basis, Usage
from agenthub.wire.llm import stream
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.seen import Seen
from agenthub.wire.llm.stream import StreamReader

CHAT, RESPONSES, MESSAGES, GEMINI = (
    Dialect.CHAT,
    Dialect.RESPONSES,
    Dialect.MESSAGES,
    Dialect.GEMINI,
)


def sse(*events, kinds=False):
    """Events as providers write them; a text goes as it is."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    heads = [f"event: {event['type']}\n" if kinds else "" for event in events]
    return "".join(
        f"{head}data: {text}\n\n" for head, text in zip(heads, texts, strict=True)
    ).encode()


def chunk(*choices, **fields):
    return {"id": "c", "model": "gpt-5.5-1", "choices": list(choices), "usage": None, **fields}


def words(text):
    return {"index": 0, "delta": {"role": "assistant", "content": text}}


USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
CALL = {"index": 0, "delta": {"tool_calls": [{"id": "x", "function": {"arguments": '{"a":1}'}}]}}
CHAT_HEAD = b": keep-alive\n\n" + sse(chunk(words("hé")), chunk(CALL))
CHAT_USAGE = sse(chunk(usage=USAGE))
CHAT_DONE = b"data: [DONE]\n\n"
CHAT_STREAM = CHAT_HEAD + CHAT_USAGE + CHAT_DONE

MESSAGES_STREAM = sse(
    {
        "type": "message_start",
        "message": {
            "model": "claude-opus-5-5",
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 90,
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    },
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"a'},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "signature_delta", "signature": "zzz"},
    },
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 15, "input_tokens": None},
    },
    {"type": "message_stop"},
    kinds=True,
)

RESPONSES_USAGE = {
    "input_tokens": 36,
    "output_tokens": 87,
    "input_tokens_details": {"cached_tokens": 30},
}
RESPONSES_STREAM = sse(
    {
        "type": "response.created",
        "response": {"model": "gpt-5.5", "usage": None, "instructions": "long"},
    },
    {"type": "response.output_item.done", "item": {"type": "web_search_call"}},
    {"type": "response.output_text.delta", "delta": "hello"},
    {"type": "response.output_text.done", "text": "hello"},
    {
        "type": "response.completed",
        "response": {
            "model": "gpt-5.5",
            "status": "completed",
            "usage": RESPONSES_USAGE,
            "error": None,
        },
    },
    kinds=True,
)

PIECES = [
    {
        "candidates": [{"content": {"parts": [{"text": 'he"}]\\'}]}}],
        "usageMetadata": {"promptTokenCount": 8},
        "modelVersion": "gemini-3-pro",
    },
    {
        "candidates": [{"content": {"parts": [{"text": "llo"}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 8,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 30,
        },
    },
]
GEMINI_STREAM = sse(*PIECES).replace(b"\n", b"\r\n")
GEMINI_ARRAY = json.dumps(PIECES, indent=2).replace("\n  },", "\n  }\n,\r").encode()

STREAMS = {
    "chat": (CHAT, CHAT_STREAM),
    "messages": (MESSAGES, MESSAGES_STREAM),
    "responses": (RESPONSES, RESPONSES_STREAM),
    "gemini": (GEMINI, GEMINI_STREAM),
    "gemini array": (GEMINI, GEMINI_ARRAY),
}


def read(dialect, *pieces, strip=False):
    reader = StreamReader(dialect, strip_usage=strip)
    passed = b"".join(reader.feed(piece) for piece in pieces)
    seen = reader.end()
    return passed + seen.rest, Seen(
        **{n: getattr(seen, n) for n in Seen.__struct_fields__ if n != "rest"}
    )


EXPECTED = {
    "chat": Seen(Usage(9, output_tokens=4), model="gpt-5.5-1", complete=True, counted=10),
    "messages": Seen(
        Usage(100, 90, output_tokens=15), model="claude-opus-5-5", complete=True, counted=8
    ),
    "responses": Seen(
        Usage(36, 30, output_tokens=87), Extra(web_searches=1), "gpt-5.5", True, counted=5
    ),
    "gemini": Seen(
        Usage(8, output_tokens=32, reasoning_tokens=30),
        model="gemini-3-pro",
        complete=True,
        counted=9,
    ),
}
EXPECTED["gemini array"] = EXPECTED["gemini"]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("crlf", [False, True])
def test_a_stream_passes_as_it_came_and_its_usage_is_seen(name, crlf):
    dialect, text = STREAMS[name]
    text = text.replace(b"\n", b"\r\n") if crlf and b"\r" not in text else text
    assert read(dialect, text) == (text, EXPECTED[name])


@pytest.mark.parametrize("crlf", [False, True])
def test_usage_that_the_hub_alone_asked_for_is_not_passed_on(crlf):
    end = b"\r\n" if crlf else b"\n"
    head, usage, done = (part.replace(b"\n", end) for part in (CHAT_HEAD, CHAT_USAGE, CHAT_DONE))
    assert read(CHAT, head + usage + done, strip=True) == (head + done, EXPECTED["chat"])
    assert read(CHAT, head + usage + done)[0] == head + usage + done


@pytest.mark.parametrize(
    "event",
    [
        chunk(words("last"), usage=USAGE),  # llama.cpp
        chunk(prompt_filter_results=[]),  # Azure
        chunk(usage=USAGE, error={"code": 500}),
        {"usage": USAGE},
        "{",
        "",
    ],
)
def test_whatever_says_more_than_usage_is_passed_on(event):
    text = CHAT_HEAD + sse(event)
    assert read(CHAT, text, strip=True)[0] == text


def test_usage_without_a_blank_line_after_it_is_not_passed_on_either():
    assert read(CHAT, CHAT_HEAD + CHAT_USAGE[:-2], strip=True) == (
        CHAT_HEAD,
        Seen(Usage(9, output_tokens=4), model="gpt-5.5-1", counted=10),
    )


def test_events_of_several_lines_are_read():
    text = (
        b'\xef\xbb\xbfid: 1\r\ndata: {"choices":[],\r\ndata: "usage":{"prompt_tokens":3}}\r\n\r\n'
    )
    assert read(CHAT, text, strip=True) == (b"", Seen(Usage(3)))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_at_any_byte_is_charged_for_what_came(name):
    """P9, F33: nothing raises, what came is passed on, and the basis says that it is partial."""
    dialect, text = STREAMS[name]
    for cut in range(len(text)):
        passed, seen = read(dialect, text[:cut])
        assert passed == text[:cut]
        usage, basis = seen.booked(300)
        assert basis is (Basis.PROVIDER if seen.complete else Basis.PARTIAL)
        assert usage.input_tokens > 0
        assert usage.output_tokens * 3 >= seen.counted or seen.complete


def test_a_message_cut_before_its_end_keeps_its_input():
    text = MESSAGES_STREAM[: MESSAGES_STREAM.index(b"event: message_delta")]
    usage, basis = read(MESSAGES, text)[1].booked(10_000)
    assert (usage, basis) == (Usage(100, 90, output_tokens=3), Basis.PARTIAL)


@pytest.mark.parametrize(
    ("dialect", "text", "error"),
    [
        (CHAT, CHAT_HEAD + sse({"error": {"code": 502}}), b'{"code": 502}'),
        (
            MESSAGES,
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
            b'{"type":"overloaded_error"}',
        ),
        (RESPONSES, b'data: {"type":"error","code":"x"}\n\n', b'{"type":"error","code":"x"}'),
        (RESPONSES, b'data: {"error":{"code":"x"}}\n\n', b'{"error":{"code":"x"}}'),
        (GEMINI, b'data: {"error":{"code":503}}\n\n', b'{"code":503}'),
        (GEMINI, b'[{"error":{"code":503}}]', b'{"code":503}'),
    ],
)
def test_an_error_after_a_200_is_seen_and_passed_on(dialect, text, error):
    """F33."""
    passed, seen = read(dialect, text)
    assert (passed, seen.error, seen.complete) == (text, error, False)


def test_a_response_that_failed_has_ended_with_its_usage():
    failed = {
        "type": "response.failed",
        "response": {"error": {"code": "e"}, "usage": RESPONSES_USAGE},
    }
    seen = read(RESPONSES, sse(failed))[1]
    assert (seen.complete, seen.error, seen.usage.output_tokens) == (True, b'{"code": "e"}', 87)


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES, GEMINI])
@pytest.mark.parametrize(
    "noise",
    [
        "[1",
        "7",
        "[]",
        "{}",
        '"x"',
        '{"choices":7,"candidates":7}',
        '{"choices":[7]}',
        '{"type":"message_start","message":7}',
        '{"type":"message_delta","usage":7}',
        '{"type":"response.created","response":7}',
        '{"type":[]}',
        '{"model":7,"modelVersion":7}',
        '{"type":"content_block_delta","choices":[{"delta":%s}]}' % ("[" * 500 + "]" * 500),
    ],
)
def test_noise_is_passed_on_and_says_nothing(dialect, noise):
    text = sse(noise)
    passed, seen = read(dialect, text, strip=True)
    assert passed == text
    assert (seen.usage, seen.complete, seen.counted, seen.model) == (None, False, 0, "")


def test_an_array_with_noise_between_its_elements_is_read():
    text = b'[\\ [1], {"usageMetadata":{"promptTokenCount":3}} ]'
    assert read(GEMINI, text) == (text, Seen(Usage(3)))


# ---------------------------------------------------------------- cuts


def cut(text, places):
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


whole = st.sampled_from([(*pair, strip) for pair in STREAMS.values() for strip in (False, True)])
fragment = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b" ",
        b"data:",
        b"data: [DONE]",
        b"event: x",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b'"',
        b"\\",
        b"\0",
        b"\xef\xbb\xbf",
        CHAT_USAGE,
        CHAT_USAGE[6:-2],
        json.dumps(PIECES[1]).encode(),
        CHAT_HEAD,
        b'{"usage":{"prompt_tokens":-1}}',
        b"x" * 40,
    ]
)
garbage = st.tuples(
    st.sampled_from([CHAT, MESSAGES, RESPONSES, GEMINI]),
    st.lists(fragment, max_size=20).map(b"".join),
    st.booleans(),
)


@pytest.mark.parametrize("small", [False, True])
@given(case=whole | garbage, places=st.lists(st.integers(0, 1500), max_size=12), crlf=st.booleans())
def test_where_a_stream_is_cut_does_not_matter(small, case, places, crlf):
    """P7; with events that are too large to be read, too."""
    dialect, text, strip = case
    text = text.replace(b"\n", b"\r\n") if crlf else text
    with pytest.MonkeyPatch.context() as patch:
        if small:
            for name, value in {"EVENT_BYTES": 100, "HEAD_BYTES": 8, "TAIL_BYTES": 40}.items():
                patch.setattr(stream, name, value)
        expected = read(dialect, text, strip=strip)
        assert read(dialect, *cut(text, places), strip=strip) == expected
        assert read(dialect, *(text[n : n + 1] for n in range(len(text))), strip=strip) == expected
        if not strip:
            assert expected[0] == text


# ---------------------------------------------------------------- large events


def blocks(text, size=50_000):
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("split", [lambda text: [text], blocks])
def test_the_usage_after_a_large_event_s_content_is_found(split):
    response = {
        "model": "m",
        "output": "x" * stream.EVENT_BYTES,
        "usage": RESPONSES_USAGE,
        "user": None,
    }
    text = sse({"type": "response.completed", "response": response})
    passed, seen = read(RESPONSES, *split(text))
    assert passed == text
    assert (seen.usage, seen.complete) == (Usage(36, 30, output_tokens=87), True)


@pytest.mark.parametrize("split", [lambda text: [text], blocks])
@pytest.mark.parametrize("array", [False, True])
def test_the_usage_after_a_large_image_is_found(split, array):
    image = {
        "content": {"parts": [{"inlineData": {"data": "A" * stream.EVENT_BYTES}}]},
        "finishReason": "STOP",
    }
    piece = {
        "candidates": [image],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1290},
    }
    text = json.dumps([piece, piece]).encode() if array else sse(piece)
    passed, seen = read(GEMINI, *split(text))
    assert passed == text
    assert (seen.usage, seen.complete) == (Usage(3, output_tokens=1290), True)


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, RESPONSES, GEMINI])
@pytest.mark.parametrize(
    "tail", ["", '"usage":', '"usage":7', '"usage":{"a":', '"usageMetadata":{]}']
)
def test_a_large_event_without_usage_is_passed_on(dialect, tail):
    text = (
        b'data: {"type":"response.completed","x":"'
        + b"x" * stream.EVENT_BYTES
        + tail.encode()
        + b"\n\n"
    )
    for pieces in ([text], blocks(text)):
        passed, seen = read(dialect, *pieces, strip=True)
        assert passed == text
        assert seen.usage is None
    assert read(dialect, text, CHAT_DONE, strip=True)[0] == text + CHAT_DONE


def test_little_is_held_of_a_large_event():
    reader = StreamReader(CHAT, strip_usage=True)
    for _ in range(40):
        reader.feed(b"x" * 100_000)
    assert len(reader._held) <= stream.TAIL_BYTES + 2


def test_a_stream_of_spaces_is_not_held():
    reader = StreamReader(GEMINI, strip_usage=False)
    for _ in range(40):
        reader.feed(b" " * 100_000)
    assert len(reader._held) <= stream.EVENT_BYTES + 2


WORDS = st.sampled_from(
    ["hé", "a", " word", '"', "\\", "\n", "한국어", "", "content", '"content":"x"', "\x7f"]
)
DELTAS = st.sampled_from([
    lambda word: {"content": word},
    lambda word: {"role": "assistant", "content": word},
    lambda word: {"content": word, "reasoning_content": word},
    lambda word: {"content": "same", "reasoning_content": word},
    lambda word: {"content": word, "reasoning_content": "same"},
    lambda word: {"content": None, "refusal": word},
    lambda word: {"content": [{"type": "text", "text": word}]},
    lambda _: None,
])  # fmt: skip
MORE = st.sampled_from([
    {}, {"model": "another"}, {"usage": USAGE}, {"x_groq": {"usage": USAGE}}, {"content": "x"},
    {"error": None}, {"error": {"message": "m"}}, {"obfuscation": "abc"}, {"service_tier": "flex"},
])  # fmt: skip
ALIKE = st.builds(
    lambda words, delta, more, ascii_, spaces: [
        json.dumps(
            {"model": "m", "choices": [{"index": 0, "delta": delta(word)}], **more},
            ensure_ascii=ascii_,
            separators=(", ", ": ") if spaces else (",", ":"),
        ).encode()
        for word in words
    ],
    st.lists(WORDS, min_size=1, max_size=5), DELTAS, MORE, st.booleans(), st.booleans(),
)  # fmt: skip
"""Chunks that differ in one word."""
SPOILT = st.sampled_from([
    b'{"model":"m","choices":[{"index":0,"delta":{"content":"\xff"}}]}',
    b'{"model":"m","choices":[{"index":0,"delta":{"content":"\x01"}}]}',
    b'{"model":"m","choices":[{"index":0,"delta":{"content":"a"}}',
    b'{"model":"m","choices":[{"index":0,"delta":{"content":"a"},"x":{"content":"b"}}]}',
    b'{"model":"m","choices":[{"index":0,"delta":{"content":"\\u0061"},"x":{"content":"a"}}]}',
    b'{"model":"m","choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{}}]}',
])  # fmt: skip


def seen_of(chunks):
    reader = StreamReader(CHAT, strip_usage=False)
    for one in chunks:
        reader.feed(b"data: " + one + b"\n\n")
    return reader.end()


@given(st.lists(ALIKE | SPOILT.map(lambda one: [one]), max_size=6))
def test_chunks_that_resemble_one_another_are_seen_as_if_each_was_alone(runs):
    """The place of the last chunk's word is remembered; it must not matter."""
    chunks = [chunk for run in runs for chunk in run]
    together, alone = seen_of(chunks), [seen_of([one]) for one in chunks]
    assert together.counted == sum(one.counted for one in alone)
    assert together.model == next((one.model for one in reversed(alone) if one.model), "")
    assert together.error == next((one.error for one in reversed(alone) if one.error), b"")
    assert together.usage == next((one.usage for one in reversed(alone) if one.usage), None)


@pytest.mark.parametrize(
    "one",
    [
        b'{"model":"%b","choices":[{"delta":{"content":"%b"}}]}',
        b'{"choices":[{"delta":{"content":"abc"}}],"model":"%b","x":"%b"}',
        b'{"model":"%b","x":{"content":"%b"},"choices":[{"delta":{"content":"a"}}]}',
        b'{"model":"%b","x":{"content":"%b"},"choices":[{"delta":{"c\\u006fntent":"a"}}]}',
        b'{"model":"%b","choices":[{"delta":{"content":"%b"}},{"delta":{"text":"b"}}]}',
    ],
)
@pytest.mark.parametrize("second", [(b"m", b"bcd"), (b"n", b"b"), (b"n", b"bcd")])
def test_what_differs_in_more_than_the_one_word_is_read(one, second):
    chunks = [one % (b"m", b"a"), one % second]
    together, alone = seen_of(chunks), [seen_of([each]) for each in chunks]
    assert together.model == second[0].decode()
    assert together.counted == sum(each.counted for each in alone)


def test_only_the_last_chunk_is_remembered():
    one = b'{"model":"%b","choices":[{"delta":{"content":"%b"}}]}'
    seen = seen_of([one % words for words in ((b"m", b"a"), (b"n", b"\\n"), (b"m", b"bc"))])
    assert (seen.model, seen.counted) == ("m", 4)


def test_a_chunk_of_two_choices_is_read_each_time():
    one = b'{"choices":[{"delta":{"content":"%b"}},{"delta":{"content":%b}}]}'
    assert seen_of([one % (b"a", b"null"), one % (b"bc", b"null")]).counted == 3


def test_a_word_that_is_no_text_is_not_counted_after_one_that_is():
    one = b'{"choices":[{"delta":{"content":"%b"}}]}'
    assert (
        seen_of([one % word for word in (b"abc", "é".encode(), b"\xff", b"\x01", b"d")]).counted
        == 6
    )


def test_chunks_are_counted_alike_beyond_those_in_which_a_word_is_looked_for():
    one = b'{"choices":[{"delta":{"content":"abc"}}],"obfuscation":"%d"}'
    assert seen_of([one % number for number in range(200)]).counted == 600
