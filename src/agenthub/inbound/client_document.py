"""`/client-metadata.json`: who the hub is to authorization servers; its address is the client id.

It is for everybody, and there is no secret to it. A hub without an https address has none: no
authorization server could read it.
"""

from typing import TYPE_CHECKING

import msgspec

from agenthub.settings import Settings
from agenthub.wire.oauth_client import document, document_of

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope


class ClientDocumentDoor:
    """An ASGI application."""

    def __init__(self, settings: Settings) -> None:
        hub = settings.server.public_url.rstrip("/")
        self._body = msgspec.json.encode(document(hub)) if document_of(hub) else b""

    async def __call__(self, scope: "AsgiScope", receive: "Receive", send: "Send") -> None:
        del receive
        status, body = 200, self._body
        headers = [(b"content-type", b"application/json")]
        if scope["method"] not in {"GET", "HEAD"}:
            status, body = 405, b""
            headers.append((b"allow", b"GET, HEAD"))
        elif not body:
            status, body = 404, b'{"error":"not_found"}'
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )
