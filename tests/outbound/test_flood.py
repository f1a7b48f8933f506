"""When what a server says beside its answers is a flood."""

from support.stdio_hub import Receiver, Watcher, outgoing

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Written
from agenthub.domain.span import SECOND
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.flood import MINUTE, PAGE_BYTES, PER_ANSWER, UNWANTED, WORDS, Tally
from agenthub.outbound.pipe import Letter
from agenthub.outbound.stdio_opening import Opened
from agenthub.outbound.stdio_traffic import LATE_MAX, StdioAttempt, Traffic

NOW = 1_000 * SECOND


def test_what_is_within_the_bound_is_no_flood_and_one_more_is():
    tally = Tally(10)
    assert not any(tally.add(1, NOW) for _ in range(10))
    assert tally.add(1, NOW)


def test_another_minute_counts_anew():
    tally = Tally(10)
    for minute in range(5):
        now = NOW + minute * (MINUTE + 1)
        assert not any(tally.add(1, now) for _ in range(10))
    assert tally.add(1, now + MINUTE)


def test_few_long_messages_weigh_as_many_short_ones():
    tally = Tally(10)
    assert not tally.add(9 * PAGE_BYTES, NOW)
    assert tally.add(1, NOW)


def test_answers_of_this_minute_allow_more():
    tally = Tally(10)
    tally.add(1, NOW, 500)
    assert not any(tally.add(1, NOW, 501) for _ in range(9 + PER_ANSWER))
    assert tally.add(1, NOW, 501)
    assert not any(tally.add(1, NOW + 2 * MINUTE, 501) for _ in range(10))
    assert tally.add(1, NOW + 2 * MINUTE, 501), "those of another minute do not"


class StoodClock:
    boot_id = ""

    def now(self) -> int:
        return NOW

    def wall(self) -> int:
        return NOW

    def chance(self) -> float:
        return 0.5

    def after(self, span, callback):
        raise AssertionError(span, callback)


class ReadingChild:
    """Takes every letter at once."""

    def post(self, letter: Letter, data: bytes) -> bool:
        letter.size = letter.sent = len(data)
        return True


class Pipe:
    """The traffic of a legacy server, and the floods that it told of."""

    def __init__(self) -> None:
        self.floods: list[str] = []
        ids = iter(range(1, 1 << 30))
        self.traffic = Traffic(
            ReadingChild(), StoodClock(), Watcher(), lambda: next(ids), self.floods.append
        )
        self.traffic.open(Opened(Era.LEGACY, "2025-06-18"))
        self._ids = ids

    def begin(self) -> StdioAttempt:
        attempt = StdioAttempt(next(self._ids), outgoing("x"), Receiver(), self.traffic.cancel)
        self.traffic.send(attempt)
        assert attempt.written is Written.ALL
        return attempt

    def answer(self, number: int) -> None:
        line = b'{"id":%d,"result":{}}' % number
        message = wire.parse(line)
        assert message is not None
        self.traffic.answer(message, line)


async def test_answers_to_nobody_are_a_flood():
    pipe = Pipe()
    for _ in range(UNWANTED):
        pipe.answer(1 << 40)
    assert (pipe.floods, pipe.traffic.strays) == ([], UNWANTED)
    pipe.answer(1 << 40)
    assert "nobody waits for" in pipe.floods[0]


async def test_late_answers_to_calls_that_were_cancelled_are_no_flood():
    """Or whoever cancels calls could have the server ended for all others (A44)."""
    pipe = Pipe()
    for _ in range(UNWANTED + 1):
        attempt = pipe.begin()
        attempt.cancel(Cause.CLIENT)
        pipe.answer(attempt.id)
    assert pipe.floods == []
    pipe.answer(attempt.id)
    assert pipe.traffic.strays == 1, "it may come once"


async def test_of_calls_that_were_cancelled_only_the_last_are_remembered():
    pipe = Pipe()
    first = pipe.begin()
    first.cancel(Cause.CLIENT)
    for _ in range(LATE_MAX):
        pipe.begin().cancel(Cause.CLIENT)
    pipe.answer(first.id)
    assert pipe.traffic.strays == 1


async def test_notifications_during_a_call_may_be_more_but_not_without_end():
    pipe = Pipe()
    pipe.begin()
    for _ in range(WORDS):
        pipe.traffic.beside(100)
    assert pipe.floods == []
    pipe.traffic.beside(100)
    assert "during calls" in pipe.floods[0]


async def test_a_busy_server_may_log_each_call():
    pipe = Pipe()
    for _ in range(UNWANTED):
        pipe.answer(pipe.begin().id)
        pipe.traffic.beside(100)
        pipe.traffic.beside(100)
    assert pipe.floods == []
