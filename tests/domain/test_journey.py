"""The way of a call: who is asked, again or next, and what the caller hears at the end.

In virtual time: a `Trip` holds the clock, and answers each attempt with what it was given.
"""

import pytest

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.breaker_record import State
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.endpoint import Endpoint, RateLimit, Timeouts
from agenthub.domain.journey import Hop, Journey, Step
from agenthub.domain.lane import MIN_ATTEMPT, Lane
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import MILLISECOND, SECOND

MIDDLE = 0.5
MINUTE = 60 * SECOND
START = 1_000 * SECOND

OK = Reply(Ending.RESULT, result=b'{"n":1}')
TOOL_ERROR = Reply(Ending.RESULT, result=b'{"isError":true}', is_error=True)
INPUT = Reply(Ending.RESULT, result=b"{}", result_type="input_required")
INVALID = Reply(Ending.ERROR, code=-32602, error=b"{}")
INTERNAL = Reply(Ending.ERROR, code=-32603, error=b"{}")
UNREACHED = Reply(Ending.UNREACHED, Written.NONE, detail="no route")
LOST = Reply(Ending.LOST, detail="reset")
TIMEOUT = Reply(Ending.TIMEOUT)
GARBAGE = Reply(Ending.PROTOCOL, detail="no JSON")
UNAUTHORIZED = Reply(Ending.STATUS, status=401)
PUSHED_BACK = Reply(Ending.STATUS, status=429)


def wait(seconds, status=429):
    return Reply(Ending.STATUS, status=status, retry_after_ms=int(seconds * 1_000))


class Server:
    """A lane, and what its tool allows."""

    def __init__(self, name, *, safe=False, reads=False, tool="add", **settings):
        settings.setdefault("rate_limit", None)
        settings.setdefault("url", "http://localhost")
        self.name = name
        self.lane = Lane(Endpoint(name, **settings), lambda *_: None)
        self.hop = Hop(self.lane, tool, None, replay_safe=safe or reads, read_only=reads)

    def open(self):
        self.lane.breaker.force_open(START, "by hand", None)
        return self

    def throttled(self):
        self.lane.gate.closed(START, 9 * SECOND, MIDDLE)
        return self

    def full(self):
        for number in range(self.lane.endpoint.concurrency * 2):
            self.lane.seats.enter(f"other {number}")
        return self

    def poisoned(self, call):
        for loss in (1, 2):
            self.lane.quarantine.died(call.digest(), START, loss)
        return self

    @property
    def at_rest(self):
        """Nothing that was taken is still held (P18)."""
        lane = self.lane
        tools = [tool.breaker for tool in lane.tools.values() if tool.breaker]
        return (
            lane.seats.in_flight == lane.seats.waiting == lane.budget._running == 0
            and lane.breaker.in_flight == 0
            and all(breaker.in_flight == 0 for breaker in tools)
        )


def make_call(method="tools/call", name="add", *, time=MINUTE):
    return Call(
        "id-1", Caller("anna", frozenset()), "mcp", "a", method, name, {}, {}, START + time
    )  # fmt: skip


class Trip:
    """Drives a journey as the gateway does, until it ends or waits for a seat."""

    def __init__(self, *servers, call=None, chance=MIDDLE):
        self.servers = servers
        self.call = call or make_call()
        self.now = START
        self.chance = chance
        self.asked = []
        """Names of the servers, in the order of attempts."""
        self.slept = []
        self.journey = Journey(self.call, tuple(s.hop for s in servers), "us")
        self.step = None

    def start(self, *answers, took=0, cause=None):
        self.step = self.journey.start(self.now, self.chance)
        return self.go(*answers, took=took, cause=cause)

    def go(self, *answers, took=0, cause=None):
        """Take steps; each attempt takes so long and gets the next answer."""
        rest = list(answers)
        while self.step is not Step.WAIT:
            if self.step is Step.SEND:
                self.asked.append(self.journey.hop.lane.endpoint.name)
                if not rest:
                    return self
                self.now += took
                self.step = self.journey.answered(rest.pop(0), cause, self.now, self.chance)
                continue
            assert self.journey.leave_seat() is None
            if self.step is Step.END:
                assert not rest, "not all answers were asked for"
                return self
            assert self.step is Step.SLEEP
            self.slept.append(self.journey.wake_at - self.now)
            self.now = self.journey.wake_at
            self.step = self.journey.woke(self.now, self.chance)
        return self

    @property
    def outcome(self):
        """`ok`, another reply's ending, or the error's slug."""
        journey = self.journey
        assert self.step is Step.END
        assert (journey.reply is None) != (journey.error is None)
        if journey.error is not None:
            return journey.error.slug
        return "ok" if journey.reply == OK else journey.reply.ending.value

    @property
    def path(self):
        return "".join(self.asked)

    @property
    def at_rest(self):
        return all(server.at_rest for server in self.servers)


# ---------------------------------------------------------------- one server


@pytest.mark.parametrize("reply", [OK, TOOL_ERROR, INPUT])
def test_an_answer_is_the_end(reply):
    trip = Trip(Server("a", reads=True), Server("b", reads=True)).start(reply)
    assert trip.journey.reply is reply
    assert (trip.path, trip.journey.attempts, trip.at_rest) == ("a", 1, True)


def test_a_call_for_which_there_is_no_server_ends_at_once():
    assert Trip().start().outcome == "unknown_target"


def test_nothing_was_sent_until_something_is():
    with pytest.raises(AssertionError, match="nothing was sent"):
        _ = Trip(Server("a")).journey.hop


@pytest.mark.parametrize(
    ("facts", "answers", "path", "outcome"),
    [
        # it never left: any tool, as often as attempts allow
        ({}, [UNREACHED, OK], "aa", "ok"),
        ({}, [UNREACHED] * 3, "aaa", "upstream_unavailable"),
        ({"attempts": 1}, [UNREACHED], "a", "upstream_unavailable"),
        ({"attempts": 5}, [UNREACHED] * 4 + [OK], "aaaaa", "ok"),
        # it was pushed back
        ({}, [PUSHED_BACK, OK], "aa", "ok"),
        ({}, [wait(1, 503), OK], "aa", "ok"),
        # it was refused for good
        ({"safe": True}, [INVALID], "a", "error"),
        ({"safe": True}, [UNAUTHORIZED], "a", "upstream_unavailable"),
        # it may have run: only what is safe
        ({}, [LOST], "a", "outcome_unknown"),
        ({}, [TIMEOUT], "a", "outcome_unknown"),
        ({}, [INTERNAL], "a", "error"),
        ({}, [GARBAGE], "a", "upstream_protocol"),
        ({"safe": True}, [LOST, OK], "aa", "ok"),
        ({"reads": True}, [TIMEOUT, OK], "aa", "ok"),
        ({"safe": True}, [INTERNAL, INTERNAL, OK], "aaa", "ok"),
        # what an earlier attempt may have done is not forgotten for a later one that did nothing
        ({"safe": True}, [LOST, UNREACHED, UNREACHED], "aaa", "outcome_unknown"),
        ({"safe": True}, [LOST, INVALID], "aa", "outcome_unknown"),
        ({"safe": True}, [INTERNAL, UNREACHED, UNREACHED], "aaa", "error"),
        ({"safe": True}, [UNREACHED, LOST, OK], "aaa", "ok"),
        ({}, [UNREACHED, LOST], "aa", "outcome_unknown"),
    ],
)
def test_one_server_is_asked_again_only_where_that_is_safe(facts, answers, path, outcome):
    trip = Trip(Server("a", **facts)).start(*answers)
    assert (trip.path, trip.outcome, trip.journey.attempts) == (path, outcome, len(path))
    assert trip.at_rest


def test_the_error_says_what_is_known():
    trip = Trip(Server("a", safe=True)).start(LOST, UNREACHED, UNREACHED)
    assert trip.journey.error.data() == {
        "code": "outcome_unknown", "retryable": False, "retry_after_ms": None,
        "executed": "unknown", "server": "a", "tool": "add", "attempt_count": 3,
        "request_id": "id-1",
    }  # fmt: skip
    assert str(trip.journey.error) == "reset"


def test_what_surely_did_not_run_is_said_to_be_so():
    trip = Trip(Server("a")).start(*[UNREACHED] * 3)
    assert trip.journey.error.executed == "no"
    assert str(trip.journey.error) == "no route"


def test_retries_wait_with_full_jitter_that_doubles():
    trip = Trip(Server("a"), chance=0.999_999).start(*[UNREACHED] * 3)
    assert [span // MILLISECOND for span in trip.slept] == [49, 99]


def test_after_a_pushback_the_gate_is_waited_for():
    """Else each retry would be refused by the gate that the pushback closed."""
    trip = Trip(Server("a"), chance=0.0).start(PUSHED_BACK, OK)
    assert trip.slept == [750 * MILLISECOND]
    assert trip.outcome == "ok"


def test_a_server_is_not_asked_before_the_time_that_it_named():
    assert Trip(Server("a")).start(wait(7), OK).slept == [7 * SECOND]
    assert Trip(Server("a")).start(wait(7, 503), OK).slept == [7 * SECOND]


def test_a_time_beyond_the_deadline_fails_now_and_is_passed_on():
    """R37."""
    trip = Trip(Server("a")).start(wait(61))
    assert (trip.outcome, trip.slept) == ("throttled_upstream", [])
    assert trip.journey.error.retry_after_ms == 61_000


@pytest.mark.parametrize(("seconds", "path"), [(59.8, "aa"), (59.9, "a")])
def test_no_attempt_begins_that_has_no_time(seconds, path):
    """R41: after the pause there must be more than 100 ms."""
    answers = [wait(seconds)] + [OK] * (len(path) - 1)
    assert Trip(Server("a")).start(*answers).path == path


def test_no_retry_begins_with_less_time_than_the_tool_usually_takes():
    server = Server("a")
    Trip(server).start(OK, took=3 * SECOND)
    assert Trip(server, call=make_call(time=3 * SECOND)).start(UNREACHED).path == "a"
    assert Trip(server, call=make_call(time=4 * SECOND)).start(UNREACHED, OK).path == "aa"


def test_retries_have_a_budget():
    """R36."""
    server = Server("a")
    for _ in range(3):
        server.lane.budget.started()
    assert Trip(server).start(UNREACHED).path == "a"
    server.lane.budget.ended()
    assert Trip(server).start(UNREACHED, OK).path == "aa"


def test_a_retry_is_counted_while_it_runs_and_while_it_sleeps():
    server = Server("a", safe=True)
    trip = Trip(server)
    trip.step = trip.journey.start(START, MIDDLE)
    trip.step = trip.journey.answered(LOST, None, START, MIDDLE)
    trip.journey.leave_seat()
    assert (trip.step, server.lane.budget._running) == (Step.SLEEP, 1)
    trip.step = trip.journey.woke(trip.journey.wake_at, MIDDLE)
    assert (trip.step, server.lane.budget._running) == (Step.SEND, 1)
    trip.go(OK)
    assert trip.at_rest


def test_a_committed_call_is_not_repeated():
    """R31."""
    for reply in (LOST, UNREACHED, PUSHED_BACK):
        trip = Trip(Server("a", reads=True), Server("b", reads=True))
        trip.start()
        trip.journey.committed = True
        trip.asked.clear()
        trip.go(reply)
        assert trip.path == "a"
        assert trip.step is Step.END


# ---------------------------------------------------------------- the next server


@pytest.mark.parametrize(
    ("a", "b", "answers", "path", "outcome"),
    [
        ({}, {}, [UNREACHED] * 3 + [OK], "aaab", "ok"),
        ({}, {}, [UNREACHED] * 6, "aaabbb", "upstream_unavailable"),
        ({"attempts": 1}, {}, [UNREACHED, OK], "ab", "ok"),
        ({"attempts": 1}, {"attempts": 2}, [UNREACHED, UNREACHED, OK], "abb", "ok"),
        ({"attempts": 1}, {}, [PUSHED_BACK, OK], "ab", "ok"),
        ({}, {}, [wait(61), OK], "ab", "ok"),
        ({"attempts": 1}, {}, [wait(1, 503), OK], "ab", "ok"),
        ({}, {}, [Reply(Ending.STATUS, status=402), OK], "ab", "ok"),
        ({}, {}, [Reply(Ending.ERROR, status=429, exhausted=True), OK], "ab", "ok"),
        ({}, {}, [INVALID], "a", "error"),
        ({}, {}, [UNAUTHORIZED], "a", "upstream_unavailable"),
        # it may have run: reading on both, or safe on both and the same data
        ({"attempts": 1}, {}, [LOST], "a", "outcome_unknown"),
        ({"attempts": 1, "safe": True}, {"safe": True}, [LOST], "a", "outcome_unknown"),
        ({"attempts": 1, "reads": True}, {"reads": True}, [LOST, OK], "ab", "ok"),
        ({"attempts": 1, "reads": True}, {}, [LOST], "a", "outcome_unknown"),
        ({"attempts": 1}, {"reads": True}, [LOST], "a", "outcome_unknown"),
        (
            {"attempts": 1, "safe": True, "same_backend": True}, {"safe": True},
            [LOST, OK], "ab", "ok",
        ),
        (
            {"attempts": 1, "safe": True}, {"safe": True, "same_backend": True},
            [LOST], "a", "outcome_unknown",
        ),
        (
            {"attempts": 1, "safe": True, "same_backend": True}, {},
            [LOST], "a", "outcome_unknown",
        ),
        (
            {"attempts": 1, "same_backend": True}, {"safe": True},
            [LOST], "a", "outcome_unknown",
        ),
        # the worst of all attempts decides, not the last one
        ({"attempts": 2, "safe": True}, {}, [LOST, UNREACHED], "aa", "outcome_unknown"),
        (
            {"attempts": 1, "reads": True}, {"attempts": 1, "reads": True},
            [LOST, UNREACHED], "ab", "outcome_unknown",
        ),
    ],
)  # fmt: skip
def test_the_next_server_is_asked_only_where_that_is_safe(a, b, answers, path, outcome):
    trip = Trip(Server("a", **a), Server("b", **b)).start(*answers)
    assert (trip.path, trip.outcome) == (path, outcome)
    assert trip.at_rest


def test_every_server_that_may_have_run_it_must_allow_the_next():
    def first_two():
        return Server("a", reads=True, attempts=1), Server("b", reads=True, attempts=1)

    trip = Trip(*first_two(), Server("c", safe=True)).start(LOST, LOST)
    assert (trip.path, trip.outcome) == ("ab", "outcome_unknown")
    trip = Trip(*first_two(), Server("c", reads=True)).start(LOST, LOST, OK)
    assert trip.path == "abc"


def test_a_server_that_reads_does_not_make_up_for_one_before_it_that_does_not():
    a = Server("a", safe=True, same_backend=True, attempts=1)
    b = Server("b", reads=True, attempts=1)
    c = Server("c", reads=True)
    c.hop = Hop(c.lane, "add", None, replay_safe=False, read_only=True)
    assert Trip(a, b, c).start(LOST, LOST).path == "ab"


def test_the_hop_is_the_one_that_was_asked_last():
    """Not the one that refused after it: the answer says who served it (R39)."""
    trip = Trip(Server("a", attempts=1), Server("b").open()).start(UNREACHED)
    assert (trip.path, trip.outcome) == ("a", "upstream_unavailable")
    assert trip.journey.hop.lane.endpoint.name == "a"


def test_the_next_server_is_asked_by_its_own_name_for_the_tool():
    a, b = Server("a", attempts=1), Server("b", tool="plus")
    trip = Trip(a, b).start(UNREACHED, OK)
    assert trip.journey.hop.name == "plus"
    assert list(b.lane.tools) == ["plus"]


@pytest.mark.parametrize("method", ["resources/read", "prompts/get"])
def test_what_is_no_tool_is_known_by_its_method(method):
    """R15, A45: a URI is a client's invention."""
    server = Server("a", tool="file:///made/up")
    Trip(server, call=make_call(method, "file:///made/up")).start(OK)
    assert list(server.lane.tools) == [method]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("refuse", "slug", "retry_after_ms"),
    [
        (lambda: Server("a").open(), "circuit_open", None),
        (lambda: Server("a").throttled(), "throttled_upstream", 9_000),
        (lambda: Server("a", concurrency=1).full(), "overloaded", None),
    ],
)
def test_a_refusal_of_a_guard_is_passed_by(refuse, slug, retry_after_ms):
    trip = Trip(refuse()).start()
    assert (trip.path, trip.outcome) == ("", slug)
    assert trip.journey.error.retry_after_ms == retry_after_ms
    assert trip.journey.error.executed == "no"
    assert Trip(refuse(), Server("b")).start(OK).path == "b"
    assert Trip(refuse(), refuse(), Server("c")).start(OK).path == "c"


def test_the_first_refusal_is_the_one_that_is_told():
    trip = Trip(Server("a").throttled(), Server("b").open()).start()
    assert trip.outcome == "throttled_upstream"


def test_an_attempt_is_told_rather_than_a_refusal():
    trip = Trip(Server("a").open(), Server("b", attempts=1)).start(LOST)
    assert (trip.path, trip.outcome) == ("b", "outcome_unknown")


def test_a_rate_limit_is_the_operators_wish_and_not_passed_by():
    a = Server("a", rate_limit=RateLimit(2.0, 1))
    Trip(a).start(OK)
    trip = Trip(a, Server("b")).start()
    assert (trip.path, trip.outcome) == ("", "rate_limited")
    assert trip.journey.error.retry_after_ms == 500


def test_poison_is_not_passed_on():
    """F58."""
    call = make_call()
    trip = Trip(Server("a").poisoned(call), Server("b"), call=call).start()
    assert (trip.path, trip.outcome) == ("", "poisoned")
    assert trip.journey.error.retry_after_ms == 60_000


def test_arguments_that_kill_the_server_twice_kill_no_other():
    """F58: a read-only call, which could go on."""
    trip = Trip(Server("a", reads=True), Server("b", reads=True))
    trip.start(Reply(Ending.LOST, loss=1), Reply(Ending.LOST, loss=2))
    assert (trip.path, trip.outcome) == ("aa", "outcome_unknown")
    a, b = Server("a", reads=True, attempts=2), Server("b", reads=True)
    trip = Trip(a, b).start(Reply(Ending.LOST, loss=1), Reply(Ending.LOST, loss=2))
    assert trip.path == "aa"


def test_a_retry_that_is_refused_goes_on_only_if_the_next_server_is_safe():
    """A breaker may open between two attempts on one server."""
    config = BreakerConfig(failure_threshold=1)
    trip = Trip(Server("a", safe=True, breaker=config), Server("b", safe=True)).start(LOST)
    assert (trip.path, trip.outcome) == ("a", "outcome_unknown")
    assert trip.at_rest
    trip = Trip(Server("a", reads=True, breaker=config), Server("b", reads=True)).start(LOST, OK)
    assert (trip.path, trip.outcome) == ("ab", "ok")
    trip = Trip(Server("a", breaker=config), Server("b")).start(UNREACHED, OK)
    assert (trip.path, trip.outcome) == ("ab", "ok")
    assert trip.at_rest


def test_after_passing_by_the_next_server_has_all_its_tries():
    config = BreakerConfig(failure_threshold=1)
    trip = Trip(Server("a", breaker=config), Server("b")).start(UNREACHED, UNREACHED, UNREACHED, OK)
    assert trip.path == "abbb"


def test_a_retry_that_finds_no_token_ends_the_call():
    trip = Trip(Server("a", rate_limit=RateLimit(0.01, 1)), Server("b")).start(UNREACHED)
    assert (trip.path, trip.outcome) == ("a", "upstream_unavailable")
    assert trip.at_rest


def test_a_call_that_finds_the_queue_full_uses_no_token():
    server = Server("a", concurrency=1, rate_limit=RateLimit(0.01, 1)).full()
    assert Trip(server).start().outcome == "overloaded"
    assert server.lane.take_token(START) is None


def test_a_call_without_time_is_not_sent_and_uses_no_token():
    """R41."""
    server = Server("a", rate_limit=RateLimit(0.01, 1))
    trip = Trip(server, call=make_call(time=MIN_ATTEMPT - 1)).start()
    assert (trip.path, trip.outcome) == ("", "deadline_exceeded")
    assert trip.at_rest
    assert Trip(server, call=make_call(time=MIN_ATTEMPT)).start(OK).path == "a"


def test_a_tool_that_is_shut_is_passed_by_and_uses_no_token():
    a = Server("a", breaker=BreakerConfig(failure_threshold=1), rate_limit=RateLimit(0.01, 2))
    Trip(a).start(INTERNAL)
    assert Trip(a, Server("b")).start(OK).path == "b"
    assert a.lane.take_token(START) is None


def test_a_half_open_breaker_lets_one_probe_pass_and_sends_the_others_on():
    config = BreakerConfig(failure_threshold=1, recovery_timeout_ms=10)
    a = Server("a", breaker=config, attempts=1)
    Trip(a).start(UNREACHED)
    probe, other = Trip(a, Server("b")), Trip(a, Server("b"))
    probe.now = other.now = START + SECOND
    probe.start()
    assert (probe.path, a.lane.breaker.state) == ("a", State.HALF_OPEN)
    assert other.start(OK).path == "b"
    probe.asked.clear()
    assert probe.go(OK).outcome == "ok"


# ---------------------------------------------------------------- waiting for a seat


def queued(*servers, others=1, **facts):
    """A trip that waits behind `others` seats in use at the first server."""
    for number in range(others):
        servers[0].lane.seats.enter(f"other {number}")
    trip = Trip(*servers, **facts).start()
    assert trip.step is Step.WAIT
    return trip


def give_seat(trip, server):
    assert server.lane.seats.leave() == "us"
    trip.step = trip.journey.seated(trip.now, MIDDLE)


def test_a_call_waits_for_its_seat_and_is_sent_then():
    server = Server("a", concurrency=1)
    trip = queued(server)
    trip.now += 5 * SECOND
    give_seat(trip, server)
    assert trip.go(OK).outcome == "ok"
    assert trip.at_rest


def test_waiting_is_not_mistaken_for_a_slow_tool():
    server = Server("a", concurrency=1)
    trip = queued(server)
    trip.now += 30 * SECOND
    give_seat(trip, server)
    trip.go(OK, took=MILLISECOND)
    assert server.lane.typical("add") == MILLISECOND


def test_a_seat_that_comes_too_late_is_left_at_once():
    server = Server("a", concurrency=1)
    trip = queued(server)
    trip.now += MINUTE - MIN_ATTEMPT + 1
    give_seat(trip, server)
    assert trip.go().outcome == "deadline_exceeded"
    assert (trip.path, trip.at_rest) == ("", True)


def test_a_breaker_that_opened_meanwhile_sends_the_call_on():
    server = Server("a", concurrency=1)
    trip = queued(server, Server("b"))
    server.open()
    give_seat(trip, server)
    assert trip.go(OK).path == "b"
    assert trip.slept == [0]
    assert trip.at_rest


def test_a_breaker_that_opened_meanwhile_ends_the_call_where_there_is_no_other():
    server = Server("a", concurrency=1)
    trip = queued(server)
    server.open()
    give_seat(trip, server)
    assert trip.go().outcome == "circuit_open"
    assert trip.at_rest


@pytest.mark.parametrize("late", [False, True])
def test_a_token_is_not_given_back_after_a_wait(late):
    """By then it has come back by itself: two at once would break the rate (R24)."""
    server = Server("a", concurrency=1, rate_limit=RateLimit(0.001, 1))
    trip = queued(server)
    if late:
        trip.now += MINUTE
    else:
        server.open()
    give_seat(trip, server)
    trip.go()
    assert server.lane.take_token(trip.now).slug == "rate_limited"


def test_leaving_a_seat_hands_it_to_who_waits():
    server = Server("a", concurrency=1)
    first = Trip(server).start()
    second = Trip(server)
    second.journey.waiter = "next"
    second.start()
    first.step = first.journey.answered(OK, None, START, MIDDLE)
    assert first.journey.leave_seat() == "next"
    assert first.journey.leave_seat() is None, "once"
    assert server.lane.seats.in_flight == 1


# ---------------------------------------------------------------- cancelled


@pytest.mark.parametrize("cause", Cause)
def test_what_was_cancelled_is_not_repeated(cause):
    a, b = Server("a", reads=True), Server("b", reads=True)
    trip = Trip(a, b).start(Reply(Ending.CANCELLED), took=SECOND, cause=cause)
    told = "budget_exceeded" if cause is Cause.BUDGET else "outcome_unknown"
    assert (trip.path, trip.outcome) == ("a", told)
    assert trip.at_rest


def test_an_answer_that_came_before_the_cancellation_is_given():
    assert Trip(Server("a")).start(OK, cause=Cause.CLIENT).outcome == "ok"


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Cause.DEADLINE, "The call's time was over while it waited"),
        (Cause.CLIENT, "The call was cancelled (client)"),
    ],
)
def test_who_gives_up_waiting_leaves_the_queue(cause, text):
    server = Server("a", concurrency=1)
    trip = queued(server)
    trip.step = trip.journey.gave_up(cause)
    assert (trip.outcome, str(trip.journey.error)) == ("deadline_exceeded", text)
    assert server.lane.seats.waiting == 0
    assert server.lane.seats.leave() is None


def test_who_gives_up_asleep_gives_the_retry_back_and_hears_of_the_attempt():
    server = Server("a", safe=True)
    trip = Trip(server)
    trip.step = trip.journey.start(START, MIDDLE)
    trip.step = trip.journey.answered(LOST, None, START, MIDDLE)
    assert trip.step is Step.SLEEP
    trip.journey.leave_seat()
    trip.step = trip.journey.gave_up(Cause.CLIENT)
    assert trip.outcome == "outcome_unknown"
    assert trip.at_rest


def test_who_gives_up_asleep_hears_the_servers_own_words_if_there_are_any():
    trip = Trip(Server("a", safe=True))
    trip.step = trip.journey.start(START, MIDDLE)
    trip.step = trip.journey.answered(INTERNAL, None, START, MIDDLE)
    trip.journey.leave_seat()
    trip.step = trip.journey.gave_up(Cause.DEADLINE)
    assert trip.journey.reply is INTERNAL
    assert trip.journey.error is None


# ---------------------------------------------------------------- whose fault a timeout is


def timed_out(server, *, given, ran=None):
    trip = Trip(server, call=make_call(time=given))
    return trip.start(Reply(Ending.CANCELLED), took=ran or given, cause=Cause.DEADLINE)


def failures(server):
    tool = server.lane.tools.get("add")
    return tool.breaker.counts(START)["failures"] if tool and tool.breaker else 0


def test_a_deadline_shorter_than_the_tool_usually_takes_is_nobodys_failure():
    """A44: else one caller could open the breaker for all."""
    server = Server("a")
    Trip(server).start(OK, took=2 * SECOND)
    for _ in range(20):
        trip = timed_out(server, given=2 * SECOND - 1)
    assert (failures(server), trip.journey.hung) == (0, False)
    trip = timed_out(server, given=2 * SECOND)
    assert (failures(server), trip.journey.hung) == (1, True)


def test_of_a_tool_that_never_answered_half_the_usual_patience_is_asked():
    server = Server("a", timeouts=Timeouts(call_ms=1_000))
    timed_out(server, given=500 * MILLISECOND - 1)
    assert failures(server) == 0
    timed_out(server, given=500 * MILLISECOND)
    assert failures(server) == 1


def test_a_short_deadline_is_no_failure_of_the_server_either():
    server = Server("a", breaker=BreakerConfig(failure_threshold=1))
    server.lane.spread.add("other", START)
    timed_out(server, given=SECOND)
    assert server.lane.breaker.state is State.CLOSED
    timed_out(server, given=6 * SECOND)
    assert server.lane.breaker.state is State.OPEN


def test_only_what_hung_to_its_end_is_said_to_have_hung():
    assert Trip(Server("a")).start(TIMEOUT).journey.hung
    assert not Trip(Server("a")).start(INTERNAL).journey.hung
    assert not Trip(Server("a")).start(LOST).journey.hung
    assert not Trip(Server("a", safe=True)).start(TIMEOUT, OK).journey.hung
