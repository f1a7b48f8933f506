"""A no at the edge, before any door: tiny, and of the same shape whatever the cause.

It says what is wrong with the request and nothing of the hub: no path, no version, no stack (A49).
Source: RFC 9457.
"""

from http import HTTPStatus

import msgspec
from msgspec import Struct

from agenthub.inbound.exchange import Headers

PROBLEM_JSON = b"application/problem+json"


class Rejection(Struct, frozen=True):
    """An answer that the edge gives by itself."""

    status: int
    slug: str
    detail: str
    headers: Headers = ()
    close: bool = False
    """The connection cannot be trusted, or not be read on, after this."""

    def body(self, request_id: str) -> bytes:
        return msgspec.json.encode({
            "type": f"urn:agenthub:error:{self.slug}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.slug,
            "retryable": self.status in RETRYABLE,
            "request_id": request_id,
        })  # fmt: skip


RETRYABLE = frozenset({408, 503})
NO_STORE = (b"cache-control", b"no-store")
RETRY_SOON = (b"retry-after", b"1")

MALFORMED = Rejection(400, "bad_request", "This is not HTTP/1.1 as RFC 9112 has it", close=True)
TARGET = Rejection(400, "bad_request", "The request's target is not a plain path", close=True)
TWICE = Rejection(400, "bad_request", "A header that may stand once stands twice", close=True)
CODING = Rejection(
    400, "bad_request", "transfer-encoding: expected chunked, over HTTP/1.1", close=True
)
UNAUTHORIZED = Rejection(
    401, "unauthorized", "A key is needed: Authorization: Bearer …",
    ((b"www-authenticate", b"Bearer"), NO_STORE),
)  # fmt: skip
FORBIDDEN = Rejection(403, "forbidden", "The key lacks the scope that this address needs")
CROSS_SITE = Rejection(403, "forbidden", "Requests of other sites' pages are refused")
NOT_FOUND = Rejection(404, "unknown_target", "There is no such address")
SLOW = Rejection(408, "timeout", "The request did not arrive in time", close=True)
TOO_LARGE = Rejection(413, "too_large", "The body is over the limit", close=True)
NOT_JSON = Rejection(415, "bad_content_type", "content-type: expected application/json")
NO_TELEMETRY = Rejection(
    415,
    "bad_content_type",
    "expected application/json or application/x-protobuf, plain or packed by gzip",
)
ENCODED = Rejection(415, "bad_content_type", "content-encoding: expected none")
EXPECTATION = Rejection(
    417, "bad_request", "expect: only 100-continue, and not in a pipeline", close=True
)
MISDIRECTED = Rejection(
    421, "misdirected", "This host is not one of the hub's; see server.allowed_hosts", close=True
)
HEAD_TOO_LARGE = Rejection(431, "too_large", "The headers are over the limit", close=True)
BUG = Rejection(500, "internal", "Something went wrong in the hub", close=True)
NOT_YET = Rejection(
    503, "overloaded", "The keys that this token is checked with are being fetched", (RETRY_SOON,)
)
STOPPING = Rejection(503, "stopping", "The hub is stopping", (RETRY_SOON,), close=True)
FULL = Rejection(503, "overloaded", "Too many connections are open", (RETRY_SOON,), close=True)
PIPELINE_FULL = Rejection(
    503, "overloaded", "Too many requests wait in this pipeline", (RETRY_SOON,), close=True
)
