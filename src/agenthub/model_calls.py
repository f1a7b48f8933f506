"""How a request to a model becomes a call: whom it may go to, what it may cost, what eases it.

The same for a client at a door and for an agent in this process.
"""

import contextlib
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from agenthub.catalog import Catalog
from agenthub.domain.account import Facts
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.content import Content, Target
from agenthub.domain.errors import InvalidParams, UnknownTarget
from agenthub.domain.ladder import Easing
from agenthub.domain.provider import CALL_MS
from agenthub.domain.span import MILLISECOND
from agenthub.easing import Ladders
from agenthub.ports import Clock
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import LlmRequest, read_request, with_limit

HOPS_MAX: Final = 8
"""So often a request may come through hubs: one that comes back to itself is a loop (A43)."""


class Address(Struct, frozen=True):
    """What is asked for at a path."""

    wire: str
    path: str
    """Below the provider's address, where the wire usually is."""
    model: str = ""
    """Where the path names it."""
    stream: bool = False
    """Where the path says it."""
    is_free: bool = False
    """Whether providers take no money for it."""


class ModelRequest(Struct, frozen=True):
    """A request to a model, as it came."""

    address: Address
    body: bytes
    caller: Caller
    door: str
    query: str = ""
    """Of the client's, what is for the provider."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """As `query`."""
    hops: int = 0
    """How many hubs it came through before this one."""
    session: str = ""
    """As the client names it; empty: it named none."""


class ModelCalls:
    """Makes them; the gateway sends them."""

    def __init__(
        self, catalog: Catalog, ladders: Ladders, ids: Callable[[], str], clock: Clock
    ) -> None:
        self._catalog = catalog
        self._ladders = ladders
        self._ids = ids
        self._clock = clock

    def make(self, request: ModelRequest) -> Call:
        """Raises BadJson, InvalidParams, UnknownTarget."""
        address, caller = request.address, request.caller
        if not 0 <= request.hops < HOPS_MAX:
            raise InvalidParams("The request came through this hub too often: it is a loop")
        asked = read_request(
            Dialect(address.wire), request.body, address.model, stream=address.stream
        )
        targets, name = self.targets(address.wire, asked.model, caller), asked.model
        easing = None if address.is_free else self._easing(targets[0], caller, request.session)
        if easing is not None:
            asked, targets = self._eased(easing, asked, targets, caller)
        most = None if asked.max_output is None else asked.max_output * asked.n
        content = Content(
            address.wire, address.path, request.query, asked.body, request.headers, asked.stream,
            most, address.is_free, targets, request.hops, request.session,
            asked, "" if easing is None else easing.shown(),
        )  # fmt: skip
        endpoints = [self._catalog.get(target.endpoint).endpoint for target in targets]
        span = max(endpoint.timeouts.call_ms for endpoint in endpoints)
        return Call(
            id=self._ids(), caller=caller, door=request.door, endpoint=targets[0].endpoint,
            method=f"llm/{address.wire}", name=name, params={}, meta={},
            deadline=self._clock.now() + min(span, CALL_MS) * MILLISECOND,
            size_bytes=len(request.body), content=content,
        )  # fmt: skip

    def targets(self, wire: str, model: str, caller: Caller) -> tuple[Target, ...]:
        """Whom to ask, in this order. Raises UnknownTarget."""
        targets = self._catalog.models.resolve(wire, model, caller)
        if not caller.may_ask(model, targets):
            raise UnknownTarget(f"Unknown model: {model[:64]!r}")
        return targets

    def _easing(self, target: Target, caller: Caller, session: str) -> Easing | None:
        def facts() -> Facts:
            llm = self._catalog.get(target.endpoint).endpoint.llm
            return Facts(
                key=caller.id, team=caller.team, session=session, endpoint=target.endpoint,
                provider=llm.provider if llm else "", model=target.model,
            )  # fmt: skip

        return self._ladders.easing(facts)

    def _eased(
        self, easing: Easing, asked: LlmRequest, targets: tuple[Target, ...], caller: Caller
    ) -> tuple[LlmRequest, tuple[Target, ...]]:
        """A cheaper model, and a shorter answer. One that this caller cannot ask is left out."""
        if easing.use:
            with contextlib.suppress(UnknownTarget):
                targets = self.targets(asked.dialect.value, easing.use, caller)
        if easing.max_tokens is not None:
            llm = self._catalog.get(targets[0].endpoint).endpoint.llm
            asked = with_limit(asked, easing.max_tokens, llm.provider if llm else "")
        return asked, targets
