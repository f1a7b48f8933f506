"""OAuth on both sides of the hub, against a real authorization server (npm's oidc-provider).

In front: the Python SDK's own OAuth client finds the issuer by the hub's 401 and gets in. Behind: a
server of the Python SDK takes tokens of that issuer alone, and the hub gets them by itself, or
after a person signed in. Each is another program, over real sockets (A24, A25).
"""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata
from support.browser import sign_in
from support.interop_clients import INSTALLED, INTEROP, PACKAGES, program
from support.real_hub import AGENTHUB, RealHub, wait_for

LASTS = 4
"""Seconds an access token lasts."""
MACHINE, SECRET = "machine", "secret-of-the-machine"
KNOWN_SECRET = "secret-of-the-known"
PUBLIC = "https://hub.test"
SCOPES = "agenthub:tools notes:read"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def parsed(address):
    return {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()}


def answers(url):
    with contextlib.suppress(httpx2.HTTPError):
        return httpx2.get(url).status_code < 500
    return False


class House:
    """An issuer, a server behind it, and a hub in front of that one."""

    def __init__(self, folder, public=""):
        """`public`: the name that the hub has for others; it is found there all the same."""
        ports = [free_port() for _ in range(3)]
        self.issuer, self.upstream, self.url = (f"http://127.0.0.1:{port}" for port in ports)
        self.log = folder / "tokens"
        self.log.touch()
        self.public = public or self.url
        self.hub = RealHub(folder / "home", NOTES_SECRET=SECRET, KNOWN_SECRET=KNOWN_SECRET)
        self.hub.port = ports[2]
        self.hub.home.mkdir(mode=0o700)
        settings = {
            "server": {"public_url": self.public},
            "auth": {"issuers": {"company": {"issuer": self.issuer}}},
        }
        (self.hub.home / "agenthub.yaml").write_text(json.dumps(settings))
        self._ports = ports

    @contextlib.contextmanager
    def running(self):
        node = str(INSTALLED / "bin" / "node")
        shutil.copyfile(INTEROP / "oidc.mjs", PACKAGES.parent / "oidc.mjs")
        facts = {"url": self.issuer, "lasts": LASTS, "hub": self.url, "public": self.public}
        options = json.dumps(facts)
        server = INTEROP / "oauth_upstream.py"
        with contextlib.ExitStack() as ending:
            ending.enter_context(program(node, PACKAGES.parent / "oidc.mjs", options))
            wait_for(lambda: answers(f"{self.issuer}/jwks"))
            command = (sys.executable, server, self._ports[1], self.issuer, self.log)
            ending.enter_context(program(*command))
            wait_for(lambda: answers(f"{self.upstream}/mcp"))
            ending.enter_context(self.hub)
            yield self

    def shown(self):
        """Every token that the server behind was shown."""
        return self.log.read_text().splitlines()

    def token(self, resource, scope="agenthub:tools"):
        """A client's own access token, by client credentials."""
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        answer = httpx2.post(f"{self.issuer}/token", data=form, auth=(MACHINE, SECRET))
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def add(self, name, *options):
        self.hub.command("add", name, "--url", f"{self.upstream}/mcp", *options)

    def call(self, name):
        return self.hub.command("call", name, "whoami").strip()

    def live(self):
        """How many sign-ins live, by the authorization server's own count."""
        return httpx2.get(f"{self.issuer}/test/live").json()

    def login(self, name):
        """By the command and a browser: what the authorization server was asked, and the end."""
        with subprocess.Popen(
            [str(AGENTHUB), "login", name, "--no-browser", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=self.hub.environment,
        ) as login:
            try:
                address = json.loads(login.stdout.readline())["url"]
                back = asyncio.run(sign_in(address, f"{self.public}/oauth/callback"))
                httpx2.get(back.replace(self.public, self.url, 1))
                ended = json.loads(login.communicate(timeout=20)[0])
            finally:
                login.kill()
        return parsed(address), ended

    def ready(self, name):
        self.hub.ready(name)
        return self.call(name)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with House(tmp_path_factory.mktemp("oauth")).running() as house:
        yield house


@pytest.fixture(scope="module")
def by_itself(house):
    """A server that the hub signs in to by itself."""
    house.add("machine", "--client-id", MACHINE, "--client-secret", "${NOTES_SECRET}",
              "--issuer", house.issuer)  # fmt: skip
    assert house.ready("machine") == "machine notes:read"
    return house


# ---------------------------------------------------------------- in front


def ask_the_hub(house, token):
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    return httpx2.post(f"{house.url}/mcp", json=body, headers=headers)


async def test_a_client_with_a_token_for_the_hub_calls_a_tool(by_itself):
    headers = {"Authorization": f"Bearer {by_itself.token(f'{by_itself.url}/mcp')}"}
    async with create_mcp_http_client(headers=headers) as http:
        transport = streamable_http_client(f"{by_itself.url}/mcp", http_client=http)
        async with Client(transport) as client:
            result = await client.call_tool("machine__whoami", {})
            assert result.content[0].text == "machine notes:read"


@pytest.mark.parametrize("resource", ["{upstream}/mcp", "{url}/other", "https://x.example.com/"])
def test_a_token_for_somebody_else_opens_nothing(by_itself, resource):
    token = by_itself.token(resource.format(upstream=by_itself.upstream, url=by_itself.url))
    answer = ask_the_hub(by_itself, token)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_token_without_the_scope_is_told_which_one_it_needs(by_itself):
    answer = ask_the_hub(by_itself, by_itself.token(f"{by_itself.url}/mcp", "notes:read"))
    assert answer.status_code == 403
    assert 'scope="agenthub:tools"' in answer.headers["www-authenticate"]


async def ask_rest(house, method, path, **more):
    token = (house.hub.home / "admin-token").read_text().strip()
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
        return await client.request(method, f"{house.url}/api/{path}", **more)


class Memory:
    """The SDK client's storage."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def test_the_sdks_own_client_finds_its_way_in_by_the_hubs_401(by_itself):
    back = "http://127.0.0.1:1/back"
    came_back = []

    async def redirected(address):
        came_back.append(await sign_in(address, back, who="berta"))

    async def called_back():
        said = {key: values[0] for key, values in parse_qs(urlsplit(came_back[0]).query).items()}
        return AuthorizationCodeResult(**said)

    memory = Memory()
    provider = OAuthClientProvider(
        f"{by_itself.url}/mcp",
        OAuthClientMetadata(
            redirect_uris=[back],
            client_name="interop",
            token_endpoint_auth_method="none",
            application_type="native",
        ),
        memory,
        redirected,
        called_back,
    )
    async with create_mcp_http_client(auth=provider) as http:
        transport = streamable_http_client(f"{by_itself.url}/mcp", http_client=http)
        async with Client(transport) as client:
            result = await client.call_tool("machine__whoami", {})
            assert result.content[0].text == "machine notes:read"
    assert len(came_back) == 1
    assert "oauth:company:berta" in (await ask_rest(by_itself, "GET", "calls")).text
    # A25: what the client showed to the hub is for the hub.
    assert memory.tokens.access_token not in by_itself.shown()


# ---------------------------------------------------------------- behind


def test_the_hub_signs_in_by_itself_and_renews_before_the_end(by_itself):
    """A call every 0.3 s over three lives of a token; each is answered, none with an old token."""
    before = len(set(by_itself.shown()))
    end = time.monotonic() + 3 * LASTS
    while time.monotonic() < end:
        assert by_itself.call("machine") == "machine notes:read"
        time.sleep(0.3)
    assert len(set(by_itself.shown())) - before >= 3


def test_a_person_signs_in_by_the_command_and_a_browser(house):
    house.add("notes", "--oauth")
    wait_for(lambda: "agenthub login notes" in house.hub.command("check"))
    login = subprocess.Popen(
        [sys.executable, "-m", "agenthub", "login", "notes", "--no-browser"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=house.hub.environment,
    )
    try:
        assert login.stdout.readline() == "Sign in at:\n"
        address = login.stdout.readline().strip()
        back = asyncio.run(sign_in(address, f"{house.url}/oauth/callback"))
        assert "iss" in parse_qs(urlsplit(back).query)
        page = httpx2.get(back)
        assert (page.status_code, "The hub can use notes now" in page.text) == (200, True)
        assert "Signed in to notes." in login.communicate(timeout=20)[0]
        assert login.returncode == 0
        assert httpx2.get(back).status_code == 400, "a state is good once"
    finally:
        login.kill()
        login.wait()
    assert house.ready("notes") == "anna notes:read"
    first = house.shown()[-1]
    time.sleep(LASTS + 1)
    assert house.call("notes") == "anna notes:read"
    assert house.shown()[-1] != first
    secrets = [first, SECRET, *house.shown()]
    seen = house.hub.command("list", "--json") + house.hub.command("check", "--json")
    assert not [one for one in secrets if one in seen]


def test_a_client_that_is_known_already_signs_a_person_in_with_its_secret(house):
    house.add("known", "--oauth", "--client-id", "known", "--client-secret", "${KNOWN_SECRET}",
              "--issuer", house.issuer)  # fmt: skip
    asked, ended = house.login("known")
    assert asked["client_id"] == "known"
    assert (ended["signed_in"], ended["renews"], ended["issuer"]) == (True, True, house.issuer)
    assert house.ready("known") == "anna notes:read"
    assert "signed in" in house.hub.command("check")


def test_a_tool_that_needs_more_scopes_is_called_after_another_sign_in(house):
    house.add("steps", "--oauth")
    asked, _ = house.login("steps")
    assert asked["scope"].split() == ["notes:read", "offline_access"]
    house.ready("steps")
    said = house.hub.failed("call", "steps", "write")
    assert "lacks scopes: notes:write" in said
    assert "it lacks scopes: notes:write (`agenthub login steps`)" in house.hub.command("check")
    asked, ended = house.login("steps")
    assert asked["scope"].split() == ["notes:read", "notes:write", "offline_access"]
    assert (ended["scopes"], ended["wanted"]) == (["notes:read", "notes:write"], [])
    assert house.hub.command("call", "steps", "write").strip() == "written"
    assert "lacks scopes" not in house.hub.command("check")


def test_a_hub_that_signs_in_by_itself_gets_more_scopes_by_itself(by_itself):
    assert by_itself.hub.command("call", "machine", "write").strip() == "written"
    assert by_itself.call("machine") == "machine notes:read notes:write"


def test_who_signs_out_is_out_at_the_authorization_server_too(house):
    house.add("out", "--oauth")
    house.login("out")
    house.ready("out")
    before = house.live()
    assert house.hub.command("logout", "out") == "Signed out of out; its tokens are revoked.\n"
    assert house.live() == before - 1
    wait_for(lambda: "nobody is signed in" in house.hub.command("check"))
    assert "Run `agenthub login out`" in house.hub.failed("call", "out", "whoami")
    assert "Nobody was signed in" in house.hub.command("logout", "out")


def test_a_hub_with_an_https_address_is_known_by_its_document(tmp_path):
    with House(tmp_path, PUBLIC).running() as house:
        house.add("notes", "--oauth")
        asked, ended = house.login("notes")
        assert asked["client_id"] == f"{PUBLIC}/client-metadata.json"
        assert asked["redirect_uri"] == f"{PUBLIC}/oauth/callback"
        assert ended["signed_in"]
        assert house.ready("notes") == "anna notes:read"
        time.sleep(LASTS + 1)
        assert house.call("notes") == "anna notes:read", "it is renewed"
        assert house.hub.command("logout", "notes").endswith("its tokens are revoked.\n")


@pytest.mark.parametrize("forged", [{"iss": "http://127.0.0.1:1"}, {"iss": None}, {"state": "x"}])
async def test_an_answer_that_is_not_of_this_issuer_and_sign_in_is_refused(house, forged):
    house.add("forged", "--oauth", "--replace")
    begun = await ask_rest(house, "POST", "endpoints/forged/login", json={})
    back = await sign_in(begun.json()["url"], f"{house.url}/oauth/callback")
    said = {key: values[0] for key, values in parse_qs(urlsplit(back).query).items()}
    said = {key: value for key, value in (said | forged).items() if value is not None}
    answer = httpx2.get(f"{house.url}/oauth/callback?{urlencode(said)}")
    assert answer.status_code == 400
    assert "Not signed in" in answer.text


def test_a_sign_in_that_was_taken_back_is_told_in_clear_words(house):
    assert house.call("notes") == "anna notes:read"
    assert httpx2.post(f"{house.issuer}/test/revoke").status_code == 200
    time.sleep(LASTS + 1)
    said = house.hub.failed("call", "notes", "whoami")
    assert "invalid_grant" in said
    assert "Run `agenthub login notes`" in said


def test_a_server_that_is_removed_and_added_again_needs_a_new_sign_in(house):
    house.hub.command("remove", "notes")
    house.add("notes", "--oauth")
    wait_for(lambda: "nobody is signed in" in house.hub.command("check"))


def test_nothing_of_the_hubs_own_keys_went_to_the_server(by_itself):
    keys = [by_itself.hub.key(), (by_itself.hub.home / "admin-token").read_text().strip()]
    assert not set(keys) & set(by_itself.shown())
    assert len(by_itself.shown()) > 3
