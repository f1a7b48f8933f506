"""Tasks (SEP-2663): the ids that servers give them, as the hub gives them to its clients.

    taskId = base64url(endpoint, tool, the server's id) "." base64url(HMAC-SHA256)

The HMAC covers the caller and the server that has the task, too, which stand nowhere in the text:
another caller's id is none, and nobody learns the name of a fallback from it. Nothing is kept: any
hub with the same secret knows a task by its id, and the server itself says how long it is there.

A task leads to the one server that has it. Only clients of the new era that declare the extension
with the request are ever given one.

Source: MCP specification 2026-07-28, extension `io.modelcontextprotocol/tasks`; attack A38.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.call import TASK_METHODS, Call, Era
from agenthub.domain.errors import InvalidParams, UpstreamProtocol
from agenthub.inbound.mcp.asking import check_declared, name_asker
from agenthub.inbound.mcp.forgery import is_forged, without_hub_keys
from agenthub.inbound.mcp.terms import TASKS
from agenthub.inbound.mcp.uris import put_prefixes
from agenthub.wire import base64url
from agenthub.wire.questions import read_input_required

NEWS: Final = "notifications/tasks"
SERVERS_ID_MAX: Final = 1_024
"""Characters of a server's own id: it travels in a header with each request."""
ID_MAX: Final = 8_192
"""Characters of the hub's."""

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_text = msgspec.json.Decoder(str).decode


class UnknownTask(InvalidParams):
    """Unknown task"""  # noqa: D400, D415 - the field's words


class Task(Struct, frozen=True):
    """What a task's id says."""

    endpoint: str
    """Which was called."""
    tool: str
    """That began it, as the endpoint calls it."""
    server: str
    """Which has it: the endpoint, or a fallback that stood in."""
    id: str
    """The server's own."""


class _Facts(Struct, frozen=True, array_like=True):
    endpoint: str
    tool: str
    id: str


_facts = msgspec.json.Decoder(_Facts).decode


class TaskIds:
    """Makes and reads the ids, for one hub."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"taskId", hashlib.sha256)

    def close(self, principal: str, task: Task) -> str:
        """The same for the same task each time."""
        facts = _encode(_Facts(task.endpoint, task.tool, task.id))
        signature = self._sign(facts, principal, task.server)
        return f"{base64url.encode(facts)}.{base64url.encode(signature)}"

    def open(self, text: str, principal: str, servers: Iterable[str]) -> Task:
        """What `close` was given; `servers`: which may have it, beside the endpoint itself.

        Raises UnknownTask for whatever is wrong with it.
        """
        if len(text) > ID_MAX:
            raise UnknownTask
        try:
            data, signature = (base64url.decode(part) for part in text.split("."))
            read = _facts(data)
        except ValueError:
            raise UnknownTask from None
        for server in (read.endpoint, *servers):
            if hmac.compare_digest(signature, self._sign(data, principal, server)):
                return Task(read.endpoint, read.tool, server, read.id)
        raise UnknownTask

    def show(self, members: dict[str, Raw], call: Call, served_by: str, face: str) -> None:
        """Make a result that begins a task, or answers for one, the client's.

        `face`: as in `show_task`. Raises as that, or UpstreamProtocol.
        """
        if call.method in TASK_METHODS:
            task = Task(call.endpoint, call.tool, served_by, call.name)
        elif call.method != "tools/call":
            raise UpstreamProtocol(f"The server made a task of {call.method}")
        elif call.era is Era.LEGACY or not declares_tasks(call.capabilities):
            raise UpstreamProtocol("The server made a task for a client that takes none")
        else:
            own = _text(members["taskId"]) if "taskId" in members else ""
            if not 1 <= len(own) <= SERVERS_ID_MAX:
                raise UpstreamProtocol(f"A taskId has not 1 to {SERVERS_ID_MAX} characters")
            task = Task(call.endpoint, call.name, served_by, own)
        show_task(members, self.close(call.caller.id, task), face, call.capabilities)

    def _sign(self, facts: bytes, principal: str, server: str) -> bytes:
        return hmac.digest(self._key, _encode((principal, server, facts)), hashlib.sha256)


def show_task(members: dict[str, Raw], shown: str, face: str, capabilities: bytes) -> None:
    """What a server says of a task, under the client's id for it, and with nothing forged in it.

    `face`: the endpoint's name where names of many servers meet, else empty.

    Raises:
        MissingCapability: The task asks what the client did not declare that it answers.
        UpstreamProtocol, ValueError: The server says what it cannot say, or in the wrong shape.
    """
    if "taskId" in members:
        members["taskId"] = Raw(_encode(shown))
    if "error" in members and is_forged(members["error"]):
        raise UpstreamProtocol("The server says that a task failed with an error of the hub's")
    if "inputRequests" in members:
        asks = _encode({"inputRequests": members["inputRequests"]})
        wanted = read_input_required(asks)
        if face:
            asks, wanted = name_asker(face, asks, wanted)
        check_declared(wanted, capabilities)
        members["inputRequests"] = _members(asks)["inputRequests"]
    if "result" in members:
        result = without_hub_keys(bytes(members["result"]))
        if face and b'"resource' in result:
            inner = _members(result)
            put_prefixes(inner, "tools/call", face)
            result = _encode(inner)
        members["result"] = Raw(result)


def declares_tasks(capabilities: bytes) -> bool:
    """Whether a client, or a server, that declares this (raw JSON) has the extension."""
    declared: Any = msgspec.json.decode(capabilities or b"{}")
    extensions = declared.get("extensions") if isinstance(declared, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return isinstance(extensions, dict) and isinstance(extensions.get(TASKS), dict)  # pyright: ignore[reportUnknownMemberType]
