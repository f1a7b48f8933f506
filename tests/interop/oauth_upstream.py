"""A server behind OAuth, of the Python SDK (mcp 2.3): it takes tokens made out to it alone.

    python oauth_upstream.py PORT ISSUER LOG

Every `Authorization` that comes is a line of LOG. `whoami` tells the token's subject or client;
`write` wants one scope more.
"""

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
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=claims["aud"],
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


uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=PORT, log_level="warning")
