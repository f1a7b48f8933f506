"""The agents of a hub, wired."""

from collections.abc import Callable
from typing import Final

from agenthub.agents.model import ModelAsker
from agenthub.agents.own import House, OwnRunner
from agenthub.agents.runs import Chat, Runs
from agenthub.agents.terms import Limits
from agenthub.catalog import Catalog
from agenthub.conversations import ConversationStorage
from agenthub.domain import money
from agenthub.domain.caller import Caller
from agenthub.domain.errors import UnknownTarget
from agenthub.domain.provider import CHAT, DEMO, GEMINI, MESSAGES
from agenthub.domain.span import MILLISECOND
from agenthub.gateway import Gateway
from agenthub.ledger import UsageStorage
from agenthub.model_calls import ModelCalls
from agenthub.settings import Settings
from agenthub.settings.chat import ChatSettings
from agenthub.tasks import Tasks

DEMO_MODEL: Final = "demo-1"
SOONER_MS: Final = 5_000
"""An agent stops waiting for its user before the gateway gives up the call that asks."""


def wired(  # noqa: PLR0913, PLR0917 - the parts of the hub
    settings: Settings,
    storage: ConversationStorage,
    gateway: Gateway,
    calls: ModelCalls,
    usage: UsageStorage,
    ids: Callable[[], str],
    tasks: Tasks,
) -> Runs:
    catalog, clock = gateway.catalog, gateway.clock
    asker = ModelAsker(gateway, calls, catalog)
    own = OwnRunner(House(gateway, catalog, clock, ids, asker, usage))

    def default(caller: Caller) -> str:
        return default_model(catalog, calls, caller)

    chat = chat_of(settings.chat, settings.limits.answer_ms)
    return Runs(storage, {own.name: own}, asker, clock, ids, tasks, chat, default)


def chat_of(settings: ChatSettings, answer_ms: int) -> Chat:
    limits = Limits(
        settings.rounds, settings.tool_calls, settings.tokens, money.parse(settings.max_cost_usd),
        settings.run_ms * MILLISECOND,
    )  # fmt: skip
    return Chat(
        settings.model, settings.system, settings.approval, settings.window_tokens, limits,
        max(answer_ms - SOONER_MS, 1_000) * MILLISECOND, settings.runner,
    )  # fmt: skip


def default_model(catalog: Catalog, calls: ModelCalls, caller: Caller) -> str:
    """The first alias that the caller may ask, else the demo's model. Raises UnknownTarget."""
    for name in catalog.models.aliases:
        for wire in (CHAT, MESSAGES, GEMINI):
            try:
                calls.targets(wire, name, caller)
            except UnknownTarget:
                continue
            return name
    for name, endpoint in catalog.models.providers(CHAT, caller).items():
        if endpoint.llm and endpoint.llm.provider == DEMO:
            return f"{name}/{DEMO_MODEL}"
    raise UnknownTarget(
        "Which model? Name one, or set `chat.model` or `models` in the settings; `/v1/models` lists"
        " what there is"
    )
