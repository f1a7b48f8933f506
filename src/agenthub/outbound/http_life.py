"""The question whether an HTTP server still answers at all, after a call ran into its deadline.

Any answer will do; silence means that the server hangs, and not only a tool of it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_own import ListeningOwner, Question, give_up

if TYPE_CHECKING:
    from agenthub.ports import Timer

SIGN_OF_LIFE: Nanoseconds = 5 * SECOND
"""For an answer."""


class SignOfLife:
    """One question at a time, from `ask` to its answer or `stop`."""

    def __init__(self, owner: ListeningOwner, hangs: Callable[[Diagnosis], None]) -> None:
        self._owner = owner
        self._hangs = hangs
        self._question: Question | None = None
        self._timer: Timer | None = None

    def ask(self) -> None:
        if self._question is not None:
            return
        owner, number = self._owner, self._owner.mint()
        if owner.era is Era.LEGACY:
            data = owner.head.own(wire.request(number, "ping"))
        else:
            method = "server/discover"
            data = owner.head.own(wire.modern_request(number, method), method)
        self._question = Question(
            lambda: data, self._hear, id=number, patience=owner.patience, _owner=owner
        )
        self._timer = owner.clock.after(SIGN_OF_LIFE, self._is_silent)
        owner.ask(self._question)

    def stop(self) -> None:
        question, self._question = self._question, None
        if self._timer is not None:
            self._timer.cancel()
        give_up(question, self._owner)

    def _hear(self, reply: Reply, headers: Mapping[bytes, bytes]) -> None:
        """A loss or an end of the connections is told by other ways."""
        del headers
        self.stop()
        if reply.ending is Ending.TIMEOUT:
            self._is_silent()

    def _is_silent(self) -> None:
        self.stop()
        seconds = SIGN_OF_LIFE // SECOND
        problem = f"it gave no sign of life for {seconds} s after a timeout"
        hint = "It takes connections, but does not answer: see its logs."
        self._hangs(Diagnosis(problem, hint))
