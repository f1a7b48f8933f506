"""The guardian: however the hub dies, nothing that it started lives on."""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from support.python_env import python_env
from support.stdio_hub import RealClock, alive, processes, until

from agenthub.outbound.child import Order
from agenthub.outbound.child_output import Overlong
from agenthub.outbound.nursery import Nursery, child_env, find_program
from agenthub.outbound.pipe import Ended, Letter, NotStarted


async def hub(*paths: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.stdio_hub_process", *map(str, paths)),
        stdout=asyncio.subprocess.PIPE,
        env=python_env(),
    )


def marked(paths: list[Path]) -> list[int]:
    """Living processes that carry the mark of one of these servers in their environment."""
    wanted = [f"PIDS={path}".encode() for path in paths]
    found: list[int] = []
    for pid in processes():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if alive(pid) and any(one in environ for one in wanted):
            found.append(pid)
    return found


async def test_kill_9_of_the_hub_leaves_no_child_and_no_grandchild(tmp_path: Path):
    paths = [tmp_path / "a", tmp_path / "b"]
    process = await hub(*paths)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"started\n"
    guardian = int((await process.stdout.readline()).split()[1])
    await until(lambda: all(len(path.read_text().split()) == 4 for path in paths))
    pids = [int(pid) for path in paths for pid in path.read_text().split()]
    assert all(map(alive, [*pids, guardian]))
    began = time.monotonic()
    process.kill()
    await process.wait()
    await until(lambda: not any(map(alive, [*pids, guardian])))
    assert time.monotonic() - began <= 5


@pytest.mark.parametrize("seed", range(4))
async def test_kill_9_at_any_moment_of_the_start_leaves_nothing(tmp_path: Path, seed: int):
    path = tmp_path / "pids"
    process = await hub(path)
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(random.Random(seed).random() * 0.15)
    process.kill()
    await process.wait()
    await until(lambda: not marked([path]))


async def test_a_hub_that_dies_with_unread_reports_leaves_nothing(tmp_path: Path):
    """Then the guardian's read fails, instead of finding the end of file."""
    paths = [tmp_path / "a", tmp_path / "b"]
    process = await hub(*paths)
    assert process.stdout is not None
    await process.stdout.readline()
    await process.stdout.readline()
    await until(lambda: all(len(path.read_text().split()) == 4 for path in paths))
    process.send_signal(signal.SIGSTOP)
    (first, *_), (second, *_) = ([int(pid) for pid in p.read_text().split()] for p in paths)
    os.kill(first, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{first}").exists())
    assert alive(second)
    process.kill()
    await process.wait()
    await until(lambda: not marked(paths))


async def test_two_hundred_servers_start_at_once():
    """Their orders are more than the guardian's socket holds."""
    nursery, owners = Nursery(RealClock()), [Owner() for _ in range(200)]
    env = {"PATH": "/usr/bin:/bin", "LARGE": "x" * 10_000}
    children = [nursery.spawn(Order(("cat",), env), owner) for owner in owners]
    for number, child in enumerate(children):
        assert child.post(Letter(), f"{number}\n".encode())
    await until(lambda: all(owner.lines for owner in owners), 10)
    assert [owner.lines[0] for owner in owners] == [str(n).encode() for n in range(200)]
    await asyncio.gather(*(child.stop() for child in children))
    assert all(child.gone.is_set() for child in children)
    await nursery.close()


async def test_an_order_larger_than_the_socket_arrives_whole():
    env = {"PATH": "/usr/bin:/bin", **{f"V{n}": "x" * 100_000 for n in range(9)}}
    owner, nursery = await run(Order(("sh", "-c", "echo ${#V0} ${#V8}"), env))
    assert owner.lines == [b"100000 100000"]
    await nursery.close()


async def test_servers_die_with_the_guardian_even_if_the_hub_cannot_see_to_it(tmp_path: Path):
    process = await hub(tmp_path / "pids")
    assert process.stdout is not None
    await process.stdout.readline()
    guardian = int((await process.stdout.readline()).split()[1])
    main = int((tmp_path / "pids").read_text().split()[0])
    process.send_signal(signal.SIGSTOP)
    os.kill(guardian, signal.SIGKILL)
    await until(lambda: not alive(main))
    process.send_signal(signal.SIGCONT)
    process.terminate()
    await process.wait()
    for pid in marked([tmp_path / "pids"]):
        os.kill(pid, signal.SIGKILL)


async def test_a_program_with_too_many_arguments_is_refused_by_the_kernel():
    owner, nursery = await run(Order(("true", "x" * 200_000), {"PATH": "/usr/bin:/bin"}))
    failure = owner.end.result().failure
    assert failure is not None
    assert "Argument list too long" in failure.problem
    await nursery.close()


async def test_a_closed_nursery_spawns_no_more():
    nursery = Nursery(RealClock())
    await nursery.close()
    with pytest.raises(NotStarted, match="stopping"):
        nursery.spawn(Order(("true",), {"PATH": "/usr/bin:/bin"}), Owner())


async def test_a_guardian_ignores_the_signals_of_a_terminal(tmp_path: Path):
    process = await hub(tmp_path / "pids")
    assert process.stdout is not None
    await process.stdout.readline()
    guardian = int((await process.stdout.readline()).split()[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guardian, number)
    assert marked([tmp_path / "pids"])
    process.kill()
    await process.wait()
    await until(lambda: not alive(guardian))
    assert not marked([tmp_path / "pids"])


class Owner:
    def __init__(self) -> None:
        self.lines: list[bytes | Overlong] = []
        self.end: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def line(self, line: bytes | Overlong) -> None:
        self.lines.append(line)

    def ended(self, end: Ended) -> None:
        self.end.set_result(end)


async def run(order: Order) -> tuple[Owner, Nursery]:
    nursery, owner = Nursery(RealClock()), Owner()
    nursery.spawn(order, owner)
    async with asyncio.timeout(5):
        await owner.end
    return owner, nursery


def python(code: str, **more) -> Order:
    return Order((sys.executable, "-c", code), {"PATH": os.environ["PATH"]}, **more)


async def test_a_child_has_its_own_session_no_core_and_default_signals():
    code = (
        "import os, resource, signal\n"
        "print(os.getsid(0) == os.getpid())\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 4096)\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))\n"
        "print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])\n"
    )
    order = Order((sys.executable, "-I", "-S", "-c", code), {"PATH": os.environ["PATH"]})
    owner, nursery = await run(order)
    ignored = int(owner.lines.pop(), 16)
    assert owner.lines == [b"True", b"(0, 0)", b"True", b"['0', '1', '2'] 4"]
    # Python itself ignores SIGPIPE and SIGXFSZ, nothing else may be; from 32 on, they are libc's.
    known = {n for n in range(1, 32) if ignored >> n - 1 & 1}
    assert known <= {signal.SIGPIPE, signal.SIGXFSZ}
    assert owner.end.result() == Ended(0)
    await nursery.close()


async def test_a_program_that_the_kernel_refuses_is_explained(tmp_path: Path):
    script = tmp_path / "script"
    script.write_bytes(b"\0\1\2")
    script.chmod(0o755)
    owner, nursery = await run(Order((str(script),), {}))
    failure = owner.end.result().failure
    assert failure is not None
    assert "not a program for this machine" in failure.problem
    await nursery.close()


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (Order(("nothing-of-that-name",), {"PATH": "/usr/bin"}), "is not on PATH"),
        (Order(("./nothing",), {}), "does not exist"),
        (Order((__file__,), {}), "may not be executed"),
        (Order(("true",), {"PATH": "/usr/bin:/bin"}, cwd="/no/such"), "/no/such does not exist"),
        (Order(("true", "a\0b"), {"PATH": "/usr/bin:/bin"}), "NUL"),
        (Order(("true", "x" * 2_000_000), {"PATH": "/usr/bin:/bin"}), "list too long"),
    ],
)
async def test_what_cannot_run_is_refused_in_words(order: Order, problem: str):
    nursery = Nursery(RealClock())
    with pytest.raises(NotStarted, match=problem):
        nursery.spawn(order, Owner())
    assert nursery.pid is None
    await nursery.close()


def test_a_relative_program_is_found_from_its_folder(tmp_path: Path):
    script = tmp_path / "run"
    script.touch(mode=0o755)
    assert find_program(Order(("./run",), {}, cwd=str(tmp_path))) == str(script)


async def test_no_shell_reads_the_arguments():
    order = Order(("echo", "$(id);|&", "`id`"), {"PATH": "/usr/bin:/bin"})
    owner, nursery = await run(order)
    assert owner.lines == [b"$(id);|& `id`"]
    await nursery.close()


async def test_a_child_that_closes_its_stdout_is_given_up():
    owner, nursery = await run(python("import os, time\nos.close(1)\ntime.sleep(60)"))
    assert owner.end.result().reason == "it closed its stdout"
    await nursery.close()


async def test_a_grandchild_that_keeps_the_pipe_does_not_hide_the_end():
    code = "import subprocess\nsubprocess.Popen(['sleep', '60'])\nprint('bye')"
    owner, nursery = await run(python(code))
    assert owner.lines == [b"bye"]
    assert owner.end.result() == Ended(0)
    await nursery.close()


def kilobytes(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0])


async def test_one_guardian_is_small_and_serves_many():
    nursery, owners = Nursery(RealClock()), [Owner() for _ in range(20)]
    for owner in owners:
        nursery.spawn(Order(("cat",), {"PATH": "/usr/bin:/bin"}), owner)
    await until(lambda: nursery.pid is not None)
    assert kilobytes(nursery.pid) < 14_000
    await nursery.close()
    assert nursery.pid is None


def test_the_environment_is_an_allow_list():
    own = {"PATH": "/bin", "LC_TIME": "C", "LD_PRELOAD": "x", "HTTPS_PROXY": "y", "HOME": "/h"}
    assert child_env(own, {"A": "1", "PATH": "/mine"}) == {
        "PATH": "/mine",
        "LC_TIME": "C",
        "HOME": "/h",
        "A": "1",
    }
