"""A whole hub in this process, whose callers reach a server with tokens of their own.

    async with caller_hub(tmp_path, EXCHANGE) as house:
        answer = await house.call("anna")            # by an access token of the issuer in front
        house.shown                                  # what the server behind was shown, with what

In front stands an issuer, behind an authorization server that gives one token for each grant, and
a server that takes those of its callers and says whose it was shown.
"""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, closing

import httpx2
from support.http_servers import DISCOVERED, MODERN, FaultServer
from support.issuer import HUB, issuer
from support.login_server import login_server
from support.serve_hub import config

from agenthub.app.listening import open_listening
from agenthub.app.stop import Stop
from agenthub.domain.subject import Subject
from agenthub.settings import Options

META = "io.modelcontextprotocol/"
EXCHANGE = {"grant": "token_exchange", "client_id": "hub", "client_secret": "${HUB_SECRET}"}
SIGNED_IN = {"grant": "authorization_code", "per": "caller"}
URL_MODE = {"elicitation": {"url": {}}}
SHARED = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
TOOLS = [{"name": "whoami", "inputSchema": {"type": "object"}}]


class CallerHub:
    def __init__(self, listening, work, login, upstream):
        self.hub, self.url = listening.hub, listening.url
        self.work, self.login, self.upstream = work, login, upstream
        self.accepted = {}
        """Tokens that the server takes, and whose they are."""
        self.shown = []
        """(method, token) of each request that came to it."""

    # ------------------------------------------------------------ behind

    async def serve(self, request, peer):
        if request.target.startswith("/.well-known/"):
            named = {"resource": self.upstream.url, "authorization_servers": [self.login.url]}
            await peer.json(named)
            return
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.shown.append((request.method, token))
        if token not in self.accepted:
            await peer.answer(
                401, b"", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
            )
        elif request.method == "server/discover":
            await peer.result(request, DISCOVERED)
        elif request.method == "tools/list":
            await peer.result(request, {**SHARED, "tools": TOOLS})
        elif request.method == "resources/read":
            words = [{"uri": "notes://mine", "text": self.accepted[token]}]
            await peer.result(request, {**SHARED, "contents": words})
        else:
            words = [{"type": "text", "text": self.accepted[token]}]
            await peer.result(request, {"resultType": "complete", "content": words})

    def grant(self, post):
        """A token for whoever is meant, good at the server."""
        form = post.form
        who, issued = "the hub", {}
        if subject := form.get("subject_token"):
            who = self.subjects[subject]
            issued = {"issued_token_type": form["requested_token_type"]}
        elif form["grant_type"] == "authorization_code":
            who = form["code"]
        token = f"token-{len(self.login.posts)}-{who.replace(' ', '-')}"
        self.accepted[token] = who
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": 300, **issued}
        return 200, answer

    subjects: dict
    """Of access tokens, whose they are."""

    def forms(self, grant_type):
        tokens = [post.form for post in self.login.posts if post.path == "/token"]
        return [form for form in tokens if form["grant_type"].endswith(grant_type)]

    # ------------------------------------------------------------ in front

    def token(self, who, **claims):
        token = self.work.token(sub=who, aud=f"{HUB}/mcp", **claims)
        self.subjects[token] = who
        return token

    async def ask(self, key, method, params, *, name="", capabilities=None):
        meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": capabilities or {}}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        headers = {
            "authorization": f"Bearer {key}", "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN, "mcp-method": method,
        }  # fmt: skip
        if name:
            headers["mcp-name"] = name
        answer = await self.client.post(f"{self.url}/mcp", json=body, headers=headers)
        return answer.json()

    async def call(self, key, *, capabilities=None, **more):
        params = {"name": "notes__whoami", "arguments": {}, **more}
        return await self.ask(
            key, "tools/call", params, name="notes__whoami", capabilities=capabilities
        )

    async def whose(self, key, **more):
        """Whose token the server was shown for this caller's call."""
        answer = await self.call(key, **more)
        return answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]

    async def listed(self):
        server = self.hub.catalog.get("notes")
        await until(lambda: server.listing is not None)

    def said(self, home):
        """All that is written of the hub: its database and the other files, as bytes."""
        return b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())


async def until(true, seconds=10):
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - a real hub
            await asyncio.sleep(0.01)


@asynccontextmanager
async def caller_hub(home, oauth):
    """A hub whose server `notes` has this in `oauth`."""
    async with AsyncExitStack() as ending:
        work = await ending.enter_async_context(issuer())
        login = await ending.enter_async_context(login_server())
        upstream = await ending.enter_async_context(FaultServer(None))
        if "client_secret" in oauth:
            oauth = {**oauth, "issuer": login.url}
        else:
            oauth = {**oauth, "client_id": "hub", "issuer": login.url}
        patient = {"connect_ms": 30_000}
        notes = {"url": upstream.url, "oauth": oauth, "rate_limit": None, "timeouts": patient}
        settings = {
            "server": {"public_url": HUB},
            "auth": {"issuers": {"work": {"issuer": work.url}}},
            "endpoints": {"notes": notes},
        }
        config(home, json.dumps(settings))
        stop = ending.enter_context(closing(Stop()))
        house = None

        async def serve(request, peer):
            await house.serve(request, peer)

        upstream.script = serve
        listening = await ending.enter_async_context(open_listening(Options(home, port=0), stop))
        house = CallerHub(listening, work, login, upstream)
        house.subjects = {}
        house.client = await ending.enter_async_context(httpx2.AsyncClient(timeout=40))
        login.replies["/token"] = house.grant
        house.hub.sign_ins.callers.address = listening.url
        await until(lambda: not house.hub.health._problems())
        yield house


def subject(token="their-token", rights="r", ends=1 << 62):
    return Subject(token, rights, ends)
