"""The log: one line each, whatever is in it."""

import io
import logging

import pytest

from agenthub.domain.errors import BadSetting
from agenthub.domain.events import (
    BreakerChanged,
    BudgetReached,
    CallEnded,
    ClockEvent,
    ServerChanged,
)
from agenthub.outbound.telemetry import LineFormatter, log_event, set_up_log


@pytest.fixture
def lines():
    """Sets the log up, and gives what is written."""
    root, hub = logging.getLogger(), logging.getLogger("agenthub")
    kept = root.handlers[:], root.level, hub.level
    stream = io.StringIO()
    set_up_log("info", stream)
    yield lambda: stream.getvalue().splitlines()
    root.handlers[:], level, hub_level = kept
    root.setLevel(level)
    hub.setLevel(hub_level)


def server(state, detail=""):
    return ServerChanged(1, "git", state, detail)


class TestEvents:
    @pytest.mark.parametrize(
        ("event", "line"),
        [
            (server("connected"), "INFO Server connected endpoint=git"),
            (server("lost", "code 1"), 'WARNING Server lost endpoint=git detail="code 1"'),
            (server("unreachable"), "WARNING Server unreachable endpoint=git"),
            (ClockEvent(1, "stall", "40 s"), 'WARNING Clock kind=stall detail="40 s"'),
            (
                BudgetReached(1, "ops", "critical", "1.00", "1.00", 1, 2),
                "WARNING A budget reached critical budget=ops spent_usd=1.00 limit_usd=1.00",
            ),
            (
                BreakerChanged(1, "git", "log", "closed", "open", 2, "rate", 1, 5000, {"n": 1}),
                (
                    "WARNING Breaker changed endpoint=git tool=log before=closed after=open"
                    " cause=rate retry_after_ms=5000"
                ),
            ),
            (
                BreakerChanged(1, "git", "", "half_open", "closed", 2, "probes", 1, None, {}),
                "INFO Breaker changed endpoint=git before=half_open after=closed cause=probes",
            ),
        ],
    )
    def test_what_an_operator_acts_on_is_one_line(self, lines, event, line):
        log_event(event)
        (got,) = lines()
        at, _, rest = got.partition(" ")
        assert rest == line
        assert at.endswith("Z")
        assert at[10] == "T"

    def test_a_call_is_not_in_it(self, lines):
        log_event(CallEnded(1, "id", "git", "git", "tools/call", "log", "ok", 1, 5))
        assert lines() == []


class TestLines:
    @pytest.mark.parametrize(
        "hostile",
        [
            "a\nWARNING forged",
            "a\r\nb",
            "\x1b[31mred\x1b[0m",
            "\x9b31m",
            "a\u2028b\u2029c\x85d",
            "\u202eabc",
            '{"level": "error"}',
            "%s %d %(x)s {0}",
            "\ud800",
            "\x00",
            "x" * 1_000_000,
            "detail=forged other=1",
        ],
    )
    def test_whatever_a_server_says_is_one_visible_line(self, lines, hostile):
        """A47."""
        log_event(server("lost", hostile))
        (line,) = lines()
        assert line.partition(" ")[2].startswith('WARNING Server lost endpoint=git detail="')
        assert line.endswith('"')
        assert line.isprintable()
        assert len(line) < 3_200
        line.encode()

    def test_a_message_cannot_break_the_line_either(self, lines):
        logging.getLogger("agenthub.x").warning("a\nb\x1b[1m")
        (line,) = lines()
        assert line.endswith("WARNING a\\u000ab\\u001b[1m")

    def test_an_exception_is_in_its_line(self, lines):
        def fail() -> None:
            raise ValueError("first\nsecond")

        try:
            fail()
        except ValueError:
            logging.getLogger("agenthub.x").exception("Failed", extra={"request_id": "r-1"})
        (line,) = lines()
        assert 'ERROR Failed request_id=r-1 trace="Traceback' in line
        assert "ValueError: first\\nsecond" in line

    def test_a_value_looks_like_itself_when_it_can(self):
        record = logging.makeLogRecord({"msg": "m", "file": "/a/b.db", "n": 3, "q": 'say "hi"'})
        assert LineFormatter().format(record).endswith(' m file=/a/b.db n=3 q="say \\"hi\\""')


class TestLevels:
    def test_what_is_below_the_level_is_not_written(self, lines):
        set_up_log("error", io.StringIO())
        assert not logging.getLogger("agenthub.bus").isEnabledFor(logging.WARNING)
        set_up_log("DEBUG", io.StringIO())
        assert logging.getLogger("agenthub.bus").isEnabledFor(logging.DEBUG)

    def test_libraries_are_heard_only_when_they_warn(self, lines):
        logging.getLogger("uvicorn").setLevel(logging.NOTSET)  # a server of another test set it
        assert not logging.getLogger("uvicorn").isEnabledFor(logging.INFO)
        assert logging.getLogger("uvicorn").isEnabledFor(logging.WARNING)

    def test_an_unknown_level_is_refused_in_words(self):
        with pytest.raises(BadSetting) as caught:
            set_up_log("loud")
        assert str(caught.value) == (
            "AGENTHUB_LOG: expected debug, info, warning, error, got 'loud'"
        )
