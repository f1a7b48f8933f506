"""Every upstream's token source, and which of them a person who comes back signed in for."""

from collections.abc import Collection, Mapping

from msgspec import structs

from agenthub.admission import SignInState, SignOut
from agenthub.domain.endpoint import Endpoint, OAuth
from agenthub.domain.errors import InvalidParams
from agenthub.domain.events import Event, ServerChanged
from agenthub.outbound.caller_logins import CallerLogins
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.vault import Vault
from agenthub.ports import Clock
from agenthub.tasks import Tasks


class Logins:
    """Implements `ports.SignIns`."""

    def __init__(self, vault: Vault, clock: Clock, tasks: Tasks) -> None:
        self._vault = vault
        self._clock = clock
        self._tasks = tasks
        self._sources: dict[str, TokenSource] = {}
        self.callers = CallerLogins(vault, clock, tasks)

    def source_of(self, endpoint: Endpoint) -> TokenSource | None:
        """Of the hub's own tokens for it; references are filled in. None: it needs none."""
        known = self._sources.get(endpoint.name)
        if endpoint.oauth is None or endpoint.url is None:
            self._forget(endpoint.name)
            return None
        oauth = _own(endpoint.oauth)
        if known is not None and (known.url, known.oauth) == (endpoint.url, oauth):
            return known
        if known is not None:
            known.close()
        made = TokenSource(
            endpoint.name, endpoint.url, oauth, self._vault, self._clock, self._tasks
        )
        if known is not None and known.place != made.place:
            self._forget(endpoint.name)
        elif made.is_empty:
            self._forget_own(endpoint.name)
        self._sources[endpoint.name] = made
        return made

    def keep_only(self, names: Collection[str]) -> None:
        """At start: servers that went while the hub was not there to see it are forgotten."""
        for name in {kept.partition("/")[0] for kept in self._vault.names()}.difference(names):
            self._forget(name)

    def event(self, event: Event) -> None:
        """A sink of the bus: a server that comes again later gets nothing of its namesake."""
        if isinstance(event, ServerChanged) and event.state == "removed":
            self._forget(event.endpoint)

    async def begin(self, name: str, hub: str) -> str:
        return await self._source(name).begin(hub)

    async def finish(self, answer: Mapping[str, str], browser: str = "") -> str:
        state = answer.get("state", "")
        if callers := self.callers.awaiting(state, browser):
            await self.callers.finish(callers, answer)
            return callers.name
        for source in self._sources.values():
            if source.awaits(state):
                await source.finish(answer)
                return source.name
        raise InvalidParams("No sign-in waits for this answer; begin anew")

    async def end(self, name: str) -> SignOut:
        if name not in self._sources and name in self._vault.names():
            await self._vault.forget(name)
            return SignOut(True, False, "it is switched off, so nobody was told")
        return await self._source(name).end()

    def state(self, name: str) -> SignInState | None:
        source = self._sources.get(name)
        return None if source is None else source.state

    def _source(self, name: str) -> TokenSource:
        source = self._sources.get(name)
        if source is None:
            raise InvalidParams(f"{name} has no `oauth` in its record, or is switched off")
        return source

    def _forget(self, name: str) -> None:
        """What it had for another address, issuer or client, too: it shall not come back."""
        self.callers.forget_server(name)
        self._forget_own(name)

    def _forget_own(self, name: str) -> None:
        source = self._sources.pop(name, None)
        if source is not None:
            source.close()
        if name in self._vault.names():
            self._tasks.start(self._vault.forget(name), f"forget the credentials of {name}")


def _own(oauth: OAuth) -> OAuth:
    """How the hub itself gets in where callers exchange their tokens."""
    if oauth.grant != "token_exchange":
        return oauth
    return structs.replace(oauth, grant="client_credentials")
