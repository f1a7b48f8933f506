"""A client of the old era whose one stream carries everything: stdio, and HTTP+SSE.

    initialize ──► session ──`initialized`──► news too
       answers as they are ready, progress, the hub's questions: all on the same channel

Requests run beside one another. A client that does not read gets no more notifications, and the
channel decides how much more of it is taken.

Source: MCP specification 2025-11-25, "Lifecycle", "stdio"; 2024-11-05, "HTTP with SSE".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import structs

from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, InvalidParams
from agenthub.domain.outcome import Cause
from agenthub.inbound.mcp.dialogue.questions import Questions, withdrawal
from agenthub.inbound.mcp.terms import (
    CANCELLED,
    INVALID_REQUEST,
    Answered,
    Context,
    UnderWay,
)
from agenthub.inbound.mcp.transport.legacy import LegacyDoor
from agenthub.inbound.mcp.transport.session import RunningRequests, Session, read_initialize
from agenthub.wire.jsonrpc import (
    Kind,
    Message,
    error_message,
    notification,
    request_message,
    result_message,
)

if TYPE_CHECKING:
    from agenthub.inbound.mcp.news.subscriptions import Subscription, Uris

BEGIN: Final = "Begin with `initialize`, or say the protocol's version in `_meta`"


class Channel(Protocol):
    """The way to one client, whatever its era."""

    def caller(self) -> Caller:
        """The client, as it is at its face now. Raises UnknownTarget: the face has gone."""
        ...

    @property
    def is_full(self) -> bool:
        """The client does not keep up."""
        ...

    def write(self, message: bytes) -> None:
        """One message; dropped if the client has gone."""
        ...

    def news_ended(self) -> None:
        """The face has gone, or the hub stops."""
        ...

    def began(self, message_id: bytes, replies: "ChannelReplies") -> None:
        """A request is under way."""
        ...

    def ended(self, message_id: bytes, replies: "ChannelReplies") -> None:
        """It is answered; may be told of what never was under way."""
        ...


class LegacyChannel:
    """One session of the old era. Implements `subscriptions.Feed`."""

    def __init__(self, channel: Channel, door: LegacyDoor, context: Context) -> None:
        """`context`: at which face, by which door; the rest is said at `initialize`."""
        self._channel = channel
        self._door = door
        self._context = context
        self._uris: Uris = {}
        self._news: Subscription | None = None
        self._is_initialized = False
        self.session: Session | None = None
        """None until `initialize`."""
        self.running = RunningRequests()

    def open(self) -> None:
        """Have a place among those who hear news. Raises UnknownTarget or Overloaded."""
        if self._news is None:
            context = structs.replace(self._context, caller=self._channel.caller())
            self._news = self._door.stream(context, self._uris, self)

    def take(self, message: Message, facts: Mapping[str, Any]) -> None:
        """A message of the client's; `facts` are those of `Context` that it brings."""
        session = self.session
        if message.kind is Kind.RESPONSE:
            if session is not None:
                session.questions.answer(message)
        elif message.kind is Kind.NOTIFICATION:
            if session is not None:
                self._hear(session, message)
        elif session is None:
            self._take_early(message)
        elif message.method == "initialize":
            words = "This session is initialized already"
            self._channel.write(error_message(message.id, INVALID_REQUEST, words))
        else:
            self._request(session, message, facts)

    def resume(self) -> None:
        """The client keeps up again."""
        if self._news is not None:
            self._news.resume()

    def check(self) -> None:
        """End if the face has gone."""
        if self._news is not None:
            self._news.check()

    def leave(self) -> None:
        """The client has gone, or the channel ends: what is under way is given up."""
        if self._news is not None:
            self._news.drop()
        if self.session is not None:
            self._door.leave(self.session)

    # ------------------------------------------------------------ the session

    def _take_early(self, message: Message) -> None:
        """A request before `initialize`, or that."""
        if message.method == "initialize":
            try:
                self._begin(message)
            except HubError as error:
                self.refuse(message.id, error)
        elif message.method == "ping":
            self._channel.write(result_message(message.id, b"{}"))
        else:
            self.refuse(message.id, InvalidParams(BEGIN))

    def _begin(self, message: Message) -> None:
        caller = self._channel.caller()
        facts = read_initialize(message, caller, self._context.endpoint)
        self.open()
        session = self.session = Session(facts, caller, self._context.door)
        session.running, session.subscribed = self.running, self._uris
        self._channel.write(result_message(message.id, self._door.welcome(session)))

    def _request(self, session: Session, message: Message, facts: Mapping[str, Any]) -> None:
        try:
            session.meet(self._channel.caller())
        except HubError as error:
            self.refuse(message.id, error)
            return
        replies = ChannelReplies(self._channel, message.id, session.questions)
        passage = self._door.request(session, message, replies, facts)
        if passage is not None:
            replies.attend(passage)

    def _hear(self, session: Session, message: Message) -> None:
        if message.method == "notifications/initialized":
            self._is_initialized = True
            self.resume()
        self._door.notification(session, message)

    def refuse(self, message_id: bytes | None, error: HubError) -> None:
        """Answer with an error of the hub's."""
        error.request_id = error.request_id or self._door.ids()
        self._channel.write(error_message(message_id, error.code, str(error), error.data()))

    # ------------------------------------------------------------ Feed

    @property
    def full(self) -> bool:
        """A client that is not ready for news yet is told later."""
        return not self._is_initialized or self._channel.is_full

    def notify(self, method: str, params: bytes) -> None:
        self._channel.write(notification(method, params))

    def end(self, result: bytes) -> None:
        del result
        self._channel.news_ended()


class ChannelReplies:
    """`Replies` to one request."""

    def __init__(
        self, channel: Channel, message_id: bytes, questions: Questions | None = None
    ) -> None:
        self._channel = channel
        self._id = message_id
        self._questions = questions
        """Of the session, in the old era: what the client was asked."""
        self._passage: UnderWay | None = None
        self._over = False
        self._unwanted = False

    def attend(self, passage: UnderWay) -> None:
        """The call is under way, or over already."""
        if not self._over:
            self._passage = passage
            self._channel.began(self._id, self)

    def result(self, raw: bytes) -> None:
        self._finish(result_message(self._id, raw))

    def error(self, code: int, message: str, data: Mapping[str, Any] | bytes | None = None) -> None:
        self._finish(error_message(self._id, code, message, data))

    def notify(self, method: str, params: bytes) -> None:
        if not self._channel.is_full:
            self._channel.write(notification(method, params))

    def ask(self, method: str, params: bytes, answered: Answered) -> bool:
        if self._questions is None:
            return False
        question_id = self._questions.put(self, answered)
        self._channel.write(request_message(question_id, method, params))
        return True

    def follow(self, under_way: UnderWay) -> None:
        self._passage = under_way

    def cancel(self, cause: Cause) -> None:
        """Whoever cancels a request hears no more of it."""
        self._unwanted = cause is Cause.CLIENT
        assert self._passage is not None, "only what is under way is listed anywhere"
        self._passage.cancel(cause)

    def _finish(self, message: bytes) -> None:
        self._over = True
        if self._questions:
            for question_id in self._questions.forget(self):
                self._channel.write(notification(CANCELLED, withdrawal(question_id)))
        if not self._unwanted:
            self._channel.write(message)
        self._channel.ended(self._id, self)
