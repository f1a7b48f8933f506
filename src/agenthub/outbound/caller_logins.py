"""Whose tokens the callers' connections show, and which caller a browser signs in for.

    a call without a token ─► ticket ─► the hub's page (who signs in, for which caller) ─► browser
        ─► the authorization server ─► back, the same browser, the same state ─► the caller's token

A ticket opens a page and nothing else. The answer of the authorization server counts only in the
browser that agreed on that page: who is sent another person's link is told first whom it is for.
Source: MCP specification 2025-11-25, "Elicitation, Phishing"; RFC 9700 §4.7; attack A24.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct, structs

from agenthub.admission import Invited
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import InvalidParams
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound.caller_tokens import CallersTokens, ExchangedTokens, OneCallers, kept_as
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.vault import Vault
from agenthub.ports import Clock, Outgoing
from agenthub.tasks import Tasks

SIGN_IN: Final = "/oauth/sign-in"
TICKET_SPAN: Final[Nanoseconds] = 600 * SECOND
NO_TICKET: Final = "This link is no longer good; call again to get a new one"


class Owner(Struct, frozen=True):
    server: str
    principal: str
    rights: str = ""
    """Of the access token that is exchanged."""


class Invitation(Struct, frozen=True):
    """One that a caller was given."""

    ticket: str
    source: TokenSource
    about: Invited
    until: Nanoseconds
    browser: str = ""
    """Who agreed to sign in; empty: nobody did yet."""


class CallerLogins:
    """Of all servers."""

    def __init__(self, vault: Vault, clock: Clock, tasks: Tasks) -> None:
        self.address = ""
        """Of the hub's pages; empty: there are none."""
        self._vault = vault
        self._clock = clock
        self._tasks = tasks
        self._sources: dict[Owner, TokenSource] = {}
        """Bounded by the connections that use them."""
        self._invitations: dict[TokenSource, Invitation] = {}

    # ------------------------------------------------------------ tokens

    def source_for(
        self, endpoint: Endpoint, own: TokenSource, outgoing: Outgoing
    ) -> TokenSource | None:
        """The caller's tokens; None: what it came in with cannot be exchanged."""
        assert endpoint.oauth is not None, "see Endpoint.oauth"
        subject = outgoing.subject if endpoint.oauth.grant == "token_exchange" else None
        if endpoint.oauth.grant == "token_exchange" and subject is None:
            return None
        owner = Owner(endpoint.name, outgoing.principal, subject.rights if subject else "")
        known = self._sources.get(owner)
        if known is not None and (known.url, known.oauth) != (endpoint.url, endpoint.oauth):
            self.forget(known)
            known = None
        if subject is None:
            shelf = OneCallers(self._vault, owner.principal)
            return known or self._add(
                owner, CallersTokens(endpoint, own, shelf, self._clock, self._tasks)
            )
        if not isinstance(known, ExchangedTokens):
            return self._add(owner, ExchangedTokens(endpoint, subject, self._clock, self._tasks))
        known.show(subject)
        return known

    def _add(self, owner: Owner, source: TokenSource) -> TokenSource:
        self._sources[owner] = source
        return source

    def forget(self, source: TokenSource) -> None:
        """In memory; what the caller signed in for stays in the vault."""
        source.close()
        self._invitations.pop(source, None)
        for owner, known in list(self._sources.items()):
            if known is source:
                del self._sources[owner]

    def forget_server(self, name: str) -> None:
        """For good."""
        self._forget(lambda owner: owner.server == name)
        self._forget_kept(lambda kept: kept.startswith(kept_as(name, "")))

    def forget_caller(self, principal: str) -> None:
        """For good: nobody comes as this caller any more."""
        self._forget(lambda owner: owner.principal == principal)
        self._forget_kept(lambda kept: kept.partition("/")[2] == principal)

    # ------------------------------------------------------------ people who sign in

    def invite(self, source: TokenSource, principal: str) -> str:
        """Where this caller's person signs in; the same for a while. Empty: there are no pages."""
        if not self.address:
            return ""
        known = self._invitations.get(source)
        if known is None or self._clock.now() >= known.until:
            ticket, until = secrets.token_urlsafe(32), self._clock.now() + TICKET_SPAN
            known = Invitation(ticket, source, Invited(source.name, principal), until)
            self._invitations[source] = known
        return f"{self.address}{SIGN_IN}?ticket={known.ticket}"

    def invited(self, ticket: str) -> Invited:
        """Raises InvalidParams."""
        return self._find(ticket).about

    async def accept(self, ticket: str, browser: str) -> str:
        """The person agrees; the authorization server's page. Raises HubError."""
        found = structs.replace(self._find(ticket), browser=browser)
        url = await found.source.begin(self.address)
        self._invitations[found.source] = found
        return url

    def awaiting(self, state: str, browser: str) -> TokenSource | None:
        """Whose sign-in this state is of. Raises InvalidParams for another browser's."""
        for source, invitation in self._invitations.items():
            if source.awaits(state):
                if not secrets.compare_digest(invitation.browser.encode(), browser.encode()):
                    raise InvalidParams(
                        "Another browser began this sign-in; begin anew in this one"
                    )
                return source
        return None

    async def finish(self, source: TokenSource, answer: Mapping[str, str]) -> None:
        """Raises HubError."""
        self._invitations.pop(source, None)
        await source.finish(answer)

    def _forget(self, which: Callable[[Owner], bool]) -> None:
        for owner, source in list(self._sources.items()):
            if which(owner):
                self.forget(source)

    def _forget_kept(self, which: Callable[[str], bool]) -> None:
        for name in filter(which, self._vault.names()):
            self._tasks.start(self._vault.forget(name), f"forget the credentials of {name}")

    def _find(self, ticket: str) -> Invitation:
        now = self._clock.now()
        for found in self._invitations.values():
            if secrets.compare_digest(found.ticket.encode(), ticket.encode()) and now < found.until:
                return found
        raise InvalidParams(NO_TICKET)
