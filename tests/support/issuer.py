"""An authorization server as a resource server sees it: metadata, keys, and tokens it has signed.

async with issuer() as work:
    token = work.token(sub="anna", scope="agenthub:tools")
"""

import asyncio
import json
import time
from contextlib import asynccontextmanager

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

ONE = RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
"""Slow to make."""
HUB = "http://127.0.0.1:1"
"""The hub's public address, to which the tokens are made out."""


class IssuerServer:
    def __init__(self):
        self.url = ""
        self.keys = {"one": ONE}
        self.published = ["one"]
        self.pages = {}
        """What is served instead, by path: bytes, or None for nothing at all."""
        self.asked = []
        self.alive = True

    def add(self, kid, *, publish=True):
        self.keys[kid] = ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False)
        if publish:
            self.published.append(kid)

    def claims(self, **other):
        now = int(time.time())
        made = {
            "iss": self.url, "aud": f"{HUB}/mcp", "sub": "anna", "exp": now + 300, "iat": now,
            "scope": "agenthub:tools", **other,
        }  # fmt: skip
        return {name: value for name, value in made.items() if value is not None}

    def token(self, kid="one", *, alg=None, header=None, **other):
        key = self.keys[kid]
        alg = alg or ("ES256" if isinstance(key, ECKey) else "RS256")
        heading = {"alg": alg, "kid": kid, **(header or {})}
        return jwt.encode(heading, self.claims(**other), key, algorithms=[alg])

    def page(self, path):
        if path in self.pages:
            return self.pages[path]
        if path == "/.well-known/oauth-authorization-server":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            keys = KeySet([self.keys[kid] for kid in self.published])
            return json.dumps(keys.as_dict(private=False)).encode()
        return None

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            body = self.page(path)
            status = b"200 OK" if body is not None else b"404 Not Found"
            body = body or b"{}"
            if self.alive:
                writer.write(
                    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                    b"connection: close\r\n\r\n%b" % (status, len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def issuer():
    made = IssuerServer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
