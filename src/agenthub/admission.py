"""Ports about who may come in, and where the hub itself has to: issuers of tokens, and sign-ins."""

from collections.abc import Callable, Collection, Mapping, Sequence
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
    signed_in: bool = False
    """Whether there is a token that is good now."""
    renews: bool = False
    """Whether it is renewed by itself before it ends."""
    ends_s: int | None = None
    """When it ends, in seconds since 1970; null: it is renewed, or the issuer did not say."""
    issuer: str = ""
    """The authorization server that gave it."""
    scopes: Sequence[str] = ()
    """Those of the token."""
    wanted: Sequence[str] = ()
    """Those that the server said are lacking; the next sign-in asks for them."""


class SignOut(Struct, frozen=True):
    """What became of a sign-in that was ended."""

    was_signed_in: bool
    revoked: bool
    """Whether the authorization server takes its tokens no more (RFC 7009)."""
    problem: str
    """Why it may still take them; empty: it does not."""


class Invited(Struct, frozen=True):
    """Who is to sign in, and to what."""

    server: str
    caller: str
    """The caller's id."""


class CallerSignIns(Protocol):
    """People who sign in for one caller, so that its calls reach a server as theirs."""

    address: str
    """The hub's own, as browsers reach its pages; set when it listens, empty until then."""

    def invited(self, ticket: str) -> Invited:
        """What a link is for that a caller was given. Raises InvalidParams."""
        ...

    async def accept(self, ticket: str, browser: str) -> str:
        """The person agrees to sign in for that caller: where to go on.

        `browser`: the browser's own secret, which it has to show when it comes back.
        Raises HubError.
        """
        ...

    def forget_caller(self, principal: str) -> None:
        """What it signed in for: nobody comes as this caller any more."""
        ...


class SignIns(Protocol):
    """People who let the hub in at the authorization servers of its upstreams."""

    @property
    def callers(self) -> CallerSignIns: ...

    async def begin(self, name: str, hub: str) -> str:
        """Where to sign in for this endpoint; `hub`: its address, as the person's browser knows it.

        Raises:
            HubError: It is not to be signed in to, or its authorization server is no good.
        """
        ...

    async def finish(self, answer: Mapping[str, str], browser: str = "") -> str:
        """The person came back with this in the address; the endpoint's name.

        `state` in it is good once. `browser`: as in `CallerSignIns.accept`. Raises HubError.
        """
        ...

    def keep_only(self, names: Collection[str]) -> None:
        """Forget what is kept for other endpoints than these."""
        ...

    async def end(self, name: str) -> SignOut:
        """Forget what is kept for this endpoint, and tell its authorization server.

        Raises:
            InvalidParams: Nobody signs in to it.
            StorageFailed: It is forgotten only until the hub stops.
        """
        ...

    def state(self, name: str) -> SignInState | None:
        """None: it has no `oauth`, or was never connected."""
        ...
