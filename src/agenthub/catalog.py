"""The catalog: which servers there are, and how they change while calls run.

    record (database, REST, CLI) ─┐                    ┌─► routes: who serves a call
                                  ├─► check ─► swap ───┤
    configuration file ───────────┘                    └─► old server: retires when its calls end

A change swaps entries of one dict in one step; calls under way keep what they started with. What a
dead or hostile server does costs only itself: nothing here waits for a server.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from msgspec import structs

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.caller import Caller
from agenthub.domain.circuit_breaker import Transition
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_endpoint
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.errors import BadSetting, Conflict, HubError, UnknownTarget
from agenthub.domain.events import BreakerChanged, ClockEvent, ServerChanged
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds, milliseconds
from agenthub.domain.target import TWIN, check_fallbacks, check_unlike, twin_of
from agenthub.listing import Kind
from agenthub.memory import Memory
from agenthub.models import Models
from agenthub.ports import Clock, Observer, Store, Stored, Timer, Upstream
from agenthub.routes import Routes
from agenthub.server import Server, Surroundings
from agenthub.tasks import Tasks
from agenthub.unusable import Unusable
from agenthub.views import Views

TICK: Nanoseconds = SECOND
STALL: Nanoseconds = 30 * SECOND
"""A longer gap between two ticks means that the process stood still (R19)."""
GRACE: Nanoseconds = 200 * MILLISECOND
"""After a stall, so long no deadline is judged: answers may be waiting to be read."""
CLOCK_STEP: Nanoseconds = 60 * SECOND
RECONNECTING = (
    "url", "command", "env", "cwd", "headers", "llm", "oauth", "timeouts", "fallback_url",
    "enabled", "private_sessions",
)  # fmt: skip
"""A change of one of these needs a new connection."""

Listener = Callable[[Server, str, bytes], None]
"""Hears notices: (server, method, raw params)."""


class Waiter(Protocol):
    """A passage, as far as it is known here."""

    def seated(self) -> None: ...


class Catalog:
    """All servers by name."""

    def __init__(
        self,
        clock: Clock,
        observer: Observer,
        store: Store,
        tasks: Tasks,
        connect: Callable[[Endpoint, Server], Upstream],
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._store = store
        self._tasks = tasks
        self._connect = connect
        self._servers: dict[str, Server] = {}
        self._file = ""
        self._in_file: Mapping[str, Endpoint | None] = {}
        """Servers that the file configures; each with the kept record that it stands before."""
        self._running = False
        self._changing = asyncio.Lock()
        """One change of the record at a time; calls never take it."""
        self._retiring: set[Server] = set()
        self._timer: Timer | None = None
        self._ticked: tuple[Nanoseconds, Nanoseconds] = (clock.now(), clock.wall())
        self._stalled_at: Nanoseconds = -STALL
        self.routes = Routes(self._servers)
        self.models = Models(self._servers)
        self.views = Views(store, clock, observer)
        self.listeners: list[Listener] = []
        """Are told what servers say of themselves, and `…/list_changed` when a list is new."""
        self.followed: Callable[[str], bool] = lambda _name: False
        """Whether anybody listens for changes of this server's lists."""
        self.version = 0
        """Grows when a server comes or goes, or its lists change."""
        self._memory = Memory(store, clock, tasks, lambda n, why: self._tell(n, "changed", why))
        self._house = Surroundings(
            clock, observer, tasks, self._make_upstream, self._breaker_changed, self._listed,
            self._notice, self._is_followed,
        )  # fmt: skip

    # ------------------------------------------------------------ life

    def load(self, endpoints: Sequence[Endpoint], stored: Stored) -> None:
        """Build every server with what was kept of it. No I/O; `start` connects them."""
        self._memory.take(stored)
        self.views.load(stored.views)
        for endpoint in endpoints:
            self._put(endpoint)

    def start(self) -> None:
        """Begin to connect to all of them, in the background."""
        self._memory.forget()
        self._running = True
        for server in self._servers.values():
            server.start()
        self._ticked = (self._clock.now(), self._clock.wall())
        self._timer = self._clock.after(TICK, self._tick)

    async def close(self) -> None:
        """Close all connections at once; a sick server holds up nobody."""
        if self._timer:
            self._timer.cancel()
        every = [*self._servers.values(), *self._retiring]
        await asyncio.gather(*(server.close() for server in every), return_exceptions=True)
        try:
            await self._memory.save_breakers()
        except HubError as error:
            self._tell("", "changed", f"breakers could not be kept: {error}")

    # ------------------------------------------------------------ reading

    def servers(self, caller: Caller | None = None) -> list[Server]:
        """In order of name; hidden ones are not in it, nor what the caller may not see."""
        return [
            server
            for name, server in sorted(self._servers.items())
            if not server.hidden and (caller is None or caller.sees(name))
        ]

    def all_servers(self) -> list[Server]:
        """With the fallbacks that are known by their address only."""
        return list(self._servers.values())

    def get(self, name: str) -> Server:
        """Raises UnknownTarget."""
        server = self._servers.get(name)
        if server is None or server.hidden:
            raise UnknownTarget(f"There is no server named {name[:64]!r}", server=name[:64])
        return server

    def find(self, name: str, caller: Caller) -> Server | None:
        """The server, if it is there and this caller may see it."""
        server = self._servers.get(name)
        if server is None or server.hidden or not caller.sees(name):
            return None
        return server

    def find_mcp(self, name: str, caller: Caller) -> Server | None:
        """As `find`, of those that clients of MCP see."""
        server = self.find(name, caller)
        return server if server is not None and server.is_mcp else None

    async def test(self, name: str, seconds: int) -> Mapping[str, object]:
        """Connect and list, beside the guards; what was found, for people.

        Takes `seconds` at most. Raises UnknownTarget.
        """
        return await self.get(name).test(seconds * SECOND)

    def suspect(self, name: str) -> None:
        """A call on this server hung to its end: look whether the server does."""
        if server := self._servers.get(name):
            server.suspect()

    def stood_still(self, now: Nanoseconds) -> bool:
        """Whether the process was stopped until a moment ago (R19)."""
        return now - self._ticked[0] > STALL or now - self._stalled_at < GRACE

    # ------------------------------------------------------------ changing

    async def add(self, endpoint: Endpoint) -> Server:
        """Raises Conflict, BadSetting, or StorageFailed; then nothing has changed."""
        endpoint = completed(endpoint)
        check_endpoint(endpoint)
        async with self._changing:
            if endpoint.name in self._servers:
                raise Conflict(f"There is a server named {endpoint.name!r} already")
            check_unlike(endpoint.name, self._servers)
            check_fallbacks(self._endpoints() | {endpoint.name: endpoint})
            await self._store.put_endpoint(endpoint)
            return self._change(endpoint)

    async def replace(self, name: str, endpoint: Endpoint) -> Server:
        """New settings for a server; a new connection only if they need one.

        Calls under way keep the old connection until they end, at most their deadline.
        Raises UnknownTarget, Conflict, BadSetting, or StorageFailed; then nothing has changed.
        """
        async with self._changing:
            return await self._replace(name, endpoint)

    async def _replace(self, name: str, endpoint: Endpoint) -> Server:
        endpoint = completed(endpoint)
        check_endpoint(endpoint)
        if endpoint.name != name:
            raise BadSetting("name: a server's name cannot be changed; add a new one")
        self._check_ours(self.get(name))
        check_fallbacks(self._endpoints() | {name: endpoint})
        await self._store.put_endpoint(endpoint)
        return self._change(endpoint)

    async def remove(self, name: str) -> None:
        """Raises UnknownTarget, Conflict when it is another's fallback or is not ours to remove."""
        async with self._changing:
            self._check_ours(self.get(name))
            users = [s.name for s in self.servers() if name in s.endpoint.fallbacks]
            if users:
                raise Conflict(f"{name!r} is a fallback of {', '.join(users)}; change that first")
            if name + TWIN in self._servers:
                await self._memory.delete(name + TWIN)
            await self._memory.delete(name)
            self._discard(name)

    async def set_breaker_config(self, name: str, config: BreakerConfig) -> None:
        """At run time, kept. Raises BadSetting, UnknownTarget, Conflict."""
        async with self._changing:
            await self._replace(name, structs.replace(self.get(name).endpoint, breaker=config))

    async def approve(self, name: str, digests: Mapping[str, bytes]) -> None:
        """Let a server's tools be used as they were looked at, by their digests. Kept.

        `name` may be that of a fallback known by its address only. Raises UnknownTarget,
        ToolChanged for a definition that is another by now, or StorageFailed.
        """
        async with self._changing:
            server = self._servers.get(name)
            if server is None:
                raise UnknownTarget(f"There is no server named {name[:64]!r}", server=name[:64])
            await self._memory.approve(server, digests)
            self._changed_lists(server, frozenset({Kind.TOOLS}))
            self._tell(name, "approved", ", ".join(sorted(digests)))

    async def reload(self, endpoints: Sequence[Endpoint], file: str) -> None:
        """Take what the configuration file says now: all of it, or nothing.

        The file is its own store, and it alone changes its servers. A name that it shares with a
        kept record is the file's as long as it stands there.

        Raises:
            BadSetting: Something in it cannot be; nothing has changed (F54).
        """
        for endpoint in endpoints:
            check_endpoint(endpoint)
        async with self._changing:
            wanted = {endpoint.name: endpoint for endpoint in endpoints}
            gone = [name for name in self._in_file if name not in wanted]
            kept = {name: self._in_file[name] for name in gone}
            endpoints_then = self._endpoints() | wanted
            for name, before in kept.items():
                if before is None:
                    del endpoints_then[name]
                else:
                    endpoints_then[name] = before
            for name in wanted:
                check_unlike(name, endpoints_then)
            check_fallbacks(endpoints_then)
            known = self._endpoints()
            self._file = file
            self._in_file = {
                name: self._in_file[name] if name in self._in_file else known.get(name)
                for name in wanted
            }
            for name, before in kept.items():
                if before is None:
                    self._discard(name)
            for endpoint in [*wanted.values(), *filter(None, kept.values())]:
                self._change(endpoint)

    def _check_ours(self, server: Server) -> None:
        if server.name in self._in_file:
            raise Conflict(
                f"{server.name!r} is configured in {self._file}; change it there",
                server=server.name,
            )

    def _change(self, endpoint: Endpoint) -> Server:
        """Let the catalog say this of the endpoint from now on."""
        old = self._servers.get(endpoint.name)
        if old is None:
            server, state = self._put(endpoint), "added"
        elif old.endpoint == endpoint:
            return old
        elif all(getattr(old.endpoint, k) == getattr(endpoint, k) for k in RECONNECTING):
            server, state = old, "changed"
            self._reconfigure(old, endpoint)
        else:
            twin = self._servers.get(endpoint.name + TWIN)
            self._take_out(endpoint.name)
            server, state = self._put(endpoint), "changed"
            server.succeed(old)
            new_twin = self._servers.get(endpoint.name + TWIN)
            if twin and new_twin:
                new_twin.succeed(twin)
        if server.listing is not None:
            self._memory.listed(server)  # other settings may approve other tools
        self._changed_lists(server, frozenset(Kind))
        self._tell(endpoint.name, state)
        return server

    def _reconfigure(self, server: Server, endpoint: Endpoint) -> None:
        """Settings that need no new connection."""
        seated = server.reconfigure(endpoint)
        if twin := self._servers.get(server.name + TWIN):
            seated += twin.reconfigure(twin_of(endpoint))
        for waiter in cast("list[Waiter]", seated):  # what a lane hands back is what it was given
            waiter.seated()

    def _put(self, endpoint: Endpoint) -> Server:
        """A new server, and its twin; started if the catalog is."""
        made = [Server(endpoint, self._house)]
        if endpoint.fallback_url:
            made.append(Server(twin_of(endpoint), self._house, hidden=True))
        for server in made:
            self._servers[server.name] = server
            self._memory.restore(server)
            if self._running:
                server.start()
        return made[0]

    def _discard(self, name: str) -> None:
        server = self._servers[name]
        self._take_out(name)
        self._changed_lists(server, frozenset(Kind))
        self._tell(name, "removed")

    def _take_out(self, name: str) -> None:
        """Out of the dict; the connection closes when its calls are over."""
        for known in (name, name + TWIN):
            gone = self._servers.pop(known, None)
            if gone is not None:
                gone.retired = True
                self._retiring.add(gone)
                task = self._tasks.start(gone.retire(), f"retire {known}")
                task.add_done_callback(lambda _task, gone=gone: self._retiring.discard(gone))

    def _endpoints(self) -> dict[str, Endpoint]:
        return {name: server.endpoint for name, server in self._servers.items()}

    def _make_upstream(self, endpoint: Endpoint, server: Server) -> Upstream:
        try:
            return self._connect(endpoint, server)
        except BadSetting as error:
            return Unusable(str(error), "Correct it, then run `agenthub check`.", self._clock)

    # ------------------------------------------------------------ what servers do

    def _listed(self, server: Server, others: frozenset[Kind]) -> None:
        pinned = self._memory.listed(server)
        if others or pinned:
            self._changed_lists(server, others)

    def _changed_lists(self, server: Server, kinds: frozenset[Kind]) -> None:
        """Forget the routes, and tell those who show lists which of them are new."""
        self.version += 1
        self.routes.clear()
        for capability in sorted({kind.capability for kind in kinds}):
            self._notice(server, f"notifications/{capability}/list_changed", b"{}")

    def _notice(self, server: Server, method: str, params: bytes) -> None:
        for listener in list(self.listeners):
            listener(server, method, params)

    def _is_followed(self, name: str) -> bool:
        return self.followed(name)

    def _breaker_changed(self, server: Server, tool: str, transition: Transition) -> None:
        wait = transition.retry_after
        event = BreakerChanged(
            self._clock.wall() // MILLISECOND, server.name, tool, transition.before.value,
            transition.after.value, transition.generation, transition.cause, transition.level,
            None if wait is None else milliseconds(wait), dict(transition.counts),
        )  # fmt: skip
        self._observer.event(event)
        self._memory.breaker_changed(server, event)

    # ------------------------------------------------------------ the tick

    def _tick(self) -> None:
        """Once a second: breakers' own time, probes, and whether the clocks behave."""
        self._timer = self._clock.after(TICK, self._tick)
        now, wall = self._clock.now(), self._clock.wall()
        gap, drift = now - self._ticked[0], (wall - self._ticked[1]) - (now - self._ticked[0])
        self._ticked = (now, wall)
        at = wall // MILLISECOND
        if gap > STALL:
            self._stalled_at = now
            self._observer.event(ClockEvent(at, "stall", f"{gap // SECOND} s without a tick"))
        if abs(drift) > CLOCK_STEP:
            self._observer.event(ClockEvent(at, "clock_step", f"{drift // SECOND} s"))
        for server in list(self._servers.values()):
            if gap > STALL:
                server.lane.stalled(now, gap)
            server.tick(now)

    def _tell(self, name: str, state: str, detail: str = "") -> None:
        wall = self._clock.wall() // MILLISECOND
        self._observer.event(ServerChanged(wall, name, state, detail[:500]))
