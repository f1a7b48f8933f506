"""The hub's own errors, in each provider's shape, so that its SDK raises the right class.

Source: OpenAI API reference, "Error codes"; Anthropic API reference, "Errors"; google.rpc.Status.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agenthub.wire.llm.dialect import Dialect

_OPENAI: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GOOGLE: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
BUDGET: Final = "budget_exceeded"
"""A type of its own on each dialect: it is no permission that lacks, and waiting is vain."""

_encode = msgspec.json.Encoder().encode


def error_body(
    dialect: Dialect, status: int, slug: str, message: str, data: Mapping[str, Any]
) -> bytes:
    """`data` is what a program may want to know: `request_id`, `scope`, `limit`, `resets_at`."""
    if dialect is Dialect.GEMINI:
        detail = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": slug.upper(),
            "domain": "agenthub",
            # ErrorInfo.metadata holds texts only.
            "metadata": {name: str(value) for name, value in data.items() if value is not None},
        }
        name = _GOOGLE.get(status, "INTERNAL")
        error = {"code": status, "message": message, "status": name, "details": [detail]}
        return _encode({"error": error})
    known = _ANTHROPIC if dialect is Dialect.MESSAGES else _OPENAI
    kind = _kind(known, status, slug)
    if dialect is Dialect.MESSAGES:
        error = {**data, "type": kind, "message": message, "code": slug}
        request_id = data.get("request_id")
        return _encode({"type": "error", "error": error, "request_id": request_id})
    return _encode(
        {"error": {**data, "message": message, "type": kind, "param": None, "code": slug}}
    )


def error_event(
    dialect: Dialect, status: int, slug: str, message: str, data: Mapping[str, Any]
) -> bytes:
    """The last event of a stream that had begun with a 200: its end, and no good one.

    It begins with a blank line, which ends an event that was cut.
    """
    body = error_body(dialect, status, slug, message, data)
    if dialect is Dialect.MESSAGES:
        return b"\n\nevent: error\ndata: %b\n\n" % body
    if dialect is Dialect.RESPONSES:
        # OpenAI's SDK raises for what has a member `error`, and passes on an event of this type.
        error = {**data, "type": _kind(_OPENAI, status, slug), "code": slug, "message": message}
        event = {"type": "error", "code": slug, "message": message, "param": None, "error": error}
        return b"\n\nevent: error\ndata: %b\n\n" % _encode(event)
    return b"\n\ndata: %b\n\n" % body


def _kind(known: Mapping[int, str], status: int, slug: str) -> str:
    return BUDGET if slug == BUDGET else known.get(status, "api_error")
