"""`agenthub serve` as a process of its own, and a small client for it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from support.stdio_hub import alive

BOUND_S = 15.0
SERVE = (sys.executable, "-m", "agenthub", "serve")


def until(condition, seconds=BOUND_S, what="it"):
    """Poll with a bound; gives what the condition gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come within {seconds} s"
        time.sleep(0.01)
    return found


def environment(**more):
    """Of a shell that knows nothing of a hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AGENTHUB")}
    return {**kept, **more}


class Served:
    """A hub process. `home` may be new or used; the port is any free one."""

    def __init__(self, home, *options, env=None, log=None, files=None):
        """`files`: so many may be open."""
        self.home = Path(home)
        self.out, self.log = (Path(f"{log or home}.{what}") for what in ("out", "log"))
        self.started = time.monotonic()
        bound = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh") if files else ()
        with self.out.open("ab") as out, self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*bound, *SERVE, "--home", home, "--port", "0", *options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True,
                env=environment(**(env or {})),
            )  # fmt: skip
        self._facts = None

    @property
    def pid(self):
        return self.process.pid

    def up(self):
        """Once it answers."""
        until(self._listens, what=f"the hub ({self.words()})")
        return self

    def _listens(self):
        assert self.process.poll() is None, f"it ended: {self.words()}"
        try:
            facts = json.loads((self.home / "hub.json").read_text())
        except (OSError, ValueError):
            return False
        if facts["pid"] != self.pid:
            return False
        self._facts = facts
        return True

    @property
    def url(self):
        return self._facts["url"]

    @property
    def token(self):
        return (self.home / "admin-token").read_text().strip()

    def words(self):
        """What it said on stderr."""
        return self.log.read_text(errors="replace")

    def connection(self, timeout=10):
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=timeout)

    def ask(self, method, path, body=None, *, token=None, connection=None):
        """Status and decoded body."""
        line = connection or self.connection()
        headers = {"authorization": f"Bearer {token or self.token}"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            line.request(method, path, None if body is None else json.dumps(body), headers)
            answer = line.getresponse()
            data = answer.read()
        finally:
            if connection is None:
                line.close()
        return answer.status, json.loads(data) if data else None

    def get(self, path):
        status, body = self.ask("GET", path)
        assert status == 200, (status, body)
        return body

    def call(self, server, tool, **arguments):
        """The status, and the tool's text or the problem's code."""
        body = {"server": server, "tool": tool, "arguments": arguments}
        status, answer = self.ask("POST", "/api/tools/call", body)
        if status == 200:
            return status, answer["result"]["content"][0]["text"]
        return status, answer["code"]

    def server(self, name):
        return self.get(f"/api/endpoints/{name}")

    def until_well(self, *names):
        for name in names:
            until(lambda n=name: self.server(n)["listed_at_s"], what=f"{name} ({self.words()})")
        return self

    def stop(self, number=signal.SIGTERM, seconds=BOUND_S):
        """Tell it to stop; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def resident_kib(self):
        """Memory of the hub's own process."""
        words = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in words if line.startswith("VmRSS"))

    def family(self):
        """Itself, its database, its guardian and the servers: every process that names it."""
        return [self.pid, *descendants(self.pid)]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)


@contextmanager
def serving(home, *options, **more):
    """A hub that is up, and gone afterwards."""
    served = Served(home, *options, **more)
    try:
        yield served.up()
    finally:
        served.end()


def descendants(pid):
    """Children and theirs, at any depth."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, level = [], [pid]
    while level:
        level = [child for one in level for child in children.get(one, ())]
        found += level
    return found


def until_gone(pids, seconds=BOUND_S):
    until(lambda: not any(map(alive, pids)), seconds, f"the end of {pids}")


def config(home, text):
    """Write the settings file of a home that may not be there yet."""
    home = Path(home)
    home.mkdir(mode=0o700, exist_ok=True)
    new = home / "agenthub.yaml.new"
    new.write_text(text)
    new.chmod(0o600)
    new.replace(home / "agenthub.yaml")


def yaml_server(name, *command, **more):
    """An endpoint of the settings file, as one line of flow style."""
    return f"  {name}: {json.dumps({'command': list(command), **more})}\n"
