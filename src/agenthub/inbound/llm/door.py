"""Which address is which wire, and what of a request is for the provider.

    POST /v1/chat/completions · /v1/responses · /v1/messages · /v1/messages/count_tokens
         /v1/embeddings · /v1beta/models/MODEL:generateContent (and its kin)
    GET  /v1/models · /v1/models/MODEL · /v1beta/models
    all else below /v1 and /v1beta: 404, in the shape of the wire whose SDK would ask there

Source: money decisions §2; attacks A41, A43, A57, A58.
"""

import re
from functools import partial
from typing import Final

from agenthub.domain.call import Call
from agenthub.domain.errors import HubError, UnknownTarget
from agenthub.domain.provider import CHAT, EMBEDDINGS, GEMINI, MESSAGES, RESPONSES
from agenthub.hub import Hub
from agenthub.inbound.exchange import Exchange, HotDoor
from agenthub.inbound.llm.listing import ModelList
from agenthub.inbound.llm.replies import LlmReplies, refuse
from agenthub.model_calls import HOPS_MAX, Address, ModelRequest

ADDRESSES: Final = {
    "/v1/chat/completions": Address(CHAT, "/chat/completions"),
    "/v1/responses": Address(RESPONSES, "/responses"),
    "/v1/messages": Address(MESSAGES, "/messages"),
    "/v1/messages/count_tokens": Address(MESSAGES, "/messages/count_tokens", is_free=True),
    "/v1/embeddings": Address(EMBEDDINGS, "/embeddings"),
}
_GEMINI = re.compile(
    r"/v1beta/models/(.+):(generateContent|streamGenerateContent|countTokens|embedContent)"
)
_TELEMETRY: Final = frozenset({"/v1/logs", "/v1/metrics", "/v1/traces"})
"""Where programs send OTLP by default: no addresses of models."""
_PASSED_QUERY: Final = re.compile(
    r"(?<![^&])(?:alt=sse|beta=true|api-version=[A-Za-z0-9-]{1,32})(?![^&])"
)
SESSION_MAX: Final = 128
HOPS: Final = b"x-agenthub-hops"
HOPS_DIGITS: Final = 3
SESSIONS: Final = (b"x-agenthub-session", b"x-claude-code-session-id", b"session-id")


class LlmHttp:
    """All addresses of models."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._calls = hub.model_calls
        self._models = ModelList(hub)
        self._buffer_bytes = hub.settings.limits.client_buffer_bytes

    def hot(self, path: str) -> HotDoor | None:
        """The door at this path, if it is one of the models'."""
        if not path.startswith(("/v1/", "/v1beta/")) or path in _TELEMETRY:
            return None
        address = ADDRESSES.get(path) or _gemini(path)
        if address is not None:
            return partial(self._call, address)
        if path in {"/v1/models", "/v1beta/models"} or path.startswith("/v1/models/"):
            return self._models.answer
        return self._unknown

    def _unknown(self, exchange: Exchange) -> None:
        """Batches, files, images and the like, which providers have and the hub has not."""
        path = exchange.request.path
        error = UnknownTarget(
            f"There is no {path[:100]!r} at this hub, which has {', '.join(ADDRESSES)},"
            " /v1beta/models/MODEL:generateContent (streamGenerateContent, countTokens,"
            " embedContent) and /v1/models",
            request_id=self._hub.ids(),
        )  # fmt: skip
        refuse(exchange, _wire_of(path), error)

    def _call(self, address: Address, exchange: Exchange) -> None:
        hub, request = self._hub, exchange.request
        if request.method != "POST":
            exchange.answer(405, b"", ((b"allow", b"POST"),))
            return
        try:
            call = self._read(address, exchange)
            replies = LlmReplies(exchange, call, self._buffer_bytes)
            replies.attend(hub.gateway.start(call, replies))
        except HubError as error:
            error.request_id = error.request_id or hub.ids()
            refuse(exchange, address.wire, error)

    def _read(self, address: Address, exchange: Exchange) -> Call:
        """Raises BadJson, InvalidParams, UnknownTarget."""
        request = exchange.request
        hops = request.header(HOPS) or b"0"
        is_number = hops.isdigit() and len(hops) <= HOPS_DIGITS
        return self._calls.make(
            ModelRequest(
                address, request.body, exchange.caller, "llm",
                "&".join(_PASSED_QUERY.findall(request.query.decode("latin-1"))),
                tuple(request.headers), int(hops) if is_number else HOPS_MAX, _session(exchange),
            )
        )  # fmt: skip


def _session(exchange: Exchange) -> str:
    for name in SESSIONS:
        value = exchange.request.header(name)
        if value is not None and len(value) <= SESSION_MAX:
            return value.decode("latin-1")
    return ""


def _wire_of(path: str) -> str:
    """Of the SDKs that would ask at this path."""
    if path.startswith("/v1beta/") and not path.startswith("/v1beta/openai/"):
        return GEMINI
    return MESSAGES if path.startswith("/v1/messages") else CHAT


def _gemini(path: str) -> Address | None:
    match = _GEMINI.fullmatch(path)
    if match is None:
        return None
    model, verb = match[1], match[2]
    return Address(
        GEMINI, f"/models/{{model}}:{verb}", model, verb == "streamGenerateContent",
        is_free=verb == "countTokens",
    )  # fmt: skip
