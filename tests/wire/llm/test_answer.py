"""Whole answers: what they say of usage, in every dialect and with every mistake (F34)."""

import json

import pytest

from agenthub.domain.price import Extra
from agenthub.domain.usage import TOKENS_MAX, Basis, Usage
from agenthub.wire.llm.answer import read_answer
from agenthub.wire.llm.dialect import Dialect

CHAT, RESPONSES, MESSAGES = Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES
EMBEDDINGS, GEMINI = Dialect.EMBEDDINGS, Dialect.GEMINI


def read(dialect, **fields):
    return read_answer(dialect, json.dumps(fields).encode())


CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 3, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 16, "audio_tokens": 4},
}
ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 7,
    "server_tool_use": {"web_search_requests": 2},
    "service_tier": "standard",
    "speed": "fast",
}
RESPONSES_USAGE = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 4},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 60},
    "total_tokens": 123,
}
GEMINI_USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 1300,
    "thoughtsTokenCount": 200,
    "toolUsePromptTokenCount": 5,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 90},
        {"modality": "AUDIO", "tokenCount": 10},
    ],
    "candidatesTokensDetails": [
        {"modality": "IMAGE", "tokenCount": 1290},
        {"modality": "AUDIO", "tokenCount": 6},
    ],
}


def test_a_chat_completion():
    seen = read(
        CHAT,
        model="gpt-5.5-2026-01-01",
        service_tier="priority",
        choices=[{"message": {"role": "assistant", "content": "héllo"}}],
        usage=CHAT_USAGE,
    )
    assert seen.usage == Usage(1000, 400, 2, 0, 50, 16, 3, 4)
    assert (seen.model, seen.complete, seen.error) == ("gpt-5.5-2026-01-01", True, b"")
    assert (seen.counted, seen.extra) == (6, Extra("priority"))
    assert seen.booked(9) == (seen.usage, Basis.PROVIDER)


def test_embeddings_have_only_input():
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    seen = read(EMBEDDINGS, model="e", data=[{"embedding": [0.1]}], usage=usage)
    assert (seen.usage, seen.complete) == (Usage(8), True)


def test_a_message_of_anthropic_counts_the_cache_beside_the_input():
    content = [
        {"type": "thinking", "thinking": "ab", "signature": "xxxxx"},
        {"type": "text", "text": "c"},
    ]
    seen = read(
        MESSAGES, type="message", model="claude-opus-5-5", content=content, usage=ANTHROPIC_USAGE
    )
    assert seen.usage == Usage(1310, 1000, 300, 200, 7)
    assert seen.extra == Extra("fast", web_searches=2)
    assert (seen.model, seen.complete, seen.counted) == ("claude-opus-5-5", True, 3)


def test_a_response_of_openai():
    output = [{"type": "web_search_call"}, {"type": "message", "content": [{"text": "four"}]}, 7]
    seen = read(
        RESPONSES, model="gpt-5.5", status="completed", error=None, output=output,
        usage=RESPONSES_USAGE, service_tier="flex",
    )  # fmt: skip
    assert seen.usage == Usage(36, 30, 4, 0, 87, 60)
    assert seen.extra == Extra("flex", web_searches=1)
    assert (seen.complete, seen.counted) == (True, 4)


def test_an_answer_of_gemini_adds_thoughts_and_what_tools_brought():
    candidates = [
        {
            "content": {"parts": [{"text": "hi"}, {"inlineData": {"data": "AAAA"}}]},
            "finishReason": "STOP",
        }
    ]
    seen = read(
        GEMINI, candidates=candidates, usageMetadata=GEMINI_USAGE, modelVersion="gemini-3-pro"
    )
    assert seen.usage == Usage(105, 40, 0, 0, 1500, 200, 10, 6)
    assert seen.extra == Extra(output_image_tokens=1290)
    assert (seen.model, seen.complete, seen.counted) == ("gemini-3-pro", True, 2)


def test_an_array_of_gemini_s_is_read_to_its_last_usage():
    first = {
        "candidates": [{"content": {"parts": [{"text": "a"}]}}],
        "usageMetadata": {"promptTokenCount": 3},
    }
    last = {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1},
    }
    seen = read_answer(GEMINI, json.dumps([first, last]).encode())
    assert (seen.usage, seen.complete, seen.counted) == (Usage(3, output_tokens=1), True, 1)


def test_a_prompt_that_gemini_blocks_is_a_whole_answer():
    seen = read(
        GEMINI, promptFeedback={"blockReason": "SAFETY"}, usageMetadata={"promptTokenCount": 3}
    )
    assert (seen.complete, seen.usage) == (True, Usage(3))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # Reasoning beside the completion, but in the total: xAI, and Gemini's compatible door.
        (
            {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17},
            Usage(5, output_tokens=12),
        ),
        # DeepSeek.
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_cache_hit_tokens": 4},
            Usage(5, 4, output_tokens=1),
        ),
        # Explicit zeros are zeros.
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        # Details that are null, or more than there is.
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None},
            Usage(5, output_tokens=1),
        ),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 5)),
    ],
)
def test_compatible_providers_differ(usage, expected):
    assert read(CHAT, choices=[], usage=usage).usage == expected


BAD = [-1, 1.5, 1.0, TOKENS_MAX + 1, 2**80, True, "5", []]


@pytest.mark.parametrize("wrong", BAD)
@pytest.mark.parametrize(
    ("dialect", "field", "usage", "name"),
    [
        (CHAT, "usage", CHAT_USAGE, "prompt_tokens"),
        (CHAT, "usage", CHAT_USAGE, "completion_tokens"),
        (RESPONSES, "usage", RESPONSES_USAGE, "output_tokens"),
        (MESSAGES, "usage", ANTHROPIC_USAGE, "cache_read_input_tokens"),
        (EMBEDDINGS, "usage", {}, "prompt_tokens"),
        (GEMINI, "usageMetadata", GEMINI_USAGE, "thoughtsTokenCount"),
    ],
)
def test_usage_that_cannot_be_is_none_and_flagged(dialect, field, usage, name, wrong):
    """F34."""
    seen = read(dialect, choices=[], **{field: {**usage, name: wrong}})
    assert (seen.usage, seen.bad_usage) == (None, True)


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("usage", ["none", 7, [], {}, {"prompt_tokens": None}])
def test_usage_without_counts_is_none_and_flagged(dialect, usage):
    field = "usageMetadata" if dialect is GEMINI else "usage"
    seen = read(dialect, **{field: usage})
    assert (seen.usage, seen.bad_usage) == (None, True)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_answer_without_usage_is_estimated(dialect):
    """F34: input as it is guessed, output by what came."""
    said = {"choices": [{"message": {"content": "seven c"}}], "content": [{"text": "seven c"}]}
    candidates = [{"content": "seven c", "finishReason": "STOP"}]
    seen = read(dialect, **said, output=[{"text": "seven c"}], candidates=candidates, usage=None)
    assert (seen.usage, seen.bad_usage, seen.counted) == (None, False, 7)
    assert seen.booked(116) == (Usage(116, output_tokens=3), Basis.ESTIMATED)


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1", b"7", b"[[]]", b'{"usage":', b"[" * 5000, b"\xff"]
)
def test_what_is_no_answer_says_nothing(dialect, body):
    seen = read_answer(dialect, body)
    assert (seen.usage, seen.complete, seen.counted, seen.model) == (None, False, 0, "")
    assert seen.booked(3)[1] is Basis.PARTIAL


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_error_is_kept_as_it_came(dialect):
    body = b'{"type":"error","error":{"message" : "no"}}'
    seen = read_answer(dialect, body)
    assert (seen.error, seen.complete) == (b'{"message" : "no"}', False)


def test_a_response_that_failed_has_ended():
    seen = read(RESPONSES, status="failed", error={"code": "server_error"}, usage=None)
    assert (seen.complete, seen.error) == (True, b'{"code": "server_error"}')


def test_what_openrouter_says_it_cost_is_kept():
    for dialect, counts in ((CHAT, "prompt_tokens"), (RESPONSES, "input_tokens")):
        assert read(dialect, usage={counts: 1, "cost": 0.00014}).reported == 140_000
    assert read(CHAT, usage={"prompt_tokens": 1, "cost": -1}).reported is None


def test_groq_s_usage_is_read_where_it_stands():
    assert read(CHAT, x_groq={"usage": {"prompt_tokens": 4}}).usage == Usage(4)
    assert read(
        CHAT, usage={"prompt_tokens": 5}, x_groq={"usage": {"prompt_tokens": 4}}
    ).usage == Usage(5)
    assert read(CHAT, x_groq={"id": "x"}).usage is None


def test_searches_of_perplexity_are_counted():
    usage = {"prompt_tokens": 1, "num_search_queries": 3}
    assert read(CHAT, usage=usage).extra.web_searches == 3
