"""A face: what a client sees at one address, and what its names mean there.

    /mcp/{endpoint}     one server, under its own names
    /mcp                all of them, under `server__tool` names, or their aliases
    /mcp/v/{view}       what the view shows, under its names

A caller that may touch some things only, which everybody is at a view, is shown these only. What
it may call is not decided here but on the way that all calls take (`Routes`).
"""

from collections.abc import Iterator, Mapping

from agenthub.domain import alias, target
from agenthub.domain.caller import Caller
from agenthub.domain.errors import UnknownTarget
from agenthub.domain.view import View, server_of, view_of
from agenthub.hub import Hub
from agenthub.inbound.mcp.terms import Context
from agenthub.listing import Kind, full_name, name_of, renamed
from agenthub.server import Server

INSTRUCTIONS_MAX = 2_000
"""Characters of each server's, where many meet, of at most 20 servers."""
APP = "ui://"
READ = "resources/read"
COMPLETE = "completion/complete"
_WHAT = {"tools/call": "tool", "prompts/get": "prompt", READ: "resource"}


class Faces:
    """All faces of a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def servers(self, context: Context) -> list[Server]:
        """Those that a request at this face is about."""
        one = server_of(context.endpoint)
        if one is None:
            return self._hub.catalog.servers(context.caller)
        server = self._hub.catalog.find_mcp(one, context.caller)
        return [server] if server is not None else []

    def view(self, context: Context) -> View | None:
        """The view, if the face is one; to be read anew each time, for it may change."""
        name = view_of(context.endpoint)
        return self._hub.catalog.views.get(name) if name is not None else None

    def locate(self, method: str, name: str, context: Context) -> tuple[str, str]:
        """The server that is meant at this face, and what it calls the thing itself.

        Raises UnknownTarget.
        """
        one, view = server_of(context.endpoint), self.view(context)
        if one is not None:
            return one, name
        if view is not None:
            name = view.target_of(name)
        by_uri = method == READ or (method == COMPLETE and name.startswith(target.SCHEME))
        if by_uri:
            found = target.split_uri(name)
        elif method == "tools/call" and alias.is_alias(name):
            found = self._behind(name, context)
        else:
            found = target.split(name)
        if found is None and method == "tools/call":
            found = self._of_app(name, context)
        if found is None:
            raise unknown(method, name)
        return found

    def _behind(self, name: str, context: Context) -> tuple[str, str] | None:
        """Whose alias this is. A long server's name is cut in it, so more than one may fit."""
        kept = name[: alias.CUT[alias.SAFE]]
        for server in self._hub.catalog.servers(context.caller):
            if kept.startswith(target.join(server.name, "")[: len(kept)]):
                tool = server.aliased(name)
                if tool is not None:
                    return server.name, tool
        return None

    def _of_app(self, name: str, context: Context) -> tuple[str, str] | None:
        """Whose tool an app means, which knows it by the name that its own server gave it.

        Only a server with apps is ever meant, and only if it is the one that has such a tool.
        """
        have = [
            server.name
            for server in self._hub.catalog.servers(context.caller)
            if server.facts(name) is not None
            and _has_apps(server)
            and _may_touch(context.caller, server, Kind.TOOLS, name, target.join(server.name, name))
        ]
        return (have[0], name) if len(have) == 1 else None

    def items(self, kind: Kind, context: Context) -> Iterator[bytes]:
        """What a limited caller is shown, one by one."""
        caller, view = context.caller, self.view(context)
        own: Mapping[str, str] = {} if view is None else view.own_names()
        prefixed = server_of(context.endpoint) is None
        for server in self.servers(context):
            for name, item in server.items(kind, prefixed=prefixed, style=caller.names):
                full = full_name(kind, server.name, name)
                if not _may_touch(caller, server, kind, name, full):
                    continue
                if view is not None and full in own:
                    shown = own[full]
                    yield renamed(item, shown, view.names[shown].description)
                else:
                    yield item

    def instructions(self, context: Context) -> str:
        """One server's own, or the view's; for many, each under its name, bounded."""
        view = self.view(context)
        if view is not None and view.instructions:
            return view.instructions
        said = [(s.name, s.instructions) for s in self.servers(context) if s.listing]
        if server_of(context.endpoint) is not None:
            return said[0][1] if said else ""
        return "\n\n".join(
            f"## {name}\n{words[:INSTRUCTIONS_MAX]}" for name, words in said[:20] if words
        )


def unknown(method: str, name: str) -> UnknownTarget:
    return UnknownTarget(f"Unknown {_WHAT.get(method, 'target')}: {name[:128]}")


def _has_apps(server: Server) -> bool:
    """Whether it has user interfaces to show (MCP Apps)."""
    resources = server.listing.resources if server.listing else ()
    return any(name_of(Kind.RESOURCES, item).startswith(APP) for item in resources)


def _may_touch(caller: Caller, server: Server, kind: Kind, name: str, full: str) -> bool:
    if caller.admits(full, reads=False):
        return True
    # Whether a tool changes nothing is looked up last: its definition has to be read for that.
    reads = caller.admits(full, reads=True)
    return reads and (kind is not Kind.TOOLS or server.changes_nothing(name))
