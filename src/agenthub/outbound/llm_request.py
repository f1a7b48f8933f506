"""A request to an LLM provider as its bytes: the client's body, the operator's credentials.

What a client sent to come in at the hub never goes on: only headers of `PASSED` do.
Source: money decisions §2, point 12; attack A57.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from agenthub import __version__
from agenthub.domain.content import NAME_MAX, Content
from agenthub.domain.endpoint_check import check_header_value
from agenthub.domain.provider import Llm, path_of
from agenthub.outbound.http_request import Origin

PASSED: Final = re.compile(
    rb"anthropic-version|anthropic-beta|openai-(?:beta|organization|project)|idempotency-key"
    rb"|x-client-request-id|x-goog-api-client|x-stainless-[a-z-]{1,40}|user-agent"
)
"""Of a client's headers, what a provider may see."""
RETURNED: Final = re.compile(
    rb"content-type|request-id|x-request-id|retry-after|retry-after-ms|x-should-retry"
    rb"|(?:openai|anthropic|x-ratelimit)-(?!organization|project)[a-z0-9-]{1,64}"
)
"""Of a provider's headers, what a client may see: not whose account it is."""
ANTHROPIC_VERSION: Final = "2023-06-01"
"""Where the client named none. Source: Anthropic's API reference, "Versions"."""
_VISIBLE = re.compile(rb"[\x20-\x7e]{0,4096}")


def passed_on(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Of a provider's headers, those for the client."""
    return tuple(
        (name, value)
        for name, value in headers
        if RETURNED.fullmatch(name) and _VISIBLE.fullmatch(value)
    )


class LlmHead:
    """What every request to one provider begins with."""

    def __init__(self, origin: Origin, headers: Mapping[str, str]) -> None:
        """Raises BadSetting for a configured header that cannot be sent."""
        own = ""
        for name, value in headers.items():
            check_header_value(f"headers.{name}", value)
            own += f"{name}: {value.strip()}\r\n"
        self._given = {name.lower().encode() for name in headers}
        target, _, self._query = origin.target.partition("?")
        self._base = target.rstrip("/")
        self._common = f"Host: {origin.authority}\r\nAccept-Encoding: identity\r\n{own}".encode(
            "latin-1"
        )

    def post(self, llm: Llm, content: Content, model: str, body: bytes) -> bytes:
        """One attempt."""
        path = path_of(llm, content.wire, content.path).replace(
            "{model}", quote(model, safe="-._~:@")
        )
        passed = b"".join(
            b"%b: %b\r\n" % (name, value)
            for name, value in content.headers
            if PASSED.fullmatch(name) and name not in self._given and _VISIBLE.fullmatch(value)
        )
        if b"user-agent:" not in passed:
            passed += b"User-Agent: agenthub/%b\r\n" % __version__.encode()
        passed += b"X-AgentHub-Hops: %d\r\n" % (content.hops + 1)
        if content.wire == "messages" and b"anthropic-version:" not in passed:
            passed += b"anthropic-version: %b\r\n" % ANTHROPIC_VERSION.encode()
        head = (
            b"POST %b HTTP/1.1\r\n%b%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        return head % (self._target(path, content.query), self._common, passed, len(body)) + body

    def models(self) -> bytes:
        """Which models there are: the cheapest question of all."""
        return b"GET %b HTTP/1.1\r\n%banthropic-version: %b\r\n\r\n" % (
            self._target("/models", ""), self._common, ANTHROPIC_VERSION.encode(),
        )  # fmt: skip

    def _target(self, path: str, query: str) -> bytes:
        asked = "&".join(filter(None, (self._query, query)))
        return (self._base + path + ("?" + asked if asked else "")).encode("latin-1", "replace")


class _Model(Struct):
    id: str = ""
    name: str = ""


class _Models(Struct):
    data: tuple[_Model, ...] = ()
    models: tuple[_Model, ...] = ()


MODELS_MAX: Final = 2_000


def read_models(body: bytes) -> tuple[str, ...]:
    """The names in a provider's list of models, whichever shape it has; none if it has none."""
    try:
        said = msgspec.json.decode(body, type=_Models)
    except ValueError:
        return ()
    names = [one.id or one.name.removeprefix("models/") for one in (*said.data, *said.models)]
    fit = (name for name in names if 0 < len(name) <= NAME_MAX and name.isprintable())
    return tuple(sorted(set(fit))[:MODELS_MAX])
