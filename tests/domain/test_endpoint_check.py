import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agenthub.domain.circuit_breaker import BreakerConfig
from agenthub.domain.endpoint import Endpoint, OAuth, RateLimit, Timeouts, ToolPolicy, ToolPrice
from agenthub.domain.endpoint_check import (
    BOUNDS,
    Bounds,
    check_breaker,
    check_endpoint,
    check_header_value,
    check_name,
    check_url,
    is_safe,
)
from agenthub.domain.errors import BadSetting
from agenthub.domain.provider import Llm


def http(**more) -> Endpoint:
    return Endpoint(more.pop("name", "web"), url=more.pop("url", "https://example.org/mcp"), **more)


def model(**more) -> Endpoint:
    return http(url="https://models.example.org/v1", llm=Llm(wires=("chat",)), **more)


def stdio(**more) -> Endpoint:
    return Endpoint("git", command=more.pop("command", ("uvx", "mcp-server-git")), **more)


MACHINE = OAuth("client_credentials", "hub", "${SECRET}", issuer="https://login.example.com")


def refusal(endpoint: Endpoint) -> str:
    with pytest.raises(BadSetting) as caught:
        check_endpoint(endpoint)
    return str(caught.value)


@pytest.mark.parametrize("transport", ["auto", "streamable-http", "sse"])
def test_the_transport_is_one_of_three_and_of_an_address(transport):
    check_endpoint(http(transport=transport))
    assert refusal(http(transport=transport + "x")).startswith("transport: expected auto, stream")
    assert transport == "auto" or "`command`" in refusal(stdio(transport=transport))


@pytest.mark.parametrize("questions", ["all", "no-pages", "none"])
def test_what_a_server_may_ask_is_one_of_three(questions):
    check_endpoint(http(questions=questions))
    assert refusal(http(questions=questions + "s")).startswith("questions: expected all, no-pages")


@pytest.mark.parametrize("pinning", ["allow", "flag", "quarantine"])
def test_pinning_is_one_of_three(pinning):
    check_endpoint(http(pinning=pinning))
    assert refusal(http(pinning=pinning + "\x00")).startswith("pinning: expected allow, flag, ")


@pytest.mark.parametrize(
    "endpoint",
    [
        http(),
        http(rate_limit=None, concurrency=None),
        http(fallbacks=("a", "b", "c"), fallback_url="http://127.0.0.1:9/"),
        http(headers={"Authorization": "Bearer ${T}", "X-Tab": "a\tb"}),
        stdio(env={"PATH": "/bin:/usr/bin", "NODE_OPTIONS": "--max-old-space-size=100"}),
        stdio(command=("/usr/bin/env", "x", "bash -c", ";|$()", "${IFS}"), cwd="/tmp"),
        stdio(fallback_url="http://127.0.0.1:9/", headers={"X-A": "b"}),
        http(tools={"t": ToolPolicy("safe", 10, "u"), "u": ToolPolicy("never")}),
        http(tools={"t": ToolPolicy(price=ToolPrice("0.01", "/structuredContent/cost"))}),
        http(oauth=OAuth()),
        http(oauth=OAuth(client_id="hub", scopes=("a:b", "https://x/y"), issuer="http://[::1]:1")),
        http(oauth=MACHINE, headers={"X-Tenant": "1"}, fallbacks=("a",)),
        http(oauth=structs.replace(MACHINE, client_secret="${file:/run/secrets/x}")),
        http(oauth=structs.replace(MACHINE, grant="token_exchange", audience="n", resource="a:b")),
        http(oauth=OAuth(per="caller")),
    ],
)
def test_a_record_that_can_work_passes(endpoint):
    check_endpoint(endpoint)


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 63, "a-", "calculator"])
def test_names_that_can_stand_before_two_underscores(name):
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "A", "-a", "_a", "a_", "a__b", "a" * 64, "a.b", "a b", "ä", "a\n", "a/b", "../x", "a%2e"],
)
def test_other_names_are_refused(name):
    assert refusal(http(name=name)).startswith("name: expected 1 to 63 of a-z 0-9 - _")


@given(st.from_regex(r"[a-z0-9_-]{1,8}", fullmatch=True), st.from_regex(r"[A-Za-z_]{1,5}"))
def test_a_name_and_a_tools_name_can_be_told_apart(name, tool):
    """`a_` and `t` would make `a___t`, which reads as `a` and `_t`."""
    try:
        check_name(name)
    except BadSetting:
        return
    assert f"{name}__{tool}".partition("__") == (name, "__", tool)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080/mcp", "HTTPS://example.org", "https://[::1]:8/mcp?a=b@c",
        "http://h/${PATH}", "${URL}", "https://${HOST}:${PORT}/", "http://h/@x",
    ],
)  # fmt: skip
def test_web_addresses_pass(url):
    check_url("url", url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///etc/passwd", "begins with http:// or https://"),
        ("gopher://h/", "begins with http:// or https://"),
        ("ftp://h/", "begins with http:// or https://"),
        ("javascript:alert(1)", "begins with http:// or https://"),
        ("unix:///run/x.sock", "begins with http:// or https://"),
        ("http+unix://%2Frun/", "begins with http:// or https://"),
        ("//h/mcp", "begins with http:// or https://"),
        ("h:80", "begins with http:// or https://"),
        ("", "begins with http:// or https://"),
        ("http:/h", "begins with http:// or https://"),
        ("http://user:pw@h/", "without user or password"),
        ("http://user@h?x", "without user or password"),
        ("http://${A}@h", "without user or password"),
        ("http://h#@evil", "without a fragment"),
        ("http://h/#", "without a fragment"),
        ("http://", "expected a host"),
        ("http:///mcp", "expected a host"),
        ("http://:80/", "expected a host"),
        ("http://h:0/", "expected a host"),
        ("http://h:70000/", "the port from 1 to 65535"),
        ("http://h:x/", "the port from 1 to 65535"),
        ("http://[::1/", "the port from 1 to 65535"),
        ("http://h\\@evil/", "without spaces, control"),
        ("http://h/a b", "without spaces, control"),
        ("http://h/\r\nX: y", "without spaces, control"),
        ("http://h/\u2028", "without spaces, control"),
        (" http://h/", "without spaces, control"),
        ("\0", "without spaces, control"),
        ("http://h/" + "x" * 8192, "at most 8192 characters"),
    ],
)
def test_other_addresses_are_refused(url, said):
    for endpoint, key in ((http(url=url), "url"), (http(fallback_url=url), "fallback_url")):
        text = refusal(endpoint)
        assert text.startswith(f"{key}: ")
        assert said in text


def test_a_refused_address_is_not_repeated():
    assert "s3cret" not in refusal(http(url="http://me:s3cret@h/"))


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (Endpoint("a"), "url: expected exactly one of `url` and `command`"),
        (Endpoint("a", url="http://h", command=("x",)), "url: expected exactly one of"),
        (http(env={"A": "b"}), "env: only a server with a `command` has one"),
        (http(cwd="/"), "cwd: only a server with a `command` has one"),
        (stdio(headers={"A": "b"}), "headers: only a server with a `url` has them"),
        (stdio(command=("",)), "command: expected a program, then its arguments"),
        (stdio(command=(" ", "x")), "command: expected a program, then its arguments"),
        (stdio(command=("x", "a\0b")), "command: expected words without NUL"),
        (stdio(command=("./x",)), "command: expected an absolute path or a name on PATH, got './"),
        (stdio(command=("../x",)), "command: expected an absolute path or a name on PATH"),
        (stdio(command=("x", "y" * 100_000)), "command: expected at most 98304 bytes"),
        (stdio(env={"A": "y" * 100_000}), "command: expected at most 98304 bytes"),
        (stdio(cwd="x"), "cwd: expected an absolute path, got 'x'"),
        (stdio(cwd="/\0"), "cwd: expected an absolute path"),
        (stdio(env={"": "x"}), "env: expected names without `=`, got ''"),
        (stdio(env={"A=B": "x"}), "env: expected names without `=`, got 'A=B'"),
        (stdio(env={"A\n": "x"}), "env: expected names without `=`"),
        (stdio(env={"A": "\0"}), "env.A: expected a value without NUL"),
        (stdio(env={"LD_PRELOAD": "x.so"}), "env.LD_PRELOAD: it would load other code"),
        (stdio(env={"PYTHONSTARTUP": "x"}), "env.PYTHONSTARTUP: it would load other code"),
        (stdio(env={"NODE_OPTIONS": "--require x"}), "env.NODE_OPTIONS: it would load other"),
        (stdio(env={"NODE_OPTIONS": "-a -r x"}), "env.NODE_OPTIONS: it would load other"),
        (stdio(env={"PATH": "/bin:."}), "env.PATH: expected absolute folders"),
        (http(headers={"A B": "x"}), "headers: expected a header's name, got 'A B'"),
        (http(headers={"": "x"}), "headers: expected a header's name, got ''"),
        (http(headers={"Host": "x"}), "headers.Host: the hub sets this one itself"),
        (http(headers={"MCP-Session-Id": "x"}), "headers.MCP-Session-Id: the hub sets this one"),
        (http(headers={"X-a": "x", "x-A": "x"}), "headers.x-A: given twice"),
        (http(headers={"A": "x\r\nB: c"}), "headers.A: expected a value without control"),
        (http(headers={"A": "${B}\n"}), "headers.A: expected a value without control"),
        (http(headers={"A": "값"}), "headers.A: expected a value of Latin-1 characters"),
        (http(fallbacks=("a", "b", "c", "d")), "fallbacks: expected at most 3, got 4"),
        (http(fallbacks=("A",)), "fallbacks: expected 1 to 63 of"),
        (http(fallbacks=("web",)), "fallbacks: a server cannot be its own fallback"),
        (http(fallbacks=("a", "a")), "fallbacks: expected each name once"),
        (http(tools={"t": ToolPolicy("x")}), "tools.t.replay: expected `safe` or `never`, got 'x'"),
        (http(tools={"t": ToolPolicy("")}), "tools.t.replay: expected `safe` or `never`, got ''"),
        (http(tools={"t": ToolPolicy(timeout_ms=0)}), "tools.t.timeout_ms: expected a number"),
        (http(tools={"t": ToolPolicy(fallback_name="")}), "tools.t.fallback_name: expected a"),
        (
            http(tools={"t": ToolPolicy(price=ToolPrice("1e9"))}),
            "tools.t.price.each: An amount is written in dollars as a decimal text",
        ),
        (
            http(tools={"t": ToolPolicy(price=ToolPrice("0.01", "cost"))}),
            "tools.t.price.pointer: expected a JSON pointer",
        ),
        (http(tools={"t" * 99: ToolPolicy("x")}), f"tools.{'t' * 61}….replay: "),
        (stdio(oauth=OAuth()), "oauth: only a server with a `url` has it"),
        (http(oauth=OAuth(), fallback_url="http://f/"), "oauth: expected no `fallback_url`"),
        (http(oauth=OAuth(), headers={"authorization": "x"}), "oauth: expected no `Authorization`"),
        (http(oauth=OAuth("password")), "oauth.grant: expected authorization_code or client_cred"),
        (http(oauth=OAuth(client_secret="s3cret")), "oauth.client_secret: expected a reference"),
        (http(oauth=OAuth(client_secret="${A:-s3cret}")), "oauth.client_secret: expected a ref"),
        (http(oauth=OAuth("client_credentials")), "oauth.client_secret: client_credentials needs"),
        (http(oauth=OAuth("token_exchange")), "oauth.client_secret: token_exchange needs it"),
        (http(oauth=OAuth(per="user")), "oauth.per: expected hub or caller, got 'user'"),
        (http(oauth=structs.replace(MACHINE, per="caller")), "oauth.per: nobody signs in by"),
        (http(oauth=OAuth(audience="x")), "oauth.audience: only token_exchange has one"),
        (http(oauth=OAuth(resource="x")), "oauth.resource: only token_exchange has one"),
        (
            http(oauth=structs.replace(MACHINE, grant="token_exchange", resource="http://a/#b")),
            "oauth.resource: expected a name without spaces and `#`",
        ),
        (http(oauth=structs.replace(MACHINE, client_id="")), "oauth.client_id: expected"),
        (http(oauth=structs.replace(MACHINE, issuer="")), "oauth.issuer: expected the"),
        (http(oauth=OAuth(issuer="http://login.example.com")), "oauth.issuer: expected an https"),
        (http(oauth=OAuth(scopes=("a b",))), "oauth.scopes: expected words, got 'a b'"),
        (http(attempts=0), "attempts: expected a number from 1 to 5, got 0"),
        (http(attempts=6), "attempts: expected a number from 1 to 5, got 6"),
        (http(concurrency=0), "concurrency: expected a number from 1 to 10000, got 0"),
        (http(rate_limit=RateLimit(0)), "rate_limit.rps: expected a number above 0 and at most"),
        (http(rate_limit=RateLimit(float("nan"))), "rate_limit.rps: expected a number above 0"),
        (http(rate_limit=RateLimit(float("inf"))), "rate_limit.rps: expected a number above 0"),
        (http(timeouts=Timeouts(call_ms=300_001)), "timeouts.call_ms: expected a number from 10"),
        (http(breaker=BreakerConfig(probes=0)), "breaker.probes: expected a number from 1 to 100"),
        (
            http(breaker=BreakerConfig(recovery_timeout_ms=200_000)),
            "breaker.max_open_ms: expected at least recovery_timeout_ms (200000), got 120000",
        ),
    ],
)  # fmt: skip
def test_a_record_that_cannot_work_is_refused_by_key(endpoint, said):
    assert refusal(endpoint).startswith(said)


def test_a_secret_that_should_be_a_reference_is_not_repeated():
    assert "s3cret" not in refusal(http(oauth=OAuth(client_secret="s3cret")))


@pytest.mark.parametrize(
    ("url", "is_so"),
    [
        ("https://login.example.com/a", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:9/", True),
        ("http://login.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("https://", False),
        ("https://user@login.example.com", False),
        ("https://:pass@login.example.com", False),
        ("https://login.example.com/#x", False),
        ("https://[", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_what_is_read_over_tls_or_on_this_machine_can_be_believed(url, is_so):
    assert is_safe(url) is is_so


def test_a_breakers_configuration_is_checked_alone_too():
    check_breaker(BreakerConfig(recovery_timeout_ms=60_000))
    with pytest.raises(BadSetting, match=r"^failure_threshold: "):
        check_breaker(BreakerConfig(failure_threshold=0))


def test_a_header_that_comes_from_a_reference_is_checked_by_itself():
    check_header_value("h", "a\tb é")
    with pytest.raises(BadSetting, match=r"^h: "):
        check_header_value("h", "\x7f")


HOLDERS = {
    Endpoint: lambda part: part,
    RateLimit: lambda part: http(rate_limit=part),
    Timeouts: lambda part: model(timeouts=part),
    BreakerConfig: lambda part: http(breaker=part),
    ToolPolicy: lambda part: http(tools={"t": part}),
}


@pytest.mark.parametrize(("kind", "key"), list(BOUNDS))
def test_each_number_is_refused_just_outside_its_range_and_taken_at_its_ends(kind, key):
    bounds = BOUNDS[kind, key]
    base = http() if kind is Endpoint else kind()
    room = {"max_open_ms": 86_400_000} if key == "recovery_timeout_ms" else {}
    room = {"recovery_timeout_ms": 10} if key == "max_open_ms" else room
    step = 0.001 if bounds.above else 1

    def holding(value):
        return HOLDERS[kind](structs.replace(base, **room, **{key: value}))

    check_endpoint(holding(bounds.low + (step if bounds.above else 0)))
    check_endpoint(holding(bounds.high))
    assert f"{key}: " in refusal(holding(bounds.low - (0 if bounds.above else 1)))
    assert f"{key}: " in refusal(holding(bounds.high + step))


def test_ranges_read_as_a_person_would_say_them():
    assert str(Bounds(1, 65_535)) == "from 1 to 65535"
    assert str(Bounds(0, 1, above=True)) == "above 0 and at most 1"
