"""Which address is which wire, and how a request to a model becomes a call.

    POST /v1/chat/completions · /v1/responses · /v1/messages · /v1/messages/count_tokens
         /v1/embeddings · /v1beta/models/MODEL:generateContent (and its kin)
    GET  /v1/models · /v1/models/MODEL · /v1beta/models
    all else below /v1 and /v1beta: 404, in the shape of the wire whose SDK would ask there

Source: money decisions §2; attacks A41, A43, A57, A58.
"""

import contextlib
import re
from functools import partial
from typing import Final

from msgspec import Struct

from agenthub.domain.account import Facts
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.content import Content, Target
from agenthub.domain.errors import HubError, InvalidParams, UnknownTarget
from agenthub.domain.ladder import Easing
from agenthub.domain.provider import CALL_MS, CHAT, EMBEDDINGS, GEMINI, MESSAGES, RESPONSES
from agenthub.domain.span import MILLISECOND
from agenthub.hub import Hub
from agenthub.inbound.exchange import Exchange, HotDoor
from agenthub.inbound.llm.listing import ModelList
from agenthub.inbound.llm.replies import LlmReplies, refuse
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import LlmRequest, read_request, with_limit


class Address(Struct, frozen=True):
    """What is asked for at a path."""

    wire: str
    path: str
    """Below the provider's address, where the wire usually is."""
    model: str = ""
    """Where the path names it."""
    stream: bool = False
    """Where the path says it."""
    is_free: bool = False
    """Whether providers take no money for it."""


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
HOPS_MAX: Final = 8
"""So often a request may come through hubs: one that comes back to itself is a loop (A43)."""
SESSIONS: Final = (b"x-agenthub-session", b"x-claude-code-session-id", b"session-id")


class LlmHttp:
    """All addresses of models."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
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
        hub, request = self._hub, exchange.request
        hops = request.header(HOPS) or b"0"
        if not (hops.isdigit() and len(hops) <= 3 and int(hops) < HOPS_MAX):
            raise InvalidParams("The request came through this hub too often: it is a loop")
        asked = read_request(
            Dialect(address.wire), request.body, address.model, stream=address.stream
        )
        targets = self._targets(address.wire, asked.model, exchange.caller)
        name, session = asked.model, _session(exchange)
        easing = None if address.is_free else self._easing(targets[0], exchange.caller, session)
        if easing is not None:
            asked, targets = self._eased(easing, asked, targets, exchange.caller)
        query = "&".join(_PASSED_QUERY.findall(request.query.decode("latin-1")))
        most = None if asked.max_output is None else asked.max_output * asked.n
        content = Content(
            address.wire, address.path, query, asked.body, tuple(request.headers), asked.stream,
            most, address.is_free, targets, int(hops), session,
            asked, "" if easing is None else easing.shown(),
        )  # fmt: skip
        span = max(hub.catalog.get(target.endpoint).endpoint.timeouts.call_ms for target in targets)
        return Call(
            id=hub.ids(), caller=exchange.caller, door="llm", endpoint=targets[0].endpoint,
            method=f"llm/{address.wire}", name=name, params={}, meta={},
            deadline=hub.clock.now() + min(span, CALL_MS) * MILLISECOND,
            size_bytes=len(request.body), content=content,
        )  # fmt: skip

    def _targets(self, wire: str, model: str, caller: Caller) -> tuple[Target, ...]:
        """Raises UnknownTarget."""
        targets = self._hub.catalog.models.resolve(wire, model, caller)
        if not caller.may_ask(model, targets):
            raise UnknownTarget(f"Unknown model: {model[:64]!r}")
        return targets

    def _easing(self, target: Target, caller: Caller, session: str) -> Easing | None:
        def facts() -> Facts:
            llm = self._hub.catalog.get(target.endpoint).endpoint.llm
            return Facts(
                key=caller.id, team=caller.team, session=session, endpoint=target.endpoint,
                provider=llm.provider if llm else "", model=target.model,
            )  # fmt: skip

        return self._hub.ladders.easing(facts)

    def _eased(
        self, easing: Easing, asked: LlmRequest, targets: tuple[Target, ...], caller: Caller
    ) -> tuple[LlmRequest, tuple[Target, ...]]:
        """A cheaper model, and a shorter answer. One that this caller cannot ask is left out."""
        if easing.use:
            with contextlib.suppress(UnknownTarget):
                targets = self._targets(asked.dialect.value, easing.use, caller)
        if easing.max_tokens is not None:
            llm = self._hub.catalog.get(targets[0].endpoint).endpoint.llm
            asked = with_limit(asked, easing.max_tokens, llm.provider if llm else "")
        return asked, targets


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
