"""What a client that may not come in is told, so that it can find whom to ask for a token.

    401  WWW-Authenticate: Bearer resource_metadata="…", scope="…"
    403  WWW-Authenticate: Bearer error="insufficient_scope", …
    GET  /.well-known/oauth-protected-resource/mcp/NAME    the metadata, for everybody

Without an issuer in the settings there is nobody to ask, and a plain `Bearer` says so.
Source: RFC 9728, RFC 6750; MCP specification 2026-07-28, "Authorization".
"""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from agenthub.domain.caller import Scope
from agenthub.inbound import rejection as no
from agenthub.inbound.rejection import NO_STORE, Rejection
from agenthub.settings import Settings
from agenthub.settings.issuers import scope_names

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

WELL_KNOWN: Final = "/.well-known/"
METADATA: Final = WELL_KNOWN + "oauth-protected-resource"


class Challenge:
    """One for the gate, and for the address of the metadata."""

    def __init__(self, settings: Settings) -> None:
        self._hub = settings.server.public_url.rstrip("/")
        self._issuers = tuple(settings.auth.issuers.values())
        self._scopes = {
            scope: " ".join(sorted({n for one in self._issuers for n in scope_names(one)[scope]}))
            for scope in Scope
        }

    def unauthorized(self, path: str, scope: Scope, *, shown: bool) -> Rejection:
        """`scope`: what a token would need; `shown`: whether one was shown, which was not good."""
        if not self._issuers:
            return no.UNAUTHORIZED
        error = 'error="invalid_token", ' if shown else ""
        words = f'Bearer {error}scope="{self._scopes[scope]}", {self._metadata(path)}'
        return self._with(no.UNAUTHORIZED, words)

    def forbidden(self, path: str, scope: Scope) -> Rejection:
        if not self._issuers:
            return no.FORBIDDEN
        words = f'Bearer error="insufficient_scope", scope="{self._scopes[scope]}"'
        return self._with(no.FORBIDDEN, f"{words}, {self._metadata(path)}")

    def document(self, path: str) -> bytes | None:
        """The metadata at this address of it; None: there is none."""
        rest = path.removeprefix(METADATA)
        if not self._issuers or rest == path or not (rest == "" or _is_mcp(rest)):
            return None
        return msgspec.json.encode({
            "resource": self._hub + rest,
            "resource_name": "AgentHub",
            "authorization_servers": [one.issuer for one in self._issuers],
            "scopes_supported": sorted({n for s in self._scopes.values() for n in s.split()}),
            "bearer_methods_supported": ["header"],
        })  # fmt: skip

    def _metadata(self, path: str) -> str:
        return f'resource_metadata="{self._hub}{METADATA}{path if _is_mcp(path) else ""}"'

    @staticmethod
    def _with(refusal: Rejection, words: str) -> Rejection:
        headers = ((b"www-authenticate", words.encode()), NO_STORE)
        return structs.replace(refusal, headers=headers)


class MetadataDoor:
    """An ASGI application for what stands below `/.well-known/`."""

    def __init__(self, challenge: Challenge) -> None:
        self._challenge = challenge

    async def __call__(self, scope: "AsgiScope", receive: "Receive", send: "Send") -> None:
        del receive
        body = self._challenge.document(scope["path"])
        status, headers = 200, [(b"content-type", b"application/json")]
        if body is None:
            status, body = 404, b'{"error":"not_found"}'
        elif scope["method"] not in {"GET", "HEAD"}:
            status, body = 405, b""
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )


def _is_mcp(path: str) -> bool:
    return path == "/mcp" or (path.startswith("/mcp/") and "/" not in path[5:])
