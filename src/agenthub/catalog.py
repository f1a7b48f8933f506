"""The catalog: which servers there are, and which of them serve a call. It changes while calls run.

A change swaps one entry of one dict; calls under way keep what they started with. What a dead or
hostile server does costs only itself: nothing here waits for a server.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.circuit_breaker import BreakerConfig, CircuitBreaker, Transition
from agenthub.domain.endpoint import Endpoint, ToolPolicy
from agenthub.domain.endpoint_check import check_endpoint
from agenthub.domain.errors import BadSetting, Conflict, HubError, InvalidParams, UnknownTarget
from agenthub.domain.events import BreakerChanged, ClockEvent, ServerChanged
from agenthub.domain.journey import Hop
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds, milliseconds
from agenthub.domain.target import check_fallbacks, fallback_order
from agenthub.listing import Kind, Listing, ToolFacts, pins
from agenthub.ports import BreakerRow, Clock, Observer, Store, Stored, Timer, Upstream
from agenthub.server import Server, Surroundings, Unusable
from agenthub.tasks import Tasks
from agenthub.wire.mcp_headers import encode_params

TICK: Nanoseconds = SECOND
STALL: Nanoseconds = 30 * SECOND
CLOCK_STEP: Nanoseconds = 60 * SECOND
ROUTES_MAX = 10_000
"""Routes kept ready; what clients make up never gets one (A45)."""
RECONNECTING = (
    "url", "command", "env", "cwd", "headers", "timeouts", "fallback_url", "enabled",
)  # fmt: skip
"""A change of one of these needs a new connection."""


class Route(Struct, frozen=True):
    """The servers that may serve a call, in order, and what is known of the tool."""

    hops: tuple[Hop, ...]
    facts: ToolFacts | None
    validate: bool
    versions: tuple[tuple[Server, int], ...]

    @property
    def is_fresh(self) -> bool:
        for server, version in self.versions:
            if server.version != version:
                return False
        return True


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
        self._routes: dict[tuple[str, str, str], Route] = {}
        self._changing = asyncio.Lock()
        """One change of the record at a time; calls never take it."""
        self._unsaved: dict[str, Server] = {}
        self._saving = False
        self._timer: Timer | None = None
        self._ticked: tuple[Nanoseconds, Nanoseconds] = (0, 0)
        self.listeners: list[Callable[[Server, str, bytes], None]] = []
        """Hear notices: (server, method, raw params); `…/list_changed` after each refresh."""
        self.version = 0
        """Grows when a server comes or goes."""
        self._house = Surroundings(
            clock, observer, tasks, self._make_upstream, self._breaker_changed, self._listed,
            self._notice,
        )  # fmt: skip

    # ------------------------------------------------------------ life

    def load(self, endpoints: Sequence[Endpoint], stored: Stored) -> None:
        """Build every server with what was kept of it. No I/O; `start` connects them."""
        for endpoint in endpoints:
            self._put(endpoint)
        for server in self._servers.values():
            if data := stored.lists.get(server.name):
                server.pins = {t: h for (e, t), h in stored.pins.items() if e == server.name}
                try:
                    server.restore(msgspec.json.decode(data, type=Listing))
                except (msgspec.DecodeError, ValueError):
                    self._tell(server.name, "changed", "its kept lists were unreadable")
        for row in stored.breakers:
            self._restore_breaker(row)

    def start(self) -> None:
        """Begin to connect to all of them, in the background."""
        for server in self._servers.values():
            server.start()
        self._ticked = (self._clock.now(), self._clock.wall())
        self._timer = self._clock.after(TICK, self._tick)

    async def close(self) -> None:
        """Close all connections at once; a sick server holds up nobody."""
        if self._timer:
            self._timer.cancel()
        await asyncio.gather(*(s.close() for s in self._servers.values()), return_exceptions=True)
        await self._save_breakers()

    # ------------------------------------------------------------ reading

    def servers(self, caller: Caller | None = None) -> list[Server]:
        """In order of name; hidden ones are not in it, nor what the caller may not see."""
        return [
            self._servers[name]
            for name in sorted(self._servers)
            if not self._servers[name].hidden and (caller is None or caller.sees(name))
        ]

    def all_servers(self) -> list[Server]:
        """With the fallbacks that are known by their address only."""
        return list(self._servers.values())

    def get(self, name: str) -> Server:
        """Raises UnknownTarget."""
        server = self._servers.get(name)
        if server is None:
            raise UnknownTarget(f"There is no server named {name[:64]!r}", server=name[:64])
        return server

    def find(self, name: str, caller: Caller) -> Server | None:
        """The server, if it is there and this caller may see it."""
        server = self._servers.get(name)
        if server is None or server.hidden or not caller.sees(name):
            return None
        return server

    def route(self, call: Call) -> Route:
        """Who serves this call, checked against the tool's schema.

        Raises:
            UnknownTarget: No such server or tool, for this caller.
            InvalidParams: The arguments do not fit the tool's schema (A33).
        """
        key = (call.endpoint, call.method, call.name)
        route = self._routes.get(key)
        if route is None or not route.is_fresh:
            route = self._make_route(call)
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            self._routes[key] = route
        if not call.caller.sees(call.endpoint):
            raise UnknownTarget(f"Unknown server: {call.endpoint}", request_id=call.id)
        if route.validate and route.facts is not None:
            _check_arguments(call, route.facts)
        if route.facts is not None and route.facts.headers:
            return _with_headers(route, call)
        return route

    def _make_route(self, call: Call) -> Route:
        primary = self._servers.get(call.endpoint)
        if primary is None or not primary.endpoint.enabled:
            raise UnknownTarget(f"Unknown server: {call.endpoint[:64]}", request_id=call.id)
        facts = primary.facts(call.name) if call.method == "tools/call" else None
        if call.method == "tools/call" and facts is None and primary.listing is not None:
            raise UnknownTarget(
                f"Unknown tool: {call.name[:128]}",
                server=call.endpoint, tool=call.name[:128], request_id=call.id,
            )  # fmt: skip
        policy = primary.endpoint.tools.get(call.name)
        hops = [primary.hop(call.method, call.name, policy, facts)]
        servers = [primary]
        for name in fallback_order(self._endpoints(), primary.name):
            server = self._servers.get(name)
            if server is None or not server.endpoint.enabled:
                continue
            servers.append(server)
            there = (policy.fallback_name if policy else None) or call.name
            other = server.facts(there) if call.method == "tools/call" else None
            if call.method == "tools/call" and not _serves(facts, other, policy):
                continue
            hops.append(server.hop(call.method, there, policy, other))
        versions = tuple((server, server.version) for server in servers)
        return Route(tuple(hops), facts, primary.endpoint.validate_arguments, versions)

    def _endpoints(self) -> dict[str, Endpoint]:
        return {name: server.endpoint for name, server in self._servers.items()}

    # ------------------------------------------------------------ changing

    async def add(self, endpoint: Endpoint) -> Server:
        """Raises Conflict, BadSetting, or StorageFailed; then nothing has changed."""
        check_endpoint(endpoint)
        async with self._changing:
            if endpoint.name in self._servers:
                raise Conflict(f"There is a server named {endpoint.name!r} already")
            check_fallbacks(self._endpoints() | {endpoint.name: endpoint})
            await self._store.put_endpoint(endpoint)
            server = self._put(endpoint)
        self._start(server)
        self._tell(endpoint.name, "added")
        return server

    async def replace(self, name: str, endpoint: Endpoint) -> Server:
        """New settings for a server; a new connection only if they need one.

        Calls under way keep the old connection until they end, at most their deadline.
        """
        check_endpoint(endpoint)
        if endpoint.name != name:
            raise BadSetting("name: a server's name cannot be changed; add a new one")
        async with self._changing:
            old = self.get(name)
            check_fallbacks(self._endpoints() | {name: endpoint})
            await self._store.put_endpoint(endpoint)
            server = self._swap(old, endpoint)
        self._tell(name, "changed")
        return server

    def apply(self, endpoint: Endpoint) -> None:
        """Take a record from the configuration file, which is its own store. Raises BadSetting."""
        check_endpoint(endpoint)
        check_fallbacks(self._endpoints() | {endpoint.name: endpoint})
        old = self._servers.get(endpoint.name)
        if old is None:
            self._start(self._put(endpoint))
            self._tell(endpoint.name, "added")
        elif old.endpoint != endpoint:
            self._swap(old, endpoint)
            self._tell(endpoint.name, "changed")

    async def remove(self, name: str) -> None:
        """Raises UnknownTarget, Conflict when it is another's fallback."""
        async with self._changing:
            server = self.get(name)
            users = [s.name for s in self.servers() if name in s.endpoint.fallbacks]
            if users:
                raise Conflict(f"{name!r} is a fallback of {', '.join(users)}; change that first")
            await self._store.delete_endpoint(name)
            self.discard(server)
        self._tell(name, "removed")

    def discard(self, server: Server) -> None:
        """Take a server out; its connection closes when its calls are over."""
        for name in (server.name, f"{server.name}.fallback"):
            gone = self._servers.pop(name, None)
            if gone is not None:
                self._tasks.start(gone.retire(), f"retire {name}")
        self._routes.clear()
        self._changed_lists()

    async def set_breaker_config(self, name: str, config: BreakerConfig) -> None:
        """At run time, kept. Raises BadSetting, UnknownTarget."""
        server = self.get(name)
        await self.replace(name, structs.replace(server.endpoint, breaker=config))

    def _swap(self, old: Server, endpoint: Endpoint) -> Server:
        moved = any(getattr(old.endpoint, k) != getattr(endpoint, k) for k in RECONNECTING)
        if not moved:
            old.endpoint = endpoint
            old.version += 1
            for waiter in old.lane.reconfigure(endpoint, self._clock.now()):
                waiter.seated()  # pyright: ignore[reportAttributeAccessIssue]
            self._routes.clear()
            return old
        listing = old.listing
        self.discard(old)
        server = self._put(endpoint)
        if listing is not None:
            server.pins = old.pins
            server.restore(listing)
        self._start(server)
        return server

    def _put(self, endpoint: Endpoint) -> Server:
        server = self._servers[endpoint.name] = Server(endpoint, self._house)
        if endpoint.fallback_url:
            name = f"{endpoint.name}.fallback"
            twin = structs.replace(
                endpoint, name=name, url=endpoint.fallback_url, command=(), fallback_url=None,
                fallbacks=(), env={},
            )  # fmt: skip
            self._servers[name] = Server(twin, self._house, hidden=True)
        self._routes.clear()
        self._changed_lists()
        return server

    def _start(self, server: Server) -> None:
        server.start()
        if twin := self._servers.get(f"{server.name}.fallback"):
            twin.start()

    def _make_upstream(self, endpoint: Endpoint, server: Server) -> Upstream:
        try:
            return self._connect(endpoint, server)
        except BadSetting as error:
            return Unusable(str(error), "Correct it, then run `agenthub check`.", self._clock)

    # ------------------------------------------------------------ what servers do

    def _listed(self, server: Server) -> None:
        listing = server.listing
        assert listing is not None
        fresh = {t: h for t, h in pins(listing).items() if t not in server.pins}
        server.pins = {**server.pins, **fresh}
        self._tasks.start(self._keep_listing(server, listing, fresh), f"keep lists {server.name}")
        self._changed_lists(server)

    async def _keep_listing(
        self, server: Server, listing: Listing, fresh: Mapping[str, bytes]
    ) -> None:
        if server.hidden or self._servers.get(server.name) is not server:
            return
        try:
            await self._store.put_list(server.name, msgspec.json.encode(listing))
            if fresh:
                await self._store.put_pins(server.name, fresh)
        except HubError as error:
            self._tell(server.name, "changed", f"its lists could not be kept: {error}")

    def _changed_lists(self, server: Server | None = None) -> None:
        self.version += 1
        for listener in list(self.listeners):
            if server is not None:
                for kind in (Kind.TOOLS, Kind.PROMPTS, Kind.RESOURCES):
                    listener(server, f"notifications/{kind.capability}/list_changed", b"{}")

    def _notice(self, server: Server, method: str, params: bytes) -> None:
        for listener in list(self.listeners):
            listener(server, method, params)

    def _breaker_changed(self, server: Server, tool: str, transition: Transition) -> None:
        server.version += 1
        wait = transition.retry_after
        event = BreakerChanged(
            self._clock.wall() // MILLISECOND, server.name, tool, transition.before.value,
            transition.after.value, transition.generation, transition.cause, transition.level,
            None if wait is None else milliseconds(wait), dict(transition.counts),
        )  # fmt: skip
        self._observer.event(event)
        self._unsaved[server.name] = server
        self._tasks.start(self._keep_transition(server.name, event), "keep a transition")

    async def _keep_transition(self, name: str, event: BreakerChanged) -> None:
        try:
            await self._store.put_transition(name, msgspec.json.encode(event))
            await self._save_breakers()
        except HubError as error:
            self._tell(name, "changed", f"a breaker's state could not be kept: {error}")

    async def _save_breakers(self) -> None:
        """Keep the state of every breaker that moved (R17)."""
        if self._saving or not self._unsaved:
            return
        self._saving = True
        servers, self._unsaved = self._unsaved, {}
        now, wall = self._clock.now(), self._clock.wall()
        try:
            rows = [BreakerRow(s.name, s.lane.breaker.dump(now, wall, "")) for s in servers.values()]
            for server in servers.values():
                rows += [
                    BreakerRow(f"{server.name}/{name}", tool.breaker.dump(now, wall, ""))
                    for name, tool in server.lane.tools.items()
                    if tool.breaker
                ]
            await self._store.put_breakers(rows)
        finally:
            self._saving = False

    def _restore_breaker(self, row: BreakerRow) -> None:
        name, _, tool = row.key.partition("/")
        server = self._servers.get(name)
        if server is None:
            return
        lane = server.lane
        breaker = CircuitBreaker.load(
            row.data, row.key, lane.endpoint.breaker, lane.observe(tool), self._clock.now(),
            self._clock.wall(), "",
        )  # fmt: skip
        lane.restore(breaker, tool)

    # ------------------------------------------------------------ the tick

    def _tick(self) -> None:
        """Once a second: breakers' own time, probes, and whether the clocks behave."""
        now, wall = self._clock.now(), self._clock.wall()
        gap, drift = now - self._ticked[0], (wall - self._ticked[1]) - (now - self._ticked[0])
        self._ticked = (now, wall)
        for server in list(self._servers.values()):
            if gap > STALL:
                server.lane.stalled(now, gap)
            server.lane.tick(now, self._clock.chance())
            server.probe_if_due(now)
        at = wall // MILLISECOND
        if gap > STALL:
            self._observer.event(ClockEvent(at, "stall", f"{gap // SECOND} s without a tick"))
        if abs(drift) > CLOCK_STEP:
            self._observer.event(ClockEvent(at, "clock_step", f"{drift // SECOND} s"))
        self._timer = self._clock.after(TICK, self._tick)

    def _tell(self, name: str, state: str, detail: str = "") -> None:
        self._observer.event(
            ServerChanged(self._clock.wall() // MILLISECOND, name, state, detail[:500])
        )


def _serves(
    primary: ToolFacts | None, other: ToolFacts | None, policy: ToolPolicy | None
) -> bool:
    """Whether a fallback's tool may stand in: the same schema, or an operator who says so (R39)."""
    if other is None or primary is None:
        return False
    return bool(policy and policy.fallback_name) or other.shape == primary.shape


def _check_arguments(call: Call, facts: ToolFacts) -> None:
    raw = call.params.get("arguments")
    arguments = {} if raw is None else msgspec.json.decode(raw)
    if problem := facts.problem_with(arguments):
        raise InvalidParams(
            f"Invalid arguments for tool {call.name}: {problem}",
            server=call.endpoint, tool=call.name, request_id=call.id,
        )  # fmt: skip


def _with_headers(route: Route, call: Call) -> Route:
    """The hops, each with the `Mcp-Param-*` headers that this call's arguments ask for."""
    assert route.facts is not None
    raw = call.params.get("arguments", Raw(b"{}"))
    headers = encode_params(route.facts.headers, msgspec.json.decode(raw))
    return structs.replace(
        route, hops=tuple(structs.replace(hop, headers=headers) for hop in route.hops)
    )


