"""Ports about who may come in, and where the hub itself has to: issuers of tokens, and sign-ins."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from msgspec import Struct

from agenthub.domain.bearer import Lent


class NotYet(Exception):
    """Whether a token is good will be known in a moment: come again."""


class TokenIssuer(Protocol):
    """An authorization server whose access tokens open the hub (OAuth 2.1)."""

    changed: Callable[[], None]
    """Set by the key ring: called when its keys are others, and what was found good may not be."""

    def lend(self, token: bytes) -> Lent | None:
        """Who comes with this token; None: it is not this issuer's, or not good. Raises NotYet."""
        ...


class SignInState(Struct, frozen=True):
    """How the hub stands with the authorization server of one upstream."""

    waits: bool
    """Whether a person has begun to sign in, and is not done yet."""
    problem: str
    """Why there is no token, or soon will be none; empty: there is a good one."""


class SignIns(Protocol):
    """People who let the hub in at the authorization servers of its upstreams."""

    async def begin(self, name: str, redirect: str) -> str:
        """Where to sign in for this endpoint; `redirect` is the hub's own page after it.

        Raises:
            HubError: It is not to be signed in to, or its authorization server is no good.
        """
        ...

    async def finish(self, answer: Mapping[str, str]) -> str:
        """The person came back with this in the address; the endpoint's name.

        `state` in it is good once. Raises HubError.
        """
        ...

    def keep_only(self, names: Collection[str]) -> None:
        """Forget what is kept for other endpoints than these."""
        ...

    def state(self, name: str) -> SignInState:
        """Raises InvalidParams: nobody signs in to it."""
        ...
