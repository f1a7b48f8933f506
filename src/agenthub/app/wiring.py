"""Every object of the hub, made by plain constructors. This file alone knows all classes."""

import logging
import os
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct, structs

from agenthub.alerts import Alerts, AlertStorage
from agenthub.app import agents
from agenthub.app.admin_token import admin_token
from agenthub.app.demo import with_demo
from agenthub.app.ledgers import open_ledger
from agenthub.app.request_id import request_ids
from agenthub.app.vault_key import vault_key
from agenthub.budgets import Budgets
from agenthub.bus import Counts, EventBus
from agenthub.catalog import Catalog
from agenthub.conversations import ConversationStorage
from agenthub.demo.model import DemoModel
from agenthub.domain.circuit_breaker import State
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.provider import Llm
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.strain import Strain
from agenthub.domain.target import without_gone
from agenthub.easing import Ladders
from agenthub.gateway import Gateway
from agenthub.health import Health
from agenthub.hub import Hub
from agenthub.intake import Intake
from agenthub.keys import KeyRing
from agenthub.ledger import Ledger, UsageStorage
from agenthub.metrics import Gauge, Metrics
from agenthub.model_calls import ModelCalls
from agenthub.outbound.asking import NOBODY
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.issuer import Issuer
from agenthub.outbound.llm_http import LlmUpstream
from agenthub.outbound.logins import Logins
from agenthub.outbound.mcp_http import HttpUpstream
from agenthub.outbound.mcp_sse import SseUpstream
from agenthub.outbound.mcp_stdio import StdioUpstream
from agenthub.outbound.mcp_url import Found, UrlUpstream
from agenthub.outbound.nursery import Nursery
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.per_caller import PerCaller
from agenthub.outbound.prices import CatalogPrices
from agenthub.outbound.private_sessions import PrivateSessions
from agenthub.outbound.store import DatabaseStore, open_store
from agenthub.outbound.telemetry import log_event
from agenthub.outbound.vault import Vault
from agenthub.outbound.webhook import SignedWebhook
from agenthub.ports import CallLog, ClaimLog, Clock, Store, Stored, Upstream, UpstreamWatcher
from agenthub.settings import AlertSettings, Options, Settings
from agenthub.settings.issuers import terms_of
from agenthub.settings.prices import overrides_of
from agenthub.settings.references import fill, resolve
from agenthub.tasks import Tasks
from agenthub.till import Till

log = logging.getLogger(__name__)


class Memory(Struct, frozen=True):
    """What the hub remembers, and where it writes."""

    store: Store
    call_log: CallLog
    claim_log: ClaimLog
    ledger: Ledger
    usage: UsageStorage
    alerts: AlertStorage
    conversations: ConversationStorage
    stored: Stored
    problem: Callable[[], str]
    """Why nothing can be written now; empty when it can."""
    admin_token: str
    vault_key: Callable[[], bytes]
    """Opens the credentials that are kept; made when it is first needed. Raises StorageFailed."""


class Opened(Struct, frozen=True):
    """A hub that is wired and loaded, and connected to nothing yet."""

    hub: Hub
    is_new: bool
    """Whether its home never had a client key."""


@asynccontextmanager
async def open_hub(options: Options, *, brief: bool = False) -> AsyncGenerator[Opened]:
    """The hub of a home. On leaving, its servers are ended and all it knows is durable.

    `brief`: for one command; a hub that starts meanwhile waits for it.

    Raises:
        BadSetting: The settings are wrong; says where.
        StorageFailed: Another hub has the home, or it cannot be used; in words.
    """
    settings = options.load(os.environ)
    async with (
        open_store(options.home, brief=brief) as store,
        open_ledger(settings.ledger, store, os.environ) as ledgered,
    ):
        token = admin_token(options.home)
        stored = await store.load()
        memory = Memory(
            store,
            store.call_log,
            store.claim_log,
            ledgered.ledger,
            ledgered.usage,
            ledgered.alerts,
            store.conversations,
            stored,
            lambda: store.problem or ledgered.problem(),
            token,
            lambda: vault_key(options.home),
        )
        async with open_house(settings, memory) as hub:
            _show_log(hub.metrics, store)
            await hub.budgets.open()
            if settings.ledger.url:
                hub.tasks.start(hub.budgets.follow(), "budgets that other hubs change")
            await hub.alerts.open()
            await hub.runs.open()
            hub.catalog.load(_standing(added(settings, stored), settings.endpoints), stored)
            await take_settings(hub, settings, options)
            hub.sign_ins.keep_only({server.name for server in hub.catalog.all_servers()})
            yield Opened(hub, not stored.keys)


async def take_settings(hub: Hub, settings: Settings, options: Options) -> None:
    """Let the file's servers, views, models, prices and time zone be as it says now.

    Raises BadSetting.
    """
    file = str(options.file)
    await hub.catalog.reload(tuple(settings.endpoints.values()), file)
    await hub.catalog.views.reload(settings.views, file)
    hub.catalog.models.reload(settings.models)
    hub.gateway.till.prices.reload(overrides_of(settings.prices))
    hub.budgets.timezone = settings.timezone


@asynccontextmanager
async def open_house(
    settings: Settings,
    memory: Memory,
    gateway_of: type[Gateway] = Gateway,
    wrapped: Callable[[Upstream], Upstream] = lambda upstream: upstream,
) -> AsyncGenerator[Hub]:
    """A hub without servers, over this memory. `wrapped` gets each connection before it is used."""
    clock, tasks, metrics = LoopClock(), Tasks(), Metrics()
    nursery = Nursery(clock)
    bus = EventBus(clock, lambda: Counts(*metrics.totals(), len(gateway.in_flight)))
    vault = Vault(memory.stored.secrets, memory.store, memory.vault_key)
    logins = Logins(vault, clock, tasks)
    prices = CatalogPrices(overrides_of(settings.prices))
    connect = connector(settings, clock, tasks, nursery, logins, prices)
    catalog = Catalog(
        clock, bus, memory.store, tasks, lambda endpoint, server: wrapped(connect(endpoint, server))
    )
    till = Till(memory.ledger, prices, clock, tasks, secrets.token_hex(8))
    gateway = gateway_of(
        catalog, clock, memory.call_log, memory.claim_log, till, bus, metrics,
        settings.limits.calls_in_flight,
    )  # fmt: skip
    gateway.listening = bus.listening
    gateway.answer_span = settings.limits.answer_ms * MILLISECOND
    issuers = [
        Issuer(
            terms_of(name, one, settings.server.public_url), one.algorithms, one.jwks_url, clock,
            tasks,
        )
        for name, one in settings.auth.issuers.items()
    ]  # fmt: skip
    strain = Strain(settings.limits.calls_in_flight)
    alerts = Alerts(memory.alerts, clock, bus, tasks, webhook_of(settings.alerts, os.environ))
    till.listeners.append(alerts.look_soon)
    ladders = Ladders(till, memory.usage, clock, tasks)
    known, rows = memory.stored.secrets, memory.stored.keys
    ids = request_ids()
    calls = ModelCalls(catalog, ladders, ids, clock)
    hub = Hub(
        settings=settings,
        clock=clock,
        ids=ids,
        catalog=catalog,
        gateway=gateway,
        store=memory.store,
        bus=bus,
        metrics=metrics,
        health=Health(catalog, clock, lambda: _problems(memory, strain, issuers, alerts)),
        strain=strain,
        keys=KeyRing(rows, known["key-hmac"], memory.admin_token, memory.store, clock, issuers),
        tasks=tasks,
        session_secret=known["session"],
        usage=memory.usage,
        budgets=Budgets(memory.ledger, memory.usage, till, clock),
        alerts=alerts,
        ladders=ladders,
        intake=Intake(till, memory.usage),
        model_calls=calls,
        runs=agents.wired(settings, memory.conversations, gateway, calls, memory.usage, ids, tasks),
        sign_ins=logins,
    )
    hub.keys.views = catalog.views.all
    catalog.views.listeners.append(hub.keys.forget)
    hub.keys.listeners.append(lambda key_id: _forget_revoked(hub, key_id))
    bus.sinks += [metrics.event, log_event, logins.event]
    _show(hub)
    for issuer in issuers:
        issuer.start()
    async with AsyncExitStack() as closing:
        closing.push_async_callback(nursery.close)
        closing.push_async_callback(tasks.close)
        closing.push_async_callback(catalog.close)
        closing.callback(bus.close)
        closing.callback(alerts.close)
        closing.callback(ladders.close)
        closing.push_async_callback(hub.runs.close)
        yield hub


def _forget_revoked(hub: Hub, key_id: str) -> None:
    """A key that opens nothing any more shall leave nothing that it signed in for."""
    caller = hub.keys.caller(key_id)
    if caller is None or not hub.keys.holds(caller):
        hub.sign_ins.callers.forget_caller(key_id)
        hub.runs.forget_caller(key_id)


def webhook_of(settings: AlertSettings, environ: Mapping[str, str]) -> SignedWebhook | None:
    """Raises BadSetting."""
    if not settings.webhook_url:
        return None
    return SignedWebhook(
        fill("alerts.webhook_url", settings.webhook_url, environ),
        fill("alerts.webhook_secret", settings.webhook_secret, environ),
    )


def _problems(
    memory: Memory, strain: Strain, issuers: Sequence[Issuer], alerts: Alerts
) -> tuple[str, ...]:
    """What is wrong with the hub itself."""
    storage = memory.problem()
    found = [f"nothing can be written: {storage}"] if storage else []
    found += [f"alerts are not taken: {alerts.problem}"] if alerts.problem else []
    found += [f"auth.issuers.{one.terms.name}: {one.problem}" for one in issuers if one.problem]
    return (*found, strain.problem) if strain.problem else tuple(found)


def added(settings: Settings, stored: Stored) -> tuple[Endpoint, ...]:
    """The servers that are not in the settings: those that were added, or else the demo's."""
    if settings.demo and not settings.endpoints:
        return with_demo(stored.endpoints)
    return stored.endpoints


def _standing(kept: tuple[Endpoint, ...], filed: Iterable[str]) -> tuple[Endpoint, ...]:
    """Kept servers, without fallbacks that have gone from the file, or with the demo.

    They must not keep the hub from starting: without it nobody could change them.
    """
    names = {endpoint.name for endpoint in kept}.union(filed)
    standing = tuple(without_gone(endpoint, names) for endpoint in kept)
    for before, after in zip(kept, standing, strict=True):
        if gone := set(before.fallbacks).difference(after.fallbacks):
            facts = {"endpoint": before.name, "fallbacks": ", ".join(sorted(gone))}
            log.warning("A server's fallback is gone, and is left out", extra=facts)
    return standing


def connector(
    settings: Settings,
    clock: Clock,
    tasks: Tasks,
    nursery: Nursery,
    logins: Logins,
    prices: CatalogPrices,
) -> Callable[[Endpoint, UpstreamWatcher], Upstream]:
    """Makes connections. Secrets are filled in here, and are in no record."""
    limits = settings.limits
    bounds = HttpLimits(limits.response_bytes, limits.event_bytes, limits.stream_bytes)
    to_server = server_connector(settings, clock, tasks, nursery, logins, bounds)

    def connect(endpoint: Endpoint, watcher: UpstreamWatcher) -> Upstream:
        filled = resolve(endpoint, os.environ)
        if filled.llm is not None:
            return provider(filled, filled.llm, watcher, clock, tasks, bounds, prices)
        return to_server(filled, watcher)

    return connect


def server_connector(
    settings: Settings,
    clock: Clock,
    tasks: Tasks,
    nursery: Nursery,
    logins: Logins,
    bounds: HttpLimits,
) -> Callable[[Endpoint, UpstreamWatcher], Upstream]:
    """As `connector`, of MCP servers; references are filled in already."""
    limits = settings.limits

    def connect(filled: Endpoint, watcher: UpstreamWatcher) -> Upstream:
        tokens = logins.source_of(filled)
        if tokens is None or not filled.is_per_caller:
            return sessions(filled, watcher, tokens)
        return PerCaller(
            lambda hears, shown: sessions(filled, hears, shown),
            tokens,
            lambda outgoing: logins.callers.source_for(filled, tokens, outgoing),
            logins.callers,
            watcher,
            clock,
            tasks,
        )

    def sessions(
        filled: Endpoint, watcher: UpstreamWatcher, tokens: TokenSource | None
    ) -> Upstream:
        found = Found()

        def make(hears: UpstreamWatcher, declared: bytes) -> Upstream:
            if filled.command:
                one = filled if declared == NOBODY else patient(filled)
                return StdioUpstream(one, hears, clock, limits, nursery, declared)

            def http(watches: UpstreamWatcher) -> HttpUpstream:
                return HttpUpstream(filled, watches, clock, tasks, bounds, declared, tokens)

            def sse(watches: UpstreamWatcher) -> SseUpstream:
                return SseUpstream(filled, watches, clock, tasks, bounds, declared, tokens)

            if filled.transport == "streamable-http":
                return http(hears)
            if filled.transport == "sse":
                return sse(hears)
            return UrlUpstream(http, sse, hears, found, tasks)

        return PrivateSessions(make, watcher, clock, tasks, filled.sessions_max)

    return connect


def provider(  # noqa: PLR0913, PLR0917 - what a connection is made of
    filled: Endpoint,
    llm: Llm,
    watcher: UpstreamWatcher,
    clock: Clock,
    tasks: Tasks,
    bounds: HttpLimits,
    prices: CatalogPrices,
) -> Upstream:
    """A provider of language models."""
    if filled.url is None:
        return DemoModel(watcher, clock)
    if not llm.is_free:
        threading.Thread(target=prices.load, daemon=True, name="prices").start()
    return LlmUpstream(filled, watcher, clock, tasks, bounds)


def patient(endpoint: Endpoint) -> Endpoint:
    """For a process that one call waits for: as long as the call may take."""
    bounds = endpoint.timeouts
    longest = max(bounds.connect_ms, bounds.call_ms)
    return structs.replace(endpoint, timeouts=structs.replace(bounds, connect_ms=longest))


def _show(hub: Hub) -> None:
    """What is not counted but is so now."""
    add, catalog = hub.metrics.gauge, hub.catalog
    strain = hub.strain
    add(Gauge("calls_in_flight", "Calls in flight.", "", lambda: {"": len(hub.gateway.in_flight)}))
    add(Gauge("call_places", "Calls in flight that are borne.", "", lambda: {"": strain.places}))
    add(Gauge("loop_lag_seconds", "Lag of the loop.", "", lambda: {"": strain.lag / SECOND}))
    add(Gauge("memory_ratio", "Used memory.", "", lambda: {"": strain.memory / 1_000}))
    add(
        Gauge(
            "server_up", "Whether calls to a server can succeed now.", "endpoint",
            lambda: {
                name: int(one.status not in {"down", "off", "starting"})
                for name, one in hub.health.report().servers.items()
            },
        )
    )  # fmt: skip
    add(
        Gauge(
            "breaker_open", "Whether a server's circuit breaker lets nothing pass.", "endpoint",
            lambda: {
                server.name: int(server.lane.breaker.state in {State.OPEN, State.FORCED_OPEN})
                for server in catalog.servers()
            },
        )
    )  # fmt: skip
    add(
        Gauge(
            "tools_pending", "Tools that wait for approval.", "endpoint",
            lambda: {server.name: len(server.pending) for server in catalog.servers()},
        )
    )  # fmt: skip


def _show_log(metrics: Metrics, store: DatabaseStore) -> None:
    log_ = store.call_log
    metrics.gauge(
        Gauge("log_rows_waiting", "Call rows not durable yet.", "", lambda: {"": log_.waiting})
    )
    metrics.gauge(
        Gauge("log_rows_dropped", "Call rows lost since the start.", "", lambda: {"": log_.dropped})
    )
