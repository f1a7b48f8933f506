"""A token source in virtual time; its authorization server is a script."""

import asyncio

from support.fake_store import FakeStore
from support.virtual_time import LoopClock

from agenthub.domain.endpoint import Endpoint, OAuth
from agenthub.outbound import oauth_server, oauth_tokens, sign_in
from agenthub.outbound.logins import Logins
from agenthub.outbound.oauth_server import AuthorizationServer, Client, Tokens
from agenthub.outbound.vault import Vault
from agenthub.tasks import Tasks

ISSUER, URL, HUB = "https://login.test", "https://tools.test/mcp", "http://127.0.0.1:1"
BACK = f"{HUB}/oauth/callback"
MACHINE = OAuth("client_credentials", "hub", "secret", issuer=ISSUER)


class Script:
    """Stands for the module `oauth_server`: each token is another one, unless `answers` say."""

    Tokens = Tokens
    error_word = staticmethod(oauth_server.error_word)
    sign_in_address = staticmethod(oauth_server.sign_in_address)

    def __init__(self):
        self.server = AuthorizationServer(
            ISSUER, f"{ISSUER}/token", URL, authorization_endpoint=f"{ISSUER}/authorize"
        )
        self.answers = []
        """For the next questions: a token, or what is raised."""
        self.grants, self.clients, self.found, self.registered = [], [], [], []
        self.revoked, self.unrevoked = [], ""
        """What was revoked, and what comes of it."""
        self.secret_ends_s = 0
        self.takes = 0
        """Seconds that each question takes."""
        self.lasts = 100

    async def find(self, url, oauth, challenge, wanted=()):
        self.found.append((url, challenge, wanted))
        await asyncio.sleep(self.takes)
        scopes = wanted or self.server.scopes
        return AuthorizationServer(**{
            **{name: getattr(self.server, name) for name in self.server.__struct_fields__},
            "scopes": scopes,
        })  # fmt: skip

    async def register(self, server, hub):
        self.registered.append(hub)
        return Client(f"client-{len(self.registered)}", "", self.secret_ends_s)

    async def revoke(self, issuer, client, tokens):
        self.revoked.append((issuer, client.client_id, tokens))
        await asyncio.sleep(self.takes)
        return self.unrevoked

    async def ask(self, server, client, grant):
        self.grants.append(grant)
        self.clients.append(client)
        number = len(self.grants)
        answer = self.answers.pop(0) if self.answers else None
        await asyncio.sleep(self.takes)
        if isinstance(answer, Exception):
            raise answer
        return answer or Tokens(f"access-{number}", f"refresh-{number}", self.lasts)


class TokenHouse:
    """`restarted` is the same home after a restart."""

    def __init__(self, monkeypatch, oauth=MACHINE, store=None, clock=LoopClock):
        self.monkeypatch = monkeypatch
        self.script = Script()
        for module in (oauth_tokens, sign_in):
            monkeypatch.setattr(module, "server", self.script)
        self.clock, self.tasks = clock(), Tasks()
        self.store = store or FakeStore()
        self.logins = Logins(
            Vault(dict(self.store.secrets), self.store, lambda: b"k" * 32), self.clock, self.tasks
        )
        self.told = 0
        self.source = self.add(oauth)

    def add(self, oauth, name="git", url=URL):
        source = self.logins.source_of(Endpoint(name, url=url, oauth=oauth))
        if source is not None and self._tell not in source.listeners:
            source.listeners.append(self._tell)
        return source

    def _tell(self):
        self.told += 1

    def restarted(self, oauth=MACHINE):
        self.source.close()
        return TokenHouse(self.monkeypatch, oauth, self.store)

    async def sign_in(self, **answer):
        address = await self.logins.begin("git", HUB)
        state = address.partition("state=")[2].partition("&")[0]
        return await self.logins.finish({"state": state, "code": "the-code", **answer})
