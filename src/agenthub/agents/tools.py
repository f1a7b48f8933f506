"""The tools of a caller, as a model is told of them: what the servers offer at this moment."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from agenthub.catalog import Catalog
from agenthub.domain.alias import SAFE
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.dialogue import ToolSpec
from agenthub.domain.target import join
from agenthub.listing import Kind
from agenthub.server import Server

TOOLS_MAX: Final = 128
"""Of one request. Source: OpenAI's API reference, `tools`."""
DESCRIPTION_MAX: Final = 1_024
"""Characters; some providers take no more."""
BOXES_MAX: Final = 64
NOTHING: Final = Raw(b'{"type":"object","properties":{}}')


class Tool(Struct, frozen=True):
    server: str
    name: str
    """As its server calls it."""
    spec: ToolSpec
    is_harmless: bool
    """Whether it destroys nothing: by the operator, or by its approved definition."""
    polls: bool
    """Whether equal answers to equal calls are what it is for."""


class Toolbox(Struct, frozen=True):
    tools: Mapping[str, Tool]
    """By the name that the model is told."""
    left_out: int
    """Beyond TOOLS_MAX."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self.tools.values())


class _Item(Struct):
    name: str
    description: str = ""
    schema: Raw = field(name="inputSchema", default=NOTHING)


_item = msgspec.json.Decoder(_Item).decode


class Toolboxes:
    """Makes them; one is kept for each caller, until a server's offer is another."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: OrderedDict[Caller, tuple[Any, Toolbox]] = OrderedDict()

    def of(self, caller: Caller) -> Toolbox:
        if not caller.may(Scope.TOOLS):
            return Toolbox({}, 0)
        servers = [server for server in self._catalog.servers(caller) if server.is_mcp]
        version = tuple((server.name, id(server), server.version) for server in servers)
        known = self._kept.get(caller)
        if known is not None and known[0] == version:
            self._kept.move_to_end(caller)
            return known[1]
        box = _toolbox(servers, caller)
        self._kept[caller] = (version, box)
        self._kept.move_to_end(caller)
        if len(self._kept) > BOXES_MAX:
            self._kept.popitem(last=False)
        return box


def _toolbox(servers: list[Server], caller: Caller) -> Toolbox:
    found: dict[str, Tool] = {}
    left_out = 0
    for server in servers:
        for name, item in server.items(Kind.TOOLS, prefixed=True, style=SAFE):
            full = join(server.name, name)
            if not caller.admits(full, reads=server.changes_nothing(name)):
                continue
            if len(found) >= TOOLS_MAX:
                left_out += 1
                continue
            said = _item(item)
            found[said.name] = tool_of(server, name, said.name, said.description, said.schema)
    return Toolbox(found, left_out)


def tool_of(
    server: Server, name: str, shown: str, description: str = "", schema: Raw = NOTHING
) -> Tool:
    """`shown`: as the model calls it."""
    policy = server.endpoint.tools.get(name)
    spec = ToolSpec(shown, description[:DESCRIPTION_MAX], schema)
    polls = policy is not None and policy.polls
    return Tool(server.name, name, spec, is_harmless(server, name), polls)


def is_harmless(server: Server, tool: str) -> bool:
    """Nobody has to be asked for it: the pinned definition says so, or the operator does (R30)."""
    facts, policy = server.facts(tool), server.endpoint.tools.get(tool)
    if policy is not None and policy.read_only is not None:
        return policy.read_only
    heard: Mapping[str, Any] = facts.heard if facts else {}
    return heard.get("readOnlyHint") is True or heard.get("destructiveHint") is False
