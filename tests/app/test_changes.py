"""F54, G6: a hundred threads change and read the settings of a running hub at once.

By REST, by the command line and by the file. No change is half seen, none is lost, and nobody is
told of a fault of the hub's.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from support.serve_hub import config, environment, serving, until, yaml_server

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]
NOWHERE = "http://127.0.0.1:9/mcp"
WRITERS, READERS, CALLERS, COMMANDS, RACERS = 30, 40, 10, 4, 15
THREADS = WRITERS + READERS + CALLERS + COMMANDS + RACERS + 1
ROUNDS, VERSIONS = 4, 6


class Crowd:
    """What each thread does, and what it was answered."""

    def __init__(self, hub):
        self.hub, self.home = hub, hub.home
        self.start = threading.Barrier(THREADS, timeout=30)
        self.over = threading.Event()
        self.thread, self.lines = threading.local(), []
        self.statuses = []
        self.kept = {}
        """What must be there in the end: each server's `grace_s`."""

    def ask(self, method, path, body=None, *, expected):
        """On a connection that is this thread's own."""
        if not hasattr(self.thread, "line"):
            self.thread.line = self.hub.connection(timeout=30)
            self.lines.append(self.thread.line)
        status, answer = self.hub.ask(method, path, body, connection=self.thread.line)
        self.statuses.append((method, status))
        assert status in expected, (method, path, status, answer)
        return status, answer

    def close(self):
        for line in self.lines:
            line.close()

    def write(self, number):
        """Its own servers: each answer is the last word, and the next reading knows it."""
        self.start.wait()
        for step in range(ROUNDS):
            name = f"w{number}n{step}"
            path, record = f"/api/endpoints/{name}", {"name": name, "url": NOWHERE}
            self.ask("POST", "/api/endpoints", record, expected={201})
            for seconds in (100 + number, 200 + number):
                self.ask("PUT", path, {**record, "grace_s": seconds}, expected={200})
                _, seen = self.ask("GET", path, expected={200})
                assert seen["config"]["grace_s"] == seconds
            if step % 2:
                self.ask("DELETE", path, expected={204})
                self.ask("GET", path, expected={404})
            else:
                self.kept[name] = 200 + number

    def race(self, number):
        """All want the same names: one gets each (G6), and it is the one that is kept."""
        self.start.wait()
        for step in range(ROUNDS):
            record = {"name": f"raced{step}", "url": NOWHERE, "grace_s": 1000 + number}
            status, _ = self.ask("POST", "/api/endpoints", record, expected={201, 409})
            if status == 201:
                assert record["name"] not in self.kept, "two won"
                self.kept[record["name"]] = record["grace_s"]

    def command(self, number):
        self.start.wait()
        for step in range(2):
            name = f"c{number}n{step}"
            words = ("add", name, "--url", NOWHERE) if not step else ("remove", f"c{number}n0")
            done = subprocess.run(
                [sys.executable, "-m", "agenthub", *words],
                env=environment(AGENTHUB_HOME=str(self.home)), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=50, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr

    def edit(self):
        """The file says one number of two servers: nobody may see one without the other."""
        self.start.wait()
        for version in range(1, VERSIONS + 1):
            taken = self.hub.words().count("Settings taken")
            config(self.home, pair(version))
            os.kill(self.hub.pid, signal.SIGHUP)
            until(lambda n=taken: self.hub.words().count("Settings taken") > n, 20, "the file")

    def read(self, number):
        self.start.wait()
        latest = 0
        while not self.over.is_set():
            _, listed = self.ask("GET", "/api/endpoints", expected={200})
            names = [one["name"] for one in listed["endpoints"]]
            assert len(names) == len(set(names))
            seen = [
                one["config"]["grace_s"]
                for one in listed["endpoints"]
                if one["name"] in {"sum", "twin"}
            ]
            assert len(seen) == 2
            assert seen[0] == seen[1] >= latest, "half a file, or an old one"
            latest = seen[0]

    def call(self, number):
        self.start.wait()
        while not self.over.is_set():
            assert self.hub.call("sum", "add", a=number, b=1) == (200, str(number + 1))


def pair(version):
    """The two servers; an odd version needs new connections."""
    more = {"grace_s": version, "rate_limit": None, "env": {"ODD": str(version % 2)}}
    both = "".join(yaml_server(name, *CALCULATOR, **more) for name in ("sum", "twin"))
    return "endpoints:\n" + both


def records(hub):
    return {one["name"]: one["config"]["grace_s"] for one in hub.get("/api/endpoints")["endpoints"]}


@pytest.mark.timeout(180)
def test_f54_a_hundred_threads_change_and_read_the_settings_at_once(tmp_path):
    config(tmp_path / "home", pair(0))
    with serving(tmp_path / "home", "--no-demo") as hub:
        hub.until_well("sum", "twin")
        with closing(Crowd(hub)) as crowd, ThreadPoolExecutor(THREADS) as pool:
            reading = [pool.submit(crowd.read, n) for n in range(READERS)]
            reading += [pool.submit(crowd.call, n) for n in range(CALLERS)]
            changing = [pool.submit(crowd.write, n) for n in range(WRITERS)]
            changing += [pool.submit(crowd.race, n) for n in range(RACERS)]
            changing += [pool.submit(crowd.command, n) for n in range(COMMANDS)]
            changing.append(pool.submit(crowd.edit))
            try:
                for one in changing:
                    one.result(120)
            finally:
                crowd.over.set()
            for one in reading:
                one.result(30)
        statuses = Counter(crowd.statuses)
        assert statuses["POST", 201] == WRITERS * ROUNDS + ROUNDS
        assert statuses["POST", 409] == (RACERS - 1) * ROUNDS
        expected = crowd.kept | {"sum": VERSIONS, "twin": VERSIONS}
        assert records(hub) == expected
        assert hub.stop() == 0
    with serving(tmp_path / "home", "--no-demo") as hub:
        assert records(hub) == expected
