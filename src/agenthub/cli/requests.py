"""Requests to the hub's REST door, and the ways to send them."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from threading import Thread
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]

PATIENCE_S = 30.0
"""For an answer that only the hub has to give."""


class Request(NamedTuple):
    """One request to the REST door."""

    method: str
    path: str
    body: Json | None = None
    patience_s: float = PATIENCE_S


class Answer(NamedTuple):
    status: int
    body: bytes


class Requests(Protocol):
    """A way to the hub's REST door, with the rights of the admin token."""

    @property
    def url(self) -> str | None:
        """Where the running hub listens; None when none runs."""
        ...

    def send(self, request: Request) -> Answer:
        """Raises Failed when no answer comes."""
        ...

    def send_all(self, requests: Sequence[Request]) -> list[Answer]:
        """All at once; the answers in the order of the requests. Raises Failed."""
        ...

    def follow(self, path: str, after: int) -> Generator[bytes]:
        """The bytes of a stream of events, behind this number, as they come. Raises Failed."""
        ...


def at_once(
    send: Callable[[Request], Answer], requests: Sequence[Request], most: int = 16
) -> list[Answer]:
    """Send in threads; the first failure is raised when all are done.

    The threads are daemons: Ctrl-C does not wait for a server that does not answer.
    """
    answers: dict[int, Answer] = {}
    failures: dict[int, Exception] = {}
    waiting = deque(enumerate(requests))

    def work() -> None:
        while waiting:
            with contextlib.suppress(IndexError):
                number, request = waiting.popleft()
                try:
                    answers[number] = send(request)
                except Exception as failure:  # noqa: BLE001 - raised below, in the right thread
                    failures[number] = failure

    threads = [Thread(target=work, daemon=True) for _ in range(min(most, len(requests)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in sorted(failures):
        raise failures[number]
    return [answers[number] for number in range(len(requests))]
