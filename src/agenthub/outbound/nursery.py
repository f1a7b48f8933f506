"""Where the hub's child processes come from: the hub's end of the guardian (`guardian.py`)."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from errno import E2BIG, EACCES, ENOENT
from pathlib import Path
from signal import SIGKILL

from agenthub.outbound.child import Child, Order
from agenthub.outbound.diagnosis import Diagnosis, not_started
from agenthub.outbound.pipe import NotStarted, PipeOwner
from agenthub.ports import Clock

log = logging.getLogger(__name__)

INHERITED = frozenset(
    {
        "HOME", "LANG", "LOGNAME", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_CACHE", "PATH", "SHELL",
        "SSL_CERT_DIR", "SSL_CERT_FILE", "TERM", "TMPDIR", "TZ", "USER", "UV_CACHE_DIR",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    }
)  # fmt: skip
"""Of the hub's environment; LC_* too. No preloads, no proxies, no secrets (T5, A26)."""

MARK = "AGENTHUB_CHILD"
"""A variable in every child's environment: by it the family is known."""
FRAME_BYTES = 1024 * 1024
"""Command and environment; the kernel takes 2 MiB of both together."""


def child_env(own: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The few variables of the hub that a child gets, and those that the operator added."""
    kept = {k: v for k, v in own.items() if k in INHERITED or k.startswith("LC_")}
    return {**kept, **extra}


class Nursery:
    """Spawns children through one guardian process, which it starts with the first of them.

    Close it after every child's owner: what is left then is ended by the guardian.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._minted = 0
        self._guardian: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._reports = b""
        self._orders: deque[tuple[bytes, tuple[int, ...]]] = deque()
        """Frames that the guardian has no room for yet, with the descriptors that go along."""
        self._closing = False
        self._over = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The guardian's."""
        return self._guardian.pid if self._guardian else None

    def spawn(self, order: Order, owner: PipeOwner) -> Child:
        """A child that is about to run: what is posted to it now waits in its pipe.

        Raises:
            NotStarted: There is no such program, folder, or room for another process.
        """
        if self._closing:
            raise NotStarted(Diagnosis("the hub is stopping"))
        program = find_program(order)
        self._minted += 1
        child_id = str(self._minted)
        frame = _frame(child_id, program, order)
        child = Child(order, owner, self._clock, self._stop)
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes += os.pipe()
            if self._control is None:
                self._start_guardian()
        except OSError as error:
            for fd in pipes:
                os.close(fd)
            raise NotStarted(Diagnosis(f"no process could be started: {error.strerror}")) from error
        child.attach(child_id, pipes[1], pipes[2], pipes[4])
        self._children[child_id] = child
        self._tell(frame, (pipes[0], pipes[3], pipes[5]))
        return child

    def _stop(self, child: Child, term_ms: int, kill_ms: int) -> None:
        payload = f"stop\0{child.id}\0{term_ms}\0{kill_ms}".encode()
        if self._control is not None:
            self._tell(len(payload).to_bytes(4, "big") + payload)

    def _tell(self, frame: bytes, pipes: tuple[int, ...] = ()) -> None:
        self._orders.append((frame, pipes))
        if len(self._orders) == 1:
            self._send_orders()

    def _send_orders(self) -> None:
        loop = asyncio.get_running_loop()
        while self._orders and self._control is not None:
            frame, pipes = self._orders[0]
            try:
                sent = socket.send_fds(self._control, [frame], pipes)
            except BlockingIOError:
                loop.add_writer(self._control, self._send_orders)
                return
            except OSError:
                return  # It is dead; the reader sees the end of file.
            for fd in pipes:
                os.close(fd)
            if sent < len(frame):
                self._orders[0] = (frame[sent:], ())
            else:
                self._orders.popleft()
        if self._control is not None:
            loop.remove_writer(self._control)

    # ---------------------------------------------------------------- the guardian

    def _start_guardian(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        here = Path(__file__).with_name("guardian.py")
        try:
            self._guardian = subprocess.Popen(  # noqa: S603 - our own file, no shell
                [sys.executable, "-I", "-S", str(here), str(os.getpid()), MARK],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control, self._reports = ours, b""
        asyncio.get_running_loop().add_reader(ours, self._read_reports)

    def _read_reports(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose_guardian()
            return
        *lines, self._reports = (self._reports + data).split(b"\n")
        for line in lines:
            what, child_id, number = line.decode().split()
            if child := self._children.get(child_id):
                self._hear(child, what, int(number))

    def _hear(self, child: Child, what: str, number: int) -> None:
        if what == "started":
            child.pid = number
        elif what == "ended":
            child.exited(number)
        elif what == "crowd":
            child.kill(f"it had {number} processes")
        else:
            del self._children[child.id]
            child.gone.set()
            if what == "failed":
                child.failed(number)

    def _lose_guardian(self) -> None:
        """It ended, or does not listen. Its children died with it; the rest is seen to here."""
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control)
        loop.remove_writer(self._control)
        self._control.close()
        self._control = None
        for _, pipes in self._orders:
            for fd in pipes:
                os.close(fd)
        self._orders.clear()
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            guardian.kill()
            guardian.wait()
            if not self._closing:
                log.error("The guardian of the stdio servers is gone")
                kill_marked(guardian.pid)
        children, self._children = self._children, {}
        for child in children.values():
            if child.pid is not None:
                with suppress(OSError):
                    os.killpg(child.pid, SIGKILL)
            child.gone.set()
            child.kill("the guardian of the stdio servers died")
        self._over.set()

    async def close(self) -> None:
        """End the guardian and whatever it still guards; bounded to 5 s; idempotent."""
        self._closing = True
        if self._control is not None:
            self._over.clear()
            self._control.shutdown(socket.SHUT_WR)
            with suppress(TimeoutError):
                async with asyncio.timeout(4.5):
                    await self._over.wait()
            self._lose_guardian()


def kill_marked(guardian_pid: int) -> None:
    """End what a dead guardian cannot: what left its group, by the mark in its environment."""
    mark = f"\0{MARK}={guardian_pid}-".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in b"\0" + (entry / "environ").read_bytes():
                os.kill(int(entry.name), SIGKILL)


def find_program(order: Order) -> str:
    """The program's full path, by the PATH of the child.

    Raises:
        NotStarted: There is none.
    """
    program = order.command[0]
    if order.cwd and not Path(order.cwd).is_dir():
        raise NotStarted(not_started(program, order.cwd, ENOENT))
    if "/" not in program:
        found = shutil.which(program, path=order.env.get("PATH", os.defpath))
        if found is None:
            raise NotStarted(not_started(program, None, ENOENT))
        return str(Path(found).absolute())
    path = Path(order.cwd or ".").absolute() / Path(program).expanduser()
    if not path.is_file():
        raise NotStarted(not_started(program, None, ENOENT))
    if not os.access(path, os.X_OK):
        raise NotStarted(not_started(program, None, EACCES))
    return str(path)


def _frame(child_id: str, program: str, order: Order) -> bytes:
    fields = [
        "spawn",
        child_id,
        program,
        order.cwd or "",
        str(len(order.command)),
        *order.command,
        *(f"{name}={value}" for name, value in order.env.items()),
    ]
    payload = "\0".join(fields).encode(errors="surrogateescape")
    if payload.count(b"\0") != len(fields) - 1:
        raise NotStarted(Diagnosis("its command or environment contains a NUL"))
    if len(payload) > FRAME_BYTES:
        raise NotStarted(not_started(program, None, E2BIG))
    return len(payload).to_bytes(4, "big") + payload
