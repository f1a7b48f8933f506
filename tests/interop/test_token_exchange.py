"""Token exchange (RFC 8693) with a real authorization server (idpyoidc), and a server behind it.

The server of the Python SDK takes tokens made out to it alone; clients come with those of the
issuer that are made out to the hub (A24, A25).
"""

import base64
import contextlib
import json
import sys

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from support.interop_clients import INSTALLED, INTEROP, free_port, listens, program
from support.real_hub import RealHub, wait_for

LASTS = 60
PATIENCE_S = 40
SECRET = "secret-of-the-hub"


class House:
    def __init__(self, folder):
        self._ports = issuer, upstream, hub = [free_port() for _ in range(3)]
        self.issuer, self.upstream = (
            f"http://127.0.0.1:{issuer}",
            f"http://127.0.0.1:{upstream}/mcp",
        )
        self.url = f"http://127.0.0.1:{hub}"
        self.log = folder / "tokens"
        self.log.touch()
        self.hub = RealHub(folder / "home", HUB_SECRET=SECRET)
        self.hub.port = hub
        self.hub.home.mkdir(mode=0o700)
        oauth = {
            "grant": "token_exchange", "client_id": "hub", "client_secret": "${HUB_SECRET}",
            "issuer": self.issuer, "scopes": ["notes:read"],
        }  # fmt: skip
        lost = {**oauth, "resource": "https://elsewhere.example.com/"}
        settings = {
            "server": {"public_url": self.url},
            "auth": {"issuers": {"company": {"issuer": self.issuer}}},
            "endpoints": {
                "notes": {"url": self.upstream, "oauth": oauth},
                "lost": {"url": self.upstream, "oauth": lost},
            },
        }
        (self.hub.home / "agenthub.yaml").write_text(json.dumps(settings))

    @contextlib.contextmanager
    def running(self):
        python = INSTALLED / "exchange" / "bin" / "python"
        issuer, upstream, _ = self._ports
        with contextlib.ExitStack() as ending:
            facts = (issuer, LASTS, f"{self.url}/mcp", self.upstream)
            ending.enter_context(program(python, INTEROP / "exchange_server.py", *facts))
            wait_for(lambda: listens(issuer), PATIENCE_S)
            behind = (
                sys.executable,
                INTEROP / "oauth_upstream.py",
                upstream,
                self.issuer,
                self.log,
            )
            ending.enter_context(program(*behind))
            wait_for(lambda: listens(upstream), PATIENCE_S)
            ending.enter_context(self.hub)
            self.hub.ready("notes", seconds=PATIENCE_S)
            yield self

    def token(self, who):
        """What a client of this person holds."""
        return httpx2.get(f"{self.issuer}/test/token?who={who}").text

    def shown(self):
        """Every token that the server behind was shown."""
        return set(self.log.read_text().split())

    async def whose(self, token, name="notes__whoami"):
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(transport) as client:
                try:
                    return (await client.call_tool(name, {})).content[0].text
                except MCPError as refused:
                    return str(refused)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with House(tmp_path_factory.mktemp("exchange")).running() as house:
        yield house


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_each_callers_calls_go_with_what_its_own_token_was_exchanged_for(house):
    anna, berta = house.token("anna"), house.token("berta")
    assert claims(anna)["aud"] == [f"{house.url}/mcp"]
    for token in (anna, berta, anna):
        assert await house.whose(token) == f"{claims(token)['sub']} notes:read"
    assert claims(anna)["sub"] != claims(berta)["sub"]
    assert not {anna, berta, house.hub.key()} & house.shown(), "the hub's alone"
    subjects = [claims(token).get("sub") for token in house.shown()]
    assert subjects.count(claims(anna)["sub"]) == 1, "asked for once"
    assert None in subjects, "the hub's own, for the lists"


async def test_what_the_authorization_server_refuses_is_told_and_no_token_is_sent(house):
    before, anna = house.shown(), house.token("anna")
    assert "invalid_target" in await house.whose(anna, "lost__whoami")
    assert anna not in house.shown() - before
