"""A sign-in that a person has begun: the authorization code flow with PKCE, from there and back.

    begin ──address, for a browser──► the authorization server ──code, iss, state──► tokens

The state and the verifier never leave together: who sees the address cannot use the code, and who
sees the code cannot answer for the sign-in. It is good once, for a while.
Source: RFC 6749 §4.1, RFC 7636 (PKCE), RFC 9207 (`iss`); attack A24.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from agenthub.domain.errors import InvalidParams
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound import oauth_server as server
from agenthub.outbound.oauth_server import AuthorizationServer, Client, Tokens

SIGN_IN_SPAN: Final[Nanoseconds] = 600 * SECOND
"""How long a person may take."""
CODE_MAX: Final = 4_096


class InvalidScope(InvalidParams):
    """The authorization server does not give these scopes."""


class Registration(Struct, frozen=True):
    """Who the hub is to one issuer, and where people come back to."""

    issuer: str
    client: Client
    redirect: str = ""


class SignIn:
    """One that is under way."""

    def __init__(
        self, found: AuthorizationServer, registration: Registration, now: Nanoseconds
    ) -> None:
        self.server = found
        self.registration = registration
        self.until = now + SIGN_IN_SPAN
        self._state = secrets.token_urlsafe(32)
        self._verifier = secrets.token_urlsafe(48)

    @property
    def address(self) -> str:
        """Where the person signs in."""
        digest = hashlib.sha256(self._verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        mine = self.registration
        return server.sign_in_address(
            self.server, mine.client, mine.redirect, self._state, challenge
        )

    def is_answered_by(self, state: str) -> bool:
        return secrets.compare_digest(self._state.encode(), state.encode())

    async def exchange(self, answer: Mapping[str, str], now: Nanoseconds) -> Tokens:
        """The tokens for what the person came back with.

        Raises:
            InvalidScope: Others may do.
            HubError: It is no good answer, or the authorization server gave none.
        """
        if now > self.until:
            raise InvalidParams("it took too long; begin anew")
        issuer = answer.get("iss")
        if issuer != self.server.issuer and (issuer is not None or self.server.names_itself):
            raise InvalidParams("the answer is of another authorization server")
        if error := server.error_word(answer.get("error")):
            kind = InvalidScope if error == "invalid_scope" else InvalidParams
            raise kind(f"the authorization server did not agree ({error})")
        code = answer.get("code", "")
        if "error" in answer or not 0 < len(code) <= CODE_MAX:
            raise InvalidParams("the authorization server did not agree")
        grant = {
            "grant_type": "authorization_code", "code": code,
            "redirect_uri": self.registration.redirect, "code_verifier": self._verifier,
        }  # fmt: skip
        return await server.ask(self.server, self.registration.client, grant)
