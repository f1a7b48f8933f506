"""Faults of the disk, the database file and PostgreSQL, at a hub as it is started (F41-F48).

Where money cannot be written, calls that cost some are refused in words before anything is sent,
and all others go on. Afterwards nothing is lost, held or double.
"""

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from support.postgres import NEEDS_POSTGRES, Cluster
from support.serve_hub import Served, config, until, yaml_server

pytestmark = pytest.mark.timeout(120)
CONFIG = f"""
prices: [{{provider: demo, model: '*', input: '1000.00', output: '2000.00'}}]
endpoints:
  demo: {{llm: {{preset: demo}}}}
{yaml_server("calculator", sys.executable, "-m", "agenthub.demo.calculator")}
"""
SHARED = CONFIG + 'ledger: {url: "${LEDGER_URL}"}\n'
DATABASE = "agenthub.db"


@pytest.fixture
def home(tmp_path):
    config(tmp_path / "hub", CONFIG)
    return tmp_path / "hub"


@pytest.fixture
def hub(home):
    served = Served(home)
    try:
        served.up().until_well("calculator")
        limit(served)
        yield served
    finally:
        served.end()


def limit(hub):
    status, _ = hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": "1000000.00"})
    assert status == 200


def pay(hub):
    """A call that costs money: its status, and the words of a refusal."""
    message = {"role": "user", "content": "Hi"}
    body = {"model": "demo/demo-1", "max_tokens": 20, "messages": [message]}
    status, said = hub.ask("POST", "/v1/chat/completions", body)
    return status, "" if status == 200 else said["error"]["message"]


def refused(hub):
    """Of a call that costs money, the words; None if it was let in."""
    status, words = pay(hub)
    assert status in {200, 503}, words
    return words or None


def goes_on(hub):
    """What costs nothing is answered."""
    assert hub.call("calculator", "add", a=2, b=3) == (200, "5")


def booked(hub):
    """How many calls were paid for; and the proof that the sums are those of the ledger."""
    until(lambda: hub.get("/api/usage/budgets")["budgets"][0]["reserved_usd"] == "0.00", 20)
    assert hub.ask("POST", "/api/usage/rebuild", {}) == (200, {"counters": 0, "slots": 0})
    calls = hub.get("/api/usage/calls?limit=500")["calls"]
    return [one["state"] for one in calls].count("settled")


def database(hub):
    """The pid of the process that has the file."""

    def has_it(pid):
        try:
            return b"database.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return until(lambda: next(filter(has_it, hub.family()), None))


# ------------------------------------------------------------ the hub's own file


def test_f41_on_a_full_disk_money_is_not_spent_and_it_heals_without_a_restart(hub):
    """A limit of the file size stands for the full disk."""
    assert pay(hub) == (200, "")
    pid = database(hub)
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    assert until(lambda: refused(hub))
    goes_on(hub)
    assert hub.get("/api/usage/summary")["total"]["calls"] >= 1, "reading goes on"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    until(lambda: refused(hub) is None)
    assert database(hub) == pid
    assert booked(hub) >= 2


@contextmanager
def failing_syncs(pid, when):
    """No program may trace here: the test is skipped."""
    inject = f"inject=fdatasync,fsync:error=EIO:when={when}"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-e", inject, "-p", str(pid)],
        stderr=subprocess.DEVNULL,
    )
    try:
        status = Path(f"/proc/{pid}/status")
        until(lambda: tracer.poll() is not None or "TracerPid:\t0" not in status.read_text())
        if tracer.poll() is not None:
            pytest.skip("this machine lets nobody trace")
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


NEEDS_STRACE = pytest.mark.skipif(not shutil.which("strace"), reason="strace makes the disk fail")


@NEEDS_STRACE
def test_f42_a_sync_that_failed_is_not_trusted_and_no_call_notices(hub):
    pid = database(hub)
    with failing_syncs(pid, "1"):
        assert pay(hub) == (200, "")
    assert database(hub) != pid
    assert booked(hub) == 1


@NEEDS_STRACE
def test_f42_while_every_sync_fails_money_is_not_spent(hub):
    """The hub starts the database again and again, and each of them fails."""
    assert pay(hub) == (200, "")
    before = database(hub)
    with failing_syncs(hub.pid, "1+"):
        os.kill(before, signal.SIGKILL)
        until(lambda: database(hub) != before)
        assert refused(hub)
        goes_on(hub)
        until(lambda: "disk failed" in str(hub.ask("GET", "/readyz")))
    until(lambda: refused(hub) is None, 30)
    assert booked(hub) >= 2


def test_f44_while_another_program_has_the_lock_money_is_not_spent(hub, home):
    with closing(sqlite3.connect(home / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = []
        asking = threading.Thread(target=lambda: told.append(refused(hub)))
        asking.start()
        free = 0
        while not told:
            goes_on(hub)
            free += 1
            asking.join(0.2)
        assert told[0]
        assert free > 2
        other.execute("ROLLBACK")
    until(lambda: refused(hub) is None)
    assert booked(hub) == 1


def test_f45_into_a_file_that_is_gone_money_is_not_booked(hub, home):
    assert pay(hub) == (200, "")
    aside = (home / DATABASE).rename(home / "aside.db")
    assert "deleted while the hub ran" in refused(hub)
    goes_on(hub)
    assert not (home / DATABASE).exists(), "nothing is made anew in silence"
    aside.rename(home / DATABASE)
    until(lambda: refused(hub) is None)
    assert booked(hub) == 2


def newer(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 999")


def of_another(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA application_id = 7")


def damaged(file):
    file.write_bytes(file.read_bytes()[:4_096] + b"\xff" * 40_960)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (newer, "newer AgentHub"),
        (of_another, "another program"),
        (damaged, "damaged"),
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: file.write_bytes(b"x" * 9_000), "not a database"),
    ],
    ids=["newer", "another's", "damaged", "empty", "garbage"],
)
def test_f45_on_a_file_that_cannot_be_used_no_hub_starts_and_it_stays_as_it_is(home, harm, words):
    first = Served(home).up()
    assert first.stop() == 0
    harm(home / DATABASE)
    before = (home / DATABASE).read_bytes()
    second = Served(home, log=home.parent / "second")
    try:
        assert second.process.wait(20) != 0
    finally:
        second.end()
    assert words in second.words()
    assert (home / DATABASE).read_bytes() == before


def grow(file):
    """As the file system shows it."""
    os.truncate(f"{file}-wal", 257 * 2**20)


def fill(file):
    """Byte by byte."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for pragma in ("wal_autocheckpoint = 0", "synchronous = OFF"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.execute("CREATE TABLE filler (data BLOB)")
        for _ in range(28):
            db.execute("INSERT INTO filler VALUES (zeroblob(10000000))")
        db.execute("DROP TABLE filler")


@pytest.mark.parametrize("harm", [grow, pytest.param(fill, marks=pytest.mark.soak)])
def test_f46_the_wal_has_a_bound_though_a_reader_has_no_end(hub, home, harm):
    wal = home / f"{DATABASE}-wal"
    with closing(sqlite3.connect(home / DATABASE, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM charge").fetchall()
        assert pay(hub) == (200, ""), "a reader alone is no harm"
        harm(home / DATABASE)
        full = wal.stat().st_size
        until(lambda: "reading the database for too long" in (refused(hub) or ""))
        goes_on(hub)
        assert not refused_in_vain(hub), "and it is not forgotten"
        assert wal.stat().st_size == full
        reader.execute("ROLLBACK")
    until(lambda: refused(hub) is None)
    assert wal.stat().st_size < 2**26
    assert booked(hub) == 2


def refused_in_vain(hub):
    return [words for words in (refused(hub) for _ in range(3)) if words is None]


# ------------------------------------------------------------ PostgreSQL


@pytest.fixture
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def shared(cluster, tmp_path):
    config(tmp_path / "hub", SHARED)
    served = Served(tmp_path / "hub", env={"LEDGER_URL": cluster.schema("hub")})
    try:
        served.up().until_well("calculator")
        limit(served)
        yield served
    finally:
        served.end()


class Payers:
    """Callers that pay without end."""

    def __init__(self, hub, number=6):
        self.hub, self.told = hub, []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._done.is_set():
            status, words = pay(self.hub)
            self.told.append((status, words))
            if status != 200:
                time.sleep(0.05)

    def close(self):
        self._done.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def paid(self):
        return [status for status, _ in self.told].count(200)


@NEEDS_POSTGRES
def test_f48_without_its_postgresql_money_is_not_spent_until_it_is_back(cluster, shared):
    with closing(Payers(shared)) as payers:
        until(lambda: payers.paid > 20)
        cluster.kill()
        until(lambda: payers.told[-1][0] == 503)
        goes_on(shared)
        cluster.start()
        paid = payers.paid
        until(lambda: payers.paid > paid + 5, 30)
    assert {status for status, _ in payers.told} == {200, 503}
    assert all(words for status, words in payers.told if status == 503)
    check(cluster, shared, payers)


@NEEDS_POSTGRES
def test_f48_connections_that_are_cut_in_the_middle_lose_and_double_nothing(cluster, shared):
    chance = random.Random(1)
    with (
        closing(Payers(shared)) as payers,
        closing(psycopg.connect(cluster.url("hub"), autocommit=True)) as db,
    ):
        for _ in range(20):
            time.sleep(chance.uniform(0, 0.1))
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <>"
                " pg_backend_pid() AND application_name LIKE 'agenthub%'"
            )
        paid = payers.paid
        until(lambda: payers.paid > paid + 5, 30)
    check(cluster, shared, payers)


def check(cluster, hub, payers):
    """Each call that was answered is booked, once; none is held."""
    with closing(psycopg.connect(cluster.url("hub"), autocommit=True)) as db:
        db.execute("SET search_path = agenthub")
        held = "SELECT count(*) FROM charge WHERE state = 'reserved'"
        until(lambda: db.execute(held).fetchone() == (0,), 30)
        ((settled, cost),) = db.execute(
            "SELECT count(*), sum(cost)::bigint FROM charge WHERE state = 'settled'"
        ).fetchall()
        assert db.execute("SELECT sum(settled)::bigint FROM budget_window").fetchone() == (cost,)
        (each,) = db.execute("SELECT DISTINCT cost FROM charge WHERE cost > 0").fetchone()
    # Of one whose end could not be told in time, the client was told 503.
    assert payers.paid <= settled <= len(payers.told)
    assert cost == settled * each
    assert hub.ask("POST", "/api/usage/rebuild", {}) == (200, {"counters": 0, "slots": 0})
    print(f"{len(payers.told)} asked, {payers.paid} paid, {settled} booked")
