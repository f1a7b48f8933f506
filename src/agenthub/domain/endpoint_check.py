"""What an endpoint's record must be, before anything is done with it (A19, A26).

Every refusal names the key. A value with a reference in it (`${NAME}`) is looked at again when
the reference is filled in.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from agenthub.domain.circuit_breaker import BreakerConfig
from agenthub.domain.endpoint import Endpoint, OAuth, RateLimit, Timeouts, ToolPolicy
from agenthub.domain.errors import BadSetting
from agenthub.domain.provider import CALL_MS, DEMO, Llm, check_llm


class Bounds(Struct, frozen=True):
    """The range of a number, both ends included."""

    low: float
    high: float
    above: bool = False
    """Whether `low` itself is left out."""

    def holds(self, number: float) -> bool:
        return (self.low < number if self.above else self.low <= number) and number <= self.high

    def __str__(self) -> str:
        if self.above:
            return f"above {self.low:g} and at most {self.high:.15g}"
        return f"from {self.low:g} to {self.high:.15g}"


MILLION: Final = 1_000_000
HOUR_MS: Final = 3_600_000
CAP_MS: Final = 300_000
"""No call takes longer (R40), but one of a language model (`provider.CALL_MS`)."""

BOUNDS: Final[Mapping[tuple[type, str], Bounds]] = {
    (RateLimit, "rps"): Bounds(0, MILLION, above=True),
    (RateLimit, "burst"): Bounds(1, MILLION),
    (Timeouts, "connect_ms"): Bounds(10, CAP_MS),
    (Timeouts, "idle_ms"): Bounds(10, CAP_MS),
    (Timeouts, "call_ms"): Bounds(10, CALL_MS),
    (ToolPolicy, "timeout_ms"): Bounds(10, CAP_MS),
    (Endpoint, "concurrency"): Bounds(1, 10_000),
    (Endpoint, "private_sessions"): Bounds(0, 1_000),
    (Endpoint, "attempts"): Bounds(1, 5),
    (Endpoint, "grace_s"): Bounds(0, 31 * 86_400),
    (BreakerConfig, "failure_threshold"): Bounds(1, 1_000),
    (BreakerConfig, "recovery_timeout_ms"): Bounds(10, CAP_MS),
    (BreakerConfig, "max_open_ms"): Bounds(10, 24 * HOUR_MS),
    (BreakerConfig, "window_ms"): Bounds(1_000, HOUR_MS),
    (BreakerConfig, "min_calls"): Bounds(1, MILLION),
    (BreakerConfig, "failure_rate"): Bounds(0, 1, above=True),
    (BreakerConfig, "slow_call_ms"): Bounds(1, CAP_MS),
    (BreakerConfig, "slow_rate"): Bounds(0, 1, above=True),
    (BreakerConfig, "overdue_calls"): Bounds(1, MILLION),
    (BreakerConfig, "probes"): Bounds(1, 100),
    (BreakerConfig, "probes_to_close"): Bounds(1, 100),
    (BreakerConfig, "probe_lease_ms"): Bounds(100, HOUR_MS),
    (BreakerConfig, "stable_ms"): Bounds(0, HOUR_MS),
    (BreakerConfig, "ramp"): Bounds(1, MILLION),
}
"""The range of every number that an endpoint has."""

TRANSPORTS: Final = ("auto", "streamable-http", "sse")
QUESTIONS: Final = ("all", "no-pages", "none")
FALLBACKS_MAX: Final = 3
URL_MAX: Final = 8_192
COMMAND_MAX_BYTES: Final = 96 * 1024
"""Of program, arguments and environment together: they travel to the new process in one piece."""
REFERENCE: Final = "${"
POLICIES: Final = ("allow", "flag", "quarantine")
"""Of pinning."""

PURE_REFERENCE: Final = re.compile(r"\$\{(?:file:|env:)?[^{}:]+\}")
"""Nothing but a reference: there is nothing in it to hide."""
GRANTS: Final = ("authorization_code", "client_credentials", "token_exchange")
OWNERS: Final = ("hub", "caller")
"""Whose tokens there are."""
_PLACE = re.compile(r"[\x21\x22\x24-\x7e]{1,2000}")
"""Of audience and resource. Source: RFC 8707, 2: without a fragment."""
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
"""Source: RFC 6749, 3.3."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9-])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
"""A header's name. Source: RFC 9110, 5.6.2."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_TAB = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\x9f\\\u2028\u2029\s]")
_OWN_HEADERS = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-encoding", "content-length",
        "content-type", "expect", "host", "keep-alive", "last-event-id", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""What the hub itself must say of each request."""
_LOADERS = frozenset(
    {
        "BASH_ENV", "DYLD_INSERT_LIBRARIES", "LD_AUDIT", "LD_PRELOAD", "PERL5OPT", "PYTHONSTARTUP",
        "RUBYOPT",
    }
)  # fmt: skip
"""Variables that run code other than the command's own (A26)."""
_NODE_LOADS = re.compile(r"(?:^|\s)(?:-r|--require|--import|--loader|--experimental-loader)\b")


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises BadSetting, which names the key and says what was expected."""
    check_name(endpoint.name)
    _check_place(endpoint)
    _check_process(endpoint)
    _check_headers(endpoint)
    if endpoint.oauth is not None:
        _check_oauth(endpoint, endpoint.oauth)
    _check_fallbacks(endpoint)
    if endpoint.questions not in QUESTIONS:
        raise BadSetting(
            f"questions: expected {', '.join(QUESTIONS)}; got {_shown(endpoint.questions)!r}"
        )
    _check_numbers("", endpoint)
    if endpoint.pinning not in POLICIES:
        raise BadSetting(
            f"pinning: expected {', '.join(POLICIES)}, got {_shown(endpoint.pinning)!r}"
        )
    if endpoint.rate_limit is not None:
        check_rate_limit(endpoint.rate_limit)
    _check_numbers("timeouts.", endpoint.timeouts)
    check_breaker(endpoint.breaker, "breaker.")
    for tool, policy in endpoint.tools.items():
        _check_policy(f"tools.{_shown(tool)}.", policy)


def _check_place(endpoint: Endpoint) -> None:
    """Where it is, and what is spoken there."""
    if endpoint.llm is not None:
        _check_provider(endpoint, endpoint.llm)
    else:
        _check_server(endpoint)
    if endpoint.url is not None:
        check_url("url", endpoint.url)
    if endpoint.transport not in TRANSPORTS:
        raise BadSetting(
            f"transport: expected {', '.join(TRANSPORTS)}; got {_shown(endpoint.transport)!r}"
        )
    if endpoint.command and endpoint.transport != "auto":
        raise BadSetting("transport: expected none with `command`, which is spoken to by its pipes")
    if endpoint.fallback_url is not None:
        check_url("fallback_url", endpoint.fallback_url)


def check_rate_limit(limit: RateLimit) -> None:
    """Raises BadSetting."""
    _check_numbers("rate_limit.", limit)


def check_breaker(config: BreakerConfig, prefix: str = "") -> None:
    """Raises BadSetting; `prefix` goes before the key that it names."""
    _check_numbers(prefix, config)
    if config.recovery_timeout_ms > config.max_open_ms:
        raise BadSetting(
            f"{prefix}max_open_ms: expected at least recovery_timeout_ms"
            f" ({config.recovery_timeout_ms}), got {config.max_open_ms}"
        )


def check_name(name: str, key: str = "name") -> None:
    """Raises BadSetting unless the name can stand before `__` and a tool's name."""
    if not _NAME.fullmatch(name) or "__" in name:
        raise BadSetting(
            f"{key}: expected 1 to 63 of a-z 0-9 - _, beginning with a letter or digit, without"
            f" `__`, and not ending with `_`; got {_shown(name)!r}"
        )


def check_url(key: str, url: str) -> None:
    """Raises BadSetting unless it is an `http` or `https` address that holds no password (A19).

    Never repeats the address: it may hold a secret.
    """
    if len(url) > URL_MAX:
        raise BadSetting(f"{key}: expected at most {URL_MAX} characters")
    if _NOT_IN_URL.search(url):
        raise BadSetting(f"{key}: expected an address without spaces, control characters or `\\`")
    if url.startswith(REFERENCE):
        return
    scheme, colon, rest = url.partition("://")
    if not colon or scheme.lower() not in {"http", "https"}:
        raise BadSetting(f"{key}: expected an address that begins with http:// or https://")
    if "#" in rest:
        raise BadSetting(f"{key}: expected an address without a fragment (#…)")
    if "@" in re.split(r"[/?]", rest, maxsplit=1)[0]:
        raise BadSetting(
            f"{key}: expected an address without user or password;"
            " put them into `headers`, as a reference"
        )
    if REFERENCE not in url:
        _check_host(key, url)


def is_safe(url: str) -> bool:
    """Whether what is read there can be believed: TLS, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.username or parts.password or parts.fragment:
        return False
    loopback = host in {"localhost", "127.0.0.1", "::1"}
    return (parts.scheme == "https" and bool(host)) or (parts.scheme == "http" and loopback)


def check_header_value(key: str, value: str) -> None:
    """Raises BadSetting for what would end the header's line, or is no Latin-1."""
    if _CONTROL_BUT_TAB.search(value):
        raise BadSetting(f"{key}: expected a value without control characters")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise BadSetting(f"{key}: expected a value of Latin-1 characters") from None


def _check_host(key: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadSetting(f"{key}: expected host or host:port, the port from 1 to 65535") from None
    if not host or port == 0:
        raise BadSetting(f"{key}: expected a host, and a port from 1 to 65535 if any")


def _check_server(endpoint: Endpoint) -> None:
    if bool(endpoint.command) == (endpoint.url is not None):
        raise BadSetting("url: expected exactly one of `url` and `command`")
    if endpoint.timeouts.call_ms > CAP_MS:
        raise BadSetting(
            f"timeouts.call_ms: expected a number {Bounds(10, CAP_MS)},"
            f" got {endpoint.timeouts.call_ms}"
        )


def _check_provider(endpoint: Endpoint, llm: Llm) -> None:
    check_llm(llm)
    if endpoint.command or endpoint.oauth is not None or endpoint.fallback_url is not None:
        raise BadSetting("llm: a provider has no `command`, `oauth` or `fallback_url`")
    if endpoint.fallbacks:
        raise BadSetting("llm: a model's fallbacks are named by an alias; see `models`")
    if (endpoint.url is None) != (llm.preset == DEMO):
        raise BadSetting("url: expected the address that the wires are below, or a preset")


def _check_process(endpoint: Endpoint) -> None:
    """A program may be started anywhere but only as it is written: no shell, no hooks (A26)."""
    if not endpoint.command:
        if endpoint.env or endpoint.cwd is not None:
            key = "env" if endpoint.env else "cwd"
            raise BadSetting(f"{key}: only a server with a `command` has one")
        return
    if not endpoint.command[0].strip():
        raise BadSetting("command: expected a program, then its arguments")
    if any("\0" in word for word in endpoint.command):
        raise BadSetting("command: expected words without NUL")
    program = endpoint.command[0]
    if "/" in program and not program.startswith("/"):
        raise BadSetting(
            f"command: expected an absolute path or a name on PATH, got {_shown(program)!r}"
        )
    if endpoint.cwd is not None and (not endpoint.cwd.startswith("/") or "\0" in endpoint.cwd):
        raise BadSetting(f"cwd: expected an absolute path, got {_shown(endpoint.cwd)!r}")
    for name, value in endpoint.env.items():
        _check_variable(name, value)
    size = _size(endpoint.command) + _size(endpoint.env) + _size(endpoint.env.values())
    if size > COMMAND_MAX_BYTES:
        raise BadSetting(
            f"command: expected at most {COMMAND_MAX_BYTES} bytes together with `env`, got {size}"
        )


def _check_variable(name: str, value: str) -> None:
    if not name or "=" in name or _CONTROL.search(name):
        raise BadSetting(f"env: expected names without `=`, got {_shown(name)!r}")
    if "\0" in value:
        raise BadSetting(f"env.{name}: expected a value without NUL")
    if name in _LOADERS or (name == "NODE_OPTIONS" and _NODE_LOADS.search(value)):
        raise BadSetting(
            f"env.{name}: it would load other code into the server; start it by a command of its"
            " own if that is wanted"
        )
    if name == "PATH" and not all(folder.startswith("/") for folder in value.split(":")):
        raise BadSetting("env.PATH: expected absolute folders")


def _check_headers(endpoint: Endpoint) -> None:
    if endpoint.headers and endpoint.url is None and endpoint.fallback_url is None:
        raise BadSetting("headers: only a server with a `url` has them")
    seen: set[str] = set()
    for name, value in endpoint.headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            raise BadSetting(f"headers: expected a header's name, got {_shown(name)!r}")
        if lower in _OWN_HEADERS or lower.startswith("mcp-"):
            raise BadSetting(f"headers.{name}: the hub sets this one itself")
        if lower in seen:
            raise BadSetting(f"headers.{name}: given twice")
        seen.add(lower)
        if REFERENCE not in value:
            check_header_value(f"headers.{name}", value)
        elif _CONTROL_BUT_TAB.search(value):
            raise BadSetting(f"headers.{name}: expected a value without control characters")


def _check_oauth(endpoint: Endpoint, oauth: OAuth) -> None:
    if endpoint.url is None:
        raise BadSetting("oauth: only a server with a `url` has it")
    if endpoint.fallback_url is not None:
        raise BadSetting(
            "oauth: expected no `fallback_url` beside it; name a server in `fallbacks`"
        )
    if any(name.lower() == "authorization" for name in endpoint.headers):
        raise BadSetting("oauth: expected no `Authorization` in `headers` beside it")
    if oauth.grant not in GRANTS:
        raise BadSetting(
            f"oauth.grant: expected {' or '.join(GRANTS)}, got {_shown(oauth.grant)!r}"
        )
    _check_client(oauth)
    _check_owner(oauth)
    for scope in oauth.scopes:
        if not _SCOPE.fullmatch(scope):
            raise BadSetting(f"oauth.scopes: expected words, got {_shown(scope)!r}")


def _check_client(oauth: OAuth) -> None:
    if oauth.client_secret and not PURE_REFERENCE.fullmatch(oauth.client_secret):
        raise BadSetting("oauth.client_secret: expected a reference, ${NAME} or ${file:/path}")
    if oauth.grant != "authorization_code" and not oauth.client_secret:
        raise BadSetting(f"oauth.client_secret: {oauth.grant} needs it, and client_id")
    if oauth.client_secret and not oauth.client_id:
        raise BadSetting("oauth.client_id: expected the client that the secret is of")
    if oauth.client_secret and not oauth.issuer:
        # Else a server could name one of its own, and get to see the secret.
        raise BadSetting("oauth.issuer: expected the authorization server that knows the secret")
    if oauth.issuer and not is_safe(oauth.issuer):
        raise BadSetting("oauth.issuer: expected an https address (http on this machine only)")


def _check_owner(oauth: OAuth) -> None:
    if oauth.per not in OWNERS:
        raise BadSetting(f"oauth.per: expected {' or '.join(OWNERS)}, got {_shown(oauth.per)!r}")
    if oauth.per == "caller" and oauth.grant == "client_credentials":
        raise BadSetting("oauth.per: nobody signs in by client_credentials; expected hub")
    for key in ("audience", "resource"):
        value = getattr(oauth, key)
        if value and oauth.grant != "token_exchange":
            raise BadSetting(f"oauth.{key}: only token_exchange has one")
        if value and not _PLACE.fullmatch(value):
            raise BadSetting(f"oauth.{key}: expected a name without spaces and `#`")


def _check_fallbacks(endpoint: Endpoint) -> None:
    names = endpoint.fallbacks
    if len(names) > FALLBACKS_MAX:
        raise BadSetting(f"fallbacks: expected at most {FALLBACKS_MAX}, got {len(names)}")
    for name in names:
        check_name(name, "fallbacks")
    if endpoint.name in names:
        raise BadSetting("fallbacks: a server cannot be its own fallback")
    if len(set(names)) < len(names):
        raise BadSetting("fallbacks: expected each name once")


def _check_policy(prefix: str, policy: ToolPolicy) -> None:
    if policy.replay not in {None, "safe", "never"}:
        raise BadSetting(
            f"{prefix}replay: expected `safe` or `never`, got {_shown(policy.replay or '')!r}"
        )
    if policy.fallback_name == "":
        raise BadSetting(f"{prefix}fallback_name: expected a tool's name")
    if policy.price is not None:
        try:
            _ = policy.price.exact
        except BadSetting as error:
            raise BadSetting(f"{prefix}price.{error}") from None
    _check_numbers(prefix, policy)


def _check_numbers(prefix: str, part: Struct) -> None:
    for key in part.__struct_fields__:
        bounds = BOUNDS.get((type(part), key))
        value = getattr(part, key)
        if bounds is not None and value is not None and not bounds.holds(value):
            raise BadSetting(f"{prefix}{key}: expected a number {bounds}, got {value!r}")


def _size(words: Iterable[str]) -> int:
    return sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in words)


def _shown(text: str) -> str:
    return text if len(text) <= 64 else text[:61] + "…"
