"""Tokens for one server that are one caller's each: exchanged for its own, or signed in for.

    token_exchange       the caller's access token ─► the authorization server ─► a token for the
                         server (RFC 8693); kept in memory alone
    authorization_code   the caller signs in, once; kept in the vault under the caller's name

In all else they are as the hub's own: renewed in time, one question at a time. What the caller came
in with goes to the authorization server of the settings, and nowhere else (A25).
"""

from collections.abc import Coroutine, Mapping
from typing import Any, Final

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.subject import Subject
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.oauth_server import ACCESS_TOKEN, AuthorizationServer, Refused
from agenthub.outbound.oauth_tokens import Kept, TokenSource
from agenthub.outbound.vault import Vault
from agenthub.ports import Clock
from agenthub.tasks import Tasks

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


class Nowhere:
    """`vault.Shelf` for what need not outlive the process."""

    @staticmethod
    def read(name: str, place: str) -> None:
        del name, place

    @staticmethod
    async def write(name: str, place: str, value: Mapping[str, Any]) -> None:
        del name, place, value

    @staticmethod
    async def forget(name: str) -> None:
        del name


class OneCallers:
    """`vault.Shelf`: one caller's part of the vault, which no other one can read."""

    def __init__(self, vault: Vault, principal: str) -> None:
        self._vault = vault
        self._principal = principal

    def read(self, name: str, place: str) -> dict[str, Any] | None:
        return self._vault.read(kept_as(name, self._principal), place)

    async def write(self, name: str, place: str, value: Mapping[str, Any]) -> None:
        await self._vault.write(kept_as(name, self._principal), place, value)

    def forget(self, name: str) -> Coroutine[Any, Any, None]:
        return self._vault.forget(kept_as(name, self._principal))


class ExchangedTokens(TokenSource):
    """What the server takes, for what the caller came in with."""

    def __init__(self, endpoint: Endpoint, subject: Subject, clock: Clock, tasks: Tasks) -> None:
        assert endpoint.url is not None, "see endpoint_check"
        assert endpoint.oauth is not None, "see endpoint_check"
        self._subject = subject
        super().__init__(endpoint.name, endpoint.url, endpoint.oauth, Nowhere(), clock, tasks)

    def show(self, subject: Subject) -> None:
        """The caller's token by now: what failed with an older one may go well with this."""
        if subject.ends > self._subject.ends:
            self._subject = subject
            if not self.header():
                self._not_before, self.problem = self._clock.now(), Diagnosis("")

    def _grant(self, found: AuthorizationServer) -> tuple[Kept, dict[str, str]]:
        if self._clock.wall() >= self._subject.ends:
            raise Refused("the access token that the caller came in with is over")
        grant = {
            "grant_type": EXCHANGE,
            "subject_token": self._subject.reveal(),
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
        }
        return self._as_client(found, grant)


class CallersTokens(TokenSource):
    """What a caller signed in for."""

    def __init__(
        self, endpoint: Endpoint, own: TokenSource, shelf: OneCallers, clock: Clock, tasks: Tasks
    ) -> None:
        """`own`: the hub's, with which it is registered at the authorization server."""
        assert endpoint.url is not None, "see endpoint_check"
        assert endpoint.oauth is not None, "see endpoint_check"
        super().__init__(endpoint.name, endpoint.url, endpoint.oauth, shelf, clock, tasks)
        self.registrar = own

    @property
    def remedy(self) -> str:
        return "Call again to be told where to sign in."


def kept_as(name: str, principal: str) -> str:
    """In the vault; no server's name has a slash in it."""
    return f"{name}/{principal}"
