"""`/v1/models`: what a caller can name, in the shapes of OpenAI's and Anthropic's SDKs at once."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

from agenthub.domain.caller import Caller
from agenthub.domain.content import Target
from agenthub.domain.provider import WIRES
from agenthub.hub import Hub
from agenthub.inbound.exchange import Exchange
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.refusal import error_body

LISTED_MAX = 5_000
_CREATED = 1_767_225_600
"""No provider's word is taken for it: the same for all, so that lists are stable."""


class ModelList:
    """Answers from what the hub knows; no provider is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def answer(self, exchange: Exchange) -> None:
        if exchange.request.method not in {"GET", "HEAD"}:
            exchange.answer(405, b"", ((b"allow", b"GET"),))
            return
        path = exchange.request.path
        names = self.names(exchange.caller)
        if path == "/v1beta/models":
            models = [{"name": f"models/{name}", "displayName": name} for name, _ in names]
            exchange.answer(200, msgspec.json.encode({"models": models}))
            return
        wanted = unquote(path.removeprefix("/v1/models").removeprefix("/"))
        if not wanted:
            exchange.answer(200, _page([_shown(*one) for one in names]))
            return
        for name, owner in names:
            if name == wanted:
                exchange.answer(200, msgspec.json.encode(_shown(name, owner)))
                return
        words = f"Unknown model: {wanted[:64]!r}"
        exchange.answer(404, error_body(Dialect.CHAT, 404, "unknown_target", words, {}))

    def names(self, caller: Caller) -> list[tuple[str, str]]:
        """Each with its provider: aliases, then what providers have, as far as it may be asked."""
        found: dict[str, str] = {}
        for name, owner in self._all(caller):
            if len(found) < LISTED_MAX:
                found.setdefault(name, owner)
        return list(found.items())

    def _all(self, caller: Caller) -> Iterator[tuple[str, str]]:
        models = self._hub.catalog.models
        providers = {name for wire in WIRES for name in models.providers(wire, caller)}
        for alias, targets in sorted(models.aliases.items()):
            there = tuple(target for target in targets if target.endpoint in providers)
            if there and caller.may_ask(alias, there):
                yield alias, "agenthub"
        for name in sorted(providers):
            server = self._hub.catalog.get(name)
            llm = server.endpoint.llm
            own = [glob for glob in (llm.models if llm else ()) if "*" not in glob]
            for model in (*own, *server.state.models):
                full = f"{name}/{model}"
                if caller.may_ask(full, (Target(name, model),)):
                    yield full, name


def _shown(name: str, owner: str) -> dict[str, Any]:
    return {
        "id": name, "object": "model", "created": _CREATED, "owned_by": owner,
        "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def _page(models: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode({
        "object": "list", "data": models, "has_more": False,
        "first_id": models[0]["id"] if models else None,
        "last_id": models[-1]["id"] if models else None,
    })  # fmt: skip
