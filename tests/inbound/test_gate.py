"""The gate as a pure function: every rule, and the table of addresses."""

import asyncio
import re

import pytest
from support.edge_hub import ADMIN_TOKEN, EdgeHub, settings
from support.rest_hub import RestHub

from agenthub.domain.caller import Scope
from agenthub.inbound import rejection as no
from agenthub.inbound.gate import ANONYMOUS, NEEDS, NOBODY, Admitted, Gate, Need
from agenthub.inbound.rest import create_rest
from agenthub.keys import ADMIN

HOST = (b"host", b"127.0.0.1:8787")
ADMIN_KEY = (b"authorization", b"Bearer " + ADMIN_TOKEN.encode())
JSON = ((b"content-type", b"application/json"), (b"content-length", b"2"))


class Lab:
    """A gate and its keys; `lab(method, target, headers…)` is the verdict, shortened."""

    def __init__(self, **made):
        self.hub = EdgeHub(settings(**made))
        self.gate = Gate(self.hub.settings, self.hub.keys, 8787)
        self.keys = {}

    async def key(self, *scopes, **more):
        row, key = await self.hub.keys.create("k", scopes, **more)
        return row, (b"authorization", b"Bearer " + key.encode())

    def __call__(self, *headers, method="GET", target=b"/api/x", key=ADMIN_KEY, host=HOST,
                 peer="127.0.0.1"):  # fmt: skip
        given = [one for one in (host, key) if one is not None]
        return self.gate.check(method, target, [*given, *headers], peer)


@pytest.fixture
def lab():
    return Lab()


# ---------------------------------------------------------------- the host


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8787", "localhost:8787", "[::1]:8787", "LocalHost:8787"]
)
def test_the_hubs_own_names_are_hosts(lab, host):
    assert isinstance(lab(host=(b"host", host.encode())), Admitted)


@pytest.mark.parametrize(
    "host",
    [
        "evil.com", "evil.com:8787", "127.0.0.1", "127.0.0.1:80", "localhost", "localhost:1",
        "127.0.0.1:8787.evil.com", "127.0.0.1?x", "a#b", "127.0.0.1:8787?x", "127.0.0.1:8787/",
        "x@127.0.0.1:8787", "localhost.:8787", "127.1:8787", "0.0.0.0:8787", "[::]:8787", "",
        "127.0.0.1:8787,evil.com", "127.0.0.1:08787", "127.0.0.1:8787 ", "\xff",
    ],
)  # fmt: skip
def test_any_other_host_is_misdirected(lab, host):
    """A05."""
    assert lab(host=(b"host", host.encode("latin-1"))) is no.MISDIRECTED


def test_no_host_is_misdirected(lab):
    assert lab(host=None) is no.MISDIRECTED


def test_two_hosts_are_refused(lab):
    assert lab(HOST) is no.TWICE
    assert lab((b"host", b"evil.com")) is no.TWICE


def test_hosts_are_checked_before_keys_and_on_probes(lab):
    evil = (b"host", b"evil.com")
    assert lab(host=evil, key=None) is no.MISDIRECTED
    assert lab(host=evil, key=None, target=b"/healthz") is no.MISDIRECTED


@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [
        ("hub.example", True), ("hub.example:443", True), ("HUB.example", True),
        ("exact.example:9000", True), ("exact.example", False), ("exact.example:9001", False),
        ("x.hub.example", False), ("hub.example.evil.com", False), ("hub.example:x", False),
        ("[fd00::1]:8787", True),
    ],
)  # fmt: skip
def test_allowed_hosts_are_names_with_any_port_or_exact(host, is_let_in):
    allowed = ("hub.example", "exact.example:9000", "[fd00::1]")
    lab = Lab(server={"allowed_hosts": allowed})
    assert isinstance(lab(host=(b"host", host.encode())), Admitted) == is_let_in


def test_the_address_that_is_listened_at_is_a_host():
    lab = Lab(host="192.0.2.7")
    assert isinstance(lab(host=(b"host", b"192.0.2.7:8787")), Admitted)
    assert isinstance(Lab(host="2001:DB8::7")(host=(b"host", b"[2001:db8::7]:8787")), Admitted)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "some-name"])
def test_an_address_that_means_all_is_no_host(host):
    assert Lab(host=host)(host=(b"host", f"{host}:8787".encode())) is no.MISDIRECTED


def test_port_80_may_go_without_saying():
    hub = EdgeHub(settings())
    gate = Gate(hub.settings, hub.keys, 80)
    for host in (b"localhost", b"localhost:80"):
        verdict = gate.check("GET", b"/api/x", [(b"host", host), ADMIN_KEY], "127.0.0.1")
        assert isinstance(verdict, Admitted)


# ---------------------------------------------------------------- the target


def test_a_target_is_a_path_and_a_query(lab):
    address = lab(target=b"/api/x?a=%2f&b=//").address
    assert (address.path, address.query) == ("/api/x", b"a=%2f&b=//")


def test_an_absolute_target_counts_if_it_names_the_same_host(lab):
    """A05; RFC 9112 §3.2.2 has servers take it."""
    address = lab(target=b"http://127.0.0.1:8787/api/x?q").address
    assert (address.path, address.query) == ("/api/x", b"q")
    assert lab(target=b"http://evil.com/api/x") is no.MISDIRECTED
    assert lab(target=b"http://localhost:8787/api/x") is no.MISDIRECTED
    assert lab(target=b"http://127.0.0.1:8787") is no.NOT_FOUND


@pytest.mark.parametrize(
    "target",
    [b"*", b"", b"evil.com:443", b"ftp://127.0.0.1:8787/", b"mcp", b"/mcp#x", b"/api/x?a#b",
     b"http://127.0.0.1:8787/mcp#x"],
)  # fmt: skip
def test_a_target_that_is_no_path_is_refused(lab, target):
    assert lab(target=target) is no.TARGET


def test_the_id_of_a_call_that_was_reported_stands_in_an_address(lab):
    """It is the reporter's, a colon, and a digest."""
    target = b"/api/usage/calls/k1:1b5706adadb1d05f1346687b9faa56a1"
    assert lab(target=target).caller.id


TRICKS = [
    b"//mcp", b"/mcp/", b"/mcp//x", b"/mcp/../admin", b"/mcp/..", b"/mcp/.", b"/./mcp", b"/mcp/.x",
    b"/mcp.", b"/%6dcp", b"/mcp%2f", b"/mcp%2fx", b"/mcp/%2e%2e/api/x", b"/mcp;x", b"/mcp/x;y",
    b"/mcp\\x", b"/MCP", b"/Mcp", b"/api", b"/api/", b"/API/x", b"/metrics/", b"/metrics/x",
    b"/healthz/", b"/healthz/x", b"/healthz;x", b"/healthz%00", b"/\xff", b"/", b"/mcp:x",
    b"/.well-known", b"/.well-known/", b"/.well-known/.x", b"/x/.well-known/y",
    b"/docs", b"/redoc", b"/readyz//", b"/openapi.json/",
]  # fmt: skip


@pytest.mark.parametrize("target", TRICKS)
def test_an_odd_spelling_is_no_way_round_the_key(lab, target):
    """A09: without a key the same 401 as the canonical path, with one a 404."""
    assert lab(target=target, key=None) is no.UNAUTHORIZED
    assert lab(target=target) is no.NOT_FOUND


def test_addresses_are_remembered_up_to_a_bound(lab):
    """A45: nobody fills the memory with made-up names."""
    for number in range(3_000):
        lab(target=b"/mcp/%d" % number, method="POST")
        lab(target=b"/nothing/%d" % number)
        lab(target=b"/mcp?%d" % number)
    assert len(lab.gate._addresses) <= 1_024
    assert all(path.startswith(b"/mcp/") for path in lab.gate._addresses)


# ---------------------------------------------------------------- browsers


def origin(value):
    return (b"origin", value.encode())


def site(value):
    return (b"sec-fetch-site", value.encode())


def test_programs_send_no_origin_and_come_in(lab):
    assert isinstance(lab(), Admitted)


@pytest.mark.parametrize(
    "value",
    [
        "https://evil.com", "null", "", "http://localhost.evil.com", "http://127.0.0.1:1",
        "http://127.0.0.1", "http://localhost:8787", "HTTP://127.0.0.1:8787", "file://",
        "chrome-extension://abcdefghijklmnop", "moz-extension://x", "http://127.0.0.1:8787/",
        "http://127.0.0.1:8787, https://evil.com",
    ],
)  # fmt: skip
def test_pages_of_other_origins_are_refused(lab, value):
    """A06."""
    for target in (b"/api/x", b"/mcp", b"/healthz", b"/nothing"):
        assert lab(origin(value), target=target) is no.CROSS_SITE
        assert lab(origin(value), target=target, key=None) is no.CROSS_SITE


def test_the_hubs_own_pages_come_in(lab):
    for scheme in ("http", "https"):
        own = origin(f"{scheme}://127.0.0.1:8787")
        assert isinstance(lab(own, site("same-origin")), Admitted)


def test_allowed_origins_come_in_wherever_they_are(lab):
    lab = Lab(server={"allowed_origins": ("chrome-extension://abc", "https://app.example")})
    assert isinstance(lab(origin("chrome-extension://abc"), site("none")), Admitted)
    assert isinstance(lab(origin("https://app.example"), site("cross-site")), Admitted)
    assert lab(origin("chrome-extension://abd")) is no.CROSS_SITE


def test_an_own_origin_on_another_port_of_an_allowed_host_is_another_site():
    lab = Lab(server={"allowed_hosts": ("hub.example",)})
    host = (b"host", b"hub.example")
    assert isinstance(lab(origin("https://hub.example"), host=host), Admitted)
    assert lab(origin("https://hub.example:9999"), host=host) is no.CROSS_SITE


@pytest.mark.parametrize("where", ["cross-site", "same-site", "none", "", "SAME-ORIGIN"])
def test_without_an_origin_the_fetchs_site_decides(lab, where):
    """A06: `<img src>` and the like send no Origin."""
    assert lab(site(where)) is no.CROSS_SITE
    assert isinstance(lab(site("same-origin")), Admitted)


def test_what_a_person_opens_comes_in_but_not_to_the_api(lab):
    link = (
        site("cross-site"), (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document"),
    )  # fmt: skip
    assert isinstance(lab(site("none"), target=b"/healthz"), Admitted)
    assert isinstance(lab(*link, target=b"/healthz"), Admitted)
    assert lab(*link) is no.CROSS_SITE
    assert lab(*link, target=b"/healthz", method="POST") is no.CROSS_SITE
    assert lab(*link[:2], (b"sec-fetch-dest", b"iframe"), target=b"/healthz") is no.CROSS_SITE
    assert lab(link[0], link[2], target=b"/healthz") is no.CROSS_SITE


def test_preflights_are_refused_even_from_allowed_origins():
    lab = Lab(server={"allowed_origins": ("https://app.example",)})
    asked = (b"access-control-request-method", b"POST")
    assert lab(asked, method="OPTIONS") is no.CROSS_SITE
    assert lab(asked, origin("https://app.example"), method="OPTIONS") is no.CROSS_SITE


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_comes_as_a_bearer(lab, scheme):
    key = (b"authorization", f"{scheme} {ADMIN_TOKEN}".encode())
    assert lab(key=key).caller is ADMIN


def test_a_key_may_come_as_an_extensions_token(lab):
    assert lab(key=(b"x-extension-token", ADMIN_TOKEN.encode())).caller is ADMIN
    assert lab(key=(b"x-extension-token", b"wrong")) is no.UNAUTHORIZED


@pytest.mark.parametrize(
    "value",
    [
        "", "Bearer", "Bearer ", ADMIN_TOKEN, f"Basic {ADMIN_TOKEN}", f"Bearer  x{ADMIN_TOKEN}",
        f"Bearer {ADMIN_TOKEN} x", f"Bearer\t{ADMIN_TOKEN}", f"Token {ADMIN_TOKEN}",
        "Bearer ' OR 1=1--", "Bearer x'); DROP TABLE keys;--", "Bearer \xff\xfe", "Bearer a\0b",
        "Bearer " + "a" * 1_000_000, f"Bearer {ADMIN_TOKEN},Bearer x", f"Bearer {ADMIN_TOKEN}x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_anonymous", [False, True])
def test_anything_else_is_nobody(value, is_anonymous):
    """A01; and a wrong key is not taken for none, where none would do."""
    lab = Lab(anonymous=is_anonymous)
    assert lab(key=(b"authorization", value.encode("latin-1"))) is no.UNAUTHORIZED


def test_of_two_keys_none_is_chosen(lab):
    extension = (b"x-extension-token", ADMIN_TOKEN.encode())
    assert lab(ADMIN_KEY) is no.UNAUTHORIZED
    assert lab(extension) is no.UNAUTHORIZED
    assert lab(extension, key=extension) is no.UNAUTHORIZED


@pytest.mark.parametrize("name", ["token", "access_token", "key", "api_key", "authorization"])
def test_a_key_in_the_query_or_a_cookie_is_none(lab, name):
    """A03."""
    target = f"/api/x?{name}={ADMIN_TOKEN}".encode()
    cookie = (b"cookie", f"{name}={ADMIN_TOKEN}".encode())
    assert lab(target=target, key=None) is no.UNAUTHORIZED
    assert lab(cookie, key=None) is no.UNAUTHORIZED


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_needs_no_key_where_the_settings_say_so(peer):
    lab = Lab(anonymous=True)
    verdict = lab(key=None, peer=peer)
    assert verdict.caller is ANONYMOUS
    assert {scope for scope in Scope if ANONYMOUS.may(scope)} == {Scope.TOOLS, Scope.READ}
    assert Lab()(key=None, peer=peer) is no.UNAUTHORIZED


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:192.0.2.1", "10.0.0.1", "", "localhost"])
def test_who_is_not_on_loopback_always_needs_a_key(peer):
    assert Lab(anonymous=True)(key=None, peer=peer) is no.UNAUTHORIZED


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"])
def test_what_a_proxy_passes_on_is_not_from_loopback(name):
    """A42: and no header makes anybody local either."""
    assert Lab(anonymous=True)((name, b"127.0.0.1"), key=None) is no.UNAUTHORIZED
    assert Lab(anonymous=True)((name, b"127.0.0.1"), key=None, peer="192.0.2.1") is no.UNAUTHORIZED


async def test_a_revoked_or_expired_key_is_nobody(lab):
    row, key = await lab.key(Scope.READ)
    caller = lab(key=key).caller
    assert lab.gate.holds(caller)
    await lab.hub.keys.revoke(row.id)
    assert lab(key=key) is no.UNAUTHORIZED
    assert not lab.gate.holds(caller)
    _, old = await lab.key(Scope.READ, expires_at=1)
    assert lab(key=old) is no.UNAUTHORIZED


# ---------------------------------------------------------------- addresses and scopes

SHOULD = {
    # address: who comes in, of: nobody, no scope, tools, llm, read, admin
    "/v1/x": "llm admin",
    "/v1/logs": "ingest admin",
    "/v1/metrics": "ingest admin",
    "/v1/traces": "ingest admin",
    "/v1beta/x": "llm admin",
    "/v1/models/groq%2Fllama-3.3": "llm admin",
    "/v1beta/models/gemini-3:generateContent": "llm admin",
    "/healthz": "nobody none tools llm ingest read admin",
    "/readyz": "nobody none tools llm ingest read admin",
    "/.well-known/x": "nobody none tools llm ingest read admin",
    "/client-metadata.json": "nobody none tools llm ingest read admin",
    "/oauth/callback": "nobody none tools llm ingest read admin",
    "/oauth/sign-in": "nobody none tools llm ingest read admin",
    "/oauth/x": "",
    "/metrics": "read admin",
    "/openapi.json": "read admin",
    "/mcp": "tools admin",
    "/mcp/x": "tools admin",
    "/mcp/x/y": "tools admin",
    "/messages": "tools admin",
    "/sse": "tools admin",
    "/sse/x": "tools admin",
    "/api/x": "none tools llm ingest read admin",
    "/api/x/y/z": "none tools llm ingest read admin",
    "/nothing": "",
    "/": "",
}


@pytest.mark.parametrize("path", SHOULD)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
async def test_each_address_lets_in_who_it_should(lab, path, method):
    keys = {"nobody": None, "admin": ADMIN_KEY}
    for name, scopes in (
        ("none", ()),
        ("tools", (Scope.TOOLS,)),
        ("llm", (Scope.LLM,)),
        ("ingest", (Scope.INGEST,)),
        ("read", (Scope.READ,)),
    ):
        _, keys[name] = await lab.key(*scopes)
    verdicts = {
        name: lab(method=method, target=path.encode(), key=key) for name, key in keys.items()
    }
    let_in = {name for name, verdict in verdicts.items() if isinstance(verdict, Admitted)}
    assert let_in == set(SHOULD[path].split())
    if "nobody" not in let_in:
        assert verdicts["nobody"] is no.UNAUTHORIZED
    others = {v for n, v in verdicts.items() if n not in let_in and n != "nobody"}
    assert others <= ({no.FORBIDDEN} if let_in else {no.NOT_FOUND})


def test_a_probe_with_a_wrong_key_is_a_probe(lab):
    verdict = lab(target=b"/readyz", key=(b"authorization", b"Bearer wrong"))
    assert verdict.caller is NOBODY
    assert lab(target=b"/readyz").caller is ADMIN


def test_every_address_in_the_table_is_covered_here():
    for path in NEEDS:
        assert path + "x" * path.endswith("/") in SHOULD


async def test_every_route_of_rest_has_a_line_in_the_table(lab):
    """A04: a route that nobody thought of is refused, and this test fails."""
    app = await asyncio.to_thread(create_rest, RestHub())
    paths = {route.path for route in _routes(app)}
    assert len(paths) > 10
    for path in paths:
        concrete = re.sub(r"\{[^}]*\}", "x", path)
        verdict = lab(target=concrete.encode())
        assert isinstance(verdict, Admitted), f"{path}: no line in gate.NEEDS"
        assert verdict.address.need is not Need.NOTHING
        assert lab(target=concrete.encode(), key=None) is no.UNAUTHORIZED


def _routes(app):
    """FastAPI keeps included routers whole; walk into them."""
    found = []
    stack = list(app.routes)
    while stack:
        route = stack.pop()
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if inner:
            stack.extend(inner)
        else:
            found.append(route)
    return found


# ---------------------------------------------------------------- framing and the body's kind


def body(*headers, target=b"/mcp", **more):
    return {"method": "POST", "target": target, "headers": headers, **more}


@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8"]
)
def test_json_comes_in(lab, kind):
    headers = ((b"content-length", b"2"), (b"content-type", kind.encode()))
    assert isinstance(lab(*headers, method="POST", target=b"/mcp"), Admitted)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "text/json",
     "multipart/form-data; boundary=x", "", "application/jsonx", "application/json,text/plain"],
)  # fmt: skip
def test_a_body_that_is_not_json_is_refused(lab, kind):
    """A07, A08: what a page can send without asking."""
    typed = (b"content-type", kind.encode())
    for framing in ((b"content-length", b"2"), (b"transfer-encoding", b"chunked")):
        for target in (b"/mcp", b"/api/x"):
            assert lab(typed, framing, method="POST", target=target) is no.NOT_JSON
            assert lab(framing, method="POST", target=target) is no.NOT_JSON


def test_without_a_body_no_kind_is_needed(lab):
    assert isinstance(lab(method="POST"), Admitted)
    assert isinstance(lab((b"content-length", b"0"), method="POST"), Admitted)


@pytest.mark.parametrize(
    "coding", ["gzip", "br", "deflate", "zstd", "gzip, gzip", "identity, gzip"]
)
def test_a_body_is_never_unpacked(lab, coding):
    """A12."""
    assert lab(*JSON, (b"content-encoding", coding.encode()), method="POST") is no.ENCODED
    assert isinstance(lab(*JSON, (b"content-encoding", b"Identity"), method="POST"), Admitted)


def test_a_body_over_the_limit_is_refused_by_its_length():
    """A12."""
    lab = Lab(body_bytes=1024)
    kind = (b"content-type", b"application/json")
    assert isinstance(lab(kind, (b"content-length", b"1024"), method="POST"), Admitted)
    assert lab(kind, (b"content-length", b"1025"), method="POST") is no.TOO_LARGE
    assert lab(kind, (b"content-length", b"1025"), method="POST", key=None) is no.UNAUTHORIZED


@pytest.mark.parametrize(
    "coding", ["xchunked", "gzip, chunked", "chunked, chunked", "identity", ""]
)
def test_only_chunks_are_a_coding(lab, coding):
    """A10."""
    assert lab((b"transfer-encoding", coding.encode()), method="POST") is no.CODING


def test_no_request_has_two_lengths(lab):
    """A10."""
    both = ((b"transfer-encoding", b"chunked"), (b"content-length", b"2"))
    assert lab(*both, method="POST") is no.CODING
    assert lab((b"content-length", b"2"), (b"content-length", b"2"), method="POST") is no.TWICE
    twice = [(b"transfer-encoding", b"chunked")] * 2
    assert lab(*twice, method="POST") is no.TWICE


@pytest.mark.parametrize("length", ["", "-1", "+2", "0x2", "2,2", "2 3", "1e3", "²", "9" * 30])
def test_a_length_is_a_number(lab, length):
    assert lab((b"content-length", length.encode()), method="POST") is no.MALFORMED


# ---------------------------------------------------------------- what is said


def test_a_refusal_has_one_shape_and_says_nothing_of_the_hub():
    """A49."""
    refusals = [one for one in vars(no).values() if isinstance(one, no.Rejection)]
    assert len(refusals) > 15
    for refusal in refusals:
        shown = refusal.body("r-1").decode()
        assert '"request_id":"r-1"' in shown
        assert f'"status":{refusal.status}' in shown
        assert "agenthub/" not in shown
        assert "Traceback" not in shown
        assert len(shown) < 400


def test_who_has_no_key_is_told_how_to_show_one():
    assert (b"www-authenticate", b"Bearer") in no.UNAUTHORIZED.headers


@pytest.mark.parametrize("kind", [b"application/json", b"application/x-protobuf; x=y"])
@pytest.mark.parametrize("coding", [b"gzip", b"identity"])
def test_telemetry_may_be_protobuf_and_packed_and_nothing_else_may(lab, kind, coding):
    head = [(b"content-type", kind), (b"content-length", b"5"), (b"content-encoding", coding)]
    assert isinstance(lab(*head, method="POST", target=b"/v1/logs"), Admitted)
    is_plain = (kind, coding) == (b"application/json", b"identity")
    for target in (b"/api/x", b"/mcp", b"/v1/chat/completions"):
        assert isinstance(lab(*head, method="POST", target=target), Admitted) == is_plain


@pytest.mark.parametrize(
    ("kind", "coding"),
    [
        (b"text/plain", b"identity"), (b"application/x-www-form-urlencoded", b"identity"),
        (b"application/json", b"br"), (b"application/json", b"gzip, gzip"), (b"", b"identity"),
    ],
)  # fmt: skip
def test_telemetry_of_another_kind_is_refused(lab, kind, coding):
    head = [(b"content-type", kind), (b"content-length", b"5"), (b"content-encoding", coding)]
    assert lab(*head, method="POST", target=b"/v1/traces") is no.NO_TELEMETRY
