"""A server at run time: its record, its connection, its guards, and what it offers.

    added ──► connecting ──► connected ──► listed      what the hub knows stays, whatever
                 ▲    │          │                      the server does next: a dead server's
                 └────┴── lost ◄─┘                      tools stay listed for a grace

It hears its upstream (ports.UpstreamWatcher) and never waits for it: lists are fetched in a task
of their own, and everyone else is shown the last-known-good ones.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.call import Era
from agenthub.domain.circuit_breaker import State, Transition
from agenthub.domain.endpoint import Endpoint, ToolPolicy
from agenthub.domain.errors import Refusal
from agenthub.domain.events import ServerChanged
from agenthub.domain.lane import HARD_CAP, Lane
from agenthub.domain.journey import Hop
from agenthub.domain.judge import judge
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.replay import read_only, replay_safe
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.listing import ITEMS_MAX, Kind, Listing, ToolFacts, render, sorted_items
from agenthub.ports import (
    Attempt,
    AttemptReceiver,
    Clock,
    Observer,
    Outgoing,
    Upstream,
    UpstreamState,
)
from agenthub.tasks import Tasks

LIST_TIMEOUT: Nanoseconds = 30 * SECOND
"""For one page of a list; nobody waits for it but the refresh itself."""
PROBE_TIMEOUT: Nanoseconds = 5 * SECOND
SETTLE_S = 0.1
"""A server that says `list_changed` ten thousand times is asked once per such span (A35)."""
PAGES_MAX = 100
READS = frozenset({"resources/read", "prompts/get", "completion/complete"})
"""Methods that only read, by their definition."""
ALIVE = Reply(Ending.RESULT, result=b"{}")


class Surroundings(Struct, frozen=True):
    """What every server needs of the house."""

    clock: Clock
    observer: Observer
    tasks: Tasks
    connect: Callable[[Endpoint, "Server"], Upstream]
    """Makes the connection; raises BadSetting if it can never work."""
    on_breaker: Callable[["Server", str, Transition], None]
    on_listed: Callable[["Server"], None]
    on_notice: Callable[["Server", str, bytes], None]
    """A notification outside any request: (server, method, raw params)."""


class Server:
    """One endpoint, alive."""

    def __init__(self, endpoint: Endpoint, house: Surroundings, *, hidden: bool = False) -> None:
        self.endpoint = endpoint
        self.hidden = hidden
        """A fallback that is known by its address only: it serves, and is not listed."""
        self.lane = Lane(endpoint, lambda tool, t: house.on_breaker(self, tool, t))
        self.listing: Listing | None = None
        self.pins: Mapping[str, bytes] = {}
        self.version = 0
        """Grows with every change of what is shown."""
        self._house = house
        self._facts: dict[str, ToolFacts] = {}
        self._items: dict[str, Raw] = {}
        self._rendered: dict[tuple[Kind, bool, str], bytes] = {}
        self._refreshing: asyncio.Task[object] | None = None
        self._again = False
        self._probing = False
        self._upstream: Upstream = self._make_upstream()

    # ------------------------------------------------------------ life

    def start(self) -> None:
        if self.endpoint.enabled:
            self._upstream.start()

    async def close(self) -> None:
        await self._upstream.close()

    async def retire(self) -> None:
        """Close when the calls under way are over, within the longest deadline."""
        for _ in range(HARD_CAP // SECOND):
            if not self.lane.seats.in_flight:
                break
            await asyncio.sleep(1)
        await self._upstream.close()

    def _make_upstream(self) -> Upstream:
        return self._house.connect(self.endpoint, self)

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def state(self) -> UpstreamState:
        """What the connection says of itself."""
        return self._upstream.state

    def hop(
        self, method: str, name: str, policy: ToolPolicy | None, facts: ToolFacts | None
    ) -> Hop:
        """This server as a station of a call's way: all that the gateway gets of it."""
        if method in READS:
            return Hop(self.lane, name, self._upstream, replay_safe=True, read_only=True)
        heard = facts.annotations if facts and facts.pinned else None
        trusted = self.endpoint.trust
        return Hop(
            self.lane, name, self._upstream,
            replay_safe=replay_safe(policy, trusted, heard),
            read_only=read_only(policy, trusted, heard),
        )  # fmt: skip

    # ------------------------------------------------------------ UpstreamWatcher

    def connected(self) -> None:
        self._tell("connected")
        self.version += 1
        self.refresh()

    def lost(self, loss: int, detail: str) -> None:
        del loss
        self._tell("lost", detail)
        self.version += 1

    def unreachable(self, detail: str) -> None:
        clock = self._house.clock
        self._tell("unreachable", detail)
        self.version += 1
        self.lane.breaker.trip(clock.now(), clock.chance(), "loss+reconnect_failed")

    def changed(self, kind: str, params: bytes) -> None:
        if kind.endswith("/list_changed"):
            self.refresh()
        else:
            self._house.on_notice(self, kind, params)

    # ------------------------------------------------------------ lists

    def restore(self, listing: Listing) -> None:
        """Take the lists that were kept over a restart."""
        self._take(listing)

    def refresh(self) -> None:
        """Fetch the lists soon, once, however often this is called."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._house.tasks.start(self._refresh(), f"lists of {self.name}")
        else:
            self._again = True

    def facts(self, tool: str) -> ToolFacts | None:
        """What is known of a tool; None: it is not listed (or excluded)."""
        facts = self._facts.get(tool)
        if facts is None and (item := self._items.get(tool)) is not None:
            facts = self._facts[tool] = ToolFacts(item, self.pins.get(tool))
        return facts

    def shown(self, kind: Kind, *, prefixed: bool) -> bytes:
        """This server's items of a kind, joined by commas; empty when it has none to show."""
        if self.listing is None or not self.endpoint.enabled or self._grace_is_over():
            return b""
        unavailable = self.unavailable()
        key = (kind, prefixed, unavailable)
        piece = self._rendered.get(key)
        if piece is None:
            if len(self._rendered) > 16:
                self._rendered.clear()
            prefix = self.name if prefixed else ""
            piece = self._rendered[key] = render(self.listing, kind, prefix, unavailable)
        return piece

    def unavailable(self) -> str:
        """Why calls would fail now; empty when they would not."""
        if not self.endpoint.enabled:
            return "switched off"
        if self.lane.breaker.state in {State.OPEN, State.FORCED_OPEN}:
            return f"circuit {self.lane.breaker.state.value}"
        state = self.state
        return "" if state.connected or not state.problem else state.problem

    def _grace_is_over(self) -> bool:
        if self.listing is None or self.state.connected:
            return False
        age = self._house.clock.wall() // SECOND - self.listing.listed_at_s
        return age > self.endpoint.grace_s

    async def _refresh(self) -> None:
        """Ask for all lists; on any failure what was known stays."""
        while True:
            self._again = False
            await asyncio.sleep(SETTLE_S)
            state = self.state
            listing = await self._fetch(state)
            if listing is not None:
                self._take(listing)
                self._house.on_listed(self)
                self._tell("listed", f"{len(listing.tools)} tools")
            if not self._again:
                return

    async def _fetch(self, state: UpstreamState) -> Listing | None:
        capabilities: dict[str, Any] = msgspec.json.decode(state.capabilities or b"{}")
        lists: dict[str, list[Raw]] = {}
        excluded: dict[str, str] = {}
        for kind in Kind:
            if kind.capability not in capabilities:
                continue
            items = await self._pages(kind)
            if items is None:
                if kind is Kind.TEMPLATES:
                    continue  # many servers with resources know no templates
                return None
            lists[kind.name.lower()], why = sorted_items(kind, items)
            excluded |= why
        info = state.server_info or b"null"
        return Listing(
            **lists,
            capabilities=Raw(state.capabilities or b"{}"),
            server_info=Raw(info),
            instructions=state.instructions,
            listed_at_s=self._house.clock.wall() // SECOND,
            excluded=dict(list(excluded.items())[:100]),
        )

    async def _pages(self, kind: Kind) -> list[Raw] | None:
        """All pages of a list; None if the server did not give them."""
        items: list[Raw] = []
        cursor: Raw | None = None
        for _ in range(PAGES_MAX):
            params = {} if cursor is None else {"cursor": cursor}
            reply = await self.ask(kind.method, params, LIST_TIMEOUT)
            if reply.ending is not Ending.RESULT:
                return None
            try:
                page = msgspec.json.decode(reply.result, type=dict[str, Raw])
                items += msgspec.json.decode(page.get(kind.key, Raw(b"[]")), type=list[Raw])
            except msgspec.DecodeError:
                return None
            cursor = page.get("nextCursor")
            if cursor is None or bytes(cursor) == b"null" or len(items) > ITEMS_MAX:
                break
        return [Raw(bytes(item)) for item in items]

    def _take(self, listing: Listing) -> None:
        self.listing = listing
        self._facts.clear()
        self._rendered.clear()
        self._items = {
            msgspec.json.decode(item, type=_Name).name: item for item in listing.tools
        }
        self.version += 1

    # ------------------------------------------------------------ asking

    async def ask(self, method: str, params: Mapping[str, Raw], span: Nanoseconds) -> Reply:
        """One request of the hub's own, beside the guards: lists, probes. Bounded by `span`."""
        clock = self._house.clock
        receiver = _Waiting()
        outgoing = Outgoing(method, "", params, {}, clock.now() + span)
        attempt = self._upstream.send(outgoing, receiver)
        timer = clock.after(span, lambda: attempt.cancel(Cause.DEADLINE))
        try:
            return await receiver.reply
        finally:
            timer.cancel()
            attempt.cancel(Cause.SHUTDOWN)

    def probe_if_due(self, now: Nanoseconds) -> None:
        """When an open breaker's time is over, try the server, so that no caller has to (R2)."""
        breaker = self.lane.breaker
        due = breaker.state is State.HALF_OPEN or (
            breaker.state is State.OPEN and now >= breaker.until
        )
        if due and not self._probing and self.endpoint.enabled:
            self._probing = True
            self._house.tasks.start(self._probe(), f"probe of {self.name}")

    async def _probe(self) -> None:
        """Until the breaker has closed, or opened again; each question is a probe of its own."""
        clock, lane = self._house.clock, self.lane
        try:
            for _ in range(self.endpoint.breaker.probes_to_close):
                passed = lane.admit("", clock.now(), clock.chance())
                if isinstance(passed, Refusal):
                    return
                legacy = self.state.era is Era.LEGACY
                reply = await self.ask("ping" if legacy else "server/discover", {}, PROBE_TIMEOUT)
                if reply.ending is Ending.ERROR:
                    # It answers, if only to say that it does not know the question.
                    reply = ALIVE
                verdict = judge(reply, cancelled=None)
                lane.report(passed, "", verdict, reply, clock.now(), clock.chance())
                if lane.breaker.state is not State.HALF_OPEN:
                    return
        finally:
            self._probing = False

    def _tell(self, state: str, detail: str = "") -> None:
        wall = self._house.clock.wall() // MILLISECOND
        self._house.observer.event(ServerChanged(wall, self.name, state, detail[:500]))


class _Name(Struct):
    name: str


class _Waiting:
    """Receives one attempt's end for a coroutine."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def notified(self, method: str, params: bytes) -> None: ...

    def finished(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


class Unusable:
    """Stands for a server whose record cannot work: each attempt says why, and nothing is sent."""

    def __init__(self, problem: str, hint: str, clock: Clock) -> None:
        self._clock = clock
        self._state = UpstreamState(problem=problem, hint=hint)

    @property
    def state(self) -> UpstreamState:
        return self._state

    def start(self) -> None: ...

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        del outgoing
        reply = Reply(Ending.UNREACHED, Written.NONE, detail=self._state.problem)
        self._clock.after(0, lambda: receiver.finished(reply))
        return self

    async def close(self) -> None: ...

    def cancel(self, cause: Cause) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...
