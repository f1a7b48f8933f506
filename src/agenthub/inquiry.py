"""The hub's own questions to a server, beside the guards: its lists, and whether it is alive.

No caller waits for one, and no call can be sent this way: only what stands in `METHODS`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.caching import Caching, caching, merged
from agenthub.domain.call import Era
from agenthub.domain.judge import judge
from agenthub.domain.outcome import NOTHING, Cause, Effect, Ending, Reply
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.listing import ITEMS_MAX, Kind, Listing, sorted_items
from agenthub.ports import Clock, Outgoing, Question, Upstream

METHODS: Final = frozenset({
    *(kind.method for kind in Kind), "ping", "server/discover", "resources/subscribe",
    "resources/unsubscribe", "logging/setLevel",
})  # fmt: skip
PAGES_MAX: Final = 100
LIST_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one kind, from one server."""
VALUES_MAX: Final = 1_000_000
"""In a page, by its commas. Ten mebibytes of `0,` are 5 million objects, and seconds of the loop;
honest lists of that size have half a million."""
NO_SUCH_METHOD: Final = -32601


class _Pages(Struct):
    """A whole list."""

    items: list[Raw]
    caching: Caching


class Inquiry:
    """Asks one upstream. Each question is bounded by its span, whatever the server does."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock

    async def ask(self, method: str, params: Mapping[str, Raw], span: Nanoseconds) -> Reply:
        """One request, and the end of it."""
        assert method in METHODS, f"{method} is a call, and goes by the gateway"
        receiver = _Waiting()
        outgoing = Outgoing(method, "", params, {}, self._clock.now() + span)
        attempt = self._upstream.send(outgoing, receiver)
        timer = self._clock.after(span, lambda: attempt.cancel(Cause.DEADLINE))
        try:
            return await receiver.reply
        finally:
            timer.cancel()
            attempt.cancel(Cause.SHUTDOWN)

    async def is_alive(self, span: Nanoseconds) -> bool:
        """Whether it answers, if only to say that it does not know the question."""
        method = "ping" if self._upstream.state.era is Era.LEGACY else "server/discover"
        reply = await self.ask(method, {}, span)
        failed = judge(reply, cancelled=None).server is Effect.FAILURE
        return not failed and reply.ending is not Ending.TIMEOUT

    async def lists(self, span: Nanoseconds) -> Listing | Reply:
        """All that it offers; or the reply that was no list."""
        until = self._clock.now() + span
        state = self._upstream.state
        capabilities: dict[str, Any] = msgspec.json.decode(state.capabilities or b"{}")
        lists: dict[str, list[Raw]] = {}
        excluded: dict[str, str] = {}
        said: dict[str, Caching] = {}
        for kind in Kind:
            if kind.capability not in capabilities:
                continue
            pages = await self._pages(kind, until)
            if isinstance(pages, Reply):
                if kind is Kind.TEMPLATES and pages.code == NO_SUCH_METHOD:
                    continue  # many servers with resources know no templates
                return pages
            said[kind.key] = pages.caching
            lists[kind.name.lower()], why = sorted_items(kind, pages.items)
            excluded |= why
        return Listing(
            **lists,
            capabilities=Raw(state.capabilities or b"{}"),
            server_info=Raw(state.server_info or b"null"),
            instructions=state.instructions,
            listed_at_s=self._clock.wall() // SECOND,
            excluded=dict(list(excluded.items())[:100]),
            caching=said,
            announced=tuple(name for name, one in capabilities.items() if _announces(one)),
        )

    async def _pages(self, kind: Kind, until: Nanoseconds) -> _Pages | Reply:
        """All pages of a list, as far as they are sane."""
        items: list[Raw] = []
        said: list[Caching] = []
        size, cursor = 0, None
        for _ in range(PAGES_MAX):
            params = {} if cursor is None else {"cursor": cursor}
            left = max(until - self._clock.now(), 0)
            reply = await self.ask(kind.method, params, left)
            if reply.ending is not Ending.RESULT:
                return reply
            if reply.result.count(b",") > VALUES_MAX:
                return Reply(Ending.PROTOCOL, detail=f"{kind.method}: over {VALUES_MAX:,} values")
            try:
                page = msgspec.json.decode(reply.result, type=dict[str, Raw])
                found = msgspec.json.decode(page.get(kind.key, Raw(b"[]")), type=list[Raw])
            except (ValueError, RecursionError):
                return Reply(Ending.PROTOCOL, detail=f"{kind.method}: not a list")
            # Each item is a copy, or it would hold its whole page.
            items += [Raw(bytes(item)) for item in found[: ITEMS_MAX + 1]]
            said.append(caching(page.get("ttlMs", NOTHING), page.get("cacheScope", NOTHING)))
            size += len(reply.result)
            cursor = page.get("nextCursor")
            ended = cursor is None or bytes(cursor) == b"null"
            if ended or len(items) > ITEMS_MAX or size > LIST_BYTES_MAX:
                break
        return _Pages(items, merged(said))


def _announces(capability: Any) -> bool:
    return isinstance(capability, dict) and capability.get("listChanged") is True  # pyright: ignore[reportUnknownMemberType]


class _Waiting:
    """Receives one attempt's end for a coroutine."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def notified(self, method: str, params: bytes) -> None: ...
    def asked(self, question: Question) -> None: ...

    def finished(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


def in_words(reply: Reply, span: Nanoseconds) -> str:
    """What went wrong, where nobody said it better."""
    if reply.ending is Ending.CANCELLED:
        return f"no answer within {span / SECOND:g} s"
    if reply.detail:
        return reply.detail
    if reply.ending is Ending.ERROR:
        return f"it answered with error {reply.code}"
    if reply.ending is Ending.STATUS:
        return f"it answered with HTTP status {reply.status}"
    return reply.ending.value
