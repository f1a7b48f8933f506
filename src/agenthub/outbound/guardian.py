"""A small process that forks the hub's stdio servers, and ends them all when the hub is gone.

    hub ══ socket ══ guardian ──► server (a session of its own) ──► its children, e.g. node of npx

Why a process between: a parent-death signal does not reach grandchildren, a process group does not
hold those that call setsid, and forking is unsafe in a process with threads. One guardian serves
all servers. The hub runs this file with `python -I -S`, so only the standard library is imported.

1. Orders come on fd 0. End of file there, or another parent, means that the hub is gone, however
   it died.
2. The guardian is the subreaper (Linux): what a server leaves behind becomes the guardian's child.
   It is the server's if it has its session, or the mark that its environment inherited.
3. A server is over when its whole family is gone; its main process alone does not count.
4. A family of more than `CROWD` processes is killed.

Where there is no /proc and no prctl (macOS), the process group stands for the family.

Orders: a length (4 bytes, big endian), then fields between NULs:
`spawn id program cwd argc arg… name=value…` with three descriptors (stdin, stdout, stderr), and
`stop id term_ms kill_ms`. Reports, one a line: `started id pid`, `failed id errno`,
`ended id code` (negative: the signal), `crowd id count`, `gone id 0`.
"""

# ruff: noqa: PTH112, PTH123, PTH208 - pathlib would be a quarter of this process's own memory

import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import FrameType

CROWD = 300
"""Processes of one server. An npx server has 2 to 4."""
WATCH_MS = 1_000
"""Between two counts of the families."""
SWEEP_MS = 20
"""Between two looks at a family that is to end."""
LAST_S = 4.0
"""After the hub is gone: what is left then gets killed without regard to whose it is."""
OPEN_FILES = 4_096
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Ward:
    """A server, from its fork until its whole family is gone."""

    __slots__ = ("code", "crowded", "id", "kill_at", "mark", "pid", "seen", "term_at", "termed")

    def __init__(self, ward_id: str, pid: int, mark: bytes) -> None:
        self.id = ward_id
        self.pid = pid
        self.mark = mark
        self.code: int | None = None
        """None while the main process runs."""
        self.term_at = self.kill_at = float("inf")
        self.termed = self.crowded = False
        self.seen: set[int] = set()
        """The family at the last look: who is dying has no environment to tell it by."""

    def end(self, now: float, term_s: float, kill_s: float) -> None:
        """Never later than what was asked before."""
        self.term_at = min(self.term_at, now + term_s)
        self.kill_at = min(self.kill_at, now + kill_s)


class Guardian:
    def __init__(self, control: socket.socket, hub: int, mark: str) -> None:
        self._control = control
        self._mark = f"{mark}={os.getpid()}"
        """With a server's id, the variable that its family inherits."""
        self._hub = hub
        """Its pid."""
        self._wards: dict[str, Ward] = {}
        self._buffer = bytearray()
        self._pipes: list[int] = []
        self._over_at: float | None = None
        """Once the hub is gone: when the rest is killed."""

    def run(self) -> None:
        wake_in, wake_out = os.pipe()
        for end in (wake_in, wake_out):
            os.set_blocking(end, False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A handler, not SIG_IGN, which servers would inherit. The hub's end is what counts.
            signal.signal(number, unheard)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(wake_in, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while self._wards or self._over_at is None or self._rest():
            for fd, _ in poll.poll(self._wait_ms()):
                if fd == wake_in:
                    os.read(wake_in, 4096)
                elif not self._take_orders():
                    poll.unregister(self._control)
                    self._abandon()
            if os.getppid() != self._hub:
                self._abandon()
            self._reap()
            self._tick(time.monotonic())

    def _wait_ms(self) -> int | None:
        if self._over_at is not None or any(w.term_at < float("inf") for w in self._wards.values()):
            return SWEEP_MS
        return WATCH_MS if self._wards else None

    def _take_orders(self) -> bool:
        """False at the end of file."""
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, pipes, _, _ = socket.recv_fds(self._control, 65_536, 64, flags)
        except OSError:
            return False  # The hub died before it had read every report.
        for pipe in pipes:
            os.set_inheritable(pipe, False)
        self._pipes += pipes
        self._buffer += data
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < end:
                break
            fields = bytes(self._buffer[4:end]).split(b"\0")
            del self._buffer[:end]
            if self._over_at is not None:
                break
            if fields[0] == b"spawn":
                self._spawn(fields[1].decode(), fields[2:])
            elif ward := self._wards.get(fields[1].decode()):
                ward.end(time.monotonic(), int(fields[2]) / 1000, int(fields[3]) / 1000)
        return bool(data)

    def _abandon(self) -> None:
        """The hub is gone, and with it every stdin: half a second to see that, then the signals."""
        if self._over_at is not None:
            return
        now = time.monotonic()
        self._over_at = now + LAST_S
        for ward in self._wards.values():
            ward.end(now, 0.5, 1.5)

    def _report(self, what: str, ward_id: str, number: int) -> None:
        with suppress(OSError):  # The hub is gone; the poll says so too.
            self._control.sendall(f"{what} {ward_id} {number}\n".encode())

    # ---------------------------------------------------------------- birth

    def _spawn(self, ward_id: str, fields: Sequence[bytes]) -> None:
        pipes, self._pipes = self._pipes[:3], self._pipes[3:]
        mark = f"{self._mark}-{ward_id}".encode()
        told, tell = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            pid, failure = -1, str(error.errno).encode()
        else:
            if pid == 0:
                become(fields, [*fields[3 + int(fields[2]) :], mark], pipes, tell)
            failure = b""
        for fd in (*pipes, tell):
            os.close(fd)
        failure = failure or os.read(told, 16)  # End of file as soon as the program runs.
        os.close(told)
        if failure:
            if pid > 0:
                os.waitpid(pid, 0)
            self._report("failed", ward_id, int(failure))
        else:
            self._wards[ward_id] = Ward(ward_id, pid, mark)
            self._report("started", ward_id, pid)

    # ---------------------------------------------------------------- death

    def _reap(self) -> None:
        by_pid = {ward.pid: ward for ward in self._wards.values() if ward.code is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if ward := by_pid.get(pid):
                ward.code = os.waitstatus_to_exitcode(status)
                if not PROC:
                    send(signal.SIGKILL, (), group=pid)
                ward.end(time.monotonic(), 0, 0.5)
                self._report("ended", ward.id, ward.code)

    def _tick(self, now: float) -> None:
        if not self._wards:
            return
        strays = self._strays()
        for ward in list(self._wards.values()):
            family = self._family(ward, strays)
            if len(family) > CROWD and not ward.crowded:
                ward.crowded = True
                self._report("crowd", ward.id, len(family))
                ward.end(now, 0, 0)
            group = ward.pid if ward.code is None else 0
            if now >= ward.kill_at:
                send(signal.SIGKILL, family, group)
            elif now >= ward.term_at and not ward.termed:
                ward.termed = True
                send(signal.SIGTERM, family, 0 if PROC else group)
            if ward.code is not None and not family:
                del self._wards[ward.id]
                self._report("gone", ward.id, 0)

    def _strays(self) -> list[int]:
        """What was left behind: children that the guardian did not fork as servers."""
        mains = {ward.pid for ward in self._wards.values()}
        return [pid for pid in children_of(os.getpid()) if pid not in mains]

    def _family(self, ward: Ward, strays: Iterable[int]) -> list[int]:
        """Living processes of this server, the main one included."""
        roots = [ward.pid] if ward.code is None else []
        roots += [pid for pid in strays if pid in ward.seen or belongs(pid, ward)]
        for pid in roots:  # Grows while it is walked.
            roots += children_of(pid)
        ward.seen = set(roots)
        return roots

    def _rest(self) -> bool:
        """After the hub and every ward: whether somebody unknown is still there; kills them."""
        left = self._strays()
        send(signal.SIGKILL, left)
        return bool(left) and time.monotonic() < (self._over_at or 0)

    def finish(self) -> None:
        """Nothing is left here in good order; after a bug in this file everything is."""
        left = children_of(os.getpid())
        for pid in left:  # Grows while it is walked.
            left += children_of(pid)
        send(signal.SIGKILL, left)


def become(fields: Sequence[bytes], env: Sequence[bytes], pipes: Sequence[int], tell: int) -> None:
    """The forked child's last steps; does not return. An error's number goes to the parent."""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # If the guardian itself gets killed.
        for number, pipe in enumerate(pipes):
            os.dup2(pipe, number)
        if fields[1]:
            os.chdir(fields[1])
        # Python ignores the first two, a shell has what it starts with `&` ignore the third.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        pairs = (pair.partition(b"=") for pair in env)
        arguments = list(fields[3 : 3 + int(fields[2])])
        os.execve(fields[0], arguments, {name: value for name, _, value in pairs})  # noqa: S606
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(127)


def send(number: int, pids: Iterable[int], group: int = 0) -> None:
    if group:
        with suppress(OSError):
            os.killpg(group, number)
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # It ended meanwhile, or there is no /proc here.
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb", 0) as file:
                found += map(int, file.read().split())
    return found


def belongs(pid: int, ward: Ward) -> bool:
    try:
        if os.getsid(pid) == ward.pid:
            return True
        with open(f"/proc/{pid}/environ", "rb") as file:
            return ward.mark in file.read().split(b"\0")
    except OSError:
        return False


def unheard(_number: int, _frame: FrameType | None) -> None: ...


def load_prctl() -> Callable[[int, int], int] | None:
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - nothing to call elsewhere

    return ctypes.CDLL(None).prctl


PROC = os.path.isdir("/proc/self/task")
PRCTL = load_prctl()


def prctl(option: int, value: int) -> None:
    if PRCTL is not None:
        PRCTL(option, value)


if __name__ == "__main__":
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    guardian = Guardian(socket.socket(fileno=0), int(sys.argv[1]), sys.argv[2])
    try:
        guardian.run()
    finally:
        guardian.finish()
