"""A server's `WWW-Authenticate`: what it says of tokens to who shows none, fetched and read.

    Bearer error="insufficient_scope", scope="files:read files:write", resource_metadata="https://…"

Source: RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1.
"""

import asyncio
import re
from typing import Final

from agenthub.outbound.authorization_server import TIMEOUT_S
from agenthub.outbound.mcp_message import MODERN, modern_request

SCOPES_MAX: Final = 100
METHOD: Final = "server/discover"
"""Harmless, and known or not: a server that wants a token says so before it looks."""
_PARAMETER = r'(?:^|[ ,\t]){name}[ \t]*=[ \t]*(?:"([^"\\]{{0,2000}})"|([^\s",;\\]{{1,2000}}))'
_METADATA = re.compile(_PARAMETER.format(name="resource_metadata"), re.IGNORECASE)
_SCOPE = re.compile(_PARAMETER.format(name="scope"), re.IGNORECASE)
_WORD = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
"""Source: RFC 6749 §3.3."""


async def challenge_of(url: str) -> str:
    """What the MCP server there says to a request without a token; empty: nothing of tokens.

    It decides which scopes to ask for, and where the metadata is, so it is looked at before
    anybody signs in. No answer is no error here: the well-known places may still have one.
    """
    import httpx2  # noqa: PLC0415 - 0.1 s, and most hubs have no such server

    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": METHOD,
    }
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx2.AsyncClient() as client,
            client.stream("POST", url, content=modern_request(1, METHOD), headers=headers) as said,
        ):
            return said.headers.get("www-authenticate", "") if said.status_code == 401 else ""
    except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return ""


def metadata_in(challenge: str) -> str:
    """Where its protected resource metadata is; empty: it does not say."""
    return _value(_METADATA, challenge)


def scopes_in(challenge: str) -> tuple[str, ...]:
    """The scopes that it asks for."""
    words = _value(_SCOPE, challenge).split()[:SCOPES_MAX]
    return tuple(one for one in words if _WORD.fullmatch(one))


def _value(parameter: re.Pattern[str], challenge: str) -> str:
    found = parameter.search(challenge)
    return (found[1] or found[2] or "") if found else ""
