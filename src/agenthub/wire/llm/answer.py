"""A provider's answer that came whole."""

from collections.abc import Mapping
from typing import Final

from agenthub.wire.llm.chat import ChatTally
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.gemini import GeminiTally
from agenthub.wire.llm.messages import MessagesTally
from agenthub.wire.llm.responses import ResponsesTally
from agenthub.wire.llm.seen import Seen, Tally

TALLIES: Final[Mapping[Dialect, type[Tally]]] = {
    Dialect.CHAT: ChatTally,
    Dialect.EMBEDDINGS: ChatTally,
    Dialect.RESPONSES: ResponsesTally,
    Dialect.MESSAGES: MessagesTally,
    Dialect.GEMINI: GeminiTally,
}


def read_answer(dialect: Dialect, body: bytes) -> Seen:
    """What it says of itself. It never raises: what cannot be read was not seen."""
    tally = TALLIES[dialect]()
    tally.answer(body)
    return tally.seen()
