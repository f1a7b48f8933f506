"""HTTP+SSE as a pipe: the server's stream, and a POST for each message to it.

    opening ──event `endpoint`──► open: POST, POST, …      any ──stream over──► over
       └──no stream, no event, a foreign address────────────────────────────► over (it never was)

A server behind OAuth is shown the token that is good now, and once more another one if it refuses
that. The address to post to must be of the same origin as the stream, or a server could have the
hub's credentials sent to another. Messages of calls are posted beside one another; the hub's own
keep their place, so that `initialized` comes before the first call.

Source: MCP specification 2024-11-05, "Transports, HTTP with SSE".
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urljoin

from msgspec import Struct, structs

from agenthub.domain.endpoint_check import check_url
from agenthub.domain.errors import BadSetting
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound.child_output import Overlong
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.flood import EVENT_LINES, UNWANTED
from agenthub.outbound.http_answer import explain, says_nothing_of_era
from agenthub.outbound.http_attempt import ENDLESS
from agenthub.outbound.http_authority import Authority
from agenthub.outbound.http_connection import Connection, HttpLimits
from agenthub.outbound.http_dial import Dial
from agenthub.outbound.http_exchange import Endless, Exchange
from agenthub.outbound.http_own import Question
from agenthub.outbound.http_pool import Pool
from agenthub.outbound.http_request import Origin, RequestHead, origin_of
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.pipe import Ended, Letter, PipeOwner
from agenthub.ports import Clock, Timer
from agenthub.tasks import Tasks

BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""What may wait for a server that is slow to take it: two requests of the largest size (R43)."""
ADDRESS_MAX: Final = 2_048
GONE: Final = frozenset({404, 410})
"""To a POST: the server does not know the session any more."""
_ADDRESS = re.compile(rb"[\x21-\x7e]+")


class Terms(Struct, frozen=True):
    """What every pipe to one server shares."""

    url: str
    headers: Mapping[str, str]
    limits: HttpLimits
    clock: Clock
    tasks: Tasks
    connect_span: Nanoseconds
    patience: Nanoseconds
    size: int
    """Connections at most."""
    tokens: TokenSource | None = None


class NoWords:
    """`pipe.Words` of a server whose stderr is elsewhere."""

    @staticmethod
    def lines() -> tuple[str, ...]:
        return ()


class SsePipe:
    """Implements `pipe.Pipe`, and is what its exchanges and its pool need of a server."""

    pid: int | None = None
    stderr = NoWords()
    life_span: Nanoseconds = 5 * SECOND

    def __init__(self, terms: Terms, owner: PipeOwner) -> None:
        self.clock = terms.clock
        # An answer is an event here, and may be as long as any other.
        self.limits = structs.replace(terms.limits, event_bytes=terms.limits.response_bytes)
        self.patience = terms.patience
        self.is_refused = False
        """Whether the server said that there is no such transport here."""
        self._terms = terms
        self._owner: PipeOwner | None = owner
        self._origin = origin_of(terms.url)
        self._head = RequestHead(self._origin, terms.headers)
        self._authority = Authority(terms.tokens, self._head, self._authorized)
        self._begun = 0
        """How often the stream was asked for."""
        self._asked = False
        """Whether it is now."""
        self._posts: RequestHead | None = None
        """Where to post; None until the server said it."""
        self._queue: deque[Letter] = deque()
        self._posting: dict[Letter, Posting] = {}
        self._again: set[Letter] = set()
        """Those that are posted a second time, with another token."""
        self._fence: Letter | None = None
        """The hub's own message that is under way: nothing passes it."""
        self._backlog = 0
        dial = Dial(self._origin, terms.connect_span)
        self._pool = Pool(
            dial, self, terms.clock, terms.tasks, self.limits, size=terms.size,
            patience=terms.patience,
        )  # fmt: skip
        self._timer: Timer | None = self.clock.after(terms.connect_span, self._too_late)
        self._begin()

    def _begin(self) -> None:
        """Ask for the stream, as soon as there is a token for it."""
        if not self._authority.is_ready():
            self._authority.want()
            return
        self._begun, self._asked = self._begun + 1, True
        self._pool.take(
            Stream(
                id=0,
                patience=ENDLESS,
                _owner=self,
                _lines_max=UNWANTED * EVENT_LINES,
                _make=self._head.get,
                _pipe=self,
                _shown=self._head.authorization,
            )
        )

    def _authorized(self) -> None:
        """There is another token, or none any more, or word of why there is none."""
        if self._authority.is_ready():
            if self._posts is not None:
                self._pump()
            elif not self._asked:
                self._begin()
        elif (failed := self._authority.failed) is None:
            self._authority.want()
        elif self._posts is None:
            self._over(Ended(failure=failed.diagnosis, reply=failed.reply))
        else:
            self._refuse(failed.reply)

    # ---------------------------------------------------------------- the pipe

    def post(self, letter: Letter, data: bytes) -> bool:
        if self._backlog > BACKLOG_BYTES:
            return False
        letter.data, letter.size = data, len(data)
        self._backlog += letter.size
        self._queue.append(letter)
        self._pump()
        return True

    def withdraw(self, letter: Letter) -> None:
        if letter.sent:
            return
        if letter in self._queue:
            self._queue.remove(letter)
            self._backlog -= letter.size
            self._again.discard(letter)
        elif (posting := self._posting.get(letter)) is not None:
            posting.done = True
            self._pool.forget(posting)
            self._settle(letter)
            self._pump()

    def kill(self, reason: str) -> None:
        self._over(Ended(reason=reason))

    async def stop(self) -> None:
        self._owner = None
        self._over(Ended(reason="stopped"))

    def _over(self, end: Ended) -> None:
        owner, self._owner = self._owner, None
        self._stop_waiting()
        self._authority.close()
        self._pool.close()
        self._queue.clear()
        if owner is not None:
            owner.ended(end)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---------------------------------------------------------------- posting

    def _pump(self) -> None:
        while self._queue and self._posts is not None and self._fence is None:
            if not self._authority.is_ready():
                self._authority.want()
                return
            self._posts.authorize(self._head.authorization)
            letter = self._queue[0]
            posting = Posting(
                id=0, patience=self.patience, _owner=self, _make=self._maker(letter.data),
                _on_reply=self._poster(letter), _letter=letter,
            )  # fmt: skip
            self._posting[letter] = posting
            if not self._pool.take(posting):
                del self._posting[letter]
                return
            self._queue.popleft()
            if type(letter) is Letter:
                self._fence = letter

    def _maker(self, data: bytes) -> Callable[[], bytes]:
        assert self._posts is not None
        posts = self._posts
        return lambda: posts.own(data.rstrip(b"\n"))

    def _poster(self, letter: Letter) -> Callable[[Reply, Mapping[bytes, bytes]], None]:
        shown = self._head.authorization

        def posted(reply: Reply, headers: Mapping[bytes, bytes]) -> None:
            if self._authority.refused(reply.status, shown, headers) and letter not in self._again:
                self._post_again(letter)
                return
            self._settle(letter)
            if self._owner is not None and not 0 < reply.status < 300:
                self._owner.undelivered(letter, reply)
                if reply.status in GONE:
                    self.kill(f"it does not know its session any more (HTTP {reply.status})")
            self._pump()

        return posted

    def _post_again(self, letter: Letter) -> None:
        """It was not run, and another token may do better."""
        del self._posting[letter]
        self._again.add(letter)
        letter.sent = 0
        self._queue.appendleft(letter)
        if letter is self._fence:
            self._fence = None
        self._pump()

    def _refuse(self, reply: Reply) -> None:
        """There is no token for what waits; what is under way may still be answered."""
        waiting, self._queue = self._queue, deque()
        for letter in waiting:
            self._backlog -= letter.size
            self._again.discard(letter)
            if self._owner is not None:
                self._owner.undelivered(letter, reply)

    def _settle(self, letter: Letter) -> None:
        """It is taken, or not, or not wanted any more."""
        del self._posting[letter]
        self._backlog -= letter.size
        letter.data = b""
        self._again.discard(letter)
        if letter is self._fence:
            self._fence = None

    # ---------------------------------------------------------------- the stream

    def heard(self, message: bytes | Overlong) -> None:
        if self._owner is not None:
            self._owner.line(message)

    def told(self, address: bytes) -> None:
        """Where to post; the first word counts."""
        if self._posts is not None or self._owner is None:
            return
        origin = address_of(self._terms.url, self._origin, address)
        if origin is None:
            self._fail("its `endpoint` event names no address of its own origin")
        else:
            self._stop_waiting()
            self._posts = RequestHead(origin, self._terms.headers)
            self._pump()

    def streamed(self, reply: Reply, headers: Mapping[bytes, bytes], shown: str) -> None:
        """The stream is over."""
        if self._owner is None:
            pass  # It was ended.
        elif self._posts is not None:
            self.kill(reply.detail)
        elif self._authority.refused(reply.status, shown, headers) and self._begun == 1:
            self._asked = False
            self._begin()
        elif failed := self._authority.failed:
            self._over(Ended(failure=failed.diagnosis, reply=failed.reply))
        elif reply.ending is Ending.STATUS:
            self.is_refused = not says_nothing_of_era(reply.status)
            self._over(Ended(failure=explain(reply.status, headers)))
        else:
            self.is_refused = reply.ending is Ending.PROTOCOL
            self._over(Ended(failure=Diagnosis(f"it opened no stream: {reply.detail}")))

    def _too_late(self) -> None:
        milliseconds = self._terms.connect_span // MILLISECOND
        self._fail(f"it did not say within {milliseconds:,} ms where to post")

    def _fail(self, problem: str) -> None:
        self.is_refused = True
        hint = "Is there an MCP server (HTTP+SSE of 2024-11-05) at this address?"
        self._over(Ended(failure=Diagnosis(problem, hint)))

    # ---------------------------------------------------------------- for exchanges and the pool

    def mint_loss(self) -> int:
        return self._owner.mint_loss() if self._owner is not None else 0

    def lost(self) -> None:
        """Of a POST alone; the stream says whether the server is there."""

    def ask(self, exchange: Exchange) -> None:
        self._pool.take(exchange)

    def unreached(self, diagnosis: Diagnosis) -> None:
        """The exchanges hear it themselves."""


class Posting(Question):
    """One message to the server."""

    _letter: Letter

    def begin(self, connection: Connection) -> bool:
        self._letter.sent = self._letter.size
        return super().begin(connection)


class Stream(Endless):
    """All that the server says."""

    _make: Callable[[], bytes]
    _pipe: SsePipe
    _shown: str
    """In `Authorization`."""

    def request(self) -> bytes:
        return self._make()

    def _hear(self, raw: bytes) -> None:
        # Messages are counted by those who read them.
        self._lines = max(0, self._lines - EVENT_LINES)
        self._pipe.heard(raw)

    def _other(self, kind: bytes, data: bytes) -> None:
        if kind == b"endpoint":
            self._pipe.told(data)

    def _tell(self, reply: Reply) -> None:
        if self._sse is not None and self._sse.overflowed:
            self._pipe.heard(Overlong(self._sse.head))
        self._pipe.streamed(reply, self.headers, self._shown)


def address_of(url: str, origin: Origin, address: bytes) -> Origin | None:
    """Where a server that is at `url` says to post; None: nowhere, or at another origin."""
    if len(address) > ADDRESS_MAX or not _ADDRESS.fullmatch(address):
        return None
    try:
        joined = urljoin(url, address.decode("ascii"))
        check_url("endpoint", joined)
        found = origin_of(joined)
    except (BadSetting, ValueError):
        return None
    same = (found.host, found.port, found.tls) == (origin.host, origin.port, origin.tls)
    return found if same else None
