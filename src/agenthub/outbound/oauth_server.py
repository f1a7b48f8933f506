"""The authorization server of an upstream: found, registered with, and asked for tokens.

    the server's 401, or its well-known address ─► which authorization server
      ─► its metadata (exact issuer) ─► registration, if the operator has none ─► tokens

Every request names the server that the token is for (RFC 8707). What a server says of whom to ask
is believed only as far as it cannot lead the hub to machines that the server itself is not on
(A23): plain http is for those on this machine.
Source: MCP specification 2026-07-28, "Authorization"; RFC 9728, 8414, 8707, 7591, 7636, 6749.
"""

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from agenthub.domain.endpoint import OAuth
from agenthub.domain.endpoint_check import is_safe
from agenthub.domain.errors import UpstreamUnavailable
from agenthub.outbound import authorization_server as web
from agenthub.outbound.challenge import SCOPES_MAX, challenge_of, metadata_in, scopes_in
from agenthub.wire import oauth_client

REVOKE_S: Final = 20
"""For all that it takes."""
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name
_ERROR = re.compile(r"[a-z_]{1,60}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,2000}")


class Refused(UpstreamUnavailable):
    """The authorization server said no: a new sign-in, or another setting, has to help."""

    error: str = ""
    """Its word for it (RFC 6749 §5.2)."""


class AuthorizationServer(Struct, frozen=True):
    """What is known of it."""

    issuer: str
    token_endpoint: str
    resource: str
    """What tokens are for: the upstream, as it calls itself."""
    authorization_endpoint: str = ""
    registration_endpoint: str = ""
    scopes: tuple[str, ...] = ()
    """Those to ask for."""
    methods: tuple[str, ...] = ()
    """How clients may show who they are; empty: it does not say."""
    gives_refresh: bool = False
    """Whether `offline_access` is a scope of its."""
    names_itself: bool = False
    """Whether its answers carry `iss` (RFC 9207)."""
    reads_documents: bool = False
    """Whether a client may be known by the address of its metadata document."""


class Client(Struct, frozen=True):
    """Who the hub is to an authorization server."""

    client_id: str
    secret: str = ""
    ends_s: int = 0
    """When the secret ends, wall time; 0: it does not."""


class Tokens(Struct, frozen=True):
    """An answer of the token endpoint."""

    access: str
    refresh: str = ""
    expires_in: int | None = None
    """Seconds; None: it did not say."""
    scopes: tuple[str, ...] | None = None
    """That were granted; None: those that were asked for (RFC 6749 §5.1)."""


async def find(
    url: str, oauth: OAuth, challenge: str, wanted: tuple[str, ...] = ()
) -> AuthorizationServer:
    """Who gives tokens for the upstream at `url`, and with which scopes.

    Those are the operator's; else those `wanted`, which were found to be needed; else those of the
    upstream's `WWW-Authenticate`; else all that its metadata offers; else it is not said.
    `challenge`: the last one that was heard, for an upstream that is silent now.

    Raises:
        UpstreamUnavailable: Nobody is named, or who is named is not to be used; in words.
    """
    challenge = await challenge_of(url) or challenge
    said = await _resource(url, challenge)
    named = _words(said.get("authorization_servers"))
    issuer = oauth.issuer or next((one for one in named if _is_near(one, url)), "")
    if not issuer:
        raise UpstreamUnavailable("it names no authorization server; set oauth.issuer")
    if oauth.issuer and named and oauth.issuer not in named:
        raise UpstreamUnavailable(f"it takes no tokens of {oauth.issuer}; see oauth.issuer")
    about = await web.metadata_of(issuer)
    found = AuthorizationServer(
        issuer,
        _address(about, "token_endpoint", issuer),
        said["resource"],
        authorization_endpoint=_address(about, "authorization_endpoint", issuer),
        registration_endpoint=_address(about, "registration_endpoint", issuer),
        scopes=oauth.scopes or wanted or scopes_in(challenge) or _offered(said),
        methods=_words(about.get("token_endpoint_auth_methods_supported")),
        gives_refresh="offline_access" in _words(about.get("scopes_supported")),
        names_itself=about.get("authorization_response_iss_parameter_supported") is True,
        reads_documents=about.get("client_id_metadata_document_supported") is True
        and oauth.metadata_document,
    )
    if not found.token_endpoint:
        raise UpstreamUnavailable(f"{issuer} names no token_endpoint that can be used")
    if oauth.grant == "authorization_code":
        if not found.authorization_endpoint:
            raise UpstreamUnavailable(f"{issuer} has no page to sign in at")
        if "S256" not in _words(about.get("code_challenge_methods_supported")):
            raise UpstreamUnavailable(f"{issuer} does not offer PKCE (S256), so it is not used")
    return found


async def register(server: AuthorizationServer, hub: str) -> Client:
    """The hub as a client there: by its document, or else registered anew. Raises Refused."""
    if server.reads_documents and (document := oauth_client.document_of(hub)):
        return Client(document)
    if not server.registration_endpoint:
        raise Refused(f"{server.issuer} registers nobody by itself; set oauth.client_id")
    usual = ("none", "client_secret_basic", "client_secret_post")
    method = next((one for one in usual if one in server.methods), "none")
    said = await _post(
        server.registration_endpoint,
        msgspec.json.encode(oauth_client.registration(hub, method)),
        {"content-type": "application/json"},
    )
    client_id, secret = said.get("client_id"), said.get("client_secret", "")
    if not isinstance(client_id, str) or not isinstance(secret, str) or not client_id:
        raise Refused(f"{server.issuer} registered nobody: no client_id")
    ends = said.get("client_secret_expires_at")
    return Client(client_id, secret, ends if type(ends) is int and secret else 0)


def sign_in_address(
    server: AuthorizationServer, client: Client, redirect: str, state: str, challenge: str
) -> str:
    """Where a person lets the hub in; `challenge` is PKCE's, S256."""
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": server.resource,
    }
    scopes = list(server.scopes)
    if server.gives_refresh:
        # Source: OpenID Connect Core §11: without `consent` it is not given.
        scopes.append("offline_access")
        asked["prompt"] = "consent"
    if scopes:
        asked["scope"] = " ".join(dict.fromkeys(scopes))
    mark = "&" if urlsplit(server.authorization_endpoint).query else "?"
    return f"{server.authorization_endpoint}{mark}{urlencode(asked)}"


async def ask(server: AuthorizationServer, client: Client, grant: Mapping[str, str]) -> Tokens:
    """A token. Raises Refused, or UpstreamUnavailable when it may go better later."""
    headers, form = _as_client(client, server.methods, {"resource": server.resource, **grant})
    said = await _post(server.token_endpoint, form, headers)
    access, kind = said.get("access_token"), said.get("token_type", "Bearer")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise Refused(f"{server.issuer} gave no token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Refused(f"{server.issuer} gave a token of another kind than Bearer")
    if said.get("issued_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        raise Refused(f"{server.issuer} exchanged it for something else than an access token")
    refresh, lasts, scope = (said.get(k) for k in ("refresh_token", "expires_in", "scope"))
    if isinstance(lasts, int | float) and lasts < 1:
        raise Refused(f"{server.issuer} gave a token that is over already")
    return Tokens(
        access,
        refresh if isinstance(refresh, str) else "",
        int(lasts) if isinstance(lasts, int | float) and lasts < 1 << 31 else None,
        tuple(scope.split()[:SCOPES_MAX]) if isinstance(scope, str) else None,
    )


async def revoke(issuer: str, client: Client, tokens: Mapping[str, str]) -> str:
    """End these tokens, by their kind, at the one who gave them; empty, or why that is not so.

    Source: RFC 7009. With its refresh token a whole sign-in ends, so who revokes no access tokens
    has done what there is to do.
    """
    try:
        async with asyncio.timeout(REVOKE_S):
            about = await web.metadata_of(issuer)
            address = _address(about, "revocation_endpoint", issuer)
            if not address:
                return f"{issuer} offers no revocation"
            methods = _words(about.get("revocation_endpoint_auth_methods_supported"))
            for kind, token in tokens.items():
                asked = {"token": token, "token_type_hint": kind}
                headers, form = _as_client(client, methods, asked)
                status, said = await web.ask(address, form, headers)
                error = error_word((said or {}).get("error"))
                if status >= 300 and not (error == "unsupported_token_type" and len(tokens) > 1):
                    return f"{address.partition('?')[0]}: HTTP {status}{error and ', '}{error}"
    except UpstreamUnavailable as error:
        return str(error)
    except TimeoutError:
        return f"{issuer}: no answer within {REVOKE_S} s"
    return ""


def error_word(said: Any) -> str:
    """Its word for why not (RFC 6749 §5.2), if it is one: text of its is not repeated."""
    return said if isinstance(said, str) and _ERROR.fullmatch(said) else ""


# ---------------------------------------------------------------- what they say


async def _resource(url: str, challenge: str) -> dict[str, Any]:
    """The upstream's own metadata. An old one has none, and then its origin is asked.

    `resource` is in it, and is a name for this upstream.
    """
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    well_known = f"{origin}/.well-known/oauth-protected-resource"
    named = metadata_in(challenge)
    tried = [well_known + parts.path.rstrip("/"), well_known]
    if named.startswith(f"{origin}/"):
        tried.insert(0, named)
    for address in dict.fromkeys(tried):
        try:
            said = await web.get_json(address)
        except UpstreamUnavailable:
            continue
        resource = said.get("resource")
        # Who speaks for another resource would get tokens that are for that one.
        if not isinstance(resource, str) or not _covers(resource, url):
            raise UpstreamUnavailable(f"{address.partition('?')[0]} speaks for another server")
        return said
    return {"authorization_servers": [origin], "resource": f"{origin}{parts.path}"}


def _covers(resource: str, url: str) -> bool:
    """Whether this names the address, or a place above it on the same origin."""
    mine, its = urlsplit(url), urlsplit(resource)
    if (mine.scheme, mine.netloc.lower()) != (its.scheme, its.netloc.lower()):
        return False
    path = its.path.rstrip("/")
    return mine.path.rstrip("/") == path or mine.path.startswith(path + "/")


def _is_near(address: str, beside: str) -> bool:
    """Whether one who is at `beside` may name this address: https, or both on this machine."""
    if not is_safe(address) or not _VISIBLE.fullmatch(address):
        return False
    return address.startswith("https:") or (beside.startswith("http:") and is_safe(beside))


def _offered(said: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(one for one in _words(said.get("scopes_supported")) if one != "offline_access")


def _words(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(one for one in found[:SCOPES_MAX] if isinstance(one, str))  # pyright: ignore[reportUnknownVariableType]


def _address(about: Mapping[str, Any], name: str, issuer: str) -> str:
    """Empty: there is none, or none that may be used."""
    address = about.get(name)
    return address if isinstance(address, str) and _is_near(address, issuer) else ""


def _as_client(
    client: Client, methods: Sequence[str], form: Mapping[str, str]
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form that shows who asks, in a way that is taken there."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if client.secret and (not methods or "client_secret_basic" in methods):
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form = {**form, "client_id": client.client_id}
        if client.secret:
            form["client_secret"] = client.secret
    return headers, urlencode(form).encode()


async def _post(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Its JSON object. Raises Refused for what will not change by itself."""
    status, said = await web.ask(url, body, headers)
    if status < 300 and said:
        return said
    error = error_word((said or {}).get("error"))
    why = f"{url.partition('?')[0]}: HTTP {status}{error and ', '}{error}"
    if 400 <= status < 500 and status not in {408, 429}:
        refused = Refused(why)
        refused.error = error
        raise refused
    raise UpstreamUnavailable(why)
