"""A server at run time: its record, its connection, its guards, and what it offers.

    added ──► connecting ──► connected ──► listed      what the hub knows stays, whatever
                 ▲    │          │                      the server does next: a dead server's
                 └────┴── lost ◄─┘                      tools stay listed for a grace

It hears its upstream (ports.UpstreamWatcher) and never waits for it: lists are fetched in a task
of their own (renewal.py), and everyone else is shown the last-known-good ones. Once it is retired
(removed, or another took its place) it says nothing more; the calls under way end on it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Raw, Struct, structs

from agenthub.domain.alias import SAFE
from agenthub.domain.caching import Caching
from agenthub.domain.circuit_breaker import CircuitBreaker, State, Transition
from agenthub.domain.endpoint import Endpoint, ToolPolicy
from agenthub.domain.events import ServerChanged
from agenthub.domain.journey import Hop
from agenthub.domain.lane import HARD_CAP, Lane
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.pinning import Pin, Standing
from agenthub.domain.price import CallPrice
from agenthub.domain.replay import changes_nothing, read_only, replay_safe
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.inquiry import NO_SUCH_METHOD, Inquiry, in_words
from agenthub.listing import Guise, Kind, Listing, ToolFacts
from agenthub.offer import Offer, OfferedTool, PendingTool
from agenthub.ports import Clock, Observer, Upstream, UpstreamState
from agenthub.probe import Probe
from agenthub.renewal import Renewal
from agenthub.tasks import Tasks

KEEP_EVERY_S = 3600
"""How often it is noted that a connected server's lists are still good."""
DISCOVER = "server/discover"
"""What shows whether a provider of models is there (outbound/llm_http.py)."""
READS = frozenset({"resources/read", "prompts/get", "completion/complete", "tasks/get"})
"""Methods that only read, by their definition."""


class Surroundings(Struct, frozen=True):
    """What every server needs of the house."""

    clock: Clock
    observer: Observer
    tasks: Tasks
    connect: Callable[[Endpoint, "Server"], Upstream]
    """Makes the connection, or a stand-in if it can never work."""
    on_breaker: Callable[["Server", str, Transition], None]
    on_listed: Callable[["Server", frozenset[Kind]], None]
    """The lists were fetched; which of them are others than before."""
    on_notice: Callable[["Server", str, bytes], None]
    """A notification outside any request: (server, method, raw params)."""
    followed: Callable[[str], bool]
    """Whether anybody listens for changes of this server's lists."""


class Server:
    """One endpoint, alive."""

    def __init__(self, endpoint: Endpoint, house: Surroundings, *, hidden: bool = False) -> None:
        self.endpoint = endpoint
        self.hidden = hidden
        """A fallback that is known by its address only: it serves, and is not listed."""
        self.retired = False
        self.lane = Lane(endpoint, self._breaker_changed)
        self.version = 0
        """Grows with every change of what is shown."""
        self._house = house
        self._offer = Offer(endpoint, house.clock.now())
        self._told: Mapping[str, bytes] = {}
        """Which tools were told to wait for approval, each with its digest."""
        self._is_new = True
        """Whether its connection was never asked for lists."""
        self._upstream: Upstream = house.connect(endpoint, self)
        self._inquiry = Inquiry(self._upstream, house.clock)
        self._renewal = Renewal(self.name, self._inquiry, house.clock, house.tasks, self._listed)
        self._probe = Probe(self._inquiry, self.lane, house.clock, house.tasks)

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def is_mcp(self) -> bool:
        """Whether clients of MCP see it."""
        return not self.hidden and self.endpoint.llm is None

    @property
    def state(self) -> UpstreamState:
        """What the connection says of itself."""
        return self._upstream.state

    def hop(
        self, method: str, name: str, policy: ToolPolicy | None, facts: ToolFacts | None
    ) -> Hop:
        """The server as a station of a call's way: all that the gateway gets of it."""
        if method in READS:
            return Hop(self.lane, name, self._upstream, replay_safe=True, read_only=True)
        heard = facts.heard if facts else None
        trusted = self.endpoint.trust
        return Hop(
            self.lane, name, self._upstream,
            replay_safe=replay_safe(policy, trusted, heard),
            read_only=read_only(policy, trusted, heard),
            price=self._price(name) if method == "tools/call" else None,
        )  # fmt: skip

    def _price(self, tool: str) -> CallPrice | None:
        """By its own record, also while nothing else is known of it."""
        policy = self.endpoint.tools.get(tool)
        return policy.price.exact if policy and policy.price else None

    def model_hop(self, model: str) -> Hop:
        """As `hop`, of a provider: asking a model again changes nothing but the bill."""
        return Hop(self.lane, model, self._upstream, replay_safe=True, read_only=True)

    def changes_nothing(self, tool: str) -> bool:
        """Whether a caller that may only read may call it."""
        facts, policy = self.facts(tool), self.endpoint.tools.get(tool)
        return changes_nothing(policy, self.endpoint.trust, facts.heard if facts else None)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        if self.endpoint.enabled:
            self._upstream.start()

    async def close(self) -> None:
        await self._upstream.close()

    async def retire(self) -> None:
        """Close when the calls under way are over, within the longest deadline."""
        self.retired = True
        try:
            for _ in range(0, HARD_CAP, SECOND):
                if not self.lane.seats.in_flight:
                    return
                await asyncio.sleep(1)
        finally:
            await self._upstream.close()

    def reconfigure(self, endpoint: Endpoint) -> list[object]:
        """Take settings that need no new connection; returns waiters who now have a seat."""
        self.endpoint = endpoint
        self.version += 1
        self._offer.reconfigure(endpoint)
        return self.lane.reconfigure(endpoint, self._house.clock.now())

    def succeed(self, old: "Server") -> None:
        """Take over from the same server with other settings: what it offers, and its guards."""
        self._offer, self._told = old._offer, old._told  # noqa: SLF001 - of this class
        self._offer.reconfigure(self.endpoint)
        clock = self._house.clock
        now, wall = clock.now(), clock.wall()
        bucket, limit = old.lane.bucket, self.endpoint.rate_limit
        if bucket and limit:
            bucket.reconfigure(limit, now)
            self.lane.bucket = bucket
        before, after = old.endpoint, self.endpoint
        same = (before.url, before.command) == (after.url, after.command)
        if same or old.lane.breaker.state in {State.FORCED_OPEN, State.FORCED_CLOSED}:
            self.restore_breaker("", old.lane.breaker.dump(now, wall, clock.boot_id))

    def restore_breaker(self, tool: str, data: bytes) -> None:
        """Put in a breaker as it was kept (R17)."""
        clock, key = self._house.clock, f"{self.name}/{tool}" if tool else self.name
        breaker = CircuitBreaker.load(
            data, key, self.endpoint.breaker, self.lane.observe(tool), clock.now(), clock.wall(),
            clock.boot_id,
        )  # fmt: skip
        if breaker.corrupt:
            self._tell("changed", "a breaker's kept state was unreadable; it is closed")
        self.lane.restore(breaker, tool)

    # ------------------------------------------------------------ UpstreamWatcher

    def connected(self) -> None:
        if not self.retired:
            self._tell("connected")
            self.version += 1
            self._is_new = True
            self._renewal.soon()

    def lost(self, loss: int, detail: str) -> None:
        del loss  # the calls in flight report it
        if not self.retired:
            self._tell("lost", detail)
            self.version += 1
            self._still_good()

    def unreachable(self, detail: str) -> None:
        if not self.retired:
            clock = self._house.clock
            self._tell("unreachable", detail)
            self.version += 1
            self.lane.breaker.trip(clock.now(), clock.chance(), "loss+reconnect_failed")

    def changed(self, kind: str, params: bytes) -> None:
        if self.retired:
            return
        if kind.endswith("/list_changed"):
            self._renewal.soon()
        else:
            self._house.on_notice(self, kind, params)

    # ------------------------------------------------------------ what is shown

    @property
    def listing(self) -> Listing | None:
        """The last-known-good lists; None: nothing was ever heard."""
        return self._offer.listing

    @property
    def instructions(self) -> str:
        return self._offer.instructions

    def restore(self, listing: Listing | None, pins: Mapping[str, Pin]) -> None:
        """Take what was kept over a restart, the lists as old as they are."""
        self._offer.restore(listing, pins, self._house.clock)
        self.version += 1

    def facts(self, tool: str) -> ToolFacts | None:
        """What is known of a tool; None: it is not listed (or excluded)."""
        return self._offer.facts(tool)

    def shown(self, kind: Kind, *, prefixed: bool, style: str = SAFE) -> bytes:
        """The items of a kind, joined by commas; empty when it has none to show."""
        if not self._is_shown():
            return b""
        prefix = self.name if prefixed else ""
        return self._offer.rendered(kind, Guise(prefix, self.unavailable(), style))

    def items(self, kind: Kind, *, prefixed: bool, style: str) -> Sequence[tuple[str, bytes]]:
        """The same, one by one: each item's own name, and the item."""
        if not self._is_shown():
            return ()
        prefix = self.name if prefixed else ""
        return self._offer.items(kind, Guise(prefix, self.unavailable(), style))

    def caching(self, kind: Kind) -> Caching | None:
        """How long clients may keep what is shown of a kind; None: there is no such list."""
        listing, is_on = self.listing, self.endpoint.enabled
        if listing is None:
            return Caching() if is_on else None
        said = listing.said().get(kind) if is_on else None
        if said is not None and self.endpoint.is_per_caller:
            said = structs.replace(said, public=False)
        if said is None or (listing.tells(kind) and self.state.connected):
            return said
        return Caching(self._renewal.left(said), said.public)

    def aliased(self, name: str) -> str | None:
        """The tool that is shown under this alias where many servers meet."""
        return self._offer.aliased(name)

    def unavailable(self) -> str:
        """Why calls would fail now; empty when they would not."""
        if not self.endpoint.enabled:
            return "switched off"
        if self.lane.breaker.state in {State.OPEN, State.FORCED_OPEN}:
            return f"circuit {self.lane.breaker.state.value}"
        state = self.state
        return "" if state.connected or not state.problem else state.problem

    def tools(self) -> Sequence[OfferedTool]:
        """Its tools as clients get them, also while they are away."""
        return self._offer.tools() if self.endpoint.enabled else ()

    # ------------------------------------------------------------ approval

    @property
    def pending(self) -> Mapping[str, Standing]:
        """Tools that wait for approval."""
        return self._offer.pending

    @property
    def withheld(self) -> frozenset[str]:
        """Those of them that are neither offered nor called until then."""
        return self._offer.withheld

    def pending_tools(self) -> Sequence[PendingTool]:
        return self._offer.pending_tools()

    def pin(self) -> Mapping[str, Pin]:
        """Approve what needs nobody's approval; returns the pins that are new."""
        return self._offer.pin()

    def look(self, digests: Mapping[str, bytes]) -> Mapping[str, Pin]:
        """See `Offer.look`."""
        return self._offer.look(digests)

    def approve(self, pins: Mapping[str, Pin]) -> None:
        self._offer.approve(pins)
        self.version += 1

    def _tell_pending(self) -> None:
        """Once for each definition that waits for approval."""
        pending = {tool.name: tool.now.digest for tool in self._offer.pending_tools()}
        news = [name for name, digest in pending.items() if self._told.get(name) != digest]
        self._told = pending
        if news:
            self._tell(
                "pending", ", ".join(f"{name} ({self.pending[name].value})" for name in news)
            )

    def _is_shown(self) -> bool:
        """Whether there is anything of it to show to somebody, who asks for it now."""
        self._renewal.shown()
        return self.endpoint.enabled and not self._grace_is_over()

    def _grace_is_over(self) -> bool:
        gone = self._house.clock.now() - self._offer.good_at
        return gone > self.endpoint.grace_s * SECOND and not self.state.connected

    def _still_good(self) -> None:
        """What is listed was good until now: the grace counts from here, over restarts too."""
        if self._offer.still_good(self._house.clock):
            self._house.on_listed(self, frozenset())

    # ------------------------------------------------------------ asking

    def _listed(self, listing: Listing) -> None:
        """Its lists were fetched. That they are as they were before is no news."""
        if self.retired:
            return
        self._renewal.taken(listing)
        others = self._offer.take(listing, self._house.clock.now())
        if others or self._is_new:
            self._is_new = False
            self.version += 1
            self._tell("listed", f"{len(listing.tools)} tools")
        self._house.on_listed(self, others)
        self._tell_pending()

    async def ask(self, method: str, params: Mapping[str, Raw], span: Nanoseconds) -> Reply:
        """A question of the hub's own; see `inquiry.METHODS` for what may be asked."""
        return await self._inquiry.ask(method, params, span)

    async def test(self, span: Nanoseconds) -> dict[str, object]:
        """Connect and list, whatever the breaker says: what was found, for people."""
        if not self.endpoint.enabled:
            hint = f"Run `agenthub enable {self.name}`."
            return {"ok": False, "problem": "it is switched off", "hint": hint}
        clock, until = self._house.clock, self._house.clock.now() + span
        # A modern server and a legacy one both know this question, so it makes the connection.
        is_mcp = self.endpoint.llm is None
        reply = await self._inquiry.ask(Kind.TOOLS.method if is_mcp else DISCOVER, {}, span)
        if reply.ending is Ending.RESULT or reply.code == NO_SUCH_METHOD:
            found = await self._inquiry.lists(max(until - clock.now(), 0))
            if isinstance(found, Listing):
                self._listed(found)
            else:
                reply = found
        return self._finding(reply, span)

    def _finding(self, reply: Reply, span: Nanoseconds) -> dict[str, object]:
        state, listing = self.state, self.listing
        ok = reply.ending is Ending.RESULT or reply.code == NO_SUCH_METHOD
        if self.endpoint.llm is not None:
            ok = ok and not state.problem  # It may be there, and refuse the key.
        problem = "" if ok else state.problem or in_words(reply, span)
        if problem and state.words:
            problem += f": {state.words}"
        return {
            "ok": ok,
            "era": state.era.value if state.era else None,
            "version": state.version,
            "tools_count": len(listing.tools) if listing and self.endpoint.llm is None else None,
            "models_count": len(state.models) if self.endpoint.llm is not None else None,
            "tools_pending": len(self.pending),
            "suspicions": dict(
                [(tool.name, tool.suspicions) for tool in self.tools() if tool.suspicions][:100]
            ),
            "excluded": listing.excluded if listing else {},
            "problem": problem[:500],
            "hint": state.hint,
            "pid": state.pid,
            "stderr": list(state.stderr),
        }

    # ------------------------------------------------------------ time

    def tick(self, now: Nanoseconds) -> None:
        """Once a second: breakers' own time, probes, lists that are due."""
        self.lane.tick(now, self._house.clock.chance())
        if self.endpoint.enabled:
            self._probe.look_if_due(now)
        if not self.state.connected:
            return
        self._renewal.look_if_due(now, lambda: self._house.followed(self.name))
        if (listing := self.listing) is not None:
            age = self._house.clock.wall() // SECOND - listing.listed_at_s
            if not 0 <= age < KEEP_EVERY_S:
                self._still_good()

    def suspect(self) -> None:
        """A call on it hung to its end."""
        if not self.retired:
            self._probe.suspect()

    def _breaker_changed(self, tool: str, transition: Transition) -> None:
        if not self.retired:
            self.version += 1
            self._house.on_breaker(self, tool, transition)

    def _tell(self, state: str, detail: str = "") -> None:
        wall = self._house.clock.wall() // MILLISECOND
        self._house.observer.event(ServerChanged(wall, self.name, state, detail[:500]))
