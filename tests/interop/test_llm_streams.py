"""Real streams of aimock, in every dialect: read as it wrote them, and passed on unchanged."""

import json

import httpx2
import pytest
from support.aimock import aimock

from agenthub.domain.usage import Basis
from agenthub.wire.llm.answer import read_answer
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import read_request, send_as
from agenthub.wire.llm.stream import StreamReader

WORDS = "Hello! How can I help you today? 안녕하세요 — fine."
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
FIXTURES = [{"match": {"userMessage": "hello"}, "response": {"content": WORDS, "usage": USAGE}}]
ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES, "-c", "5") as found:
        yield found


def gemini(method):
    return f"/v1beta/models/gemini-2.5-flash:{method}", {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}]
    }


STREAMS = {
    Dialect.CHAT: ("/v1/chat/completions", {"model": "gpt-5.5", "messages": ASKED}),
    Dialect.MESSAGES: (
        "/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": ASKED},
    ),
    Dialect.RESPONSES: ("/v1/responses", {"model": "gpt-5.5", "input": "hello"}),
}


@pytest.mark.parametrize("dialect", [*STREAMS, Dialect.GEMINI])
def test_a_real_stream_is_read_and_passed_on(address, dialect):
    path, fields = STREAMS.get(dialect) or gemini("streamGenerateContent?alt=sse")
    body = json.dumps(fields if dialect is Dialect.GEMINI else {**fields, "stream": True})
    request = read_request(dialect, body.encode(), "gemini-2.5-flash", stream=True)
    sent = send_as(request, request.model or "g", include_usage=True)
    reader = StreamReader(dialect, strip_usage=True)
    came, passed = b"", b""
    with httpx2.stream("POST", address + path, content=sent) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_raw(7):
            came += piece
            passed += reader.feed(piece)
    seen = reader.end()
    stripped = [event for event in came.split(b"\n\n") if event not in passed.split(b"\n\n")]
    assert len(stripped) == (1 if dialect is Dialect.CHAT else 0)
    assert (seen.complete, seen.counted) == (True, len(WORDS.encode()))
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (11, 7)
    assert seen.booked(request.size) == (seen.usage, Basis.PROVIDER)


@pytest.mark.parametrize("dialect", [*STREAMS, Dialect.GEMINI])
def test_a_real_answer_is_read(address, dialect):
    path, fields = STREAMS.get(dialect) or gemini("generateContent")
    answer = httpx2.post(address + path, json=fields)
    seen = read_answer(dialect, answer.content)
    assert (seen.complete, seen.counted) == (True, len(WORDS.encode()))
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (11, 7)


def test_real_embeddings_are_read(address):
    fields = {"model": "text-embedding-3-small", "input": "hello"}
    seen = read_answer(
        Dialect.EMBEDDINGS, httpx2.post(address + "/v1/embeddings", json=fields).content
    )
    assert (seen.complete, seen.bad_usage) == (True, False)
