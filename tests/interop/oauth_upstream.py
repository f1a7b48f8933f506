"""A server behind OAuth, of the Python SDK (mcp 2.3): it takes tokens made out to it alone.

    python oauth_upstream.py PORT ISSUER LOG

Every `Authorization` that comes is a line of LOG. `whoami` tells the token's subject or client;
`write` wants one scope more.
"""

import base64
import json
import sys
import urllib.request

import uvicorn
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings

PORT, ISSUER, LOG = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ME = f"http://127.0.0.1:{PORT}/mcp"


class Verifier:
    def __init__(self) -> None:
        with urllib.request.urlopen(f"{ISSUER}/jwks", timeout=10) as answer:
            self._keys = KeySet.import_key_set(json.load(answer))

    async def verify_token(self, token: str) -> AccessToken | None:
        with open(LOG, "a", encoding="utf-8") as log:  # noqa: PTH123, ASYNC230 - a test's
            log.write(f"{token}\n")
        try:
            claims = jwt.decode(token, self._keys, algorithms=["RS256"]).claims
            jwt.JWTClaimsRegistry(iss={"value": ISSUER}, exp={"essential": True}).validate(claims)
        except (JoseError, ValueError):
            return None
        audience = claims["aud"]
        (resource,) = [audience] if isinstance(audience, str) else audience
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=resource,
            subject=claims.get("sub"),
        )


server = MCPServer(
    "notes",
    token_verifier=Verifier(),
    auth=AuthSettings(
        issuer_url=ISSUER,
        resource_server_url=ME,
        required_scopes=["notes:read"],
        validate_token_resource=True,
    ),
)


@server.tool()
def whoami() -> str:
    """Whose token this call came with."""
    token = get_access_token()
    assert token is not None
    return f"{token.subject or token.client_id} {' '.join(sorted(token.scopes))}"


@server.tool()
def write() -> str:
    """Whether it may be called at all is seen to before it is."""
    return "written"


class WritersOnly:
    """The SDK's server wants the same scopes for all that it is asked; this one more for a tool."""

    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope.get("headers", ()))
        token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if headers.get(b"mcp-name") == b"write" and "notes:write" not in scopes_of(token):
            said = b'Bearer error="insufficient_scope", scope="notes:write"'
            answer = {"type": "http.response.start", "status": 403}
            await send({**answer, "headers": [(b"www-authenticate", said)]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


def scopes_of(token: str) -> list[str]:
    """Not verified here: the server itself does that for who gets so far."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims.get("scope", "").split()


app = WritersOnly(server.streamable_http_app())
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
