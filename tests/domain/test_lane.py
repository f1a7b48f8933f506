"""A lane: its guards in their order, and what each of them hears of an attempt."""

import pytest

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.breaker_record import State
from agenthub.domain.bulkhead import Entry
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.circuit_breaker import CircuitBreaker
from agenthub.domain.endpoint import Endpoint, RateLimit, Timeouts, ToolPolicy
from agenthub.domain.errors import Refusal
from agenthub.domain.judge import judge
from agenthub.domain.lane import TOOLS_MAX, Lane, Pass
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.provider import Llm
from agenthub.domain.span import MILLISECOND, SECOND

MIDDLE = 0.5
OK = Reply(Ending.RESULT, result=b"{}")
BROKEN = Reply(Ending.ERROR, code=-32603, error=b"{}")
REFUSED = Reply(Ending.ERROR, code=-32602, error=b"{}")
LOST = Reply(Ending.LOST)
UNREACHED = Reply(Ending.UNREACHED, Written.NONE)
PUSHED_BACK = Reply(Ending.STATUS, status=429)


def call(name="add", **facts):
    return Call(
        "1", Caller("anna", frozenset()), "mcp", "calc", "tools/call", name, {}, {},
        1_000_000 * SECOND, **facts,
    )  # fmt: skip


class Bench:
    """A lane with a clock, and its transitions."""

    def __init__(self, **settings):
        settings.setdefault("url", "http://localhost")
        settings.setdefault("rate_limit", None)
        self.now = 1_000 * SECOND
        self.seen = []
        self.lane = Lane(Endpoint("calc", **settings), lambda tool, t: self.seen.append((tool, t)))

    def change(self, **settings):
        settings.setdefault("url", "http://localhost")
        settings.setdefault("rate_limit", None)
        return self.lane.reconfigure(Endpoint("calc", **settings), self.now)

    def knock(self, tool="add"):
        refusal = self.lane.knock(tool, call(tool), self.now)
        return refusal and refusal.slug

    def admit(self, tool="add"):
        return self.lane.admit(tool, self.now, MIDDLE)

    def end(self, passed, reply, tool="add", cause=None):
        verdict = judge(reply, cause)
        self.lane.report(passed, verdict, reply, self.now, MIDDLE)
        self.lane.heard(call(tool), verdict.certainty, reply, self.now)

    def attempt(self, reply, tool="add", *, times=1, took=0):
        for _ in range(times):
            passed = self.admit(tool)
            assert isinstance(passed, Pass), passed
            self.now += took
            self.end(passed, reply, tool)

    def tool(self, name="add"):
        return self.lane.tools[name]

    def state(self, tool="add"):
        return self.tool(tool).breaker.state


def poison(bench, tool="add"):
    for loss in (1, 2):
        bench.lane.quarantine.died(call(tool).digest(), bench.now, loss)


# ---------------------------------------------------------------- the way in


def test_a_lane_at_rest_refuses_nothing():
    bench = Bench(rate_limit=RateLimit(1.0, 1))
    assert bench.knock() is None
    assert bench.lane.take_token(bench.now) is None
    assert isinstance(bench.admit(), Pass)


def test_the_first_guard_that_refuses_is_told_in_this_order():
    """Quarantine, throttle gate, the server's breaker, the tool's."""
    bench = Bench(breaker=BreakerConfig(failure_threshold=1))
    bench.attempt(BROKEN)
    assert bench.state() is State.OPEN
    refusal = bench.lane.knock("add", call(), bench.now)
    assert (refusal.slug, refusal.reason) == ("circuit_open", "open")
    assert bench.knock("other") is None
    bench.lane.breaker.force_open(bench.now, "by hand", None)
    assert bench.lane.knock("add", call(), bench.now).reason == "forced_open"
    assert bench.knock("other") == "circuit_open"
    bench.lane.gate.closed(bench.now, 9 * SECOND, MIDDLE)
    assert bench.knock() == "throttled_upstream"
    assert bench.lane.knock("add", call(), bench.now).retry_after == 9 * SECOND
    poison(bench)
    assert bench.knock() == "poisoned"
    assert bench.lane.knock("add", call(), bench.now).retry_after == 60 * SECOND
    assert bench.knock("other") == "throttled_upstream"


def test_knocking_changes_nothing():
    bench = Bench(breaker=BreakerConfig(failure_threshold=1, probes=1))
    bench.attempt(UNREACHED)
    bench.now += 10 * SECOND
    for _ in range(3):
        assert bench.knock() is None
    assert bench.lane.breaker.state is State.OPEN
    assert bench.lane.breaker.in_flight == 0
    assert not bench.lane.tools


def test_a_tool_that_never_failed_has_no_breaker_and_is_not_refused():
    bench = Bench()
    bench.attempt(OK)
    assert bench.tool().breaker is None
    assert bench.knock() is None


def test_without_a_limit_tokens_are_endless():
    bench = Bench()
    assert [bench.lane.take_token(bench.now) for _ in range(1_000)] == [None] * 1_000
    bench.lane.give_token_back()


def test_a_token_that_is_not_there_says_when_it_is():
    bench = Bench(rate_limit=RateLimit(2.0, 1))
    assert bench.lane.take_token(bench.now) is None
    assert bench.lane.take_token(bench.now) == Refusal("rate_limited", SECOND // 2)


def test_a_token_can_be_given_back():
    bench = Bench(rate_limit=RateLimit(1.0, 1))
    bench.lane.take_token(bench.now)
    bench.lane.give_token_back()
    assert bench.lane.take_token(bench.now) is None


@pytest.mark.parametrize(
    ("settings", "seats"),
    [
        ({}, 32),
        ({"url": None, "command": ("x",)}, 8),
        ({"concurrency": 3}, 3),
        ({"llm": Llm()}, 1_000),
        ({"llm": Llm(), "concurrency": 3}, 3),
    ],
)
def test_a_lane_has_seats_and_as_many_may_wait(settings, seats):
    bench = Bench(**settings)
    entries = [bench.lane.seats.enter(n) for n in range(2 * seats + 1)]
    assert entries == [Entry.ENTERED] * seats + [Entry.QUEUED] * seats + [Entry.FULL]


@pytest.mark.parametrize(
    ("settings", "all_of_them", "of_one"),
    [
        ({}, 24, 18), ({"url": None, "command": ("x",)}, 6, 4), ({"concurrency": 3}, 2, 1),
        ({"concurrency": 1}, 1, 1), ({"concurrency": 8, "private_sessions": 4}, 3, 2),
    ],
)  # fmt: skip
def test_questions_leave_seats_to_others_and_those_of_one_caller_room_for_theirs(
    settings, all_of_them, of_one
):
    lane = Bench(**settings).lane
    assert (lane.parked_max, lane.parked_share) == (all_of_them, of_one)


def test_both_breakers_give_a_ticket_or_neither():
    bench = Bench(breaker=BreakerConfig(failure_threshold=1))
    bench.attempt(BROKEN)
    refusal = bench.admit()
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "open"
    assert bench.lane.breaker.in_flight == 0


def test_a_server_that_is_shut_is_not_asked_about_the_tool():
    bench = Bench()
    bench.lane.breaker.force_open(bench.now, "by hand", None)
    assert bench.admit().reason == "forced_open"


# ---------------------------------------------------------------- the way out


def test_a_success_is_told_to_all_guards():
    bench = Bench()
    for _ in range(6):
        bench.lane.budget.failed()
    bench.lane.gate.closed(bench.now, None, MIDDLE)
    bench.attempt(OK, times=11, took=10 * MILLISECOND)
    assert bench.lane.budget.may_retry(0)
    assert bench.lane.breaker.counts(bench.now)["calls"] == 11
    assert bench.lane.breaker.in_flight == 0
    bench.now += SECOND
    bench.lane.gate.closed(bench.now, None, MIDDLE)
    assert bench.lane.gate.wait(bench.now) == SECOND, "the gate learned of the success"


def test_a_success_of_a_tool_that_once_failed_is_told_to_all_guards():
    bench = Bench()
    bench.attempt(BROKEN)
    for _ in range(5):
        bench.lane.budget.failed()
    bench.lane.gate.closed(bench.now, None, MIDDLE)
    bench.attempt(OK, times=11, took=10 * MILLISECOND)
    assert bench.lane.budget.may_retry(0)
    assert bench.tool().breaker.counts(bench.now)["consecutive"] == 0
    assert bench.tool().breaker.in_flight == 0
    assert bench.tool().typical == 10 * MILLISECOND
    bench.now += SECOND
    bench.lane.gate.closed(bench.now, None, MIDDLE)
    assert bench.lane.gate.wait(bench.now) == SECOND


def test_an_error_result_is_a_success_of_the_server_and_the_tool():
    bench = Bench()
    for _ in range(6):
        bench.lane.budget.failed()
    bench.attempt(Reply(Ending.RESULT, is_error=True), times=11, took=MILLISECOND)
    assert bench.lane.budget.may_retry(0)
    assert bench.tool().typical == MILLISECOND
    assert bench.lane.breaker.counts(bench.now)["failures"] == 0


def test_one_broken_tool_opens_its_own_breaker_only():
    """R15."""
    bench = Bench()
    bench.attempt(BROKEN, times=5)
    assert bench.state() is State.OPEN
    assert bench.lane.breaker.state is State.CLOSED
    assert [tool for tool, _ in bench.seen] == ["add"]
    assert bench.seen[0][1].key == "calc/add"


def test_two_broken_tools_are_a_failure_of_the_server():
    bench = Bench()
    bench.attempt(BROKEN)
    assert bench.lane.breaker.counts(bench.now)["failures"] == 0
    bench.attempt(BROKEN, "mul")
    assert bench.lane.breaker.counts(bench.now)["failures"] == 1


def test_a_lost_connection_is_one_failure_of_the_server_and_none_of_the_tool():
    """R6."""
    bench = Bench()
    bench.attempt(Reply(Ending.LOST, loss=7), times=50)
    assert bench.lane.breaker.counts(bench.now)["failures"] == 1
    assert not bench.lane.tools


def test_a_pause_that_was_asked_for_closes_the_gate_and_no_breaker():
    bench = Bench()
    bench.attempt(PUSHED_BACK, times=50)
    assert bench.lane.gate.wait(bench.now) > 0
    assert bench.lane.breaker.state is State.CLOSED
    assert not bench.lane.budget.may_retry(0)


def test_the_pause_is_as_long_as_it_was_asked_for():
    bench = Bench()
    bench.attempt(Reply(Ending.STATUS, status=429, retry_after_ms=7_000))
    assert bench.lane.gate.wait(bench.now) == 7 * SECOND


def test_retry_after_lengthens_the_open_time():
    """R8."""
    bench = Bench(breaker=BreakerConfig(failure_threshold=1, recovery_timeout_ms=10))
    bench.attempt(Reply(Ending.STATUS, status=503, retry_after_ms=90_000))
    assert bench.lane.breaker.retry_after(bench.now) == 90 * SECOND


def test_a_refused_request_is_a_success_of_the_server_and_says_nothing_of_the_tool():
    """A45: a name that a client made up is not even remembered."""
    bench = Bench()
    bench.attempt(REFUSED, "made_up", times=50)
    assert bench.lane.breaker.counts(bench.now)["failures"] == 0
    assert not bench.lane.tools


def test_what_is_ignored_gives_the_tools_ticket_back():
    """R5."""
    bench = Bench()
    bench.attempt(BROKEN)
    bench.attempt(LOST)
    assert bench.tool().breaker.in_flight == 0
    assert bench.tool().breaker.counts(bench.now)["consecutive"] == 1


def test_a_cancelled_attempt_is_told_to_nobody():
    bench = Bench()
    bench.end(bench.admit(), Reply(Ending.CANCELLED), cause=Cause.CLIENT)
    assert bench.lane.breaker.in_flight == 0
    assert bench.lane.breaker.counts(bench.now)["calls"] == 0
    assert bench.lane.budget.may_retry(0)


def test_failures_take_from_the_budget():
    bench = Bench(breaker=BreakerConfig(failure_threshold=1_000, min_calls=1_000))
    bench.attempt(UNREACHED, times=4)
    assert bench.lane.budget.may_retry(0)
    bench.attempt(UNREACHED)
    assert not bench.lane.budget.may_retry(0)


def test_failures_that_end_together_are_each_counted_for_a_tool_without_a_breaker():
    bench = Bench()
    passes = [bench.admit() for _ in range(5)]
    for passed in passes:
        bench.end(passed, BROKEN)
    assert bench.state() is State.OPEN
    bench.lane.report(
        Pass(bench.lane.breaker.admit(bench.now, MIDDLE), bench.now, "add"),
        judge(BROKEN, None), BROKEN, bench.now, MIDDLE,
    )  # fmt: skip
    assert bench.state() is State.OPEN, "one that began before the breaker was made is late"


def test_a_tool_that_was_forgotten_while_it_was_called_is_reported_to_its_old_breaker():
    bench = Bench()
    bench.attempt(BROKEN)
    passed = bench.admit()
    old = bench.tool().breaker
    bench.lane.tools.clear()
    bench.attempt(BROKEN)
    bench.end(passed, BROKEN)
    assert (old.in_flight, old.counts(bench.now)["failures"]) == (0, 2)
    assert bench.tool().breaker.counts(bench.now)["failures"] == 1


def test_tools_are_bounded_and_the_first_goes_first():
    bench = Bench()
    for number in range(TOOLS_MAX + 1):
        bench.attempt(OK, f"t{number}")
    assert len(bench.lane.tools) == TOOLS_MAX
    assert "t0" not in bench.lane.tools
    assert f"t{TOOLS_MAX}" in bench.lane.tools


# ---------------------------------------------------------------- poison


def test_two_losses_with_the_same_arguments_are_poison():
    """F58."""
    bench = Bench()
    bench.attempt(Reply(Ending.LOST, loss=1))
    assert bench.knock() is None
    bench.attempt(Reply(Ending.LOST, loss=2))
    assert bench.knock() == "poisoned"
    assert bench.lane.rests(call(), bench.now) == 60 * SECOND
    assert bench.lane.rests(call("mul"), bench.now) == 0


def test_one_loss_that_took_many_equal_calls_along_is_no_poison():
    """F02: a server that is restarted under load answers again."""
    bench = Bench()
    bench.attempt(Reply(Ending.LOST, loss=7), times=100)
    assert bench.knock() is None


@pytest.mark.parametrize(
    "reply", [UNREACHED, Reply(Ending.LOST, Written.PARTIAL), Reply(Ending.TIMEOUT), BROKEN]
)
def test_what_the_server_did_not_die_of_is_no_poison(reply):
    bench = Bench()
    bench.attempt(reply, times=4)
    assert not bench.lane.quarantine.suspects
    assert bench.lane.rests(call(), bench.now) == 0


@pytest.mark.parametrize(
    "reply",
    [OK, Reply(Ending.RESULT, is_error=True), Reply(Ending.RESULT, result_type="input_required")],
)
def test_an_answer_to_the_same_arguments_clears_them(reply):
    bench = Bench()
    bench.attempt(Reply(Ending.LOST, loss=1))
    bench.attempt(reply)
    bench.attempt(Reply(Ending.LOST, loss=2))
    assert bench.knock() is None


def test_a_refusal_clears_nobody():
    bench = Bench()
    bench.attempt(Reply(Ending.LOST, loss=1))
    bench.attempt(REFUSED)
    bench.attempt(Reply(Ending.LOST, loss=2))
    assert bench.knock() == "poisoned"


# ---------------------------------------------------------------- durations


def test_the_first_answer_says_how_long_a_tool_takes():
    bench = Bench()
    assert bench.lane.typical("add") == 0
    bench.attempt(OK, took=2 * SECOND)
    assert bench.lane.typical("add") == 2 * SECOND


def test_later_answers_move_it_slowly_towards_themselves():
    bench = Bench()
    bench.attempt(OK, took=32 * MILLISECOND)
    bench.attempt(OK, took=60 * SECOND)
    assert bench.lane.typical("add") == 33 * MILLISECOND + MILLISECOND // 100
    bench.attempt(OK, took=1)
    assert bench.lane.typical("add") < 32_100_000
    bench.attempt(OK, took=1, times=1_000)
    assert bench.lane.typical("add") < MILLISECOND


@pytest.mark.parametrize(
    ("settings", "patience_ms"),
    [
        ({}, 5_000),
        ({"timeouts": Timeouts(call_ms=1_000)}, 500),
        ({"breaker": BreakerConfig(slow_call_ms=2_000)}, 1_000),
        ({"tools": {"add": ToolPolicy(timeout_ms=400)}}, 200),
        ({"tools": {"add": ToolPolicy(replay="safe")}}, 5_000),
        ({"tools": {"mul": ToolPolicy(timeout_ms=400)}}, 5_000),
    ],
)
def test_until_a_tool_answered_half_of_what_it_may_take_is_expected(settings, patience_ms):
    """A44."""
    bench = Bench(**settings)
    assert bench.lane.patience("add") == patience_ms * MILLISECOND
    bench.attempt(OK, took=3 * MILLISECOND)
    assert bench.lane.patience("add") == 3 * MILLISECOND


# ---------------------------------------------------------------- time, settings, restarts


def test_hung_calls_open_both_breakers_at_the_tick():
    config = BreakerConfig(overdue_calls=2, slow_call_ms=1_000, window_ms=1_000)
    bench = Bench(breaker=config)
    bench.attempt(OK, "well")
    bench.attempt(BROKEN)
    for _ in range(2):
        bench.admit()
    bench.now += 20 * SECOND
    for _ in range(3):
        bench.lane.tick(bench.now, MIDDLE)
        bench.now += SECOND
    assert bench.lane.breaker.state is State.OPEN
    assert bench.state() is State.OPEN


def test_time_in_which_the_process_stood_still_is_nobodys_fault():
    """R19."""
    config = BreakerConfig(overdue_calls=2, slow_call_ms=1_000, window_ms=1_000)
    bench = Bench(breaker=config)
    bench.attempt(OK, "well")
    bench.attempt(BROKEN)
    for _ in range(2):
        bench.admit()
    bench.now += 20 * SECOND
    bench.lane.stalled(bench.now, 20 * SECOND)
    bench.lane.tick(bench.now, MIDDLE)
    assert bench.lane.breaker.state is State.CLOSED
    assert bench.state() is State.CLOSED


def test_new_settings_hold_at_once_and_state_is_kept():
    bench = Bench(rate_limit=RateLimit(1.0, 2), concurrency=1)
    bench.attempt(OK, "well")
    bench.attempt(BROKEN)
    bench.lane.take_token(bench.now)
    for name in "abc":
        bench.lane.seats.enter(name)
    config = BreakerConfig(failure_threshold=2, window_ms=60_000)
    assert bench.change(rate_limit=RateLimit(1.0, 5), concurrency=2, breaker=config) == ["b"]
    assert [bench.lane.take_token(bench.now) for _ in range(5)].count(None) == 4
    assert bench.lane.spread.window == 60 * SECOND
    bench.attempt(BROKEN)
    assert bench.state() is State.OPEN
    bench.lane.breaker.trip(bench.now, MIDDLE, "test")
    assert bench.lane.breaker.config is config


def test_a_limit_can_be_taken_away_and_put_back():
    bench = Bench(rate_limit=RateLimit(1.0, 1))
    bench.lane.take_token(bench.now)
    bench.change(rate_limit=None)
    assert bench.lane.take_token(bench.now) is None
    bench.change(rate_limit=RateLimit(1.0, 1))
    assert bench.lane.take_token(bench.now) is None
    assert bench.lane.take_token(bench.now).slug == "rate_limited"


def test_breakers_that_were_kept_over_a_restart_are_put_in():
    """R17."""
    bench = Bench()
    for tool in ("", "add"):
        kept = CircuitBreaker("x", BreakerConfig(), bench.lane.observe(tool))
        kept.force_open(bench.now, "by hand", None)
        bench.lane.restore(kept, tool)
    assert bench.lane.breaker.state is State.FORCED_OPEN
    assert bench.state() is State.FORCED_OPEN
    assert [tool for tool, _ in bench.seen] == ["", "add"]


def test_while_the_server_waits_for_the_client_no_breaker_counts_the_time():
    bench = Bench(breaker=BreakerConfig(overdue_calls=2, slow_call_ms=1_000))
    bench.end(bench.admit(), BROKEN)  # now the tool has a breaker of its own
    waiting = [bench.admit() for _ in range(3)]
    for passed in waiting:
        bench.lane.set_aside(passed)
    bench.now += 100 * SECOND
    bench.lane.tick(bench.now, MIDDLE)
    assert bench.lane.breaker.state is State.CLOSED
    assert bench.lane.breaker.in_flight == 0
    for passed in waiting:
        bench.lane.take_up(passed, 100 * SECOND)
        assert passed.started == bench.now
    assert bench.lane.breaker.in_flight == 3
    bench.now += 2 * SECOND
    bench.lane.tick(bench.now, MIDDLE)
    assert bench.lane.breaker.state is State.OPEN, "the server's own time counts"


def test_an_attempt_set_aside_outlives_a_change_of_the_breaker():
    bench = Bench()
    waiting = bench.admit()
    bench.lane.set_aside(waiting)
    bench.lane.breaker.trip(bench.now, MIDDLE, "test")
    other = bench.admit()
    assert not isinstance(other, Pass)
    bench.lane.set_aside(waiting)
    bench.lane.take_up(waiting, SECOND)
    bench.end(waiting, OK)
    assert bench.lane.breaker.in_flight == 0
