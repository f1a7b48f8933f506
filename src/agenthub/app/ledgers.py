"""Where money is written: the hub's own database, or a PostgreSQL that several hubs share."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from agenthub.alerts import AlertStorage
from agenthub.domain.errors import BadSetting
from agenthub.ledger import Ledger, UsageStorage
from agenthub.outbound.alerts import DatabaseAlerts
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.store import DatabaseStore
from agenthub.outbound.usage import DatabaseUsage
from agenthub.settings import LedgerSettings
from agenthub.settings.references import fill


class Ledgered(Struct, frozen=True):
    ledger: Ledger
    usage: UsageStorage
    alerts: AlertStorage
    problem: Callable[[], str]
    """Why it cannot be written now; empty when it can."""


@asynccontextmanager
async def open_ledger(
    settings: LedgerSettings, store: DatabaseStore, environ: Mapping[str, str]
) -> AsyncGenerator[Ledgered]:
    """Raises BadSetting, or StorageFailed in words."""
    if not settings.url:
        yield Ledgered(store.ledger, store.usage, DatabaseAlerts(store.process), lambda: "")
        return
    url = fill("ledger.url", settings.url, environ)
    if not url.startswith(("postgresql://", "postgres://")):
        # It may hold a password: it is not repeated.
        raise BadSetting("ledger.url: expected postgresql://user:password@host/database")
    try:
        from agenthub.outbound.postgres import open_postgres  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise BadSetting("ledger.url: install `agenthub[postgres]` for PostgreSQL") from error
    async with open_postgres(url) as database:
        ledger = DatabaseLedger(database, LoopClock())
        try:
            yield Ledgered(
                ledger, DatabaseUsage(database), DatabaseAlerts(database), lambda: database.problem
            )
        finally:
            ledger.close()
