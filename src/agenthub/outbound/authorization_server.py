"""What an authorization server says of itself, found as the specification has it.

    RFC 8414   https://host/.well-known/oauth-authorization-server/path
    OpenID     https://host/.well-known/openid-configuration/path
    OpenID     https://host/path/.well-known/openid-configuration

The first that answers counts, and it must call itself exactly as it was called: else anybody who
can serve one file could speak for another server.
Source: MCP specification 2026-07-28, "Authorization, Authorization Server Metadata Discovery".
"""

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from agenthub.domain.errors import UpstreamUnavailable
from agenthub.settings.issuers import is_safe

TIMEOUT_S: Final = 5
DOCUMENT_MAX: Final = 256 * 1024
"""Bytes of metadata, or of keys."""


async def metadata_of(issuer: str) -> dict[str, Any]:
    """The server's metadata. Raises UpstreamUnavailable, with what was tried."""
    tried: list[str] = []
    for url in addresses_of(issuer):
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
    """A JSON object, bounded in size and time, without redirects. Raises UpstreamUnavailable."""
    import httpx2  # noqa: PLC0415 - 0.1 s, and most hubs ask no such server

    if not is_safe(url):
        raise UpstreamUnavailable(f"{url[:200]}: expected https")
    body = bytearray()
    try:
        async with (
            httpx2.AsyncClient(timeout=TIMEOUT_S) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise UpstreamUnavailable(f"{url}: HTTP {answer.status_code}")
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > DOCUMENT_MAX:
                    raise UpstreamUnavailable(f"{url}: over {DOCUMENT_MAX:,} bytes")
        return msgspec.json.decode(body, type=dict[str, Any])
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise UpstreamUnavailable(f"{url}: {str(error)[:200] or type(error).__name__}") from None
    except msgspec.DecodeError:
        raise UpstreamUnavailable(f"{url}: no JSON object") from None
