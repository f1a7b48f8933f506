"""How the hub and its servers are: computed in one place, and shown everywhere the same.

A server is

    off       its operator switched it off
    starting  not connected yet, and nothing is known against it
    ok
    degraded  part of it works: a fallback answers, a tool is stopped, it is being tried again
    down      calls to it fail now

The hub is `ok`; `degraded` when a server is not well or it has a problem itself; `down` when every
server is.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from agenthub.catalog import Catalog
from agenthub.domain.circuit_breaker import State
from agenthub.domain.pinning import Standing
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.domain.target import fallback_order
from agenthub.ports import Clock
from agenthub.server import Server

FRESH: Nanoseconds = SECOND
"""A report is computed anew after a change, and after this span: not all that changes is told."""
REASON_MAX = 500
CHANGED = Standing.CHANGED
SICK = frozenset({"degraded", "down"})


class ServerHealth(Struct, frozen=True):
    status: str
    """`ok`, `starting`, `degraded`, `down` or `off`."""
    reason: str = ""
    """Why it is not `ok`, for people; empty when it is."""
    words: str = ""
    """What the server itself said of it."""

    def told(self, *, in_full: bool) -> str:
        """The reason; `in_full`, for the operator, with the server's own words."""
        return f"{self.reason}: {self.words}" if in_full and self.words else self.reason


class HealthReport(Struct, frozen=True):
    status: str
    """`ok`, `degraded` or `down`."""
    own: tuple[str, ...]
    """What is wrong with the hub itself."""
    servers: Mapping[str, ServerHealth]

    def reasons(self, *, in_full: bool) -> tuple[str, ...]:
        """Why it is not `ok`; `in_full`, for the operator, with the servers' own words."""
        sick = {name: one for name, one in self.servers.items() if one.status in SICK}
        return *self.own, *(f"{name}: {one.told(in_full=in_full)}" for name, one in sick.items())


class Health:
    """Says how all are, as often as it is asked."""

    def __init__(
        self, catalog: Catalog, clock: Clock, problems: Callable[[], tuple[str, ...]]
    ) -> None:
        """`problems`: what is wrong with the hub itself, in words."""
        self._catalog = catalog
        self._clock = clock
        self._problems = problems
        self._report: HealthReport | None = None
        self._of: tuple[object, ...] = ()
        self._made_at: Nanoseconds = 0

    def report(self) -> HealthReport:
        now, servers, own = self._clock.now(), self._catalog.servers(), self._problems()
        of = (self._catalog.version, own, *(server.version for server in servers))
        if self._report is None or of != self._of or now - self._made_at > FRESH:
            self._report, self._of, self._made_at = self._compute(servers, own), of, now
        return self._report

    def _compute(self, servers: list[Server], own: tuple[str, ...]) -> HealthReport:
        found = {server.name: self._server(server) for server in servers}
        on = [one for one in found.values() if one.status != "off"]
        status = "degraded" if own or any(one.status in SICK for one in on) else "ok"
        if on and all(one.status == "down" for one in on):
            status = "down"
        return HealthReport(status, own, found)

    def _server(self, server: Server) -> ServerHealth:
        if not server.endpoint.enabled:
            return ServerHealth("off", "switched off")
        if problem := failing(server):
            helper, words = self._helper(server), server.state.words
            if helper:
                reason = f"{helper} answers for it: {problem}"
                return ServerHealth("degraded", reason[:REASON_MAX], words)
            return ServerHealth("down", problem[:REASON_MAX], words)
        state = server.state
        if not state.connected:
            return ServerHealth("starting", "not connected yet")
        return ServerHealth(*_in_part(server, state.problem))

    def _helper(self, server: Server) -> str:
        """The fallback that answers for it now; empty if none does."""
        known = {one.name: one for one in self._catalog.all_servers()}
        order = fallback_order({name: one.endpoint for name, one in known.items()}, server.name)
        for name in order:
            other = known.get(name)
            if other and other.state.connected and not failing(other):
                return name
        return ""


def failing(server: Server) -> str:
    """Why calls to this very server fail now; empty when they do not, or nobody knows yet."""
    breaker, state = server.lane.breaker, server.state
    if breaker.state is State.FORCED_OPEN:
        return f"held open by {breaker.note}" if breaker.note else "held open by an operator"
    if breaker.state is State.OPEN:
        why = state.problem if not state.connected else ""
        return f"its circuit is open: {why}" if why else "its circuit is open"
    return state.problem if not state.connected else ""


def _in_part(server: Server, problem: str) -> tuple[str, str]:
    """Of a server that is connected: whether all of it works."""
    if server.lane.breaker.state is State.HALF_OPEN:
        return "degraded", "its circuit is half open: it is being tried again"
    stopped = sorted(
        name
        for name, tool in server.lane.tools.items()
        if tool.breaker and tool.breaker.state in {State.OPEN, State.FORCED_OPEN}
    )
    if stopped:
        return "degraded", f"the circuit of {_some(stopped)} is open"
    changed = [name for name in sorted(server.withheld) if server.pending[name] is CHANGED]
    if changed:
        return "degraded", f"changed, and not approved: {_some(changed)}"
    if problem:
        return "degraded", problem[:REASON_MAX]
    return "ok", ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
