"""Who serves a call: its server, then the fallbacks that may stand in, each with its guards.

What a call needs to know of a tool is worked out once per change and tool, and looked up then.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from agenthub.domain.call import ANSWERS, Call
from agenthub.domain.caller import Reach
from agenthub.domain.content import Content
from agenthub.domain.endpoint import ToolPolicy
from agenthub.domain.errors import InvalidParams, ToolChanged, UnknownTarget
from agenthub.domain.journey import Hop
from agenthub.domain.pinning import Standing
from agenthub.domain.target import fallback_order, join, join_uri
from agenthub.listing import ToolFacts
from agenthub.server import Server
from agenthub.wire.mcp_headers import encode_params

ROUTES_MAX = 50_000
"""Routes kept ready. Only a listed tool has one; what clients make up never gets one (A45)."""
TOOL_CALL = "tools/call"
BY_URI = frozenset({"resources/read", "resources/subscribe", "resources/unsubscribe"})
_decode = msgspec.json.Decoder().decode


class Route(Struct, frozen=True):
    """The servers that may serve a call, in order, and what is known of the tool."""

    hops: tuple[Hop, ...]
    facts: ToolFacts | None = None
    validate: bool = False
    is_paid: bool = False
    """Whether the till has to look at the call."""


class Routes:
    """Finds the way of each call among the catalog's servers."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self._ready: dict[tuple[str, str], Route] = {}
        """By server and tool."""

    def clear(self) -> None:
        """Something changed that routes are made of."""
        self._ready.clear()

    def find(self, call: Call) -> Route:
        """Who serves this call, checked against the tool's schema.

        Raises:
            UnknownTarget: No such server or tool, for this caller.
            ToolChanged: The tool is not what was approved.
            InvalidParams: The arguments do not fit the tool's schema (A33).
        """
        if call.content is not None:
            return self._to_models(call, call.content)
        server, reach = self.check(call), call.caller.reach
        route = self._served(server, call)
        if reach is not None:
            route = _within(reach, route, call)
        if call.only:
            hops = tuple(hop for hop in route.hops if hop.lane.endpoint.name == call.only)
            if not hops:
                raise InvalidParams("The server that asked is not there any more: call again")
            return structs.replace(route, hops=hops)
        if not ANSWERS.isdisjoint(call.params):
            # An answer to a question goes to who asked it, and to nobody else (R34).
            return structs.replace(route, hops=route.hops[:1])
        return route

    def check(self, call: Call) -> Server:
        """The server of a call that its caller may make: the one place where it is held to that,
        whatever the door. What it may not touch does not exist for it (A18). Raises UnknownTarget.
        """
        server = self._servers.get(call.endpoint)
        if server is None or not server.is_mcp or not call.caller.sees(call.endpoint):
            raise UnknownTarget(
                f"Unknown server: {call.endpoint[:64]}", tool=call.name[:128], request_id=call.id
            )
        reach = call.caller.reach
        if reach is not None:
            tool = call.name if call.method == TOOL_CALL else call.tool
            reads = not tool or server.changes_nothing(tool)
            if not reach.admits(_full_name(call), reads=reads):
                raise _unknown(call)
        return server

    def _to_models(self, call: Call, content: Content) -> Route:
        """A model's answer changes nothing, so any of the targets may be asked again (money)."""
        hops: list[Hop] = []
        for target in content.targets:
            server = self._servers.get(target.endpoint)
            if server is None or server.endpoint.llm is None or not server.endpoint.enabled:
                continue
            hops.append(server.model_hop(target.model))
        if not hops:
            raise UnknownTarget(f"No provider serves the model {call.name[:64]!r} any more")
        return Route(tuple(hops), is_paid=True)

    def _served(self, server: Server, call: Call) -> Route:
        if call.method != TOOL_CALL:
            _check_enabled(server, call)
            return Route(self._hops(server, call, None))
        route = self._ready.get((call.endpoint, call.name)) or self._make(server, call)
        if route.facts is None:
            return route
        if route.validate:
            _check_arguments(call, route.facts)
        return _with_headers(route, call) if route.facts.headers else route

    def _make(self, server: Server, call: Call) -> Route:
        _check_enabled(server, call)
        if standing := server.pending.get(call.name):
            _check_approved(server, call, standing)
        facts = server.facts(call.name)
        if facts is None:
            if server.listing is None:
                # Nothing is known of it yet: it may know the tool, and nobody can stand in.
                hops = self._hops(server, call, None)
                return Route(hops, is_paid=_is_paid(hops))
            raise _unknown(call)
        hops = self._hops(server, call, facts)
        route = Route(hops, facts, server.endpoint.validate_arguments, _is_paid(hops))
        if len(self._ready) >= ROUTES_MAX:
            self._ready.clear()
        self._ready[call.endpoint, call.name] = route
        return route

    def _hops(self, primary: Server, call: Call, facts: ToolFacts | None) -> tuple[Hop, ...]:
        policy = primary.endpoint.tools.get(call.name) if facts else None
        hops = [primary.hop(call.method, call.name, policy, facts)]
        if call.method in {"resources/subscribe", "resources/unsubscribe"}:
            return tuple(hops)
        if not primary.endpoint.fallbacks and not primary.endpoint.fallback_url:
            return tuple(hops)
        endpoints = {name: server.endpoint for name, server in self._servers.items()}
        for name in fallback_order(endpoints, primary.name):
            server = self._servers[name]
            if not server.endpoint.enabled:
                continue
            if call.method != TOOL_CALL:
                hops.append(server.hop(call.method, call.name, None, None))
                continue
            there = (policy.fallback_name if policy else None) or call.name
            other = server.facts(there)
            if there in server.withheld:
                continue
            if facts and other and _serves(facts, other, policy):
                hops.append(server.hop(call.method, there, policy, other))
        return tuple(hops)


class _Ref(Struct):
    """What a completion is for."""

    type: str = ""


_ref = msgspec.json.Decoder(_Ref).decode


def _full_name(call: Call) -> str:
    """What `/mcp` calls the target of the call."""
    ref = _ref(call.params["ref"]) if "ref" in call.params else _Ref()
    by_uri = call.method in BY_URI or ref.type == "ref/resource"
    if by_uri:
        return join_uri(call.endpoint, call.name)
    return join(call.endpoint, call.tool or call.name)


def _within(reach: Reach, route: Route, call: Call) -> Route:
    """The route for a caller that may touch some things only."""
    is_tool = call.method == TOOL_CALL
    if is_tool and len(route.hops) > 1 and not reach.admits(_full_name(call), reads=False):
        # Who may only read is not served by another server's tool that may write.
        hops = (route.hops[0], *(hop for hop in route.hops[1:] if hop.read_only))
        return structs.replace(route, hops=hops)
    return route


def _unknown(call: Call) -> UnknownTarget:
    if call.tool:
        return UnknownTarget("Unknown task", server=call.endpoint, request_id=call.id)
    what = "resource" if call.method in BY_URI else "prompt" if "prompt" in call.method else "tool"
    return UnknownTarget(
        f"Unknown {what}: {call.name[:128]}",
        server=call.endpoint, tool=call.name[:128], request_id=call.id,
    )  # fmt: skip


def _check_enabled(server: Server, call: Call) -> None:
    if not server.endpoint.enabled:
        raise UnknownTarget(
            f"The server {server.name} is switched off", server=server.name, request_id=call.id
        )


def _check_approved(server: Server, call: Call, standing: Standing) -> None:
    """Raises ToolChanged for a tool that is withheld until somebody approves it (T1)."""
    if call.name in server.withheld:
        what = "changed since it was approved" if standing is Standing.CHANGED else "is new"
        raise ToolChanged(
            f"The definition of {call.name} {what}; it has to be approved first",
            server=server.name, tool=call.name, request_id=call.id,
        )  # fmt: skip


def _is_paid(hops: tuple[Hop, ...]) -> bool:
    return any(hop.price is not None for hop in hops)


def _serves(primary: ToolFacts, other: ToolFacts, policy: ToolPolicy | None) -> bool:
    """Whether a fallback's tool may stand in: the same schema, or an operator who says so (R39)."""
    return bool(policy and policy.fallback_name) or other.shape == primary.shape


def _check_arguments(call: Call, facts: ToolFacts) -> None:
    if problem := facts.problem_with(_arguments(call)):
        raise InvalidParams(
            f"Invalid arguments for tool {call.name}: {problem}",
            server=call.endpoint, tool=call.name, request_id=call.id,
        )  # fmt: skip


def _with_headers(route: Route, call: Call) -> Route:
    """The hops, each with the `Mcp-Param-*` headers that this call's arguments ask for."""
    assert route.facts is not None
    headers = encode_params(route.facts.headers, _arguments(call))
    return structs.replace(
        route, hops=tuple(structs.replace(hop, headers=headers) for hop in route.hops)
    )


def _arguments(call: Call) -> Any:
    read = call.arguments
    return _decode(call.params.get("arguments", b"{}")) if read is None else read
