"""`/api/tools`: what the servers offer, and a way to call it without MCP."""

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Raw, Struct, field

from agenthub.domain.call import Call
from agenthub.domain.caller import Scope
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import HubError, Interactive, InvalidParams, UpstreamProtocol
from agenthub.domain.outcome import Ending
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.needs import RestAnswer
from agenthub.inbound.rest.request import TheCaller, TheHub, find, needs, read_body
from agenthub.inbound.rest.view import ToolAnswer, ToolList, tool_views

HARD_CAP_MS = 300_000
KEY_MAX = 256

router = APIRouter(prefix="/api/tools", tags=["tools"])
callers = [Depends(needs(Scope.TOOLS))]


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True):
    tool: str
    """The tool's name on its server; or `server__tool`, without `server`."""
    server: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    deadline_ms: int | None = None
    """Of the whole call; never more than the server's own, or 300,000."""
    idempotency_key: str | None = None
    """From 1 to 256 characters; or the header `Idempotency-Key`."""


class UpstreamError(HubError):
    """The server answered with an error."""

    slug, code, status = "upstream_error", -32603, 502


@router.get("", dependencies=callers, **described(ToolList))
async def list_tools(hub: TheHub, caller: TheCaller, endpoint: str | None = None) -> Response:
    """All tools that are known, also of servers that are away now; `unavailable` says so."""
    one = endpoint is not None
    servers = [find(hub, caller, endpoint)] if one else hub.catalog.servers(caller)
    return answer(ToolList([tool for server in servers for tool in tool_views(server, caller)]))


@router.post("/call", dependencies=callers, **described(ToolAnswer, body=ToolCall))
async def call_tool(hub: TheHub, caller: TheCaller, request: Request) -> Response:
    wish = await read_body(request, ToolCall)
    name, tool = _target(wish)
    server = find(hub, caller, name)
    call = Call(
        id=hub.ids(),
        caller=caller,
        door="rest",
        endpoint=name,
        method="tools/call",
        name=tool,
        params={
            "name": Raw(msgspec.json.encode(tool)),
            "arguments": Raw(msgspec.json.encode(wish.arguments)),
        },
        meta={},
        deadline=hub.clock.now() + _span(server.endpoint, tool, wish.deadline_ms),
        idempotency_key=_idempotency_key(wish, request),
        size_bytes=len(await request.body()),
    )
    async with hub.gateway.open(call) as stream:
        return answer(_shown(call, await stream.answer()))


def _target(wish: ToolCall) -> tuple[str, str]:
    if wish.server is not None:
        return wish.server, wish.tool
    server, _, tool = wish.tool.partition("__")
    if not tool:
        raise InvalidParams("tool: expected `server__tool`, or `server` beside it")
    return server, tool


def _idempotency_key(wish: ToolCall, request: Request) -> str | None:
    """What is said in the body counts, else the header."""
    key = wish.idempotency_key
    if key is None:
        key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= KEY_MAX:
        raise InvalidParams(f"idempotency_key: expected 1 to {KEY_MAX} characters")
    return key


def _span(endpoint: Endpoint, tool: str, wish_ms: int | None) -> Nanoseconds:
    """The shortest of the client's wish, the tool's or the server's, and 300 s (R40)."""
    policy = endpoint.tools.get(tool)
    span_ms = (policy and policy.timeout_ms) or endpoint.timeouts.call_ms
    if wish_ms is not None:
        if wish_ms < 1:
            raise InvalidParams("deadline_ms: expected 1 or more")
        span_ms = min(span_ms, wish_ms)
    return min(span_ms, HARD_CAP_MS) * MILLISECOND


def _shown(call: Call, end: RestAnswer) -> ToolAnswer:
    """Raises UpstreamError for a JSON-RPC error of the server, with its own words."""
    reply = end.reply
    assert reply is not None, "a call without a reply has raised its error"
    if reply.ending is Ending.ERROR:
        try:
            words = msgspec.json.decode(reply.error, type=_Error).message
        except ValueError:
            words = ""
        raise UpstreamError(
            f"The server answered: {words[:1_000]} ({reply.code})",
            executed="unknown",
            server=end.served_by,
            tool=call.name,
            attempt_count=end.attempts,
            request_id=call.id,
        )
    if reply.result_type == "task":
        raise UpstreamProtocol(
            "The server made a task for a client that takes none",
            executed="unknown", server=end.served_by, tool=call.name, request_id=call.id,
        )  # fmt: skip
    if reply.result_type == "input_required":
        raise Interactive(
            "The server asks the client something, and this door takes no questions",
            executed="unknown", server=end.served_by, tool=call.name, request_id=call.id,
        )  # fmt: skip
    served_by = end.served_by if call.caller.sees(end.served_by) else "another"
    return ToolAnswer(Raw(reply.result), reply.is_error, served_by, end.attempts, call.id)


class _Error(Struct):
    message: str = ""
