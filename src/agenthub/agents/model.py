"""Asking a model in this process: through the gateway, in the wire that its provider likes best."""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from agenthub.agents.hearing import heard
from agenthub.catalog import Catalog
from agenthub.domain.caller import Caller
from agenthub.domain.dialogue import Ask, Delta, Turn
from agenthub.domain.errors import HubError, UnknownTarget
from agenthub.domain.money import NanoUsd
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.provider import CHAT, GEMINI, MESSAGES
from agenthub.gateway import Gateway
from agenthub.model_calls import Address, ModelCalls, ModelRequest
from agenthub.passage import Answer
from agenthub.wire.dialogue import Codec, codec

HEAD, CHUNK = "llm/head", "llm/chunk"
"""A stream has a head; all of it may come with its end."""
OWN_WIRES: Final[Mapping[str, str]] = {"anthropic": MESSAGES, "google": GEMINI}
"""Providers whose other wires leave something out."""
PREFERRED: Final = (CHAT, MESSAGES, GEMINI)
TOO_MANY: Final = 429
BUSY: Final = frozenset({429, 500, 502, 503, 504, 529})
"""Answers after which it may go well later."""


class Asker(Struct, frozen=True):
    """In whose name a model is asked."""

    caller: Caller
    door: str
    session: str
    hops: int = 0


class Answered(Struct, frozen=True):
    turn: Turn
    cost: NanoUsd | None
    served_by: str
    call: str
    """Its id: what it is booked under."""


class ModelFailed(HubError):
    """The provider answered with an error."""

    slug, code, status = "model_error", -32603, 502

    def __init__(self, words: str, *, busy: bool, **facts: object) -> None:
        super().__init__(words, **facts)  # pyright: ignore[reportArgumentType]
        self.busy = busy
        """Whether it may go well later."""


class ModelAsker:
    """Asks; each time one call."""

    def __init__(self, gateway: Gateway, calls: ModelCalls, catalog: Catalog) -> None:
        self._gateway, self._calls, self._catalog = gateway, calls, catalog

    def wire(self, model: str, caller: Caller) -> str:
        """In which the model is asked. Raises UnknownTarget."""
        first: UnknownTarget | None = None
        named = [wire for wire in PREFERRED if self._names(wire, model, caller)]
        for wire in named or PREFERRED:
            try:
                (target, *_) = self._calls.targets(wire, model, caller)
            except UnknownTarget as error:
                first = first or error
                continue
            llm = self._catalog.get(target.endpoint).endpoint.llm
            own = OWN_WIRES.get(llm.provider, wire) if llm else wire
            return own if llm and own in llm.wires else wire
        assert first is not None, "there are wires"
        raise first

    def _names(self, wire: str, model: str, caller: Caller) -> bool:
        """Whether the name says which provider of this wire is meant, so that no other is asked."""
        endpoint, slash, _ = model.partition("/")
        providers = self._catalog.models.providers(wire, caller)
        return (bool(slash) and endpoint in providers) or any(
            one.llm is not None and one.llm.serves(wire, model) for one in providers.values()
        )

    async def ask(self, ask: Ask, asker: Asker, told: Callable[[Delta], None]) -> Answered:
        """The model's answer; `told` hears its text as it comes.

        Raises:
            ModelFailed: The provider's error, in its words.
            HubError: It was refused, or could not be delivered.
        """
        wire = self.wire(ask.model, asker.caller)
        shape = codec(wire)
        path, query = shape.address()
        address = Address(wire, path, ask.model if wire == GEMINI else "", stream=True)
        call = self._calls.make(
            ModelRequest(
                address, shape.encode(ask), asker.caller, asker.door, query, shape.headers,
                asker.hops, asker.session,
            )
        )  # fmt: skip
        reader, streams = shape.reader(), False
        async with heard(self._gateway, call) as hearing:
            while (news := await hearing.next()) is not None:
                if not isinstance(news, tuple):
                    continue
                streams = streams or news[0] == HEAD
                for delta in reader.feed(news[1]) if news[0] == CHUNK else ():
                    told(delta)
            end = hearing.end
        assert end is not None, "it is over"
        reply = _reply(end, shape)
        if streams:
            for delta in reader.feed(reply.result):
                told(delta)
            turn = reader.end()
        else:
            turn = shape.whole(reply.result)
            if turn.text:
                told(Delta(turn.text))
        return Answered(turn, end.cost, end.served_by, call.id)


def _reply(end: Answer, shape: Codec) -> Reply:
    if end.error is not None:
        raise end.error
    reply = end.reply
    assert reply is not None, "a call ends with a reply or an error"
    if reply.ending is Ending.RESULT:
        return reply
    words = shape.problem(reply.error) or reply.detail or f"status {reply.status}"
    raise ModelFailed(
        f"The model's provider answered {reply.status or reply.ending.value}: {words}",
        busy=reply.status in BUSY and not reply.exhausted,
        retry_after_ms=reply.retry_after_ms, server=end.served_by, attempt_count=end.attempts,
    )  # fmt: skip
