"""What new servers ask the client, held against what it declared, and with who asks in it (A36)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from agenthub.domain.errors import HubError
from agenthub.wire.jsonrpc import with_members
from agenthub.wire.questions import (
    ELICIT,
    InputRequired,
    missing_for,
    naming,
    read_input_required,
)

_encode = msgspec.json.Encoder().encode


class MissingCapability(HubError):
    """The client did not declare something that this needs."""

    slug: ClassVar[str] = "missing_capability"
    code: ClassVar[int] = -32021
    status: ClassVar[int] = 400

    def __init__(self, required: Mapping[str, Any]) -> None:
        super().__init__()
        self._required = required

    def data(self) -> dict[str, object]:
        return {"requiredCapabilities": self._required}


def name_asker(server: str, result: bytes, wanted: InputRequired) -> tuple[bytes, InputRequired]:
    """The same, with who asks in each question to a person: all else stays as it was written."""
    members = msgspec.json.decode(result, type=dict[str, Raw])
    asked = msgspec.json.decode(members["inputRequests"], type=dict[str, dict[str, Raw]])
    for key, one in wanted.requests.items():
        if one.method == ELICIT:
            asked[key]["params"] = Raw(naming(server, one.method, one.params))
    named = with_members(result, {"inputRequests": _encode(asked)})
    return named, read_input_required(named)


def check_declared(wanted: InputRequired, capabilities: bytes) -> None:
    """Raises MissingCapability: the client cannot be asked that."""
    required: dict[str, dict[str, Any]] = {}
    for asked in wanted.requests.values():
        missing = missing_for(asked.method, bytes(asked.params), capabilities)
        for name, parts in missing.items():
            required.setdefault(name, {}).update(parts)
    if required:
        raise MissingCapability(required)
