"""The hub as its users run it: the `agenthub` program, on a home of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from support.stdio_hub import alive

AGENTHUB = Path(sys.executable).with_name("agenthub")
T = TypeVar("T")
START_S = 20
COMMAND_S = 60


def wait_for(what: Callable[[], T], seconds: float = START_S) -> T:
    """What the function gives, once that is true. Fails with what it gave last."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.02)
    return found


def family(pid: int) -> set[int]:
    """The process and all below it."""
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                todo += map(int, task.read_text().split())
    return found


class RealHub:
    """`with` starts it and stops it; commands may be given before, too."""

    def __init__(self, home: Path, environment: dict[str, str] | None = None, **more: str) -> None:
        self.home = home
        self.environment = {
            **(environment or os.environ),
            "NO_COLOR": "1",
            "AGENTHUB_HOME": str(home),
            **more,
        }
        self.port = 0
        """To listen on; 0: any."""
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str, code: int = 0) -> str:
        """What it prints. Fails, with what it complained of, unless it ends with `code`."""
        return self._run(words, code).stdout

    def failed(self, *words: str) -> str:
        """What it complains of, as it ends with 1."""
        return self._run(words, 1).stderr

    def _run(self, words: tuple[str, ...], code: int) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(AGENTHUB), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=COMMAND_S,
            env=self.environment,
        )
        assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def key(self) -> str:
        """A new client key."""
        return json.loads(self.command("key", "create", "interop", "--json"))["key"]

    def servers(self) -> dict[str, dict[str, Any]]:
        """The servers as the hub sees them now, by name."""
        views = json.loads(self.command("list", "--json"))["endpoints"]
        return {view["name"]: view for view in views}

    def ready(self, *names: str, seconds: float = START_S) -> None:
        """Waits until the hub has a list of tools of each."""

        def listed() -> bool:
            servers = self.servers()
            return all(servers[name]["health"] == "ok" for name in names)

        wait_for(listed, seconds)

    def __enter__(self) -> Self:
        # Whose stderr is worth reading when a test fails; pytest shows it.
        self._process = subprocess.Popen(
            [str(AGENTHUB), "serve", "--no-demo", "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=self.environment,
        )
        wait_for(self._announced)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        facts = self._announced()
        assert facts
        return facts["url"]

    def kill(self) -> None:
        """kill -9: it gets no chance to end its servers."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _announced(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.poll() is None, f"the hub ended with {self._process.returncode}"
        with suppress(OSError, ValueError):
            facts = json.loads((self.home / "hub.json").read_text())
            if facts["pid"] == self._process.pid:
                return facts
        return {}


def gone(pids: set[int]) -> bool:
    return not any(map(alive, pids))
