"""A conversation in the bytes of each wire that models are asked in."""

from collections.abc import Mapping
from typing import Final

from agenthub.domain.provider import CHAT, GEMINI, MESSAGES
from agenthub.wire.dialogue.chat import ChatCodec
from agenthub.wire.dialogue.gemini import GeminiCodec
from agenthub.wire.dialogue.messages import MessagesCodec
from agenthub.wire.dialogue.shape import Codec

_CODECS: Final[Mapping[str, Codec]] = {
    CHAT: ChatCodec(),
    MESSAGES: MessagesCodec(),
    GEMINI: GeminiCodec(),
}


def codec(wire: str) -> Codec:
    """Of `chat`, `messages` or `gemini`."""
    return _CODECS[wire]
