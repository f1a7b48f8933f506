"""What REST shows: one type per noun. They are also the schemas in `/openapi.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct, field, structs

from agenthub.admission import SignInState
from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.caller import Caller, KeyTerms
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.span import milliseconds
from agenthub.domain.target import join
from agenthub.inbound.rest.needs import HealthReport, RestHub, RestServer
from agenthub.ports import CallRow, KeyRow
from agenthub.settings.redaction import redact


class BreakerView(Struct, frozen=True):
    endpoint: str
    state: str
    """`closed`, `open`, `half_open`, `forced_open` or `forced_closed`."""
    reason: str
    """Why it is not closed: the operator's word, or the cause of the last change."""
    level: int
    generation: int
    retry_after_ms: int | None
    """Until something may pass again; null when that is now, or nobody knows."""
    counts: dict[str, int]
    config: BreakerConfig


class BreakerHistory(BreakerView, frozen=True):
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Changes, newest first."""


class EndpointView(Struct, frozen=True):
    name: str
    config: Endpoint
    """As it was written, all defaults shown, secrets masked as `••••`."""
    transport: str
    health: str
    reason: str
    """Why its health is not `ok`; empty when it is."""
    hint: str
    connected: bool
    era: str | None
    version: str
    pid: int | None
    restarts: int
    stderr: Sequence[str]
    tools_count: int
    tools_pending: int
    """Tools that wait for approval; see `/api/tools/pending`."""
    excluded: Mapping[str, str]
    """Tools that are not offered, and why."""
    listed_at_s: int | None
    breaker: BreakerView
    sign_in: SignInState | None
    """How the hub stands with its authorization server, for an admin; null: it has no `oauth`."""


class EndpointList(Struct, frozen=True):
    endpoints: list[EndpointView]


class BreakerList(Struct, frozen=True):
    circuit_breakers: list[BreakerView]


class ToolView(Struct, frozen=True):
    endpoint: str
    name: str
    """As its own server calls it; `/mcp` offers it as `endpoint__name`."""
    unavailable: str
    """Why a call would fail now; empty when it would not."""
    standing: str
    """`approved`; or `changed` or `new`, and used all the same, by the server's setting."""
    suspicions: Sequence[str]
    """What is odd in its texts: `hidden_characters`, `terminal_escapes`, `html_comment`, `markup`,
    `instructions`, `long_text`."""
    definition: Raw
    """As clients get it: the server's own, without what nobody would see."""


class ToolList(Struct, frozen=True):
    tools: list[ToolView]


class ToolAnswer(Struct, frozen=True):
    result: Raw
    is_error: bool
    """Whether the tool itself says that it failed."""
    served_by: str
    attempts: int
    request_id: str


class CallView(Struct, frozen=True):
    number: int
    at_us: int
    id: str
    caller: str
    door: str
    endpoint: str
    served_by: str
    method: str
    name: str
    outcome: str
    code: int
    attempts: int
    duration_us: int
    bytes_in: int
    bytes_out: int


class CallList(Struct, frozen=True):
    calls: list[CallView]
    next_before: int | None
    """The parameter `before` of the next page. A page may be short and still have a next one."""


class KeyView(Struct, frozen=True):
    id: str
    name: str
    scopes: Sequence[str]
    endpoints: Sequence[str] | None
    created_at: int
    expires_at: int | None
    revoked: bool
    terms: KeyTerms
    former_until: int | None = None
    """When the secret ends that it had before; null: there is none that is good."""


class NewKey(KeyView, frozen=True):
    key: str = ""
    """The secret, shown this once."""


class KeyList(Struct, frozen=True):
    keys: list[KeyView]


class CheckLine(Struct, frozen=True):
    """What `agenthub check` prints of one server."""

    name: str
    health: str
    reason: str
    hint: str
    transport: str
    era: str | None
    timeouts_ms: dict[str, int]
    breaker: str
    limit: str
    fallbacks: Sequence[str]
    sign_in: SignInState | None
    """As in `/api/endpoints`."""


class Check(Struct, frozen=True):
    status: str
    reasons: Sequence[str]
    servers: list[CheckLine]


def breaker_view(hub: RestHub, server: RestServer) -> BreakerView:
    breaker, now = server.lane.breaker, hub.clock.now()
    wait = breaker.retry_after(now)
    return BreakerView(
        endpoint=server.name,
        state=breaker.state.value,
        reason=breaker.note,
        level=breaker.level,
        generation=breaker.generation,
        retry_after_ms=None if wait is None else milliseconds(wait),
        counts=breaker.counts(now),
        config=breaker.config,
    )


def with_history(view: BreakerView, history: Sequence[Mapping[str, object]]) -> BreakerHistory:
    """The breaker, its server's changes, and the cause of the latest as the reason."""
    facts = structs.asdict(view)
    mine = [entry for entry in history if not entry.get("tool")]
    if not view.reason and view.state != "closed" and mine:
        facts["reason"] = str(mine[0].get("cause", ""))
    return BreakerHistory(**facts, history=[dict(entry) for entry in history])


def endpoint_view(
    hub: RestHub, server: RestServer, report: HealthReport, *, in_full: bool = True
) -> EndpointView:
    """`in_full`: for an admin, with what the server said on its stderr."""
    state, listing = server.state, server.listing
    health = report.servers.get(server.name)
    return EndpointView(
        name=server.name,
        config=_with_defaults(redact(server.endpoint)),
        transport=server.endpoint.reached_by,
        health=health.status if health else "ok",
        reason=health.told(in_full=in_full) if health else "",
        hint=state.hint,
        connected=state.connected,
        era=state.era.value if state.era else None,
        version=state.version,
        pid=state.pid,
        restarts=state.restarts,
        stderr=state.stderr if in_full else (),
        tools_count=len(listing.tools) if listing else 0,
        tools_pending=len(server.pending),
        excluded=listing.excluded if listing else {},
        listed_at_s=listing.listed_at_s if listing else None,
        breaker=breaker_view(hub, server),
        sign_in=hub.sign_ins.state(server.name) if in_full else None,
    )


def _with_defaults(endpoint: Endpoint) -> Any:
    """The record with what it leaves to the defaults: same shape, nothing left out."""
    return structs.asdict(endpoint)


def tool_views(server: RestServer, caller: Caller) -> list[ToolView]:
    """Those that this caller may touch."""
    why = server.unavailable()
    return [
        ToolView(
            server.name, tool.name, why, tool.standing.value, tool.suspicions, Raw(tool.definition)
        )
        for tool in server.tools()
        if caller.admits(join(server.name, tool.name), reads=server.changes_nothing(tool.name))
    ]


def call_view(number: int, row: CallRow, caller: Caller) -> CallView:
    facts = structs.asdict(row)
    if row.served_by and not caller.sees(row.served_by):
        facts["served_by"] = "another"
    return CallView(number=number, **facts)


def key_view(row: KeyRow) -> KeyView:
    return KeyView(
        row.id, row.name, row.scopes, row.endpoints, row.created_at, row.expires_at, row.revoked,
        row.terms, row.rotation.until if row.rotation.former else None,
    )  # fmt: skip


def check_line(
    hub: RestHub, server: RestServer, report: HealthReport, *, in_full: bool
) -> CheckLine:
    endpoint, state, health = (
        server.endpoint,
        server.state,
        report.servers.get(server.name),
    )
    breaker, limit = server.lane.breaker, endpoint.rate_limit
    return CheckLine(
        name=server.name,
        health=health.status if health else "ok",
        reason=health.told(in_full=in_full) if health else "",
        hint=state.hint,
        transport=endpoint.reached_by,
        era=state.era.value if state.era else None,
        timeouts_ms={
            "connect": endpoint.timeouts.connect_ms,
            "idle": endpoint.timeouts.idle_ms,
            "call": endpoint.timeouts.call_ms,
        },
        breaker=f"{breaker.state.value}, opens after {breaker.config.failure_threshold} failures",
        limit=f"{limit.rps:g} calls/s, {limit.burst} at once" if limit else "none",
        fallbacks=([f"{server.name}.fallback"] if endpoint.fallback_url else [])
        + list(endpoint.fallbacks),
        sign_in=hub.sign_ins.state(server.name) if in_full else None,
    )
