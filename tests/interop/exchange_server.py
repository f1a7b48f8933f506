"""A real authorization server that exchanges tokens (RFC 8693): idpyoidc, with nobody's data in it.

    python exchange_server.py PORT LASTS HUB UPSTREAM

Tokens are JWTs. What it mints for the client `hub` is made out to UPSTREAM. No part of OAuth:
GET /test/token?who=anna is what a client of that person holds, made out to HUB.
"""

import contextlib
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptojwt.key_jar import build_keyjar
from idpyoidc.message.oauth2 import AuthorizationRequest
from idpyoidc.server import Server
from idpyoidc.server.authn_event import create_authn_event
from idpyoidc.server.authz import AuthzHandling
from idpyoidc.server.configure import ASConfiguration
from idpyoidc.server.oauth2.authorization import Authorization
from idpyoidc.server.oauth2.server_metadata import ServerMetadata
from idpyoidc.server.oauth2.token import Token
from idpyoidc.server.oauth2.token_helper import validate_token_exchange_policy
from idpyoidc.server.oauth2.token_helper.client_credentials import ClientCredentials
from idpyoidc.server.oauth2.token_helper.token_exchange import TokenExchangeHelper
from idpyoidc.server.token.jwt_token import JWTToken
from idpyoidc.server.user_info import UserInfo

PORT, LASTS, HUB, UPSTREAM = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
ME = f"http://127.0.0.1:{PORT}"
SCOPES = ["agenthub:tools", "notes:read"]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class ForUpstream(JWTToken):
    """By the library's hook: it leaves out for whom a token is that came of an exchange."""

    def load_custom_claims(self, payload=None):
        return {"client_id": "hub", **payload, "aud": payload.get("aud") or [UPSTREAM]}


class Bearers(ClientCredentials):
    """The library calls its tokens `access_token` here, and cannot give a client a second one."""

    def process_request(self, req, **kwargs):
        with contextlib.suppress(KeyError):
            server.context.session_manager.delete(["client_credentials", req["client_id"]])
        return {**super().process_request(req, **kwargs), "token_type": "Bearer"}


def keys(use, *names):
    defined = [{"type": "OCT", "use": [use], "kid": name} for name in names]
    return {"kwargs": {"keys": {"key_defs": defined}, "iterations": 1}}


def named(a_class, **kwargs):
    return {"class": f"{a_class.__module__}.{a_class.__name__}", "kwargs": kwargs}


USAGE = {"access_token": {"supports_minting": ["access_token"], "expires_in": LASTS}}
POLICY = {"function": validate_token_exchange_policy, "kwargs": {"resource": [UPSTREAM]}}
GRANTS = {
    "client_credentials": named(Bearers),
    EXCHANGE: named(
        TokenExchangeHelper, requested_token_types_supported=[ACCESS_TOKEN], policy={"": POLICY}
    ),
}
CONF = {
    "issuer": ME,
    "httpc_params": {"timeout": 1},
    "key_conf": {"key_defs": [{"type": "RSA", "use": ["sig"]}], "uri_path": "jwks"},
    "token_handler_args": {
        "jwks_def": {"key_defs": [{"type": "oct", "bytes": 24, "use": ["enc"], "kid": "code"}]},
        "code": {"lifetime": 60},
        "token": named(ForUpstream, lifetime=LASTS, alg="RS256"),
    },
    "endpoint": {
        "metadata": {"path": ".well-known/oauth-authorization-server", **named(ServerMetadata)},
        "authorization": {"path": "authorization", **named(Authorization)},
        "token": {
            "path": "token",
            **named(Token, client_authn_method=["client_secret_basic"], grant_types_helpers=GRANTS),
        },
    },
    "scopes_to_claims": {scope: [] for scope in SCOPES},
    "session_params": {"encrypter": keys("enc", "password", "salt")},
    "authz": named(AuthzHandling, grant_config={"usage_rules": USAGE}),
    "userinfo": named(UserInfo, db={"anna": {}, "berta": {}}),
}


def open_server():
    keyjar = build_keyjar([{"type": "RSA", "use": ["sig"]}], issuer_id="")
    keyjar.import_jwks(keyjar.export_jwks(private=True, issuer_id=""), ME)
    folder = tempfile.mkdtemp()
    made = Server(ASConfiguration(conf=CONF, base_path=folder), keyjar=keyjar, cwd=folder)
    for name in ("hub", "front"):
        made.context.cdb[name] = {
            "client_id": name, "client_secret": f"secret-of-the-{name}", "client_salt": "salt",
            "redirect_uris": [("https://front.example.com/back", {})],
            "response_types_supported": ["code"], "allowed_scopes": SCOPES,
            "grant_types_supported": list(GRANTS),
        }  # fmt: skip
    return made


server = open_server()


def token_of(who):
    """What a client has after this person signed in."""
    sessions, rules = server.context.session_manager, server.context.authz.usage_rules("front")
    asked = AuthorizationRequest(
        client_id="front", redirect_uri="https://front.example.com/back", scope=SCOPES,
        state="s", response_type="code",
    )  # fmt: skip
    session = sessions.create_session(
        create_authn_event(who), asked, user_id=who, client_id="front", token_usage_rules=rules
    )
    grant = sessions[session]
    grant.scope = SCOPES
    endpoint = server.get_endpoint("token")
    return endpoint.grant_type_helper[EXCHANGE]._mint_token(
        token_class="access_token", grant=grant, session_id=session, client_id="front",
        scope=SCOPES, token_args={"resources": [HUB]}, token_type="Bearer",
    ).value  # fmt: skip


class Door(BaseHTTPRequestHandler):
    def do_GET(self):
        address = urlsplit(self.path)
        if address.path == "/jwks":
            self.answer(server.keyjar.export_jwks_as_json(issuer_id=""))
        elif address.path == "/test/token":
            self.answer(token_of(parse_qs(address.query)["who"][0]))
        elif address.path.startswith("/.well-known/"):
            endpoint = server.get_endpoint("server_metadata")
            self.answer(endpoint.do_response(**endpoint.process_request())["response"])
        else:
            self.send_error(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        about = {"headers": headers, "method": "POST", "url": f"{ME}/token"}
        endpoint = server.get_endpoint("token")
        form = {key: values[0] for key, values in parse_qs(body).items()}
        asked = endpoint.parse_request(form, http_info=about)
        said = asked if "error" in asked else endpoint.process_request(asked)
        status = 400 if "error" in said else 200
        self.answer(endpoint.do_response(request=asked, **said)["response"], status)

    def answer(self, text, status=200):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", PORT), Door).serve_forever()
