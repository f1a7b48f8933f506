"""The faults F01-F04 and F21-F24 of the catalogue, through real processes, with its bounds."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from support.stdio_hub import House, alive, processes, rss_bytes, server, text_of, until

from agenthub.domain.call import Era
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.domain.span import SECOND
from agenthub.outbound.flood import UNWANTED

CALCULATOR = (sys.executable, "-m", "agenthub.demo.calculator")


def starts(path: Path) -> int:
    return path.read_text().count("start") if path.exists() else 0


async def test_f01_a_killed_idle_server_is_back_within_a_second():
    async with House(CALCULATOR) as house:
        await house.up()
        os.kill(house.pid, signal.SIGKILL)
        began = time.monotonic()
        await house.watcher.until("lost")
        reply = await house.call("add", a=2, b=3)
        assert text_of(reply) == "5"
        assert time.monotonic() - began <= 5
        assert [one[0] for one in house.watcher.heard] == ["connected", "lost", "connected"]
        assert house.upstream.state.restarts == 1


async def test_f02_a_kill_with_a_hundred_in_flight_is_one_loss():
    async with House(server("odd")) as house:
        await house.up()
        receivers = [house.begin("hold")[0] for _ in range(100)]
        assert text_of(await house.call("echo", text="all were read")) == "all were read"
        os.kill(house.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            replies = await asyncio.gather(*(one.reply for one in receivers))
        assert {(r.ending, r.written, r.loss) for r in replies} == {(Ending.LOST, Written.ALL, 1)}
        await house.watcher.until("connected", 2)
        assert house.watcher.count("lost") == 1
        problem = "was ended by SIGKILL"
        assert house.watcher.heard[1] == ("lost", 1, problem)
        assert house.upstream.state.restarts == 1


async def test_f03_a_crash_loop_slows_down(tmp_path: Path):
    path = tmp_path / "starts"
    async with House(server("dead"), {"STARTS": str(path), "WORDS": "no data\n"}) as house:
        house.upstream.start()
        await house.watcher.until("unreachable", 2)
        state = house.upstream.state
        assert (state.problem, state.words) == (
            "exited with code 1 before it answered", "no data",
        )  # fmt: skip
        reply = await house.call("add")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert reply.detail == state.problem, "what is on stderr is not for clients (A48)"
        assert starts(path) <= 4


async def test_f03_the_other_way_to_begin_is_tried_at_once_only_the_first_time():
    async with House(("/bin/false",)) as house:
        house.upstream.start()
        await house.watcher.until("unreachable", 2)
        assert house.upstream.state.restarts == 2, "three starts: one, at once another, later one"
        assert house.upstream.state.pid is None


async def test_f04_a_stopped_server_is_replaced_after_a_timeout():
    async with House(CALCULATOR) as house:
        await house.up()
        pid = house.pid
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        other, _ = house.begin("add", a=1, b=1, seconds=30)
        reply = await house.call("add", seconds=0.5, a=1, b=1)
        assert (reply.ending, reply.written) == (Ending.CANCELLED, Written.ALL)
        await house.watcher.until("lost")
        assert time.monotonic() - began <= 5
        assert (await other.reply).ending is Ending.LOST
        await until(lambda: not alive(pid))
        await house.watcher.until("connected", 2)
        assert text_of(await house.call("add", a=2, b=3)) == "5"


async def test_f04_a_slow_answer_is_no_reason_to_replace_a_living_server():
    async with House((sys.executable, "-m", "agenthub.demo.flaky")) as house:
        await house.up()
        await house.call("set_mode", mode="hang")
        assert (await house.call("work", seconds=0.2)).ending is Ending.CANCELLED
        await asyncio.sleep(1.2)  # The second that a sign of life may take.
        assert house.watcher.heard == [("connected",)]


async def test_f21_noise_on_stdout_is_skipped_and_shown():
    async with House(server("odd")) as house:
        await house.up()
        assert text_of(await house.call("noise", times=2, text="ok")) == "ok"
        assert house.upstream.noise == 2 * 4
        assert house.upstream.state.problem == ""
        await house.call("noise", times=25)
        assert "no MCP messages" in house.upstream.state.problem
        assert house.upstream.state.connected


async def test_f21_a_flood_of_noise_ends_the_process_and_holds_nobody_up():
    flood = "import os\nwhile True: os.write(1, b'y\\n' * 30_000)"
    async with House((sys.executable, "-S", "-c", flood)) as house:
        house.upstream.start()
        await house.watcher.until("unreachable")
        assert "no MCP messages" in house.upstream.state.problem
        began, turns = time.monotonic(), 0
        while time.monotonic() - began < 0.5:
            await asyncio.sleep(0.001)
            turns += 1
        assert house.upstream.noise <= 4 * UNWANTED, "it is started anew more and more rarely"
        assert turns > 50, "the loop has time for others"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("answers", "nobody waits for"), ("notes", "nobody waits for"),
        ("logs", "nobody waits for"), ("requests", "nobody waits for"),
        ("pings", "nobody waits for"), ("progress", "during calls"),
    ],
)  # fmt: skip
async def test_f21_a_flood_of_valid_messages_ends_the_process_and_holds_nobody_up(
    kind: str, why: str
):
    async with House(server("flood")) as flood, House(CALCULATOR) as other:
        await flood.up()
        await other.up()
        pid = flood.pid
        flood.begin("x", {"progressToken": 1}, kind=kind)
        answered = 0
        async with asyncio.timeout(30):
            while flood.watcher.count("connected") < 2:
                assert text_of(await other.call("add", a=1, b=2)) == "3"
                answered += 1
        assert answered > 20, "the loop has time for others"
        detail = str((await flood.watcher.until("lost"))[2])
        assert why in detail
        assert why in flood.upstream.state.problem, "it is shown while it is well again"
        assert not alive(pid)


async def test_f21_what_it_was_ended_for_is_not_shown_for_ever(monkeypatch: pytest.MonkeyPatch):
    async with House(server("flood")) as house:
        await house.up()
        house.begin("x", kind="notes")
        await house.watcher.until("connected", 2)
        assert house.upstream.state.problem
        monkeypatch.setattr("agenthub.outbound.mcp_pipe.MINUTE", SECOND // 100)
        await until(lambda: not house.upstream.state.problem)


async def test_f21_a_flood_before_it_has_answered_ends_the_process_too():
    flood = 'import os\nwhile True: os.write(1, b\'{"id":99,"result":{}}\\n\' * 2_000)'
    async with House((sys.executable, "-S", "-c", flood)) as house:
        house.upstream.start()
        await house.watcher.until("unreachable")
        assert "nobody waits for" in house.upstream.state.problem


@pytest.mark.parametrize("tool", ["crlf", "pieces", "ids", "twice", "bad_utf8_note"])
async def test_f21_the_right_answer_is_found_among_oddities(tool: str):
    async with House(server("odd")) as house:
        await house.up()
        assert text_of(await house.call(tool, text="ok")) == "ok"
        assert text_of(await house.call("echo", text="still here")) == "still here"
        assert house.watcher.heard == [("connected",)]


async def test_f21_an_answer_without_a_newline_counts_at_the_end_of_file():
    async with House(server("odd")) as house:
        await house.up()
        assert text_of(await house.call("last_words", text="bye")) == "bye"


@pytest.mark.parametrize("tool", ["bad_utf8", "both", "neither", "array", "codeless"])
async def test_f21_an_unsound_answer_ends_its_attempt_alone(tool: str):
    async with House(server("odd")) as house:
        await house.up()
        assert (await house.call(tool)).ending is Ending.PROTOCOL
        assert text_of(await house.call("echo", text="still here")) == "still here"


async def test_f21_a_bottomless_answer_is_noise():
    async with House(server("odd")) as house:
        await house.up()
        assert (await house.call("deep", seconds=0.5)).ending is Ending.CANCELLED
        assert house.upstream.noise == 1


async def test_f21_a_huge_answer_ends_its_attempt_alone_and_takes_no_memory():
    async with House(server("odd")) as house:
        await house.up()
        await house.call("large", mib=9)
        before = rss_bytes()
        hold, _ = house.begin("hold")
        reply = await house.call("large", mib=60)
        assert reply.ending is Ending.TOO_LARGE
        assert rss_bytes() - before <= 16 << 20
        assert text_of(await house.call("echo", text="still here")) == "still here"
        assert not hold.reply.done()


async def test_f21_a_line_of_300_mib_costs_the_process_not_the_hub():
    async with House(server("odd")) as house:
        await house.up()
        before = rss_bytes()
        reply = await house.call("large", mib=300)
        assert reply.ending is Ending.TOO_LARGE
        await house.watcher.until("lost")
        assert rss_bytes() - before <= 16 << 20


async def test_f21_a_huge_line_of_nobody_in_particular_ends_the_process():
    async with House(server("odd"), response_bytes=100_000) as house:
        await house.up()
        hold, _ = house.begin("hold")
        reply = await house.call("large", mib=1, blind=True)
        assert (reply.ending, reply.loss) == (Ending.LOST, 1)
        assert (await hold.reply).loss == 1


async def test_f21_a_huge_line_without_an_id_is_the_sole_attempts():
    async with House(server("odd"), response_bytes=100_000) as house:
        await house.up()
        assert (await house.call("large", mib=1, blind=True)).ending is Ending.TOO_LARGE
        assert house.watcher.heard == [("connected",)]


async def test_f22_a_flood_on_stderr_blocks_nothing_and_leaves_the_last_lines():
    async with House(server("odd"), {"PASSWORD": "s3cr3t-value"}) as house:
        await house.up()
        before = rss_bytes()
        started = time.monotonic()
        flood = asyncio.create_task(house.call("stderr", mib=100))  # noqa: TID251
        lag = 0.0
        while not flood.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            lag = max(lag, time.monotonic() - began)
        assert text_of(await flood) == "done"
        assert lag < 1
        assert time.monotonic() - started >= 1, "the rate is limited"
        await until(lambda: house.upstream.state.stderr[-1] == "red last ***")
        assert len(house.upstream.state.stderr) == 50
        assert rss_bytes() - before <= 16 << 20


async def test_f23_a_server_that_stops_reading_is_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agenthub.outbound.child.WRITE_DEADLINE", SECOND // 2)
    async with House(server("odd")) as house:
        await house.up()
        deaf, _ = house.begin("deaf")
        receivers = [house.begin("echo", text="x" * 40_000)[0] for _ in range(10)]
        cancelled, attempt = house.begin("echo", text="y")
        attempt.cancel(Cause.CLIENT)
        assert cancelled.reply.result().written is Written.NONE
        began = time.monotonic()
        await house.watcher.until("lost")
        assert time.monotonic() - began < 1
        replies = [(await one.reply) for one in (deaf, *receivers)]
        assert {reply.ending for reply in replies} == {Ending.LOST}
        facts = [reply.written for reply in replies]
        assert facts == sorted(facts, reverse=True)
        assert set(facts) == {Written.ALL, Written.PARTIAL, Written.NONE}
        await house.watcher.until("connected", 2)
        assert text_of(await house.call("echo", text="anew")) == "anew"


async def test_f23_what_does_not_fit_is_refused_at_once():
    async with House(server("odd")) as house:
        await house.up()
        house.begin("deaf")
        for _ in range(9):
            house.begin("echo", text="x" * 1_000_000)
        reply = await house.call("echo", text="x")
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)


async def test_f24_a_server_with_too_many_processes_is_ended():
    async with House(server("odd")) as house:
        await house.up()
        pid = house.pid
        receiver, _ = house.begin("children", count=320)
        await house.watcher.until("lost")
        assert "processes" in house.upstream.state.problem
        assert (await receiver.reply).ending in (Ending.LOST, Ending.RESULT)
        await until(lambda: not group(pid))


def group(pid: int) -> list[int]:
    found: list[int] = []
    for candidate in processes():
        try:
            fields = Path(f"/proc/{candidate}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid and fields[0] != "Z":
            found.append(candidate)
    return found


async def test_f24_a_stop_leaves_no_process_of_a_stubborn_family(tmp_path: Path):
    path = tmp_path / "pids"
    async with House(server("family"), {"PIDS": str(path)}) as house:
        await house.up()
        await until(lambda: len(path.read_text().split()) == 4)
        pids = [int(pid) for pid in path.read_text().split()]
        assert all(map(alive, pids))
        began = time.monotonic()
        await house.upstream.close()
        assert time.monotonic() - began < 5
        assert not any(map(alive, pids))


async def test_f24_a_killed_server_does_not_leave_its_family_behind(tmp_path: Path):
    path = tmp_path / "pids"
    async with House(server("family"), {"PIDS": str(path)}) as house:
        await house.up()
        await until(lambda: len(path.read_text().split()) == 4)
        pids = [int(pid) for pid in path.read_text().split()]
        os.kill(house.pid, signal.SIGKILL)
        await until(lambda: not any(map(alive, pids)))


async def test_a_stop_of_a_good_server_is_quick():
    async with House(CALCULATOR) as house:
        await house.up()
        pid = house.pid
        began = time.monotonic()
        await house.upstream.close()
        assert time.monotonic() - began < 2
        assert not alive(pid)


async def test_a_dead_guardian_leaves_no_family_behind(tmp_path: Path):
    path = tmp_path / "pids"
    async with House(server("family"), {"PIDS": str(path)}) as house:
        await house.up()
        await until(lambda: len(path.read_text().split()) == 4)
        pids = [int(pid) for pid in path.read_text().split()]
        assert house.nursery.pid is not None
        os.kill(house.nursery.pid, signal.SIGKILL)
        await until(lambda: not any(map(alive, pids)))


async def test_a_dead_guardian_is_one_loss_and_replaced():
    async with House(CALCULATOR) as house:
        await house.up()
        pid, guardian = house.pid, house.nursery.pid
        assert guardian is not None
        os.kill(guardian, signal.SIGKILL)
        await house.watcher.until("connected", 2)
        assert not alive(pid)
        assert house.nursery.pid != guardian
        assert text_of(await house.call("add", a=2, b=3)) == "5"
        assert house.upstream.state.era is Era.MODERN
