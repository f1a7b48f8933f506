"""The wired hub, as a door sees it: nothing here reaches a server but the gateway."""

from collections.abc import Callable

from msgspec import Struct

from agenthub.admission import SignIns
from agenthub.agents.runs import Runs
from agenthub.alerts import Alerts
from agenthub.budgets import Budgets
from agenthub.bus import EventBus
from agenthub.catalog import Catalog
from agenthub.domain.strain import Strain
from agenthub.easing import Ladders
from agenthub.gateway import Gateway
from agenthub.health import Health
from agenthub.intake import Intake
from agenthub.keys import KeyRing
from agenthub.ledger import UsageStorage
from agenthub.metrics import Metrics
from agenthub.model_calls import ModelCalls
from agenthub.ports import Clock, Store
from agenthub.settings import Settings
from agenthub.tasks import Tasks


class Hub(Struct, frozen=True):
    """Made by `app.py`, which alone knows every class."""

    settings: Settings
    clock: Clock
    ids: Callable[[], str]
    """Makes request ids: unique in this home, and not to be guessed."""
    catalog: Catalog
    gateway: Gateway
    store: Store
    bus: EventBus
    metrics: Metrics
    health: Health
    strain: Strain
    keys: KeyRing
    tasks: Tasks
    usage: UsageStorage
    budgets: Budgets
    alerts: Alerts
    ladders: Ladders
    intake: Intake
    model_calls: ModelCalls
    runs: Runs
    session_secret: bytes
    """Signs the ids of legacy MCP sessions; the same over restarts."""
    sign_ins: SignIns
