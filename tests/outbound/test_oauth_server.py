"""The authorization server of an upstream, over the wire (A23, A24)."""

import base64
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import structs
from support.login_server import ISSUED, login_server

from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import UpstreamUnavailable
from agenthub.outbound import authorization_server, oauth_server
from agenthub.outbound.oauth_server import (
    AuthorizationServer,
    Client,
    Refused,
    ask,
    find,
    register,
    revoke,
    sign_in_address,
)

PERSON = OAuth()
MACHINE = OAuth("client_credentials", "hub", "s:cret", issuer="https://login.example.com")
SERVER = AuthorizationServer(
    "https://login.example.com",
    "https://login.example.com/token",
    "https://tools.example.com/mcp",
    authorization_endpoint="https://login.example.com/authorize",
)


def at(work, **more):
    return structs.replace(SERVER, token_endpoint=f"{work.url}/token", **more)


# ---------------------------------------------------------------- finding it


async def test_the_servers_own_metadata_names_it():
    async with login_server() as work:
        url = f"{work.url}/tools/mcp"
        work.resources["/tools/mcp"] = {
            "resource": url,
            "authorization_servers": [7, work.url],
            "scopes_supported": ["read", "offline_access", "write"],
        }
        work.metadata = {
            "scopes_supported": ["offline_access"],
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": ["none", 7],
        }
        assert await find(url, PERSON, "") == AuthorizationServer(
            work.url,
            f"{work.url}/token",
            url,
            f"{work.url}/authorize",
            f"{work.url}/register",
            ("read", "write"),
            ("none",),
            gives_refresh=True,
            names_itself=True,
        )


async def test_where_to_look_is_told_by_the_challenge_then_by_path_then_at_the_root():
    async with login_server() as work:
        url = f"{work.url}/tools/mcp"
        work.resources[""] = f"{work.url}"
        found = await find(url, PERSON, f'Bearer resource_metadata="{work.url}/about", scope="a b"')
        assert work.asked[:4] == [
            "/tools/mcp",
            "/about",
            "/.well-known/oauth-protected-resource/tools/mcp",
            "/.well-known/oauth-protected-resource",
        ]
        assert (found.resource, found.scopes) == (work.url, ("a", "b"))


async def test_an_old_server_without_metadata_is_its_own_authorization_server():
    async with login_server() as work:
        found = await find(f"{work.url}/mcp?key=canary", PERSON, "Bearer")
        assert (found.issuer, found.resource) == (work.url, f"{work.url}/mcp")


async def test_what_the_operator_and_the_upstream_want_of_scopes():
    async with login_server() as work:
        url, said = f"{work.url}/mcp", 'Bearer scope="from-challenge"'
        assert (await find(url, PERSON, said)).scopes == ("from-challenge",)
        assert (await find(url, PERSON, said, ("more",))).scopes == ("more",)
        assert (await find(url, OAuth(scopes=("mine",)), said, ("more",))).scopes == ("mine",)
        assert (await find(url, PERSON, "")).scopes == ()
        offered = {"resource": url, "authorization_servers": [work.url], "scopes_supported": ["o"]}
        work.resources["/mcp"] = offered
        assert (await find(url, PERSON, "")).scopes == ("o",)
        assert (await find(url, PERSON, said)).scopes == ("from-challenge",)


async def test_what_the_upstream_says_now_counts_more_than_what_it_said_before():
    async with login_server() as work:
        work.challenge = f'Bearer scope="now", resource_metadata="{work.url}/about"'
        found = await find(f"{work.url}/mcp", PERSON, 'Bearer scope="before"')
        assert found.scopes == ("now",)
        assert work.asked[:2] == ["/mcp", "/about"]


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("http://127.0.0.1:9/mcp", "speaks for another server"),
        ("{url}/mcp/other", "speaks for another server"),
        ("{url}/mc", "speaks for another server"),
        ({}, "speaks for another server"),
        ({"resource": "{url}/mcp"}, "names no authorization server"),
        ({"resource": "{url}/mcp", "authorization_servers": "x"}, "names no authorization server"),
        (
            {"resource": "{url}/mcp", "authorization_servers": ["http://192.0.2.1/"]},
            "names no authorization server",
        ),
        (
            {"resource": "{url}/mcp", "authorization_servers": ["javascript:alert(1)", "file:/x"]},
            "names no authorization server",
        ),
    ],
)
async def test_a_server_that_names_nobody_to_be_believed(resource, words):
    async with login_server() as work:
        if isinstance(resource, dict):
            filled = {k: v.replace("{url}", work.url) if k == "resource" else v
                      for k, v in resource.items()}  # fmt: skip
        else:
            filled = resource.replace("{url}", work.url)
        work.resources["/mcp"] = filled
        with pytest.raises(UpstreamUnavailable, match=words):
            await find(f"{work.url}/mcp", PERSON, "")
        assert work.asked == ["/mcp", "/.well-known/oauth-protected-resource/mcp"]


async def test_metadata_on_another_machine_is_not_asked_for():
    """A23: else a server could make the hub ask whom it likes."""
    async with login_server() as work, login_server() as inner:
        challenge = f'Bearer resource_metadata="{inner.url}/secret"'
        await find(f"{work.url}/mcp", PERSON, challenge)
        await find(f"{work.url}/mcp", PERSON, f'Bearer resource_metadata="{work.url}@x/secret"')
        assert inner.asked == []
        assert "/secret" not in work.asked


async def test_a_server_elsewhere_cannot_send_the_hub_to_this_machine():
    async def served(url):
        assert url.startswith("https://tools.example.com/.well-known/")
        return {
            "resource": "https://tools.example.com/mcp",
            "authorization_servers": ["http://127.0.0.1:1"],
        }

    async def silent(url):
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authorization_server, "get_json", served)
        patch.setattr(oauth_server, "challenge_of", silent)
        with pytest.raises(UpstreamUnavailable, match="names no authorization server"):
            await find("https://tools.example.com/mcp", PERSON, "")


async def test_the_operators_issuer_is_the_only_one():
    async with login_server() as work, login_server() as other:
        url = f"{work.url}/mcp"
        work.resources["/mcp"] = url
        with pytest.raises(UpstreamUnavailable, match="takes no tokens of"):
            await find(url, OAuth(issuer=other.url), "")
        assert other.asked == []
        assert (await find(url, OAuth(issuer=work.url), "")).issuer == work.url


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "{url}/"}, "another issuer"),
        ({"token_endpoint": None}, "names no token_endpoint"),
        ({"token_endpoint": "http://192.0.2.1/token"}, "names no token_endpoint"),
        ({"token_endpoint": 7}, "names no token_endpoint"),
        ({"authorization_endpoint": None}, "no page to sign in"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "no page to sign in"),
        ({"authorization_endpoint": "file:///etc/passwd"}, "no page to sign in"),
        ({"authorization_endpoint": "https://x/ $(id)"}, "no page to sign in"),
        ({"code_challenge_methods_supported": None}, "does not offer PKCE"),
        ({"code_challenge_methods_supported": ["plain"]}, "does not offer PKCE"),
    ],
)
async def test_an_authorization_server_that_is_not_to_be_used(metadata, words):
    async with login_server() as work:
        work.metadata = {k: v.replace("{url}", work.url) if isinstance(v, str) else v
                         for k, v in metadata.items()}  # fmt: skip
        with pytest.raises(UpstreamUnavailable, match=words):
            await find(f"{work.url}/mcp", PERSON, "")


async def test_a_machine_needs_no_page():
    async with login_server() as work:
        work.metadata = {"authorization_endpoint": None, "code_challenge_methods_supported": None}
        found = await find(f"{work.url}/mcp", structs.replace(MACHINE, issuer=work.url), "")
        assert found.authorization_endpoint == ""


# ---------------------------------------------------------------- registering


async def test_the_hub_registers_as_what_it_is():
    async with login_server() as work:
        server = structs.replace(SERVER, registration_endpoint=f"{work.url}/register")
        assert await register(server, "http://127.0.0.1:1") == Client("registered")
        assert work.posts[0].json == {
            "client_name": "AgentHub",
            "redirect_uris": ["http://127.0.0.1:1/oauth/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        }
        work.replies["/register"] = lambda _: (201, {"client_id": "x", "client_secret": "y"})
        server = structs.replace(server, methods=("client_secret_post", "client_secret_basic"))
        assert await register(server, "https://hub.example.com") == Client("x", "y")
        assert work.posts[1].json["application_type"] == "web"
        assert work.posts[1].json["token_endpoint_auth_method"] == "client_secret_basic"


@pytest.mark.parametrize(
    ("told", "ends"), [(1_700_000_000, 1_700_000_000), (0, 0), (None, 0), ("x", 0), (True, 0)]
)
async def test_a_secret_that_ends_is_known_to_end(told, ends):
    async with login_server() as work:
        said = {"client_id": "x", "client_secret": "y", "client_secret_expires_at": told}
        work.replies["/register"] = lambda _: (201, said)
        server = structs.replace(SERVER, registration_endpoint=f"{work.url}/register")
        assert (await register(server, "http://127.0.0.1:1")).ends_s == ends


async def test_who_reads_documents_knows_the_hub_by_its_own():
    """Before it registers: MCP specification 2026-07-28, "Client Registration Approaches"."""
    async with login_server() as work:
        work.metadata = {"client_id_metadata_document_supported": True}
        url = f"{work.url}/mcp"
        server = await find(url, PERSON, "")
        document = Client("https://hub.example.com/client-metadata.json")
        assert await register(server, "https://hub.example.com") == document
        assert work.posts == []
        assert await register(server, "http://127.0.0.1:1") == Client("registered")
        unread = await find(url, OAuth(metadata_document=False), "")
        assert await register(unread, "https://hub.example.com") == Client("registered")
        work.metadata = {"client_id_metadata_document_supported": "true"}
        odd = await find(url, PERSON, "")
        assert await register(odd, "https://hub.example.com") == Client("registered")


@pytest.mark.parametrize(
    "reply",
    [
        (403, {"error": "access_denied"}),
        (201, {"client": 1}),
        (201, {"client_id": ""}),
        (201, {"client_id": "x", "client_secret": 7}),
    ],
)
async def test_who_registers_nobody_is_told_of(reply):
    async with login_server() as work:
        work.replies["/register"] = lambda _: reply
        server = structs.replace(SERVER, registration_endpoint=f"{work.url}/register")
        with pytest.raises(Refused):
            await register(server, "http://127.0.0.1:1/")
    with pytest.raises(Refused, match=r"registers nobody by itself; set oauth\.client_id"):
        await register(SERVER, "http://127.0.0.1:1/")


# ---------------------------------------------------------------- signing in


def asked_of(address):
    return {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()}


def test_the_address_to_sign_in_at_asks_for_a_token_for_this_server_by_pkce():
    address = sign_in_address(SERVER, Client("hub"), "http://127.0.0.1:1/cb", "st", "ch")
    assert address.startswith("https://login.example.com/authorize?response_type=code&")
    assert asked_of(address) == {
        "response_type": "code",
        "client_id": "hub",
        "redirect_uri": "http://127.0.0.1:1/cb",
        "state": "st",
        "code_challenge": "ch",
        "code_challenge_method": "S256",
        "resource": "https://tools.example.com/mcp",
    }


def test_where_refresh_tokens_have_a_scope_it_is_asked_for():
    server = structs.replace(
        SERVER,
        authorization_endpoint="https://login.example.com/?tenant=1",
        scopes=("a", "b"),
        gives_refresh=True,
    )
    address = sign_in_address(server, Client("hub"), "r", "s", "c")
    assert address.startswith("https://login.example.com/?tenant=1&")
    asked = asked_of(address)
    assert (asked["scope"], asked["prompt"]) == ("a b offline_access", "consent")


# ---------------------------------------------------------------- tokens


async def test_a_token_is_asked_for_this_server_and_no_other():
    async with login_server() as work:
        got = await ask(at(work), Client("hub"), {"grant_type": "refresh_token"})
        assert (got.access, got.refresh, got.expires_in) == ("access-1", "", 100)
        assert work.posts[0].form == {
            "grant_type": "refresh_token",
            "resource": "https://tools.example.com/mcp",
            "client_id": "hub",
        }


@pytest.mark.parametrize(
    ("methods", "in_head"),
    [((), True), (("client_secret_post",), False), (("none", "client_secret_basic"), True)],
)
async def test_a_secret_travels_as_the_server_takes_it(methods, in_head):
    async with login_server() as work:
        await ask(at(work, methods=methods), Client("h:b", "s:1"), {"grant_type": "x"})
        post = work.posts[0]
        basic = "Basic " + base64.b64encode(b"h%3Ab:s%3A1").decode()
        assert post.headers.get("authorization") == (basic if in_head else None)
        assert post.form.get("client_secret") == (None if in_head else "s:1")
        assert "s:1" not in post.path


@pytest.mark.parametrize(
    "change",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\r\nX: y"},
        {"access_token": "ä"},
        {"access_token": "a" * 16_385},
        {"token_type": "DPoP"},
        {"token_type": 7},
        {"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"issued_token_type": 7},
        {"expires_in": 0},
        {"expires_in": -1},
    ],
)
async def test_a_token_that_cannot_be_shown_is_none(change):
    async with login_server() as work:
        work.replies["/token"] = lambda _: (200, ISSUED | change)
        with pytest.raises(Refused):
            await ask(at(work), Client("hub"), {})


@pytest.mark.parametrize(
    ("said", "scopes"), [("a b", ("a", "b")), ("", ()), (None, None), (7, None), (["a"], None)]
)
async def test_the_scopes_that_were_granted_are_told(said, scopes):
    async with login_server() as work:
        work.replies["/token"] = lambda _: (200, ISSUED | {"scope": said})
        assert (await ask(at(work), Client("hub"), {})).scopes == scopes


@pytest.mark.parametrize("lasts", [None, "100", 1 << 31, True])
async def test_a_time_that_is_none_is_not_believed(lasts):
    async with login_server() as work:
        work.replies["/token"] = lambda _: (200, ISSUED | {"expires_in": lasts})
        assert (await ask(at(work), Client("hub"), {})).expires_in in {None, 1}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"error": "invalid_grant"}, Refused, "HTTP 400, invalid_grant"),
        (401, {"error": "invalid_client"}, Refused, "HTTP 401, invalid_client"),
        (400, {"error": "<script> canary"}, Refused, "HTTP 400$"),
        (400, [], Refused, "HTTP 400$"),
        (200, {}, UpstreamUnavailable, "HTTP 200$"),
        (429, {}, UpstreamUnavailable, "HTTP 429"),
        (503, {}, UpstreamUnavailable, "HTTP 503"),
        (302, {}, UpstreamUnavailable, "HTTP 302"),
    ],
)
async def test_what_a_no_says_and_what_may_go_better_later(status, body, kind, words):
    async with login_server() as work:
        work.replies["/token"] = lambda _: (status, body)
        with pytest.raises(UpstreamUnavailable, match=words) as caught:
            await ask(at(work), Client("hub", "s3cret"), {"refresh_token": "s3cret"})
        assert type(caught.value) is kind
        assert "s3cret" not in str(caught.value)


# ---------------------------------------------------------------- revoking

HELD = {"refresh_token": "refresh-1", "access_token": "access-1"}


def revoking(work, reply=lambda _: (200, {}), **more):
    work.metadata = {"revocation_endpoint": f"{work.url}/revoke", **more}
    work.replies["/revoke"] = reply


async def test_tokens_are_revoked_at_the_one_who_gave_them():
    async with login_server() as work:
        revoking(work)
        assert await revoke(work.url, Client("hub", "s:1"), HELD) == ""
        assert [post.form for post in work.posts] == [
            {"token": "refresh-1", "token_type_hint": "refresh_token"},
            {"token": "access-1", "token_type_hint": "access_token"},
        ]
        assert all(post.headers["authorization"].startswith("Basic ") for post in work.posts)
        revoking(work, revocation_endpoint_auth_methods_supported=["client_secret_post"])
        await revoke(work.url, Client("hub", "s:1"), HELD)
        assert work.posts[-1].form["client_secret"] == "s:1"


async def test_who_revokes_refresh_tokens_alone_has_done_what_there_is_to_do():
    def only_refresh(post):
        is_refresh = post.form["token_type_hint"] == "refresh_token"
        return (200, {}) if is_refresh else (400, {"error": "unsupported_token_type"})

    async with login_server() as work:
        revoking(work, only_refresh)
        assert await revoke(work.url, Client("hub"), HELD) == ""
        alone = await revoke(work.url, Client("hub"), {"access_token": "a"})
        assert alone.endswith("/revoke: HTTP 400, unsupported_token_type")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"revocation_endpoint": None}, "offers no revocation"),
        ({"revocation_endpoint": "http://192.0.2.1/"}, "offers no revocation"),
        ({"issuer": "https://evil.example.com"}, "speaks for another issuer"),
        ({}, "/revoke: HTTP 503$"),
    ],
)
async def test_why_they_may_still_be_good_is_told(metadata, words):
    async with login_server() as work:
        revoking(work, lambda _: (503, {}), **metadata)
        why = await revoke(work.url, Client("hub", "s3cret"), HELD)
        assert re.search(words, why)
        assert not [one for one in ("s3cret", *HELD.values()) if one in why]


async def test_a_revocation_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(oauth_server, "REVOKE_S", 0.2)
    async with login_server() as work:
        work.raw = b""
        assert "no answer within 0.2 s" in await revoke(work.url, Client("hub"), HELD)


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000, "over 262,144 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", "HTTP 200"),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff", "HTTP 200"),
        (b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\n\r\n", "HTTP 307"),
        (b"what?\r\n\r\n", "/token: "),
        (b"", "no answer within 1 s"),
    ],
)
async def test_an_answer_that_is_none_is_not_waited_for(monkeypatch, raw, words):
    monkeypatch.setattr(authorization_server, "TIMEOUT_S", 1)
    async with login_server() as work:
        work.raw = raw
        with pytest.raises(UpstreamUnavailable, match=words):
            await ask(at(work), Client("hub"), {})


async def test_an_address_that_is_not_safe_is_never_asked():
    with pytest.raises(UpstreamUnavailable, match="expected https"):
        await authorization_server.get_json("http://192.0.2.1/?key=canary")
