"""A call for which another attempt is made: what comes from either side goes on to the other."""

from agenthub.domain.outcome import Cause, Reply
from agenthub.ports import Attempt, AttemptReceiver, Outgoing, Question


class Passing:
    """Implements `ports.Attempt`, and is the receiver of the attempt that is made for it.

    Before there is one, what its caller says reaches nobody.
    """

    __slots__ = ("_receiver", "attempt", "outgoing")

    def __init__(self, outgoing: Outgoing, receiver: AttemptReceiver) -> None:
        self._receiver = receiver
        self.outgoing = outgoing
        self.attempt: Attempt | None = None

    # ---------------------------------------------------------------- the attempt

    def cancel(self, cause: Cause) -> None:
        if self.attempt is not None:
            self.attempt.cancel(cause)

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        if self.attempt is not None:
            self.attempt.answer(question_id, result, error)

    def pause(self) -> None:
        if self.attempt is not None:
            self.attempt.pause()

    def resume(self) -> None:
        if self.attempt is not None:
            self.attempt.resume()

    # ---------------------------------------------------------------- its receiver

    def notified(self, method: str, params: bytes) -> None:
        self._receiver.notified(method, params)

    def asked(self, question: Question) -> None:
        self._receiver.asked(question)

    def finished(self, reply: Reply) -> None:
        self._receiver.finished(reply)
