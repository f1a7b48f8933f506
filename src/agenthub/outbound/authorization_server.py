"""What an authorization server says of itself, found as the specification has it.

    RFC 8414   https://host/.well-known/oauth-authorization-server/path
    OpenID     https://host/.well-known/openid-configuration/path
    OpenID     https://host/path/.well-known/openid-configuration

The first that answers counts, and it must call itself exactly as it was called: else anybody who
can serve one file could speak for another server.
Source: MCP specification 2026-07-28, "Authorization, Authorization Server Metadata Discovery".
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from agenthub.domain.endpoint_check import is_safe
from agenthub.domain.errors import UpstreamUnavailable

TIMEOUT_S: Final = 10
"""For a whole answer."""
DOCUMENT_MAX: Final = 256 * 1024
"""Bytes of metadata, or of keys."""


async def metadata_of(issuer: str) -> dict[str, Any]:
    """The server's metadata. Raises UpstreamUnavailable, with what was tried."""
    tried: list[str] = []
    for url in dict.fromkeys(addresses_of(issuer)):
        try:
            found = await get_json(url)
        except UpstreamUnavailable as error:
            tried.append(str(error))
            continue
        if found.get("issuer") != issuer:
            raise UpstreamUnavailable(f"{url} speaks for another issuer than {issuer}")
        return found
    raise UpstreamUnavailable(f"{issuer} tells nothing of itself: {'; '.join(tried)}"[:500])


def addresses_of(issuer: str) -> tuple[str, str, str]:
    """Where its metadata may be, in the order in which to look."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


async def get_json(url: str) -> dict[str, Any]:
    """The JSON object that is there. Raises UpstreamUnavailable."""
    status, found = await ask(url)
    if status != 200:
        raise UpstreamUnavailable(f"{_shown(url)}: HTTP {status}")
    if found is None:
        raise UpstreamUnavailable(f"{_shown(url)}: no JSON object")
    return found


async def ask(
    url: str, form: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any] | None]:
    """Status, and the JSON object; None: it is no such. With `form` it is a POST.

    Bounded in size and time. No redirect is followed, so what is sent goes to nobody else.

    Raises:
        UpstreamUnavailable: There was no answer.
    """
    import httpx2  # noqa: PLC0415 - 0.1 s, and most hubs ask no such server

    if not is_safe(url):
        raise UpstreamUnavailable(f"{_shown(url)}: expected https")
    sent = {**(headers or {}), "accept": "application/json", "accept-encoding": "identity"}
    method = "GET" if form is None else "POST"
    body = bytearray()
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx2.AsyncClient() as client,
            client.stream(method, url, content=form, headers=sent) as answer,
        ):
            async for part in answer.aiter_raw():
                body += part
                if len(body) > DOCUMENT_MAX:
                    raise UpstreamUnavailable(f"{_shown(url)}: over {DOCUMENT_MAX:,} bytes")
    except TimeoutError:
        raise UpstreamUnavailable(f"{_shown(url)}: no answer within {TIMEOUT_S} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        why = str(error)[:200] or type(error).__name__
        raise UpstreamUnavailable(f"{_shown(url)}: {why}") from None
    try:
        return answer.status_code, msgspec.json.decode(body, type=dict[str, Any])
    except ValueError:
        return answer.status_code, None


def _shown(url: str) -> str:
    """Without the query, which may hold a secret."""
    return url.partition("?")[0][:200]
