"""The circuit breaker: rules R1 to R19, properties P1 to P11, and what others get wrong."""

from random import Random

import pytest
from support.breaker_lab import MIDDLE, WALL, Bench, ms

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.circuit_breaker import NEVER, CircuitBreaker, State
from agenthub.domain.errors import Refusal
from agenthub.domain.outcome import Effect
from agenthub.domain.span import SECOND

SUCCESS, FAILURE, IGNORE = Effect.SUCCESS, Effect.FAILURE, Effect.IGNORE


class TestWhatLibrariesGetWrong:
    """The rows of the table in §2 of the rule set; open time 0.3 s, three failures."""

    def bench(self):
        return Bench(failure_threshold=3, recovery_timeout_ms=300)

    def test_one_of_a_hundred_reaches_a_dead_server_while_half_open(self):
        bench = self.bench().half_open()
        answers = [bench.ask() for _ in range(100)]
        assert sum(not isinstance(answer, Refusal) for answer in answers) == 1
        assert answers[1] == Refusal("circuit_open", None, "half_open")

    def test_a_late_success_from_before_leaves_it_open(self):
        bench = self.bench()
        late = bench.call()
        bench.open()
        bench.ends(late, SUCCESS)
        assert bench.state is State.OPEN

    def test_a_late_failure_does_not_lengthen_the_open_time(self):
        bench = self.bench()
        late = bench.call()
        bench.open()
        until = bench.breaker.until
        bench.passes(ms(200))
        bench.ends(late, FAILURE, retry_after=60 * SECOND)
        assert bench.breaker.until == until == bench.now + ms(100)

    def test_calls_given_up_by_clients_do_not_open_it(self):
        bench = self.bench()
        bench.ignore(3)
        assert bench.state is State.CLOSED

    def test_a_probe_given_up_leaves_it_half_open_with_a_free_place(self):
        bench = self.bench().half_open()
        bench.ignore()
        assert bench.state is State.HALF_OPEN
        assert bench.call().probe

    def test_an_error_that_says_nothing_does_not_close_it(self):
        bench = self.bench().half_open()
        bench.ignore(10)
        assert bench.state is State.HALF_OPEN

    def test_two_failures_in_three_open_it_though_never_three_in_a_row(self):
        bench = self.bench()
        for number in range(200):
            if bench.state is State.CLOSED:
                bench.succeed() if number % 3 == 2 else bench.fail()
        assert bench.causes == ["failure_rate"]

    def test_hung_calls_open_it_though_none_has_ended(self):
        bench = self.bench()
        bench.calls(200)
        bench.passes(10 * SECOND + 1)
        bench.tick()
        assert bench.causes == ["overdue_calls"]

    def test_the_call_that_trips_it_is_reported_without_an_error_of_its_own(self):
        """R10: whoever reports gets nothing back that could hide the server's own error."""
        bench = self.bench()
        bench.fail(2)
        assert bench.breaker.report(bench.call(), FAILURE, bench.now, MIDDLE) is None
        assert bench.state is State.OPEN

    @pytest.mark.parametrize("step", [-3600 * SECOND, 3600 * SECOND])
    def test_a_step_of_the_wall_clock_changes_nothing(self, step):
        """No method but `dump` and `load` is told the wall time; between those, R17 decides."""
        bench = self.bench().open()
        bench.restart(jump=step if step < 0 else 25 * step)
        assert bench.remaining == ms(300)
        bench.passes(ms(300) - 1)
        assert bench.refused().reason == "open"
        bench.passes(1)
        assert bench.call().probe


class TestProperties:
    """P1 to P11 by one example each; the machine in the other file tries thousands."""

    @pytest.mark.parametrize("probes", [1, 2, 5])
    def test_p1_never_more_than_the_probes_at_once(self, probes):
        bench = Bench(probes=probes, probes_to_close=9).half_open()
        bench.calls(probes)
        assert bench.refused().reason == "half_open"
        assert bench.breaker.in_flight == probes

    def test_p2_never_early(self):
        bench = Bench().open()
        bench.now = bench.breaker.until - 1
        assert bench.refused() == Refusal("circuit_open", 1, "open")
        bench.passes(1)
        assert bench.call().probe

    @pytest.mark.parametrize("ticking", [True, False])
    def test_p3_alive_again_after_the_longest_wait_and_a_lease(self, ticking):
        bench = Bench().half_open()
        bench.call()
        bench.passes(300 * SECOND + bench.breaker.config.probe_lease_ms * ms(1))
        if ticking:
            bench.tick()
        else:
            assert bench.refused().reason == "half_open"
            bench.passes(SECOND)
            assert bench.refused().reason == "open"
        bench.now = bench.breaker.until
        assert bench.call().probe

    @pytest.mark.parametrize("effect", list(Effect))
    def test_p4_a_stale_report_is_inert(self, effect):
        bench = Bench(failure_threshold=1)
        stale = bench.calls(3)
        bench.open()
        bench.recover()
        before = (bench.breaker.counts(bench.now), bench.breaker.generation, len(bench.seen))
        for ticket in stale:
            bench.ends(ticket, effect, retry_after=SECOND)
        assert before == (
            bench.breaker.counts(bench.now),
            bench.breaker.generation,
            len(bench.seen),
        )

    @pytest.mark.parametrize("half_open", [False, True])
    def test_p5_an_ignored_call_is_inert(self, half_open):
        bench = Bench()
        if half_open:
            bench.half_open()
            bench.succeed()
        else:
            bench.fail(3)
        before = bench.breaker.counts(bench.now)
        ticket = bench.call()
        bench.passes(11 * SECOND)
        bench.ends(ticket, IGNORE, retry_after=SECOND, evidence=4)
        assert bench.breaker.counts(bench.now) == before

    def test_p6_legal_edges_one_event_each_and_a_growing_generation(self):
        bench = Bench()
        bench.open()
        bench.now = bench.breaker.until
        bench.fail()
        bench.recover()
        assert [(t.before.value, t.after.value) for t in bench.seen] == [
            ("closed", "open"),
            ("open", "half_open"),
            ("half_open", "open"),
            ("open", "half_open"),
            ("half_open", "closed"),
        ]
        assert [t.generation for t in bench.seen] == [1, 2, 3, 4, 5]

    def test_p7_forced_open_admits_nobody(self):
        bench = Bench()
        bench.breaker.force_open(bench.now, "maintenance", None)
        for span in (0, SECOND, 10**6 * SECOND):
            bench.passes(span)
            bench.tick()
            assert bench.refused() == Refusal("circuit_open", None, "forced_open")

    @pytest.mark.parametrize("threshold", [1, 5, 20])
    def test_p8_so_many_failures_in_a_row_trip_it(self, threshold):
        bench = Bench(failure_threshold=threshold, min_calls=1_000)
        bench.fail(threshold - 1)
        bench.succeed()
        bench.fail(threshold - 1)
        assert bench.state is State.CLOSED
        bench.fail()
        assert bench.causes == ["consecutive_failures"]

    @pytest.mark.parametrize("jump", [-(10**6), -1, 86_401, 10**6])
    def test_p9_a_wall_clock_that_was_set_is_not_believed(self, jump):
        assert Bench().open().restart(jump=jump * SECOND).remaining == 5 * SECOND

    def test_p10_an_ignored_probe_frees_its_place_at_once(self):
        bench = Bench().half_open()
        probe = bench.call()
        bench.refused()
        bench.ends(probe, IGNORE)
        bench.call()

    @pytest.mark.parametrize(
        ("jump", "left"), [(0, 5), (2, 3), (10, 0), (86_400, 0), (-(10**6), 5), (10**6, 5)]
    )
    def test_p11_after_a_restart_the_rest_of_the_open_time_remains(self, jump, left):
        assert Bench().open().restart(jump=jump * SECOND).remaining == left * SECOND


class TestWhatOpensIt:
    def test_a_transition_tells_everything(self):
        bench = Bench()
        bench.call()
        bench.fail(5)
        (transition,) = bench.seen
        assert (transition.key, transition.before, transition.after) == (
            "server", State.CLOSED, State.OPEN,
        )  # fmt: skip
        assert (transition.generation, transition.level) == (1, 0)
        assert (transition.cause, transition.retry_after) == ("consecutive_failures", 5 * SECOND)
        assert transition.counts == {
            "calls": 5, "failures": 5, "slow": 0, "consecutive": 5, "in_flight": 1, "probes_ok": 0,
        }  # fmt: skip

    def test_the_failure_rate_counts_from_so_many_calls(self):
        bench = Bench(failure_threshold=100)
        bench.succeed(4)
        bench.fail(5)
        assert bench.state is State.CLOSED
        bench.fail()
        assert bench.causes == ["failure_rate"]

    def test_a_rate_below_the_threshold_is_borne(self):
        bench = Bench(failure_threshold=100)
        bench.succeed(11)
        bench.fail(10)
        assert bench.state is State.CLOSED
        bench.fail()
        assert bench.state is State.OPEN

    def test_the_rate_is_looked_at_when_a_call_fails(self):
        bench = Bench(failure_threshold=100)
        bench.fail(9)
        bench.succeed(1)
        assert bench.state is State.CLOSED

    def test_the_window_forgets(self):
        bench = Bench(failure_threshold=100)
        bench.fail(9)
        bench.passes(30 * SECOND)
        bench.fail(9)
        assert bench.state is State.CLOSED
        assert bench.breaker.counts(bench.now)["failures"] == 9

    def test_slow_calls_open_it_at_their_rate(self):
        bench = Bench(window_ms=3_600_000)
        bench.succeed(2)
        bench.succeed(7, took=10 * SECOND + 1)
        assert bench.state is State.CLOSED
        bench.succeed(1, took=10 * SECOND + 1)
        assert bench.causes == ["slow_rate"]

    def test_a_call_of_just_the_limit_is_not_slow(self):
        bench = Bench(window_ms=3_600_000)
        bench.succeed(20, took=10 * SECOND)
        assert bench.state is State.CLOSED
        assert bench.breaker.counts(bench.now)["slow"] == 0

    def test_a_slow_success_ends_a_row_of_failures(self):
        bench = Bench(min_calls=100)
        bench.fail(4)
        bench.succeed(took=11 * SECOND)
        bench.fail(4)
        assert bench.state is State.CLOSED

    def test_fast_calls_do_not_let_the_slow_rate_open_it(self):
        bench = Bench(window_ms=3_600_000)
        bench.succeed(8, took=11 * SECOND)
        bench.succeed(2)
        assert bench.state is State.CLOSED

    def test_slow_failures_count_as_both(self):
        bench = Bench(window_ms=3_600_000, failure_threshold=100, failure_rate=1.0)
        bench.succeed()
        for _ in range(9):
            ticket = bench.call()
            bench.passes(11 * SECOND)
            bench.ends(ticket, FAILURE)
        assert bench.causes == ["slow_rate"]

    def test_a_failure_of_just_the_limit_is_not_slow(self):
        bench = Bench()
        ticket = bench.call()
        bench.passes(10 * SECOND)
        bench.ends(ticket, FAILURE)
        assert bench.breaker.counts(bench.now)["slow"] == 0

    def test_four_hung_calls_are_not_enough(self):
        bench = Bench()
        bench.calls(4)
        bench.passes(3_600 * SECOND)
        bench.tick()
        assert bench.state is State.CLOSED

    def test_hung_calls_are_judged_only_when_five_are_older_than_slow(self):
        bench = Bench()
        bench.calls(4)
        bench.passes(1)
        bench.call()
        bench.passes(10 * SECOND)
        bench.tick()
        assert bench.state is State.CLOSED
        bench.passes(1)
        bench.tick()
        assert bench.causes == ["overdue_calls"]

    def test_hung_calls_beside_a_call_that_ended_are_borne(self):
        bench = Bench()
        bench.calls(5)
        bench.passes(11 * SECOND)
        bench.succeed()
        bench.tick()
        assert bench.state is State.CLOSED
        bench.passes(30 * SECOND)
        bench.tick()
        assert bench.state is State.OPEN

    def test_one_lost_connection_is_one_failure(self):
        """R6: a hundred calls on one connection die together."""
        bench = Bench()
        for ticket in bench.calls(100):
            bench.ends(ticket, FAILURE, evidence=7)
        assert bench.state is State.CLOSED
        assert bench.breaker.counts(bench.now) == {
            "calls": 1, "failures": 1, "slow": 0, "consecutive": 1, "in_flight": 0, "probes_ok": 0,
        }  # fmt: skip

    def test_lost_connections_count_each_for_itself(self):
        bench = Bench()
        for loss in range(1, 6):
            bench.fail(evidence=loss)
        assert bench.causes == ["consecutive_failures"]

    def test_failures_without_a_lost_connection_count_each(self):
        bench = Bench()
        bench.fail(5, evidence=0)
        assert bench.state is State.OPEN

    def test_a_connection_lost_in_another_generation_counts_again(self):
        bench = Bench(failure_threshold=1)
        bench.fail(evidence=7)
        bench.recover()
        bench.fail(evidence=7)
        assert bench.state is State.OPEN

    def test_a_lost_connection_that_cannot_be_made_again_opens_it_at_once(self):
        bench = Bench()
        bench.breaker.trip(bench.now, MIDDLE, "loss+reconnect_failed")
        assert bench.causes == ["loss+reconnect_failed"]
        assert bench.remaining == 5 * SECOND

    def test_a_trip_while_half_open_raises_the_level(self):
        bench = Bench().half_open()
        bench.call()
        bench.breaker.trip(bench.now, MIDDLE, "loss+reconnect_failed")
        assert (bench.state, bench.breaker.level) == (State.OPEN, 1)

    @pytest.mark.parametrize("how", ["open", "forced_open", "forced_closed"])
    def test_a_trip_does_nothing_where_nothing_is_to_open(self, how):
        bench = Bench()
        if how == "open":
            bench.open()
        elif how == "forced_open":
            bench.breaker.force_open(bench.now, "", None)
        else:
            bench.breaker.force_close(bench.now, "", None)
        bench.breaker.trip(bench.now, MIDDLE, "loss+reconnect_failed")
        assert len(bench.seen) == 1

    def test_a_second_report_is_a_bug(self):
        bench = Bench()
        ticket = bench.call()
        bench.ends(ticket, SUCCESS)
        with pytest.raises(RuntimeError, match="reported twice"):
            bench.ends(ticket, IGNORE)

    def test_even_a_stale_ticket_is_reported_once(self):
        bench = Bench()
        ticket = bench.call()
        bench.open()
        bench.ends(ticket, SUCCESS)
        with pytest.raises(RuntimeError):
            bench.ends(ticket, SUCCESS)


class TestHowLongItStaysOpen:
    @pytest.mark.parametrize(
        ("chance", "open_ms"), [(0.0, 3_750), (0.5, 5_000), (0.999_999_999, 6_249.9975)]
    )
    def test_chance_spreads_the_open_time_by_a_quarter(self, chance, open_ms):
        bench = Bench().open(chance=chance)
        assert bench.remaining == int(open_ms * 1_000_000)

    def test_each_failed_round_of_probes_doubles_it_up_to_the_longest(self):
        bench, spans = Bench(), []
        bench.open()
        for _ in range(7):
            spans.append(bench.remaining // SECOND)
            bench.now = bench.breaker.until
            bench.fail()
        assert spans == [5, 10, 20, 40, 80, 120, 120]
        assert bench.breaker.level == 7

    def test_the_level_ends_at_thirty(self):
        bench = Bench().open()
        for _ in range(40):
            bench.now = bench.breaker.until
            bench.fail()
        assert bench.breaker.level == 30
        assert bench.remaining == 120 * SECOND

    def test_tripping_soon_after_closing_raises_the_level(self):
        bench = Bench().open()
        bench.recover()
        bench.passes(60 * SECOND - 1)
        bench.open()
        assert (bench.breaker.level, bench.remaining) == (1, 10 * SECOND)

    def test_tripping_when_it_was_stable_starts_again(self):
        bench = Bench().open()
        bench.now = bench.breaker.until
        bench.fail()
        bench.recover()
        assert bench.breaker.level == 1
        bench.passes(60 * SECOND)
        bench.open()
        assert (bench.breaker.level, bench.remaining) == (0, 5 * SECOND)

    def test_a_base_above_the_longest_time_counts_as_the_longest(self):
        bench = Bench(recovery_timeout_ms=300_000).open()
        assert bench.remaining == 300 * SECOND
        bench.now = bench.breaker.until
        bench.fail()
        assert bench.remaining == 300 * SECOND

    @pytest.mark.parametrize(("asked", "waits"), [(1, 5), (5, 5), (42, 42), (300, 300), (301, 300)])
    def test_retry_after_lengthens_it_to_five_minutes_at_most(self, asked, waits):
        bench = Bench(failure_threshold=1)
        bench.fail(retry_after=asked * SECOND)
        assert bench.remaining == waits * SECOND
        assert bench.seen[0].retry_after == waits * SECOND

    def test_what_was_asked_is_shown_when_it_was_too_much(self):
        bench = Bench(failure_threshold=1)
        bench.fail(retry_after=10**9 * SECOND)
        assert bench.seen[0].counts["retry_after_ms"] == 10**12

    def test_retry_after_counts_for_a_probe_and_for_a_rate_too(self):
        probe = Bench().half_open()
        probe.fail(retry_after=99 * SECOND)
        assert probe.remaining == 99 * SECOND
        rate = Bench(failure_threshold=100)
        rate.fail(10, retry_after=88 * SECOND)
        assert rate.remaining == 88 * SECOND

    def test_it_says_how_long(self):
        bench = Bench()
        assert bench.breaker.retry_after(bench.now) is None
        bench.open()
        bench.passes(SECOND)
        assert bench.breaker.retry_after(bench.now) == 4 * SECOND
        bench.passes(60 * SECOND)
        assert bench.breaker.retry_after(bench.now) == 0
        bench.call()
        assert bench.breaker.retry_after(bench.now) is None
        assert bench.breaker.until == NEVER


class TestProbes:
    def test_enough_good_probes_close_it(self):
        bench = Bench().half_open()
        bench.succeed()
        assert bench.state is State.HALF_OPEN
        bench.succeed()
        assert (bench.state, bench.causes[-1]) == (State.CLOSED, "probes_ok")
        assert bench.seen[-1].counts["probes_ok"] == 2

    def test_a_failed_probe_opens_it(self):
        bench = Bench().half_open()
        bench.succeed()
        bench.fail()
        assert bench.causes[-1] == "probe_failed"

    def test_good_probes_of_an_earlier_round_do_not_count(self):
        bench = Bench().half_open()
        bench.succeed()
        bench.fail()
        bench.now = bench.breaker.until
        bench.succeed()
        assert bench.state is State.HALF_OPEN

    def test_a_slow_probe_is_a_failed_one(self):
        bench = Bench().half_open()
        bench.succeed(took=10 * SECOND)
        assert bench.state is State.HALF_OPEN
        bench.succeed(took=10 * SECOND + 1)
        assert bench.causes[-1] == "probe_slow"

    def test_an_answer_after_the_lease_is_too_late(self):
        bench = Bench(probe_lease_ms=1_000).half_open()
        bench.succeed(took=SECOND)
        assert bench.state is State.HALF_OPEN
        bench.succeed(took=SECOND + 1)
        assert bench.causes[-1] == "probe_slow"

    def test_the_tick_finds_a_probe_that_outlived_its_lease(self):
        bench = Bench().half_open()
        bench.call()
        bench.passes(61 * SECOND)
        bench.tick()
        assert bench.state is State.HALF_OPEN
        bench.passes(1)
        bench.tick()
        assert (bench.causes[-1], bench.breaker.level) == ("probe_lease", 1)

    def test_a_tick_without_a_probe_in_flight_changes_nothing(self):
        bench = Bench().half_open()
        bench.ignore()
        bench.passes(3_600 * SECOND)
        bench.tick()
        assert bench.state is State.HALF_OPEN

    def test_a_tick_does_not_end_the_open_time(self):
        """R2: the first call does, and is the probe."""
        bench = Bench().open()
        bench.passes(3_600 * SECOND)
        bench.tick()
        assert bench.state is State.OPEN


class TestTheRampAfterClosing:
    def closed(self, **settings):
        bench = Bench(**settings).open()
        bench.recover()
        return bench

    def room(self, bench):
        """How many more may be in flight right now."""
        tickets = []
        while not isinstance(answer := bench.ask(), Refusal) and len(tickets) < 2_000:
            tickets.append(answer)
        for ticket in tickets:
            bench.ends(ticket, IGNORE)
        return len(tickets)

    def test_it_begins_with_four_and_doubles_each_second(self):
        bench = self.closed(failure_threshold=1)
        rooms = []
        for _ in range(4):
            rooms.append(self.room(bench))
            bench.passes(SECOND)
        assert rooms == [4, 8, 16, 32]

    def test_a_refusal_says_when_it_doubles(self):
        bench = self.closed()
        bench.passes(SECOND * 3 // 10)
        bench.calls(4)
        assert bench.refused() == Refusal("overloaded", SECOND * 7 // 10, "ramp")

    def test_a_second_with_a_failure_does_not_double(self):
        bench = self.closed()
        bench.passes(SECOND + SECOND // 2)
        bench.fail()
        bench.passes(SECOND - 1)
        assert self.room(bench) == 8
        bench.passes(1)
        assert self.room(bench) == 16

    def test_it_ends_at_the_limit(self):
        bench = self.closed(ramp_limit=16)
        bench.passes(2 * SECOND - 1)
        assert self.room(bench) == 8
        bench.passes(1)
        assert self.room(bench) == 2_000
        bench.fail()
        assert self.room(bench) == 2_000

    def test_a_ramp_as_wide_as_the_limit_is_none(self):
        assert self.room(self.closed(ramp=16, ramp_limit=16)) == 2_000

    def test_who_fails_now_and_then_is_not_held_down_for_ever(self):
        bench = self.closed(failure_rate=1.0)
        for _ in range(60):
            bench.succeed()
            bench.fail()
            assert self.room(bench) == 4
            bench.passes(SECOND - 1)
        bench.passes(60)
        assert self.room(bench) == 2_000

    def test_there_is_none_at_the_start_nor_after_an_operators_word(self):
        assert self.room(Bench()) == 2_000
        bench = self.closed()
        bench.breaker.force_close(bench.now, "", None)
        assert self.room(bench) == 2_000
        bench.breaker.release(bench.now)
        assert self.room(bench) == 2_000
        bench = self.closed()
        bench.breaker.reset(bench.now)
        assert self.room(bench) == 2_000


class TestLooking:
    def states(self):
        yield Bench()
        yield Bench().open()
        yield Bench().half_open()
        full = Bench().half_open()
        full.call()
        yield full
        ramp = Bench().open()
        ramp.recover()
        ramp.calls(4)
        yield ramp
        for ttl in (None, 0, SECOND):
            for word in ("force_open", "force_close"):
                forced = Bench()
                getattr(forced.breaker, word)(forced.now, "", ttl)
                yield forced

    def test_it_foretells_what_asking_would_say_and_changes_nothing(self):
        for bench in self.states():
            before = (bench.breaker.generation, bench.state, bench.breaker.in_flight)
            seen = bench.breaker.peek(bench.now)
            assert (bench.breaker.generation, bench.state, bench.breaker.in_flight) == before
            answer = bench.ask()
            assert seen == (answer if isinstance(answer, Refusal) else None)


class TestTheOperatorsWord:
    def test_forced_open_for_a_while(self):
        bench = Bench()
        bench.breaker.force_open(bench.now, "maintenance", 10 * SECOND)
        assert bench.causes == ["operator: maintenance"]
        assert bench.seen[0].retry_after == 10 * SECOND
        assert bench.breaker.note == "maintenance"
        bench.passes(4 * SECOND)
        assert bench.refused() == Refusal("circuit_open", 6 * SECOND, "forced_open")
        bench.passes(6 * SECOND)
        assert not bench.call().probe
        assert (bench.state, bench.causes[-1]) == (State.CLOSED, "forced_time_over")
        assert bench.breaker.note == ""

    @pytest.mark.parametrize("word", ["force_open", "force_close"])
    def test_the_tick_finds_that_its_time_is_over(self, word):
        bench = Bench()
        getattr(bench.breaker, word)(bench.now, "", 10 * SECOND)
        bench.passes(10 * SECOND - 1)
        bench.tick()
        assert len(bench.seen) == 1
        bench.passes(1)
        bench.tick()
        assert bench.causes[-1] == "forced_time_over"

    def test_forced_closed_records_and_never_trips(self):
        bench = Bench()
        bench.breaker.force_close(bench.now, "I know better", None)
        bench.fail(50, retry_after=SECOND)
        bench.calls(5)
        bench.passes(3_600 * SECOND)
        bench.tick()
        assert bench.state is State.FORCED_CLOSED
        assert bench.breaker.retry_after(bench.now) is None
        bench.fail(2)
        bench.succeed(2, took=11 * SECOND)
        assert bench.breaker.counts(bench.now)["failures"] == 2
        assert bench.state is State.FORCED_CLOSED

    def test_released_it_is_closed_and_as_new(self):
        bench = Bench().open()
        bench.now = bench.breaker.until
        bench.fail()
        bench.breaker.force_open(bench.now, "", None)
        bench.breaker.release(bench.now)
        assert (bench.state, bench.breaker.level) == (State.CLOSED, 0)
        bench.open()
        assert bench.breaker.level == 0

    def test_release_means_nothing_when_not_forced(self):
        bench = Bench().open()
        bench.breaker.release(bench.now)
        assert bench.state is State.OPEN

    def test_reset_forgets_everything(self):
        bench = Bench().open()
        bench.recover()
        bench.fail(4)
        old = bench.call()
        bench.breaker.reset(bench.now)
        assert bench.causes[-1] == "operator: reset"
        bench.ends(old, FAILURE)
        bench.fail(4)
        assert bench.state is State.CLOSED
        bench.fail()
        assert bench.breaker.level == 0

    def test_a_long_reason_is_cut(self):
        bench = Bench()
        bench.breaker.force_open(bench.now, "x" * 10_000, None)
        assert len(bench.breaker.note) == 200
        assert bench.restart().breaker.note == "x" * 200


class TestNewSettings:
    def reconfigure(self, bench, **settings):
        bench.breaker.reconfigure(BreakerConfig(**settings), bench.now)

    def test_they_hold_at_once_and_nothing_is_forgotten(self):
        bench = Bench()
        bench.fail(2)
        ticket = bench.call()
        self.reconfigure(bench, failure_threshold=3)
        assert bench.breaker.in_flight == 1
        bench.ends(ticket, FAILURE)
        assert bench.causes == ["consecutive_failures"]

    def test_the_open_time_that_runs_is_kept(self):
        bench = Bench().open()
        self.reconfigure(bench, recovery_timeout_ms=100, max_open_ms=100)
        assert bench.remaining == 5 * SECOND

    def test_it_does_not_stay_open_beyond_what_the_new_settings_promise(self):
        bench = Bench(recovery_timeout_ms=300_000, max_open_ms=3_600_000).open()
        for _ in range(4):
            bench.now = bench.breaker.until
            bench.fail()
        self.reconfigure(bench)
        assert bench.remaining == 300 * SECOND
        self.reconfigure(bench, max_open_ms=3_600_000)
        assert bench.remaining == 300 * SECOND

    def test_a_new_window_takes_the_counts_over(self):
        bench = Bench(failure_threshold=100)
        bench.fail(6)
        self.reconfigure(bench, failure_threshold=100, window_ms=1_000)
        assert bench.breaker.counts(bench.now)["failures"] == 6
        bench.passes(SECOND)
        assert bench.breaker.counts(bench.now)["failures"] == 0

    def test_slow_and_lease_follow(self):
        bench = Bench().half_open()
        self.reconfigure(bench, slow_call_ms=100_000, probe_lease_ms=50_000)
        bench.succeed(took=50 * SECOND)
        assert bench.state is State.HALF_OPEN
        self.reconfigure(bench, slow_call_ms=1_000)
        bench.succeed(took=2 * SECOND)
        assert bench.causes[-1] == "probe_slow"
        bench.now = bench.breaker.until
        bench.call()
        self.reconfigure(bench, probe_lease_ms=50_000)
        bench.passes(50 * SECOND + 1)
        bench.tick()
        assert bench.causes[-1] == "probe_lease"


class TestAStandstill:
    """R19: the process was stopped for a minute, and woke."""

    def test_calls_in_flight_are_not_taken_for_hung(self):
        bench = Bench()
        bench.calls(5)
        bench.passes(5 * SECOND)
        bench.passes(60 * SECOND)
        bench.breaker.stalled(bench.now, 60 * SECOND)
        bench.tick()
        assert bench.state is State.CLOSED
        bench.passes(5 * SECOND + 1)
        bench.tick()
        assert bench.state is State.OPEN

    def test_calls_that_ended_just_before_still_speak_for_the_server(self):
        bench = Bench()
        bench.calls(5)
        bench.passes(20 * SECOND)
        bench.succeed()
        bench.passes(60 * SECOND)
        bench.breaker.stalled(bench.now, 60 * SECOND)
        bench.tick()
        assert bench.state is State.CLOSED

    def test_a_call_begun_after_waking_does_not_start_in_the_future(self):
        bench = Bench(slow_call_ms=1_000, overdue_calls=1)
        bench.passes(60 * SECOND)
        bench.call()
        bench.breaker.stalled(bench.now, 60 * SECOND)
        bench.passes(SECOND + 1)
        bench.tick()
        assert bench.state is State.OPEN

    @pytest.mark.parametrize("asked_first", [False, True])
    def test_a_probes_lease_stands_still_too(self, asked_first):
        bench = Bench().half_open()
        bench.call()
        bench.passes(3_600 * SECOND)
        if asked_first:
            assert bench.refused().reason == "half_open"
        bench.breaker.stalled(bench.now, 3_600 * SECOND)
        bench.passes(2 * SECOND)
        bench.tick()
        assert bench.refused().reason == "half_open"
        bench.passes(60 * SECOND)
        assert bench.refused().reason == "half_open"
        bench.passes(SECOND)
        assert bench.refused().reason == "open"

    def test_the_ramp_does_not_grow_meanwhile(self):
        bench = Bench().open()
        bench.recover()
        bench.passes(31 * SECOND)
        bench.breaker.stalled(bench.now, 31 * SECOND)
        bench.calls(4)
        assert bench.refused() == Refusal("overloaded", SECOND, "ramp")


class TestARestart:
    def test_closed_stays_closed_with_nothing_counted(self):
        bench = Bench()
        bench.fail(4)
        bench.restart()
        assert bench.state is State.CLOSED
        bench.fail(4)
        assert bench.state is State.CLOSED

    def test_half_open_asks_again_at_once(self):
        bench = Bench().half_open()
        bench.call()
        bench.restart()
        assert (bench.state, bench.remaining) == (State.OPEN, 0)
        assert bench.call().probe

    def test_open_stays_open_for_the_rest(self):
        bench = Bench().open()
        bench.passes(SECOND)
        bench.restart(jump=SECOND)
        assert bench.refused() == Refusal("circuit_open", 3 * SECOND, "open")
        assert len(bench.seen) == 1

    def test_the_level_and_the_generation_go_on(self):
        bench = Bench().half_open()
        bench.fail()
        bench.restart()
        assert (bench.breaker.level, bench.breaker.generation) == (1, 4)
        bench.now = bench.breaker.until
        bench.fail()
        assert bench.breaker.level == 2
        assert [t.generation for t in bench.seen] == [1, 2, 3, 5, 6]

    def test_a_record_cannot_hold_it_open_longer_than_the_rules(self):
        bench = Bench(failure_threshold=1)
        bench.fail(retry_after=300 * SECOND)
        bench.restart()
        assert bench.remaining == 150 * SECOND

    @pytest.mark.parametrize(("later", "level"), [(59, 1), (60, 0)])
    def test_a_trip_soon_after_closing_counts_over_the_restart(self, later, level):
        bench = Bench().open()
        bench.recover()
        bench.passes(20 * SECOND)
        bench.restart(jump=30 * SECOND)
        bench.passes((later - 50) * SECOND)
        bench.open()
        assert bench.breaker.level == level

    @pytest.mark.parametrize("word", ["force_open", "force_close"])
    def test_an_operators_word_holds_without_end(self, word):
        bench = Bench()
        getattr(bench.breaker, word)(bench.now, "maintenance", None)
        state = bench.state
        bench.restart(jump=10**6 * SECOND)
        bench.passes(10**6 * SECOND)
        bench.tick()
        assert (bench.state, bench.breaker.note) == (state, "maintenance")
        assert bench.breaker.until == NEVER

    def test_an_operators_word_ends_in_time(self):
        bench = Bench()
        bench.breaker.force_open(bench.now, "", 3_600 * SECOND)
        bench.passes(600 * SECOND)
        bench.restart(jump=1_200 * SECOND)
        assert bench.refused().retry_after == 1_800 * SECOND
        bench.restart(jump=7_200 * SECOND)
        assert bench.ask() is not None
        assert bench.state is State.CLOSED

    def test_while_the_machine_runs_its_own_clock_is_believed(self):
        bench = Bench().open()
        bench.restart(now=1_001 * SECOND, jump=3 * SECOND, boot_id="b", kept_boot_id="b")
        assert bench.remaining == 4 * SECOND

    @pytest.mark.parametrize(
        ("boot_id", "kept", "now"), [("b", "a", 1_001), ("", "", 1_001), ("b", "b", 999)]
    )
    def test_else_the_wall_clock_is(self, boot_id, kept, now):
        bench = Bench().open()
        bench.restart(now=now * SECOND, jump=3 * SECOND, boot_id=boot_id, kept_boot_id=kept)
        assert bench.remaining == 2 * SECOND

    @pytest.mark.parametrize(
        "data",
        [
            b"", b"{}", b"null", b"\xff\xfe", b"[" * 10_000,
            b'{"state":"ajar","generation":1,"level":0,"now":1,"wall":1,"boot_id":""}',
            b'{"state":"open","generation":-1,"level":0,"now":1,"wall":1,"boot_id":""}',
            b'{"state":"open","generation":1,"level":31,"now":1,"wall":1,"boot_id":""}',
            b'{"state":"open","generation":1,"level":-1,"now":1,"wall":1,"boot_id":""}',
            b'{"state":"open","generation":1,"level":0,"now":1,"wall":1e9,"boot_id":3}',
            b'{"state":"open","generation":1,"level":0,"now":1,"wall":1,"boot_id":"","remaining":-5}',
            b'{"state":"open","generation":1,"level":0,"now":1,"wall":1,"boot_id":"","note":"\xff"}',
        ],
    )  # fmt: skip
    def test_a_record_that_cannot_be_read_gives_a_closed_breaker_that_says_so(self, data):
        breaker = CircuitBreaker.load(data, "k", BreakerConfig(), print, 1, WALL, "")
        assert (breaker.state, breaker.corrupt) == (State.CLOSED, True)
        assert breaker.peek(1) is None

    def test_a_good_record_is_not_called_corrupt(self):
        assert not Bench().open().restart().breaker.corrupt


class TestAServerThatFlaps:
    """F25: three seconds up, three seconds down, and ten calls a second."""

    def minute(self, bench, random, *, flapping=True):
        """Transitions in a minute."""
        before = len(bench.seen)
        for _ in range(600):
            up = not flapping or bench.now // (3 * SECOND) % 2 == 0
            answer = bench.ask(random.random())
            if not isinstance(answer, Refusal):
                bench.ends(answer, SUCCESS if up else FAILURE, chance=random.random())
            bench.passes(ms(100))
            bench.tick()
        return len(bench.seen) - before

    @pytest.mark.parametrize("seed", range(20))
    def test_it_is_left_alone_longer_and_longer_and_recovers_when_stable(self, seed):
        bench, random = Bench(), Random(seed)
        assert max(self.minute(bench, random) for _ in range(10)) <= 12
        assert bench.breaker.level >= 3
        for _ in range(3):
            self.minute(bench, random, flapping=False)
        assert bench.state is State.CLOSED
