"""The hub's settings: a YAML file and `AGENTHUB__…` variables, typed, nothing unknown.

agenthub.yaml ──► strict_yaml ──► tree ─┐
AGENTHUB__A__B=… ─────────────► tree ───┴─► merged (variables win) ──► typed ──► Settings
--port, --host, --no-demo ────────────────────────────────────────────────────► Options.over
"""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, field, structs

from agenthub.domain.content import targets_of
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import (
    BOUNDS,
    HOUR_MS,
    MILLION,
    Bounds,
    check_endpoint,
    is_safe,
)
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.errors import BadSetting
from agenthub.domain.period import zone
from agenthub.domain.view import View, check_view
from agenthub.settings.chat import ChatSettings, wrong_with_chat
from agenthub.settings.issuers import IssuerSettings, wrong_with
from agenthub.settings.prices import Price, overrides_of
from agenthub.settings.strict_yaml import Node, Scalar, Table, read
from agenthub.settings.typed import PREFIX, build, where


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the hub listens, and for whom."""

    host: str = "127.0.0.1"
    port: int = 8787
    allowed_hosts: tuple[str, ...] = ()
    """Further values of `Host` (name or name:port) beside loopback's; anything else gets 421."""
    allowed_origins: tuple[str, ...] = ()
    """Further values of `Origin` beside the hub's own; anything else gets 403."""
    public_url: str = ""
    """The hub's address as others know it, such as `https://hub.example.com`: tokens of issuers are
    made out to it, and people who sign in to a server come back to it."""


class AuthSettings(Struct, frozen=True, forbid_unknown_fields=True):
    anonymous_loopback: bool = False
    """Lets callers from loopback in without a key, with the scopes tools and read."""
    issuers: dict[str, IssuerSettings] = field(default_factory=dict[str, IssuerSettings])
    """Authorization servers whose tokens are taken, beside the hub's own keys."""


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What bounds the doors (R43, R47). Sizes in bytes, times in milliseconds."""

    connections: int = 10_000
    body_bytes: int = 4 * 1024 * 1024
    header_bytes: int = 16 * 1024
    headers: int = 100
    header_timeout_ms: int = 10_000
    body_timeout_ms: int = 30_000
    keep_alive_ms: int = 75_000
    calls_in_flight: int = 1_000
    response_bytes: int = 10 * 1024 * 1024
    event_bytes: int = 10 * 1024 * 1024
    stream_bytes: int = 64 * 1024 * 1024
    client_buffer_bytes: int = 256 * 1024
    """What may wait for a client that reads slowly."""
    resume_bytes: int = 64 * 1024 * 1024
    """What is kept, in all, of streams of the old era for clients that lost theirs."""
    resume_stream_bytes: int = 1024 * 1024
    """Of one stream; a session has room for four times as much."""
    resume_ms: int = 60_000
    """How long a stream is kept after its end, and a server's question while its client is gone."""
    answer_ms: int = 600_000
    """How long a client may take to answer what a server asks it in the middle of a call."""
    drain_ms: int = 10_000
    """How long a stop waits for calls in flight."""


class LedgerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""
    """A PostgreSQL that several hubs share, as `${AGENTHUB_LEDGER_URL}`; empty: the hub's own
    file. Needs `agenthub[postgres]`. Read at start."""


class AlertSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the hub tells that a budget has reached a level. Read at start."""

    webhook_url: str = ""
    """Where alerts are posted, as Standard Webhooks has it; https, or http on this machine. May be
    a reference, as `${ALERT_URL}`; empty: nowhere."""
    webhook_secret: str = ""
    """What they are signed with: `whsec_` and at least 24 bytes in base64. Write a reference, as
    `${ALERT_SECRET}` or `${file:/path}`."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    server: ServerSettings = field(default_factory=ServerSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    """Servers written in the file. They win over those added at run time of the same name."""
    views: dict[str, View] = field(default_factory=dict[str, View])
    """Virtual servers written in the file. They win over those added at run time."""
    models: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Names for models: each stands for one or more `endpoint/model`, asked in this order."""
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    chat: ChatSettings = field(default_factory=ChatSettings)
    """The hub's own agent."""
    timezone: str = "UTC"
    """In which days and months of usage are counted, as `Asia/Seoul`."""
    prices: tuple[Price, ...] = ()
    """What models cost where the catalog does not know, or knows otherwise."""
    demo: bool = True
    """Register the demo servers when nothing else is configured."""


class Options(Struct, frozen=True):
    """What the command line says of one run; it outweighs file and environment."""

    home: Path
    config: Path | None = None
    """None: `agenthub.yaml` in the home, if there is one."""
    host: str | None = None
    port: int | None = None
    """0: any free one."""
    demo: bool | None = None

    @property
    def file(self) -> Path:
        """Where the settings stand, if there are any."""
        return self.config or self.home / CONFIG_NAME

    def load(self, environ: Mapping[str, str]) -> Settings:
        """The settings of this run. Raises BadSetting."""
        is_there = self.config is not None or self.file.exists()
        settings = load(self.file if is_there else None, environ)
        server = structs.replace(
            settings.server,
            host=settings.server.host if self.host is None else self.host,
            port=settings.server.port if self.port is None else self.port,
        )
        demo = settings.demo if self.demo is None else self.demo
        return structs.replace(settings, server=server, demo=demo)


CONFIG_NAME: Final = "agenthub.yaml"
KIB: Final = 1024
GIB: Final = 1024**3

RANGES: Final[Mapping[tuple[type, str], Bounds]] = {
    **BOUNDS,
    (ServerSettings, "port"): Bounds(1, 65_535),
    (LimitSettings, "connections"): Bounds(1, MILLION),
    (LimitSettings, "body_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "header_bytes"): Bounds(KIB, KIB * KIB),
    (LimitSettings, "headers"): Bounds(10, 1_000),
    (LimitSettings, "header_timeout_ms"): Bounds(100, HOUR_MS),
    (LimitSettings, "body_timeout_ms"): Bounds(100, HOUR_MS),
    (LimitSettings, "keep_alive_ms"): Bounds(0, HOUR_MS),
    (LimitSettings, "calls_in_flight"): Bounds(1, MILLION),
    (LimitSettings, "response_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "event_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "stream_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "client_buffer_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "resume_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "resume_stream_bytes"): Bounds(KIB, GIB),
    (LimitSettings, "resume_ms"): Bounds(1_000, HOUR_MS),
    (LimitSettings, "answer_ms"): Bounds(1_000, HOUR_MS),
    (LimitSettings, "drain_ms"): Bounds(0, HOUR_MS),
    (ChatSettings, "window_tokens"): Bounds(1_000, 10 * MILLION),
    (ChatSettings, "rounds"): Bounds(1, 1_000),
    (ChatSettings, "tool_calls"): Bounds(0, 10_000),
    (ChatSettings, "tokens"): Bounds(1, 1_000 * MILLION),
    (ChatSettings, "run_ms"): Bounds(1_000, HOUR_MS),
}
"""The range of every number in the settings."""

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
)
_ORIGIN = re.compile(r"(?:https?|chrome-extension|moz-extension)://[A-Za-z0-9._\[\]:-]+")
_BIND = re.compile(r"[A-Za-z0-9._:-]{1,255}(?:%[A-Za-z0-9]+)?")


def load(file: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a file, if any, with `AGENTHUB__SECTION__KEY` variables over it.

    Raises:
        BadSetting: Names the file and line, or the variable, the key, and what was expected.
    """
    tree = Table({}, str(file or "settings")) if file is None else read(file)
    if isinstance(tree, Scalar) and tree.is_null:
        tree = Table({}, tree.origin)
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            path = variable.removeprefix(PREFIX).lower().split("__")
            tree = _overlay(tree, path, variable, environ[variable])
    settings = build(tree, Settings, RANGES)
    _check_server(settings.server, tree)
    _check_issuers(settings, tree)
    for name, endpoint in settings.endpoints.items():
        with _placed("endpoints", name, tree):
            settings.endpoints[name] = completed(endpoint)
            check_endpoint(settings.endpoints[name])
    _check_prices(settings, tree)
    for key, what in wrong_with_chat(settings.chat):
        raise BadSetting(f"{where(tree, ('chat', key))}: chat.{key}: expected {what}")
    if bool(settings.alerts.webhook_url) != bool(settings.alerts.webhook_secret):
        raise BadSetting(
            f"{where(tree, ('alerts',))}: alerts: expected webhook_url and webhook_secret, or none"
        )
    try:
        zone(settings.timezone)
    except BadSetting as error:
        raise BadSetting(f"{where(tree, ('timezone',))}: timezone: {error}") from None
    for name, written in settings.models.items():
        with _placed("models", name, tree):
            targets_of(name, written)
    for name, view in settings.views.items():
        with _placed("views", name, tree):
            check_view(view)
    return settings


def default_home() -> Path:
    """Where the hub keeps its files: `AGENTHUB_HOME`, or the platform's data folder."""
    if home := os.environ.get("AGENTHUB_HOME"):
        return Path(home).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - most runs are told their home

    return platformdirs.user_data_path("agenthub", appauthor=False)


def _overlay(tree: Node, path: list[str], variable: str, text: str) -> Node:
    """The tree with one leaf more, or another one."""
    if not path:
        return Scalar(text, variable, variable=True)
    if isinstance(tree, Scalar) and tree.is_null:
        tree = Table({}, tree.origin)
    if not isinstance(tree, Table):
        raise BadSetting(f"{tree.origin}: expected a table of keys, because {variable} is set")
    head, *rest = path
    if not head:
        raise BadSetting(f"{variable}: expected {PREFIX}SECTION__KEY")
    origin, below = tree.entries.get(head, (variable, Table({}, variable)))
    entries = {**tree.entries, head: (origin, _overlay(below, rest, variable, text))}
    return Table(entries, tree.origin)


@contextmanager
def _placed(part: str, name: str, tree: Node) -> Generator[None]:
    """What a check finds, with the line of the key that it names."""
    try:
        yield
    except BadSetting as error:
        key, _, what = str(error).partition(": ")
        path = (part, name) if key == "name" else (part, name, *key.split("."))
        raise BadSetting(f"{where(tree, path)}: {'.'.join(path)}: {what}") from None


def _check_server(server: ServerSettings, tree: Node) -> None:
    wrong: tuple[str, str] | None = None
    if not _BIND.fullmatch(server.host):
        wrong = "host", f"an address or a host's name, got {server.host[:64]!r}"
    for host in server.allowed_hosts:
        if not _HOST.fullmatch(host):
            wrong = "allowed_hosts", f"name or name:port, got {host[:64]!r}"
    for origin in server.allowed_origins:
        if not _ORIGIN.fullmatch(origin):
            wrong = "allowed_origins", f"scheme://host[:port], without a path, got {origin[:64]!r}"
    if server.public_url and not is_safe(server.public_url):
        wrong = (
            "public_url",
            f"an https address (http on this machine only), got {server.public_url[:64]!r}",
        )
    if wrong:
        key, what = wrong
        raise BadSetting(f"{where(tree, ('server', key))}: server.{key}: expected {what}")


def _check_prices(settings: Settings, tree: Node) -> None:
    try:
        overrides_of(settings.prices)
    except BadSetting as error:
        raise BadSetting(f"{where(tree, ('prices',))}: {error}") from None


def _check_issuers(settings: Settings, tree: Node) -> None:
    for name, issuer in settings.auth.issuers.items():
        for key, what in wrong_with(issuer, settings.server.public_url):
            path = ("auth", "issuers", name, key)
            raise BadSetting(f"{where(tree, path)}: {'.'.join(path)}: expected {what}")
