"""One attempt over HTTP (ports.Attempt): its answer, and what its own stream tells on the way.

The stream is this request's alone, so whatever comes on it belongs to it: progress, log messages,
and the questions of an old server. While those wait for the client, the server may be silent.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from msgspec import UNSET

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.asking import NOBODY, TOO_MANY, Asking
from agenthub.outbound.http_exchange import Exchange, ExchangeOwner
from agenthub.outbound.http_own import OnReply
from agenthub.outbound.http_request import RequestHead
from agenthub.outbound.mcp_message import CANCELLED, ELICITED, LOG_LEVEL, UNHEARD, Message
from agenthub.ports import AttemptReceiver, Outgoing, Timer, UpstreamWatcher

PROGRESS_GAP: Nanoseconds = 200 * MILLISECOND
PROGRESS_BURST = 5
"""Words of progress to a client: so many at once and then one in each gap, so never more than ten
in a second (F20). Of those that come faster, the last one counts."""


ENDLESS: Nanoseconds = 1 << 62
RESUMES_MAX = 5
RESUME_AFTER: Nanoseconds = 500 * MILLISECOND
"""Unless the server says how long to wait."""
RESUME_AFTER_MAX: Nanoseconds = 10_000 * MILLISECOND


# An attribute of an Enum class costs more than a global name, and these stand on the hot path.
_RESULT, _LEGACY = Ending.RESULT, Era.LEGACY


class AttemptOwner(ExchangeOwner, Protocol):
    """What an attempt needs of its server."""

    era: Era | None
    head: RequestHead
    watcher: UpstreamWatcher
    strays: int
    declared: bytes
    """What the one client that this session is for answers; nobody's, if it is shared."""

    def renew(self, attempt: "HttpAttempt") -> None:
        """Its session is gone, and it was not run: send it in a new one."""
        ...

    def refused(self, status: int, shown: str, headers: Mapping[bytes, bytes]) -> bool:
        """The server said this status. True: there may be another token to show than this one."""
        ...

    def let_go(self, exchange: Exchange) -> None:
        """It waits no longer."""
        ...

    def post(self, body: bytes) -> None:
        """A message of the hub's own, to an old server."""
        ...

    def deliver(self, body: bytes, on_reply: OnReply) -> None:
        """As `post`, for who cares whether it arrived."""
        ...

    def ask_for_life(self) -> None:
        """An attempt ran into its deadline: see whether the server still answers at all."""
        ...

    def noted(self, reply: Reply) -> None:
        """How an attempt ended that got no result, before its receiver hears of it."""
        ...


class HttpAttempt(Exchange, weakref=True):
    """Implements `ports.Attempt`."""

    _server: AttemptOwner
    outgoing: Outgoing
    receiver: AttemptReceiver
    session: str = ""
    """That it was last sent in."""
    authorization: str = ""
    """That it was last sent with."""
    _asking: Asking | None = None
    """None: the server never asked anything."""
    _renewed: bool = False
    _resumes: int = 0
    _resume_timer: Timer | None = None
    _last_id: bytes = b""
    _progress: Message | None = None
    """The last word of progress, when it came too soon to be passed on."""
    _progress_tat: Nanoseconds = 0
    _progress_timer: Timer | None = None

    # ---------------------------------------------------------------- the port

    def cancel(self, cause: Cause) -> None:
        if self.done:
            return
        written = self.written
        self._leave()
        if written is Written.ALL:
            if self._server.era is Era.LEGACY:
                # To an old server a closed stream is no word that it may stop.
                self._tell_cancelled(cause.value)
            if cause is Cause.DEADLINE:
                self._server.ask_for_life()
        self.finish(Reply(Ending.CANCELLED, written, detail=f"cancelled: {cause.value}"))

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        if self._asking is not None and not self.done:
            self._asking.answer(question_id, result, error)
            self._bear_silence()

    def pause(self) -> None:
        self._paused = True
        if self.connection is not None and not self.done:
            self.connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self.connection is not None and not self.done:
            self.connection.resume()

    # ---------------------------------------------------------------- the exchange

    @property
    def written(self) -> Written:
        return Written.ALL if self._resumes else self._left()

    def request(self) -> bytes:
        head = self._server.head
        if self._resumes:
            return head.get(self._last_id)
        self.session, self.authorization = head.session, head.authorization
        return head.call(self.id, self.outgoing, self._server.clock.now())

    def finish_soon(self, reply: Reply) -> None:
        """From inside `send`, which must return first."""
        asyncio.get_running_loop().call_soon(self.finish, reply)

    def _leave(self) -> None:
        self._server.let_go(self)
        if self.connection is not None:
            self.connection.drop()

    def _take(self, reply: Reply) -> None:
        is_old = self._server.era is _LEGACY
        self.reply = wire.of_old_server(reply) if is_old else reply

    def over(self) -> None:
        if self._session_is_gone() or self._token_is_gone():
            self._renewed = True
            self.connection = self.reply = None
            self._parts, self._size, self._sse = [], 0, None
            self._server.renew(self)
        elif not self._resume():
            super().over()

    def broke(self, ending: Ending, detail: str) -> None:
        if ending is not Ending.LOST or not self._resume():
            super().broke(ending, detail)

    def _resume(self) -> bool:
        """Ask an old server for the rest of a stream that broke off, if it gave its events ids.

        Source: revision 2025-11-25, Streamable HTTP, Resumability and Redelivery.
        """
        stream = self._sse
        if stream is None or self.reply is not None or self.done:
            return False
        self._last_id = stream.last_id or self._last_id
        if not self._last_id or self._server.era is not Era.LEGACY or self._resumes >= RESUMES_MAX:
            return False
        wait = RESUME_AFTER
        if stream.retry_ms is not None:
            wait = min(stream.retry_ms * MILLISECOND, RESUME_AFTER_MAX)
        self._resumes += 1
        self.connection = self._sse = None
        self._resume_timer = self._server.clock.after(wait, self._take_up)
        return True

    def _take_up(self) -> None:
        if not self.done:
            self._server.ask(self)

    def _token_is_gone(self) -> bool:
        """It was not run: it is sent again with another token, once."""
        if self.status < 400 or self._resumes:
            return False
        again = self._server.refused(self.status, self.authorization, self.headers)
        return again and not self._renewed

    def _session_is_gone(self) -> bool:
        """404 by the specification; some servers say 400, with a word of the session."""
        if not self.session or self._renewed or self._resumes:
            return False
        if self.status == 404:
            return True
        return self.status == 400 and b"session" in b"".join(self._parts).lower()

    def _tell(self, reply: Reply) -> None:
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        if self._resumes and (reply.status >= 300 or reply.ending is Ending.UNREACHED):
            # What is refused now is the rest of the stream; the call itself was taken.
            detail = f"the stream broke off, and its rest was not to be had: {reply.detail}"
            reply = Reply(Ending.LOST, loss=self._server.mint_loss(), detail=detail)
        if self._progress is not None and reply.ending is not Ending.CANCELLED:
            self._pass_progress(self._progress, self._server.clock.now())
        if reply.ending is not _RESULT:
            self._server.noted(reply)
        self.receiver.finished(reply)

    # ---------------------------------------------------------------- its stream

    def beside(self, message: Message) -> None:
        """What an old server says on its session's own stream, when this is the only attempt."""
        if self.done:
            return
        if message.id is UNSET or message.id is None:
            self._notified(message)
        else:
            self._asked(message, message.id)

    def _notified(self, message: Message) -> None:
        method = message.method
        if method == "notifications/progress":
            token = wire.progress_token(message.params)
            if type(token) is int and token == self.id:
                self._progressed(message)
        elif method == "notifications/message":
            wanted = wire.level_of(self.outgoing.meta.get(LOG_LEVEL))
            if wanted is not None and wanted <= wire.log_level(message.params):
                self.receiver.notified(method, bytes(message.params))
        elif method == CANCELLED:
            if self._asking is not None:
                self._asking.withdraw(message)
                self._bear_silence()
        elif method == ELICITED:
            if self._server.declared != NOBODY and self.outgoing.era is Era.LEGACY:
                self.receiver.notified(method, bytes(message.params) or b"{}")
        elif method not in UNHEARD:
            self._server.watcher.changed(method, bytes(message.params) or b"{}")

    def _progressed(self, message: Message) -> None:
        now = self._server.clock.now()
        left = self._progress_tat - (PROGRESS_BURST - 1) * PROGRESS_GAP - now
        if left <= 0:
            self._pass_progress(message, now)
        else:
            self._progress = message
            if self._progress_timer is None:
                self._progress_timer = self._server.clock.after(left, self._catch_up)

    def _catch_up(self) -> None:
        self._progress_timer = None
        if self._progress is not None and not self.done:
            self._pass_progress(self._progress, self._server.clock.now())

    def _pass_progress(self, message: Message, now: Nanoseconds) -> None:
        self._progress = None
        self._progress_tat = max(self._progress_tat, now) + PROGRESS_GAP
        own = self.outgoing.meta.get("progressToken")
        if own is not None:
            params = wire.with_progress_token(message.params, own)
            self.receiver.notified(message.method, params)

    def _asked(self, message: Message, message_id: int | str) -> None:
        """A request of the server's own. A modern one must not have any: not answered."""
        server = self._server
        if server.era is not Era.LEGACY:
            server.strays += 1
            return
        self._asking = self._asking or Asking(server.declared, server.post, self._deliver)
        if self._asking.hear(message, message_id, self.receiver, server.clock.now()):
            self._bear_silence()
        else:
            self._leave()
            self._tell_cancelled(TOO_MANY)
            self.finish(Reply(Ending.PROTOCOL, status=self.status, detail=TOO_MANY))

    def _bear_silence(self) -> None:
        """A server that waits for the client says nothing; after that its time is counted anew."""
        assert self._asking is not None
        if self._asking.is_open:
            self.patience = ENDLESS
        elif self.patience == ENDLESS:
            self.patience = self._server.patience
            if self.connection is not None:
                self.connection.quiet = 0

    def _deliver(self, body: bytes) -> None:
        self._server.deliver(body, self._delivered)

    def _delivered(self, reply: Reply, headers: Mapping[bytes, bytes]) -> None:
        """An answer that did not arrive is waited for by a server that will never go on."""
        del headers
        if self.done or 0 < reply.status < 300:
            return
        self._leave()
        detail = f"the client's answer did not reach the server: {reply.detail}"
        self.finish(Reply(Ending.LOST, loss=self._server.mint_loss(), detail=detail))

    def _tell_cancelled(self, reason: str) -> None:
        params = {"requestId": self.id, "reason": reason}
        self._server.post(wire.notification(CANCELLED, params))
