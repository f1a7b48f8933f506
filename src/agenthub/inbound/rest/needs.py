"""What REST asks of the hub: the parts of it that these routes touch, and no more."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from agenthub.admission import SignIns
from agenthub.agents.runs import Runs
from agenthub.alerts import Alerts
from agenthub.budgets import Budgets
from agenthub.bus import EventBus
from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller, KeyTerms, Scope
from agenthub.domain.circuit_breaker import CircuitBreaker
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.outcome import Reply
from agenthub.domain.pinning import Standing
from agenthub.domain.view import View
from agenthub.intake import Intake
from agenthub.ledger import UsageStorage
from agenthub.metrics import Metrics
from agenthub.offer import OfferedTool, PendingTool
from agenthub.ports import Clock, KeyRow, Store, UpstreamState
from agenthub.settings import Settings


class HasBreakers(Protocol):
    @property
    def breaker(self) -> CircuitBreaker: ...


class HasTools(Protocol):
    @property
    def tools(self) -> Sequence[bytes]:
        """Definitions as raw JSON, sorted by name."""
        ...

    @property
    def listed_at_s(self) -> int: ...

    @property
    def excluded(self) -> Mapping[str, str]: ...


class RestServer(Protocol):
    """`server.Server`."""

    @property
    def name(self) -> str: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def state(self) -> UpstreamState: ...
    @property
    def lane(self) -> HasBreakers: ...
    @property
    def listing(self) -> HasTools | None: ...
    @property
    def pending(self) -> Mapping[str, Standing]: ...
    def tools(self) -> Sequence[OfferedTool]: ...
    def pending_tools(self) -> Sequence[PendingTool]: ...
    def unavailable(self) -> str: ...
    def changes_nothing(self, tool: str) -> bool: ...


class RestViews(Protocol):
    """`views.Views`."""

    @property
    def all(self) -> Mapping[str, View]: ...
    def get(self, name: str) -> View: ...
    async def add(self, view: View) -> None: ...
    async def replace(self, view: View) -> None: ...
    async def remove(self, name: str) -> None: ...


class RestCatalog(Protocol):
    """`catalog.Catalog`."""

    @property
    def views(self) -> RestViews: ...
    def servers(self, caller: Caller | None = None) -> Sequence[RestServer]: ...
    def all_servers(self) -> Sequence[RestServer]:
        """With the fallbacks that are known by their address only."""
        ...

    def find(self, name: str, caller: Caller) -> RestServer | None: ...
    async def approve(self, name: str, digests: Mapping[str, bytes]) -> None: ...
    async def add(self, endpoint: Endpoint) -> RestServer: ...
    async def replace(self, name: str, endpoint: Endpoint) -> RestServer: ...
    async def remove(self, name: str) -> None: ...
    async def set_breaker_config(self, name: str, config: BreakerConfig) -> None: ...
    async def test(self, name: str, seconds: int) -> Mapping[str, object]:
        """Connect and list, beside the guards; what was found, for people."""
        ...


class RestAnswer(Protocol):
    """`gateway.Answer`."""

    @property
    def reply(self) -> Reply | None: ...
    @property
    def served_by(self) -> str: ...
    @property
    def attempts(self) -> int: ...


class RestStream(Protocol):
    async def answer(self) -> RestAnswer: ...


class RestGateway(Protocol):
    def open(self, call: Call) -> AbstractAsyncContextManager[RestStream]: ...


class RestKeys(Protocol):
    """The client keys, kept."""

    def list(self) -> Sequence[KeyRow]: ...

    async def create(
        self,
        name: str,
        scopes: Sequence[Scope],
        endpoints: Sequence[str] | None,
        expires_at: int | None,
        terms: KeyTerms,
    ) -> tuple[KeyRow, str]:
        """The key's row, and its secret, which is shown this once."""
        ...

    async def change(self, key_id: str, terms: KeyTerms) -> KeyRow:
        """Raises UnknownTarget, BadSetting."""
        ...

    async def rotate(self, key_id: str, grace_s: int) -> tuple[KeyRow, str]:
        """As `create`. Raises UnknownTarget, InvalidParams, Conflict."""
        ...

    async def revoke(self, key_id: str) -> None:
        """Raises UnknownTarget."""
        ...


class ServerHealth(Protocol):
    @property
    def status(self) -> str:
        """`ok`, `starting`, `degraded`, `down` or `off`."""
        ...

    def told(self, *, in_full: bool) -> str:
        """Why it is not `ok`; `in_full`, for an admin, with the server's own words."""
        ...


class HealthReport(Protocol):
    @property
    def status(self) -> str: ...
    def reasons(self, *, in_full: bool) -> Sequence[str]: ...
    @property
    def servers(self) -> Mapping[str, ServerHealth]: ...


class Health(Protocol):
    """Computed once, and shown everywhere the same."""

    def report(self) -> HealthReport: ...


class RestHub(Protocol):
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> Callable[[], str]:
        """Makes request ids."""
        ...

    @property
    def catalog(self) -> RestCatalog: ...
    @property
    def gateway(self) -> RestGateway: ...
    @property
    def store(self) -> Store: ...
    @property
    def bus(self) -> EventBus: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def health(self) -> Health: ...
    @property
    def keys(self) -> RestKeys: ...
    @property
    def sign_ins(self) -> SignIns: ...
    @property
    def usage(self) -> UsageStorage: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def alerts(self) -> Alerts: ...
    @property
    def intake(self) -> Intake: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def settings(self) -> Settings: ...
