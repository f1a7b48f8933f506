"""The hub's errors in the shapes of the providers."""

import json

import pytest
from inline_snapshot import snapshot

from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.refusal import error_body, error_event
from agenthub.wire.llm.stream import StreamReader

DATA = {
    "request_id": "r1",
    "scope": "key:ci",
    "used": "110.00",
    "limit": "100.00",
    "resets_at": 1,
    "nothing": None,
}


def shown(dialect, status=403, slug="budget_exceeded", data=DATA):
    return json.loads(error_body(dialect, status, slug, "Used up", data))


def test_openai_s():
    for dialect in (Dialect.CHAT, Dialect.RESPONSES, Dialect.EMBEDDINGS):
        assert shown(dialect) == snapshot({
            "error": {
                "request_id": "r1",
                "scope": "key:ci",
                "used": "110.00",
                "limit": "100.00",
                "resets_at": 1,
                "nothing": None,
                "message": "Used up",
                "type": "budget_exceeded",
                "param": None,
                "code": "budget_exceeded",
            }
        })  # fmt: skip


def test_anthropic_s():
    assert shown(Dialect.MESSAGES) == snapshot({
        "type": "error",
        "error": {
            "request_id": "r1",
            "scope": "key:ci",
            "used": "110.00",
            "limit": "100.00",
            "resets_at": 1,
            "nothing": None,
            "type": "budget_exceeded",
            "message": "Used up",
            "code": "budget_exceeded",
        },
        "request_id": "r1",
    })  # fmt: skip


def test_google_s():
    assert shown(Dialect.GEMINI) == snapshot({
        "error": {
            "code": 403,
            "message": "Used up",
            "status": "PERMISSION_DENIED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "BUDGET_EXCEEDED",
                    "domain": "agenthub",
                    "metadata": {
                        "request_id": "r1",
                        "scope": "key:ci",
                        "used": "110.00",
                        "limit": "100.00",
                        "resets_at": "1",
                    },
                }
            ],
        }
    })  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "status", "kind"),
    [
        (Dialect.CHAT, 429, "rate_limit_error"),
        (Dialect.CHAT, 502, "api_error"),
        (Dialect.MESSAGES, 503, "overloaded_error"),
        (Dialect.MESSAGES, 409, "api_error"),
    ],
)
def test_other_errors_have_the_type_of_their_status(dialect, status, kind):
    assert shown(dialect, status, "some", {})["error"]["type"] == kind


def test_a_status_that_google_has_no_name_for_is_internal():
    assert shown(Dialect.GEMINI, 500)["error"]["status"] == "INTERNAL"


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("before", [b"", b'data: {"cut', b"data: {}\n\n"])
def test_an_error_in_a_stream_is_read_as_one_even_after_a_cut(dialect, before):
    reader = StreamReader(dialect, strip_usage=False)
    reader.feed(before + error_event(dialect, 403, "budget_exceeded", "Used up", DATA))
    seen = reader.end()
    assert b"budget_exceeded" in seen.error.lower()
    assert not seen.complete


def test_openais_sdk_raises_for_an_event_of_responses_as_it_has_a_member_error():
    event = error_event(Dialect.RESPONSES, 403, "budget_exceeded", "Used up", DATA)
    said = json.loads(event.split(b"data: ")[1])
    assert (said["type"], said["code"], said["message"]) == ("error", "budget_exceeded", "Used up")
    assert said["error"]["type"] == "budget_exceeded"
    assert said["error"]["scope"] == "key:ci"
