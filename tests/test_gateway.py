"""The whole waist over fake servers, in virtual time. Their journals are the judges."""

import asyncio
from collections import Counter

import pytest
from support.fake_upstream import (
    BUSY,
    HANGS,
    OK,
    REFUSED,
    TOOL_ERROR,
    Act,
    error,
    later,
    lost,
    result,
    tool,
)  # fmt: skip
from support.house import ANNA, BERT, Heard, house, ms, server
from support.virtual_time import passes, settled, virtual_time

from agenthub.domain.breaker_config import longest_open
from agenthub.domain.circuit_breaker import BreakerConfig, State
from agenthub.domain.endpoint import RateLimit, ToolPolicy
from agenthub.domain.errors import (
    CircuitOpen,
    DeadlineExceeded,
    IdempotencyConflict,
    InvalidParams,
    OutcomeUnknown,
    Overloaded,
    Poisoned,
    RateLimited,
    StorageFailed,
    UnknownTarget,
    UpstreamUnavailable,
)  # fmt: skip
from agenthub.domain.events import CallEnded, ClockEvent
from agenthub.domain.idempotency import KEPT_S
from agenthub.domain.outcome import Cause
from agenthub.domain.span import SECOND
from agenthub.gateway import SWEEP

FIVE = b'{"content":[{"type":"text","text":"5"}]}'
SAFE = {"add": ToolPolicy(replay="safe")}
READ_ONLY = {"readOnlyHint": True}


def outcomes(answers):
    return Counter(
        type(answer).__name__ if isinstance(answer, Exception) else "ok" for answer in answers
    )


async def many(hub, count, name="calculator", **more):
    """The answers of so many calls at once, errors among them."""
    return await asyncio.gather(
        *(hub.result(name, "add", **more) for _ in range(count)), return_exceptions=True
    )


def prepared(**facts):
    def prepare(fake):
        for name, value in facts.items():
            setattr(fake, name, value)

    return prepare


# ---------------------------------------------------------------- one call


@virtual_time()
async def test_a_call_is_answered_by_its_server():
    async with house("calculator") as hub:
        assert await hub.result("calculator", "add", a=2, b=3) == FIVE
        assert hub["calculator"].executed("add") == 1
        assert hub.at_rest()


@virtual_time()
async def test_what_is_sent_is_what_was_asked_for():
    async with house("calculator") as hub:
        call = hub.call("calculator", "add", a=2)
        hub.gateway.start(call, Heard())
        outgoing = hub["calculator"].sent[-1]
        assert (outgoing.method, outgoing.name, outgoing.deadline) == (
            "tools/call", "add", call.deadline,
        )  # fmt: skip
        assert outgoing.params is call.params
        await settled()


@virtual_time()
async def test_notifications_come_before_the_answer_and_commit_the_call():
    """R31: after something was forwarded nothing is repeated, not even a safe tool."""
    async with house(server("calculator", tools=SAFE)) as hub:
        act = Act(lost().reply, after=ms(5), notes=(("notifications/progress", b"{}"),))
        hub["calculator"].answers["add"] = [act, OK]
        heard, _ = hub.begin("calculator", "add")
        await passes(SECOND)
        assert heard.notes == [("notifications/progress", b"{}")]
        assert isinstance(heard.answer.error, OutcomeUnknown)
        assert hub["calculator"].executed("add") == 1


@virtual_time()
async def test_a_stream_gives_notifications_and_then_the_answer():
    async with house("calculator") as hub:
        notes = tuple((f"n{number}", b"{}") for number in range(3))
        hub["calculator"].answers["add"] = Act(OK.reply, after=SECOND, notes=notes)
        async with hub.gateway.open(hub.call("calculator", "add")) as stream:
            assert [method async for method, _ in stream] == ["n0", "n1", "n2"]
            assert (await stream.answer()).reply.result == FIVE


@virtual_time()
async def test_a_stream_that_nobody_reads_drops_its_oldest_notifications():
    async with house("calculator") as hub:
        notes = tuple((f"n{number}", b"{}") for number in range(1_500))
        hub["calculator"].answers["add"] = Act(OK.reply, after=SECOND, notes=notes)
        async with hub.gateway.open(hub.call("calculator", "add")) as stream:
            await passes(2 * SECOND)
            read = [method async for method, _ in stream]
        assert (len(read), read[0], read[-1]) == (1_000, "n500", "n1499")


@virtual_time()
async def test_each_call_leaves_one_line_and_is_counted():
    async with house("calculator", server("spare")) as hub:
        hub["calculator"].answers["add"] = [OK, TOOL_ERROR, error(-32602), lost()]
        for _ in range(4):
            await hub.ask("calculator", "add", a=1)
        hub["calculator"].answers["add"] = result(b"{}", result_type="input_required")
        await hub.ask("calculator", "add")
        with pytest.raises(UnknownTarget):
            await hub.ask("calculator", "nothing")
        with pytest.raises(UnknownTarget):
            await hub.ask("no" * 500, "nothing")
        rows = [(row.outcome, row.code, row.attempts, row.served_by) for row in hub.rows]
        assert rows == [
            ("ok", 0, 1, "calculator"), ("tool_error", 0, 1, "calculator"),
            ("upstream_error", -32602, 1, "calculator"),
            ("outcome_unknown", -31007, 1, "calculator"),
            ("input_required", 0, 1, "calculator"),
            ("unknown_target", -32602, 0, ""), ("unknown_target", -32602, 0, ""),
        ]  # fmt: skip
        assert hub.rows[0].bytes_out == len(FIVE)
        assert hub.rows[0].duration_us == 1_000
        assert hub.rows[0].at_us == hub.clock.wall() // 1_000 - 5_000
        assert all(len(row.endpoint) <= 200 for row in hub.rows)
        shown = hub.metrics.snapshot()["endpoints"]
        assert shown["calculator"]["outcomes"]["ok"] == 1
        assert shown["_other"]["rejections"] == {"unknown_target": 2}


@virtual_time()
async def test_made_up_names_take_no_memory():
    """A45: neither routes, nor guards, nor counters grow with what clients make up."""
    async with house("calculator") as hub:
        for number in range(2_000):
            with pytest.raises(UnknownTarget):
                await hub.ask(f"made-up-{number}", "x")
            with pytest.raises(UnknownTarget):
                await hub.ask("calculator", f"made-up-{number}")
            await hub.ask("calculator", f"file:///{number}", method="resources/read")
        lane = hub.catalog.get("calculator").lane
        assert len(lane.tools) <= 1
        assert len(hub.catalog.routes._ready) == 0
        assert len(hub.metrics._series) <= 2


@virtual_time()
async def test_whoever_listens_hears_each_end():
    async with house("calculator") as hub:
        await hub.result("calculator", "add")
        assert hub.events.of(CallEnded) == []
        hub.gateway.listening = lambda: True
        await hub.result("calculator", "add")
        (event,) = hub.events.of(CallEnded)
        assert (event.endpoint, event.name, event.outcome, event.attempts) == (
            "calculator", "add", "ok", 1,
        )  # fmt: skip


@virtual_time()
async def test_a_door_with_a_bug_harms_no_connection(caplog):
    class Broken:
        def notified(self, method, params):
            raise RuntimeError("a bug")

        def finished(self, answer):
            raise RuntimeError("a bug")

    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = Act(OK.reply, after=ms(5), notes=(("n", b"{}"),))
        hub.gateway.start(hub.call("calculator", "add"), Broken())
        assert await hub.result("calculator", "add") == FIVE
        assert [record.message for record in caplog.records] == ["A receiver failed"] * 2
        assert hub.at_rest()


@virtual_time()
async def test_arguments_that_do_not_fit_are_never_sent():
    schema = {"type": "object", "required": ["a"]}
    prepare = {"calculator": prepared(tools={"add": tool("add", schema)})}
    async with house("calculator", prepare=prepare) as hub:
        refused = await hub.error("calculator", "add")
        assert isinstance(refused, InvalidParams)
        assert refused.request_id
        assert hub["calculator"].arrived("add") == 0


@virtual_time()
async def test_backpressure_goes_to_the_server():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = HANGS
        _, passage = hub.begin("calculator", "add")
        (attempt,) = hub["calculator"].flying
        passage.pause()
        passage.pause()
        passage.resume()
        assert attempt.paused == 1
        passage.cancel(Cause.CLIENT)
        await settled()
        passage.pause()
        passage.resume()
        assert attempt.paused == 1


# ---------------------------------------------------------------- leaving, deadlines


@virtual_time()
async def test_a_client_that_goes_cancels_the_server_at_once():
    """R42: within 100 ms; every permit is back."""
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = HANGS
        before = hub.clock.now()
        async with hub.gateway.open(hub.call("calculator", "add")):
            await settled()
            assert hub["calculator"].flying
        await settled()
        assert hub.clock.now() - before < ms(1)
        assert hub.rows[-1].outcome == "cancelled"
        assert hub.at_rest()
        assert hub.catalog.get("calculator").lane.breaker.counts(hub.clock.now())["calls"] == 0


@virtual_time()
async def test_cancelling_twice_or_after_the_end_does_nothing():
    async with house("calculator") as hub:
        heard, passage = hub.begin("calculator", "add")
        passage.cancel(Cause.CLIENT)
        passage.cancel(Cause.DEADLINE)
        await settled()
        passage.cancel(Cause.CLIENT)
        assert isinstance(heard.answer.error, OutcomeUnknown)
        assert heard.answer.error.executed == "unknown"


@virtual_time()
async def test_nothing_of_a_cancelled_call_is_forwarded():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = Act(None, notes=(("n", b"{}"),))
        heard, passage = hub.begin("calculator", "add")
        (attempt,) = hub["calculator"].flying
        passage.cancel(Cause.CLIENT)
        attempt.note("n", b"{}")
        await settled()
        assert heard.notes == []


@pytest.mark.parametrize("seconds", [0.2, 1, 7.77, 60])
@virtual_time()
async def test_a_call_ends_at_its_deadline(seconds):
    """P17: never more than 250 ms late."""
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = HANGS
        before = hub.clock.now()
        ended = await hub.error("calculator", "add", seconds=seconds)
        assert isinstance(ended, OutcomeUnknown)
        late = hub.clock.now() - before - round(seconds * SECOND)
        assert 0 <= late <= SWEEP + ms(1)
        await passes(ms(5))  # for a look at the server
        assert hub.at_rest()


@virtual_time()
async def test_each_of_many_calls_ends_at_its_own_deadline():
    async with house(server("calculator", concurrency=1_000)) as hub:
        hub["calculator"].answers["add"] = HANGS
        before, late = hub.clock.now(), []

        async def one(span):
            await hub.ask("calculator", "add", seconds=span)
            late.append(hub.clock.now() - before - round(span * SECOND))

        await asyncio.gather(*(one(0.5 + number % 37 / 10) for number in range(200)))
        assert all(0 <= span <= 2 * SWEEP for span in late)


@virtual_time()
async def test_an_idle_hub_sets_no_timer_for_deadlines():
    async with house("calculator") as hub:
        await hub.result("calculator", "add", seconds=1)
        await passes(2 * SECOND)
        assert hub.gateway._timer is None


@virtual_time()
async def test_a_call_that_cannot_be_done_in_its_time_is_not_sent():
    async with house("calculator") as hub:
        ended = await hub.error("calculator", "add", seconds=0.05)
        assert isinstance(ended, DeadlineExceeded)
        assert (ended.executed, hub["calculator"].arrived("add")) == ("no", 0)


@virtual_time()
async def test_whoever_waits_for_a_seat_waits_no_longer_than_its_deadline():
    async with house(server("calculator", concurrency=1)) as hub:
        hub["calculator"].answers["add"] = HANGS
        _, first = hub.begin("calculator", "add", seconds=30)
        heard, _ = hub.begin("calculator", "add", seconds=1)
        gone, leaving = hub.begin("calculator", "add", seconds=30)
        leaving.cancel(Cause.CLIENT)
        await passes(SECOND + SWEEP)
        assert isinstance(heard.answer.error, DeadlineExceeded)
        assert (heard.answer.error.executed, gone.answer.error.executed) == ("no", "no")
        first.cancel(Cause.CLIENT)
        await settled()
        assert hub.at_rest()
        assert hub["calculator"].executed("add") == 1


@virtual_time()
async def test_whoever_goes_before_a_retry_is_not_retried():
    async with house("calculator") as hub:
        hub.clock.chances = lambda: 0.9
        hub["calculator"].answers["add"] = REFUSED
        heard, passage = hub.begin("calculator", "add")
        await passes(ms(2))
        assert not heard.answers, "it sleeps before the retry"
        sent = len(hub["calculator"].sent)
        passage.cancel(Cause.CLIENT)
        assert heard.answers
        await passes(SECOND)
        assert len(hub["calculator"].sent) == sent
        assert hub.at_rest()


@virtual_time()
async def test_a_long_chain_of_waiting_calls_does_not_overflow_the_stack():
    """Each is refused the moment it has its seat, and gives it to the next."""
    async with house(server("calculator", concurrency=2_000)) as hub:
        hub["calculator"].answers["add"] = HANGS
        running = [hub.begin("calculator", "add", seconds=20)[1] for _ in range(10)]
        lane = hub.catalog.get("calculator").lane
        lane.seats.resize(10, 5_000)
        hub.gateway._crowded = hub.gateway.places = 10_000
        waiting = [hub.begin("calculator", "add", seconds=20)[0] for _ in range(4_000)]
        lane.breaker.force_open(hub.clock.now(), "test", None)
        running[0].cancel(Cause.CLIENT)
        await settled()
        assert all(isinstance(heard.answer.error, CircuitOpen) for heard in waiting)
        hub.gateway.cancel_all(Cause.SHUTDOWN)
        await settled()
        assert hub.at_rest()


# ---------------------------------------------------------------- shedding


@virtual_time()
async def test_no_more_calls_are_in_flight_than_there_are_places():
    async with house(server("calculator", concurrency=50), calls_in_flight=10) as hub:
        hub["calculator"].answers["add"] = later(OK, SECOND)
        answers = await many(hub, 50)
        assert outcomes(answers) == {"ok": 10, "Overloaded": 40}
        waits = [a.retry_after_ms for a in answers if isinstance(a, Overloaded)]
        assert all(750 <= wait <= 1_250 for wait in waits)
        assert len(set(waits)) > 10, "they do not all come back at once"
        assert hub.rows[0].outcome == "overloaded"
        assert hub.metrics.snapshot()["endpoints"]["calculator"]["rejections"] == {"overloaded": 40}
        assert hub.at_rest()


@virtual_time()
async def test_who_is_refused_before_its_key_is_looked_up_hears_that_nobody_knows():
    """R32: the first call with the key may have run, and its answer been lost."""
    async with house("calculator", calls_in_flight=1) as hub:
        hub["calculator"].answers["add"] = HANGS
        hub.begin("calculator", "add", key="k", caller=BERT)
        for refused, key in ((Overloaded, "k"), (Overloaded, None)):
            error = await hub.error("calculator", "add", key=key)
            assert isinstance(error, refused)
            assert error.data()["executed"] == ("no" if key is None else "unknown")
        hub.gateway.cancel_all(Cause.SHED)
        await settled()
        gone = await hub.error("calculator", "gone", key="k")
        assert gone.data()["executed"] == "unknown"


@virtual_time()
async def test_near_the_edge_whoever_holds_more_than_its_share_waits_first():
    async with house(server("calculator", concurrency=50), calls_in_flight=10) as hub:
        hub["calculator"].answers["add"] = HANGS
        for _ in range(8):
            hub.begin("calculator", "add", caller=ANNA)
        hub.begin("calculator", "add", caller=BERT)
        with pytest.raises(Overloaded):
            hub.begin("calculator", "add", caller=ANNA)
        hub.gateway.shed(BERT)
        hub.begin("calculator", "add", caller=BERT)
        with pytest.raises(Overloaded):
            hub.gateway.shed(BERT)
        hub.gateway.cancel_all(Cause.SHED)
        await settled()
        hub.gateway.shed(ANNA)
        assert hub.at_rest()


@virtual_time()
async def test_at_a_stop_calls_end_and_no_more_are_taken():
    """F40."""
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = [later(OK, 2 * SECOND), HANGS]
        ends, _ = hub.begin("calculator", "add")
        hangs, _ = hub.begin("calculator", "add")
        before = hub.clock.now()
        draining = asyncio.ensure_future(hub.gateway.drain(5 * SECOND))
        await settled()
        with pytest.raises(Overloaded, match="stopping") as stopped:
            hub.begin("calculator", "add")
        assert stopped.value.retry_after_ms
        assert await draining == 1
        assert hub.clock.now() - before < 6 * SECOND
        assert ends.answer.reply.result == FIVE
        assert isinstance(hangs.answer.error, OutcomeUnknown)


@virtual_time()
async def test_a_stop_with_nothing_under_way_takes_no_time():
    async with house("calculator") as hub:
        before = hub.clock.now()
        assert await hub.gateway.drain(5 * SECOND) == 0
        assert hub.clock.now() == before


@virtual_time(seeds=200)
async def test_100_callers_on_a_burst_of_10_admit_exactly_10():
    async with house(server("calculator", rate_limit=RateLimit(rps=1, burst=10))) as hub:
        await passes(SECOND)
        answers = await many(hub, 100)
        assert outcomes(answers) == {"ok": 10, "RateLimited": 90}
        assert hub["calculator"].executed("add") == 10
        assert all(0 < a.retry_after_ms <= 1_000 for a in answers if isinstance(a, RateLimited))
        assert hub.at_rest()


# ---------------------------------------------------------------- a dead server


@virtual_time(seeds=200)
async def test_of_100_callers_of_a_dead_server_one_at_a_time_is_the_probe():
    config = BreakerConfig(recovery_timeout_ms=1_000)
    async with house(server("calculator", breaker=config)) as hub:
        fake = hub["calculator"]
        fake.answers |= {"add": lambda _: later(lost(), ms(300)), "server/discover": lost()}
        for number in range(5):
            await hub.ask("calculator", "add", a=number)
        assert hub.catalog.get("calculator").lane.breaker.state is State.OPEN
        asked, fake.most_at_once = fake.arrived("add"), 0
        breaker = hub.catalog.get("calculator").lane.breaker
        for number in range(5):
            opens = max(breaker.until - hub.clock.now(), 0)
            await passes(opens if breaker.state is State.OPEN else 1)
            await many(hub, 100, a=10 + number)
            assert fake.most_at_once <= 1
        assert fake.arrived("add") - asked <= 5
        assert hub.at_rest()


@virtual_time()
async def test_the_hub_probes_so_that_no_caller_has_to():
    async with house("calculator") as hub:
        fake = hub["calculator"]
        fake.die()
        fake.watcher.unreachable("it does not start")
        assert isinstance(await hub.error("calculator", "add"), CircuitOpen)
        fake.alive = True
        await passes(10 * SECOND)
        assert hub.catalog.get("calculator").lane.breaker.state is State.CLOSED
        assert fake.arrived("add") == 0
        assert await hub.result("calculator", "add") == FIVE


@virtual_time()
async def test_f05_a_dead_server_with_a_fallback_costs_no_client_an_error():
    twins = (server("calculator", fallbacks=("spare",)), server("spare", concurrency=100))
    async with house(*twins) as hub:
        dead = hub["calculator"]
        dead.die()
        answers = await many(hub, 100)
        assert outcomes(answers) == {"ok": 100}
        assert hub["spare"].executed("add") == 100
        assert hub.catalog.get("calculator").lane.breaker.state is State.OPEN
        sent = len([o for o in dead.sent if o.method == "tools/call"])
        await many(hub, 100)
        assert len([o for o in dead.sent if o.method == "tools/call"]) == sent
        assert {row.served_by for row in hub.rows} == {"spare"}
        assert hub.metrics.snapshot()["endpoints"]["calculator"]["fallbacks"] == {"spare": 200}
        dead.revive()
        await passes(30 * SECOND)
        await hub.result("calculator", "add")
        assert dead.executed("add") == 1, "back to the primary when its probe succeeds"


@virtual_time()
async def test_f07_one_lost_connection_is_one_failure_and_harms_no_other_call():
    async with house(server("calculator", concurrency=100)) as hub:
        fake = hub["calculator"]
        fake.answers["add"] = [lost(loss=7)] + [later(OK, ms(5))] * 99
        answers = await many(hub, 100)
        assert outcomes(answers) == {"ok": 99, "OutcomeUnknown": 1}
        breaker = hub.catalog.get("calculator").lane.breaker
        assert (breaker.state, breaker.counts(hub.clock.now())["failures"]) == (State.CLOSED, 1)


@virtual_time()
async def test_f02_the_death_of_a_server_is_one_failure_for_100_calls():
    async with house(server("calculator", concurrency=100)) as hub:
        fake = hub["calculator"]
        fake.answers["add"] = HANGS
        heard = [hub.begin("calculator", "add")[0] for _ in range(100)]
        fake.die()
        assert {type(h.answer.error) for h in heard} == {OutcomeUnknown}
        breaker = hub.catalog.get("calculator").lane.breaker
        assert (breaker.state, breaker.counts(hub.clock.now())["failures"]) == (State.CLOSED, 1)
        assert fake.executed("add") == 100
        assert hub.at_rest()


@virtual_time()
async def test_f04_a_server_that_stands_still_is_noticed_within_a_second_of_a_timeout():
    async with house(server("calculator", breaker=BreakerConfig(failure_threshold=3))) as hub:
        fake = hub["calculator"]
        await many(hub, 3)
        fake.mute = True
        for _ in range(3):
            hub.begin("calculator", "add", seconds=5)
        await passes(5 * SECOND + SECOND)
        assert hub.catalog.get("calculator").lane.breaker.state is State.OPEN


@virtual_time()
async def test_one_tool_that_hangs_is_no_sick_server():
    async with house(server("calculator", trust=True)) as hub:
        fake = hub["calculator"]
        fake.tools["slow"] = tool("slow")
        fake.watcher.changed("notifications/tools/list_changed", b"{}")
        await passes(SECOND)
        fake.answers["slow"] = HANGS
        for _ in range(6):
            await hub.ask("calculator", "slow", seconds=60)
        await passes(2 * SECOND)
        assert hub.catalog.get("calculator").lane.breaker.state is State.CLOSED
        assert isinstance(await hub.error("calculator", "slow"), CircuitOpen)
        assert await hub.result("calculator", "add") == FIVE


@virtual_time()
async def test_f25_a_server_that_flaps_is_left_alone_for_longer_and_longer():
    config = BreakerConfig(recovery_timeout_ms=1_000)
    async with house(server("calculator", breaker=config)) as hub:
        fake, seen = hub["calculator"], []
        start = hub.clock.now()
        while hub.clock.now() - start < 120 * SECOND:
            fake.alive = (hub.clock.now() - start) // (3 * SECOND) % 2 == 1
            await hub.ask("calculator", "add")
            await passes(ms(100))
            breaker = hub.catalog.get("calculator").lane.breaker
            seen.append((breaker.generation, breaker.level))
        assert seen[-1][0] <= 24, "12 changes a minute at most"
        assert max(level for _, level in seen) >= 3
        fake.alive = True
        await passes(longest_open(config))
        assert await hub.result("calculator", "add") == FIVE


@pytest.mark.parametrize("act", [TOOL_ERROR, error(-32602), error(-32601)], ids=["F26", "F27", ""])
@virtual_time()
async def test_bad_arguments_and_tools_that_fail_open_no_circuit(act):
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = act
        for _ in range(50):
            await hub.ask("calculator", "add")
        hub["calculator"].answers["add"] = OK
        assert await hub.result("calculator", "add") == FIVE


@virtual_time()
async def test_f28_an_error_inside_one_tool_of_ten_opens_that_tool_only():
    tools = {f"t{number}": tool(f"t{number}") for number in range(10)}
    async with house("calculator", prepare={"calculator": prepared(tools=tools)}) as hub:
        hub["calculator"].answers["t3"] = error(-32603)
        for _ in range(6):
            await hub.ask("calculator", "t3")
        assert isinstance(await hub.error("calculator", "t3"), CircuitOpen)
        for name in tools.keys() - {"t3"}:
            assert await hub.result("calculator", name) == FIVE


@virtual_time()
async def test_a44_nobody_opens_a_circuit_for_others():
    """By invalid parameters, tiny deadlines, or by going away."""
    async with house("calculator") as hub:
        fake = hub["calculator"]
        fake.answers["add"] = later(OK, 2 * SECOND)
        for _ in range(400):
            hub.catalog.get("calculator").lane._tool("add").took(2 * SECOND)
        for _ in range(30):
            await hub.ask("calculator", "add", seconds=0.2)
            _, passage = hub.begin("calculator", "add")
            passage.cancel(Cause.CLIENT)
            await settled()
        await passes(3 * SECOND)
        assert hub.catalog.get("calculator").lane.breaker.state is State.CLOSED
        assert await hub.result("calculator", "add") == FIVE
        assert hub.at_rest()


@virtual_time()
async def test_a44_nobody_stops_reading_for_others_by_asking_for_what_is_not_there():
    """Many servers answer so to a URI that they do not know."""
    async with house("files") as hub:
        hub["files"].answers["file:///none"] = error(-32603)
        for _ in range(20):
            await hub.ask("files", "file:///none", method="resources/read")
        assert await hub.result("files", "file:///there", method="resources/read") == FIVE


@virtual_time()
async def test_f29_a_server_that_asks_for_a_pause_gets_it():
    async with house("calculator") as hub:
        fake = hub["calculator"]
        fake.answers["add"] = BUSY
        await hub.ask("calculator", "add", seconds=1)
        fake.answers["add"] = OK
        before = fake.arrived("add")
        refused = await hub.error("calculator", "add", seconds=1)
        assert 0 < refused.retry_after_ms <= 2_000
        await many(hub, 100, seconds=1)
        assert fake.arrived("add") == before
        await passes(2 * SECOND)
        assert await hub.result("calculator", "add") == FIVE


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("step", [3600, -3600, 315_360_000, -315_360_000])
@virtual_time()
async def test_f37_a_wall_clock_that_jumps_changes_nothing(step):
    config = BreakerConfig(recovery_timeout_ms=10_000)
    async with house(server("calculator", breaker=config)) as hub:
        fake = hub["calculator"]
        fake.die()
        fake.watcher.unreachable("gone")
        before = hub.catalog.get("calculator").lane.breaker.until
        hub.clock.wall_step = step * SECOND
        await passes(2 * SECOND)
        assert hub.catalog.get("calculator").lane.breaker.until == before
        assert isinstance(await hub.error("calculator", "add"), CircuitOpen)
        (event,) = hub.events.of(ClockEvent)
        assert event.kind == "clock_step"
        fake.revive()
        await passes(20 * SECOND)
        assert await hub.result("calculator", "add") == FIVE


@virtual_time()
async def test_f38_a_process_that_stood_still_blames_nobody():
    async with house(server("calculator", concurrency=100)) as hub:
        fake = hub["calculator"]
        fake.answers["add"] = later(OK, 61 * SECOND)
        heard = [hub.begin("calculator", "add", seconds=60)[0] for _ in range(50)]
        await passes(SECOND)
        asyncio.get_running_loop().stand_still(60 * SECOND + ms(50))
        await passes(ms(500))
        assert {h.answer.reply.result for h in heard} == {FIVE}, "answers were waiting to be read"
        assert hub.catalog.get("calculator").lane.breaker.state is State.CLOSED
        assert [event.kind for event in hub.events.of(ClockEvent)] == ["stall"]


@virtual_time()
async def test_after_a_stall_deadlines_count_again():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = HANGS
        heard, _ = hub.begin("calculator", "add", seconds=10)
        asyncio.get_running_loop().stand_still(60 * SECOND)
        await passes(ms(100))
        assert not heard.answers
        await passes(ms(400))
        assert isinstance(heard.answer.error, OutcomeUnknown)


# ---------------------------------------------------------------- repeating


@virtual_time()
async def test_a_call_that_may_have_run_is_not_sent_twice():
    """P14, P15."""
    async with house(server("calculator", fallbacks=("spare",)), server("spare")) as hub:
        hub["calculator"].answers["add"] = lost()
        ended = await hub.error("calculator", "add")
        assert isinstance(ended, OutcomeUnknown)
        assert (ended.executed, ended.attempt_count) == ("unknown", 1)
        assert hub["calculator"].executed("add") == 1
        assert hub["spare"].executed("add") == 0


@virtual_time()
async def test_a_call_that_was_never_sent_goes_to_the_fallback():
    async with house(
        server("calculator", fallbacks=("spare",), attempts=1), server("spare")
    ) as hub:
        hub["calculator"].answers["add"] = REFUSED
        answer = await hub.ask("calculator", "add")
        assert (answer.served_by, answer.attempts) == ("spare", 2)


@virtual_time()
async def test_a_server_that_was_asked_last_is_named_even_if_the_next_refused():
    twins = (server("calculator", fallbacks=("spare",), attempts=1), server("spare"))
    async with house(*twins) as hub:
        hub["calculator"].answers["add"] = REFUSED
        hub.catalog.get("spare").lane.breaker.force_open(hub.clock.now(), "test", None)
        answer = await hub.ask("calculator", "add")
        assert isinstance(answer.error, UpstreamUnavailable)
        assert (answer.served_by, answer.attempts) == ("calculator", 1)


@virtual_time()
async def test_f58_a_poisonous_request_kills_no_fallback():
    """Read-only and trusted, so that blind failover would replay it everywhere."""
    tools = {"add": tool("add", annotations=READ_ONLY)}
    poison = b'"poison"'

    def act(outgoing):
        return lost() if poison in bytes(outgoing.params["arguments"]) else OK

    def prepare(fake):
        fake.tools, fake.answers = tools, {"add": act}

    twins = (server("calculator", trust=True, fallbacks=("spare",)), server("spare", trust=True))
    async with house(*twins, prepare={"calculator": prepare, "spare": prepare}) as hub:
        for _ in range(5):
            await hub.ask("calculator", "add", a="poison")
            await passes(SECOND)
        assert hub["calculator"].executed("add") <= 2
        assert hub["spare"].executed("add") == 0
        assert isinstance(await hub.error("calculator", "add", a="poison"), Poisoned)
        assert await hub.result("calculator", "add", a="food") == FIVE


# ---------------------------------------------------------------- idempotency keys


@virtual_time()
async def test_r33_calls_with_one_key_run_once():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = later(OK, SECOND)
        assert outcomes(await many(hub, 50, key="k", a=1)) == {"ok": 50}
        assert await hub.result("calculator", "add", key="k", a=1) == FIVE
        assert hub["calculator"].executed("add") == 1
        assert sorted(row.attempts for row in hub.rows) == [0] * 50 + [1]
        assert hub.at_rest()


@virtual_time()
async def test_r33_a_key_is_one_callers_and_one_requests():
    async with house("calculator") as hub:
        await hub.result("calculator", "add", key="k", a=1)
        await hub.result("calculator", "add", key="k", a=1, caller=BERT)
        assert hub["calculator"].executed("add") == 2
        conflict = await hub.error("calculator", "add", key="k", a=2)
        assert isinstance(conflict, IdempotencyConflict)
        assert conflict.request_id == hub.rows[-1].id
        assert hub.at_rest()


@virtual_time()
async def test_r33_what_may_have_run_is_never_run_again():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = [lost(), OK]
        for _ in range(3):
            assert isinstance(await hub.error("calculator", "add", key="k"), OutcomeUnknown)
        assert hub["calculator"].executed("add") == 1


@virtual_time()
async def test_r33_what_surely_did_not_run_may_be_tried_again():
    async with house(server("calculator", attempts=1)) as hub:
        hub["calculator"].answers["add"] = [REFUSED, error(-32602), OK]
        assert isinstance(await hub.error("calculator", "add", key="k"), UpstreamUnavailable)
        assert (await hub.ask("calculator", "add", key="k")).reply.code == -32602
        assert await hub.result("calculator", "add", key="k") == FIVE


@virtual_time()
async def test_r33_a_call_without_a_key_costs_no_write():
    async with house("calculator") as hub:
        await many(hub, 20)
        assert hub.claims.writes == []


@virtual_time()
async def test_r33_nothing_is_sent_before_the_key_is_durable():
    async with house("calculator") as hub:
        hub.claims.delay = SECOND
        heard, _ = hub.begin("calculator", "add", key="k")
        await passes(SECOND - ms(1))
        assert hub["calculator"].executed("add") == 0
        assert len(hub.claims.rows) == 1
        await passes(ms(10))
        assert heard.answer.reply.result == FIVE
        assert heard.answer.attempts == 1
        assert hub.at_rest()


@virtual_time()
async def test_r33_what_becomes_of_it_is_handed_over_before_anybody_hears_it():
    async with house("calculator") as hub:
        heard, order = Heard(), hub.claims.writes
        heard.finished = lambda _: order.append("heard")
        hub.gateway.start(hub.call("calculator", "add", key="k"), heard)
        await passes(SECOND)
        assert order == ["claim", "finish", "heard"]


@virtual_time()
async def test_r33_without_its_record_a_call_is_not_run():
    """Locked, full or gone: the call may be tried again later; those without a key go on."""
    async with house("calculator") as hub:
        hub.claims.broken = True
        answer = await hub.ask("calculator", "add", key="k")
        assert isinstance(answer.error, StorageFailed)
        assert (answer.error.executed, answer.error.retryable) == ("unknown", True)
        assert (answer.error.server, answer.error.tool) == ("calculator", "add")
        assert answer.error.request_id == hub.rows[-1].id
        assert hub.rows[-1].outcome == "storage_failed"
        assert await hub.result("calculator", "add") == FIVE
        hub.claims.broken = False
        assert await hub.result("calculator", "add", key="k") == FIVE
        assert hub["calculator"].executed("add") == 2
        assert hub.at_rest()


@virtual_time()
async def test_r33_a_record_that_came_too_late_is_taken_back():
    async with house("calculator") as hub:
        hub.claims.lost = True
        assert isinstance(await hub.error("calculator", "add", key="k"), StorageFailed)
        assert hub.claims.rows == {}


@virtual_time()
async def test_r33_a_call_that_ends_while_its_key_is_written_down_is_not_run():
    async with house("calculator") as hub:
        hub.claims.delay = SECOND
        gone, passage = hub.begin("calculator", "add", key="gone")
        late, _ = hub.begin("calculator", "add", key="late", seconds=0.5)
        passage.cancel(Cause.CLIENT)
        await passes(2 * SECOND)
        for heard in (gone, late):
            assert isinstance(heard.answer.error, OutcomeUnknown)
            assert (heard.answer.error.server, heard.answer.error.tool) == ("calculator", "add")
        assert hub["calculator"].executed("add") == 0
        assert hub.claims.rows == {}
        assert hub.at_rest()


@virtual_time()
@pytest.mark.parametrize("how", ["client goes", "deadline", "database fails"])
async def test_r32_while_a_key_is_looked_up_nobody_is_told_that_its_request_did_not_run(how):
    async with house("calculator") as hub:
        assert await hub.result("calculator", "add", key="k") == FIVE
        hub.claims.delay, hub.claims.broken = SECOND, how == "database fails"
        first, passage = hub.begin("calculator", "add", key="k", seconds=0.5 + (how != "deadline"))
        joined, _ = hub.begin("calculator", "add", key="k")
        if how == "client goes":
            passage.cancel(Cause.CLIENT)
        await passes(2 * SECOND)
        for heard in (first, joined):
            assert heard.answer.error.executed == "unknown"
        hub.claims.broken = False
        assert await hub.result("calculator", "add", key="k") == FIVE
        assert hub["calculator"].executed("add") == 1
        assert hub.at_rest()


@virtual_time()
async def test_what_a_guard_says_is_not_hidden_by_the_key():
    async with house(server("calculator", rate_limit=RateLimit(rps=1, burst=1))) as hub:
        await hub.result("calculator", "add")
        refused = await hub.error("calculator", "add", key="k")
        assert (type(refused), refused.executed) == (RateLimited, "no")


@virtual_time()
async def test_r33_what_a_guard_refuses_does_not_use_its_key_up():
    limit = RateLimit(rps=1, burst=1)
    async with house(server("calculator", rate_limit=limit)) as hub:
        await hub.result("calculator", "add")
        assert isinstance(await hub.error("calculator", "add", key="k"), RateLimited)
        assert hub.claims.rows == {}
        await passes(SECOND)
        assert await hub.result("calculator", "add", key="k") == FIVE


@virtual_time()
async def test_r33_the_guards_see_the_time_after_the_writing():
    """A token that came while the key was written down counts."""
    limit = RateLimit(rps=1, burst=1)
    async with house(server("calculator", rate_limit=limit)) as hub:
        await hub.result("calculator", "add")
        hub.claims.delay = 2 * SECOND
        assert await hub.result("calculator", "add", key="k") == FIVE


@virtual_time()
async def test_r33_a_key_lives_for_a_day_whatever_the_wall_clock_does():
    async with house("calculator") as hub:
        await hub.result("calculator", "add", key="k")
        for step in (0, 10**9 * SECOND, -(10**9) * SECOND):
            hub.clock.wall_step = step
            assert await hub.result("calculator", "add", key="k") == FIVE
        await passes((KEPT_S - 2) * SECOND)
        assert await hub.result("calculator", "add", key="k") == FIVE
        assert hub["calculator"].executed("add") == 1
        await passes(3 * SECOND)
        assert await hub.result("calculator", "add", key="k") == FIVE
        assert hub["calculator"].executed("add") == 2
        assert len(hub.claims.rows) == 1


@virtual_time()
async def test_r33_after_a_crash_what_was_answered_is_answered_and_the_rest_is_unknown():
    async with house("calculator") as hub:
        claims = hub.claims
        await hub.result("calculator", "add", key="done", a=1)
        hub["calculator"].answers["add"] = HANGS
        hub.begin("calculator", "add", key="under way", a=1)
        await passes(SECOND)
        assert hub["calculator"].executed("add") == 2
        kept = {scope: list(row) for scope, row in claims.rows.items()}
    # The end of the first house is a tidy one; what it wrote at its end is taken back here.
    claims.rows = kept
    async with house("calculator", claims=claims) as hub:
        claims.clock = hub.clock
        claims.writes.clear()
        answer = await hub.ask("calculator", "add", key="done", a=1)
        assert (answer.reply.result, answer.served_by, answer.attempts) == (FIVE, "calculator", 0)
        unknown = await hub.error("calculator", "add", key="under way", a=1)
        assert isinstance(unknown, OutcomeUnknown)
        assert (unknown.executed, unknown.server, unknown.tool) == ("unknown", "calculator", "add")
        assert unknown.request_id == hub.rows[-1].id
        for key in ("done", "under way"):
            conflict = await hub.error("calculator", "add", key=key, a=2)
            assert isinstance(conflict, IdempotencyConflict)
        assert hub["calculator"].executed("add") == 0
        assert claims.rows == kept
        assert set(claims.writes) == {"claim"}
        assert hub.at_rest()


@virtual_time()
async def test_r33_a_tool_error_and_who_served_it_are_kept_too():
    twins = (server("calculator", fallbacks=("spare",), attempts=1), server("spare"))
    async with house(*twins) as hub:
        hub["calculator"].answers["add"] = REFUSED
        hub["spare"].answers["add"] = TOOL_ERROR
        first, again = [await hub.ask("calculator", "add", key="k") for _ in range(2)]
        assert again.reply == first.reply
        assert again.served_by == "spare"
        assert hub["spare"].executed("add") == 1


@virtual_time()
async def test_r33_an_answer_without_room_is_not_kept_but_that_it_ran_is():
    async with house("calculator") as hub:
        hub.claims.bytes_max = 10
        assert await hub.result("calculator", "add", key="k") == FIVE
        unknown = await hub.error("calculator", "add", key="k")
        assert isinstance(unknown, OutcomeUnknown)
        assert unknown.executed == "yes"
        assert hub["calculator"].executed("add") == 1


@virtual_time()
async def test_r33_beyond_the_number_of_keys_a_call_is_refused_not_run_unrecorded():
    async with house("calculator") as hub:
        hub.claims.claims_max = 2
        for key in "ab":
            await hub.result("calculator", "add", key=key)
        full = await hub.error("calculator", "add", key="c")
        assert isinstance(full, Overloaded)
        assert await hub.result("calculator", "add", key="c", caller=BERT) == FIVE
        assert await hub.result("calculator", "add", key="a") == FIVE
        assert hub["calculator"].executed("add") == 3


@virtual_time(seeds=50)
async def test_g6_of_two_hundred_with_one_key_one_runs():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = later(OK, ms(20))
        asked = [many(hub, 2, key="k", a=1) for _ in range(95)]
        other = many(hub, 10, key="k", a=2)
        *answers, conflicts = await asyncio.gather(*asked, other)
        told = outcomes(answer for some in (*answers, conflicts) for answer in some)
        assert set(told) == {"ok", "IdempotencyConflict"}
        assert sum(told.values()) == 200
        assert hub["calculator"].executed("add") == 1
        assert hub.at_rest()


@virtual_time()
async def test_r33_one_who_joined_may_go_and_the_first_goes_on():
    async with house("calculator") as hub:
        hub["calculator"].answers["add"] = later(OK, SECOND)
        first, _ = hub.begin("calculator", "add", key="k")
        second, joined = hub.begin("calculator", "add", key="k")
        joined.cancel(Cause.CLIENT)
        assert second.answer.error.executed == "unknown"
        await passes(2 * SECOND)
        assert first.answer.reply.result == FIVE
        assert len(second.answers) == 1
        assert hub.at_rest()


# ---------------------------------------------------------------- changes while calls run


@virtual_time(seeds=20)
async def test_f54_the_configuration_changes_while_calls_run():
    old = server("calculator", concurrency=200)
    async with house(old, server("other")) as hub:
        first = hub["calculator"]
        first.answers["add"] = later(OK, SECOND)
        running = asyncio.ensure_future(many(hub, 100))
        await settled()
        new = server("calculator", url="http://new.test/mcp", concurrency=200)
        await hub.catalog.replace("calculator", new)
        assert hub["calculator"] is not first
        hub["calculator"].answers = {"add": result(b'"new"')}
        assert outcomes(await many(hub, 100)) == {"ok": 100}
        assert hub["calculator"].executed("add") == 100
        assert set(await running) == {FIVE}, "they ended where they began"
        await passes(3 * SECOND)
        assert first.closed == 1
        assert hub.at_rest()


@virtual_time()
async def test_more_seats_are_taken_by_those_who_wait():
    async with house(server("calculator", concurrency=1)) as hub:
        hub["calculator"].answers["add"] = later(OK, SECOND)
        heard = [hub.begin("calculator", "add")[0] for _ in range(2)]
        await hub.catalog.replace("calculator", server("calculator", concurrency=2))
        await passes(SECOND + ms(1))
        assert [len(h.answers) for h in heard] == [1, 1]
        assert hub.at_rest()


@virtual_time()
async def test_whoever_awaits_the_answer_gets_the_error_raised():
    async with house(server("calculator", attempts=1)) as hub:
        hub["calculator"].answers["add"] = REFUSED
        async with hub.gateway.open(hub.call("calculator", "add")) as stream:
            with pytest.raises(UpstreamUnavailable):
                await stream.answer()
