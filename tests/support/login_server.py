"""An authorization server as a client sees it: registration, tokens, and all that can be wrong.

async with login_server() as work:
    work.resources["/mcp"] = f"{work.url}/mcp"     # a server whose tokens it gives
    work.replies["/token"] = lambda form: (200, {"access_token": "a"})
"""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import parse_qsl

ISSUED = {"access_token": "access-1", "token_type": "Bearer", "expires_in": 100}


class Post(NamedTuple):
    path: str
    headers: dict
    body: bytes

    @property
    def form(self):
        return dict(parse_qsl(self.body.decode()))

    @property
    def json(self):
        return json.loads(self.body)


class LoginServer:
    def __init__(self):
        self.url = ""
        self.metadata = {}
        """What stands in the metadata beside the usual, or instead; None: it does not."""
        self.resources = {}
        """By path: what the metadata of a server there calls itself, or the whole document."""
        self.replies = {
            "/token": lambda _form: (200, ISSUED),
            "/register": lambda _form: (201, {"client_id": "registered"}),
        }
        self.challenge = None
        """What a server at `/mcp` says to a request without a token: header lines; None: 404."""
        self.asked = []
        self.posts = []
        self.raw = None
        """Sent as it is instead of any answer; b"": nothing is, for ever."""

    def about(self):
        made = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "code_challenge_methods_supported": ["S256"],
            **self.metadata,
        }
        return {name: value for name, value in made.items() if value is not None}

    def page(self, path):
        if path == "/.well-known/oauth-authorization-server":
            return self.about()
        resource = self.resources.get(path.removeprefix("/.well-known/oauth-protected-resource"))
        if not path.startswith("/.well-known/oauth-protected-resource") or resource is None:
            return None
        if isinstance(resource, str):
            return {"resource": resource, "authorization_servers": [self.url]}
        return resource

    async def _answer(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        verb, path, _ = first.split(" ")
        self.asked.append(path)
        if verb == "GET":
            page = self.page(path)
            return (404, {}) if page is None else (200, page)
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        post = Post(path, headers, body)
        if path not in self.replies:
            return (404, {}) if self.challenge is None else (401, {})
        self.posts.append(post)
        return self.replies[path](post)

    def _challenges(self, status):
        lines = (self.challenge or "").splitlines() if status == 401 else []
        return b"".join(b"www-authenticate: %b\r\n" % line.encode() for line in lines)

    async def serve(self, reader, writer):
        try:
            status, said = await self._answer(reader)
            body = json.dumps(said).encode()
            data = (
                b"HTTP/1.1 %d Whatever\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"%bconnection: close\r\n\r\n%b"
                % (status, len(body), self._challenges(status), body)
            )
            if self.raw is not None:
                data = self.raw
            writer.write(data)
            await writer.drain()
            if not data:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def login_server():
    made = LoginServer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
