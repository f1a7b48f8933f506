"""What the store does when processes die, disks fill, and files are not what they should be."""

import asyncio
import marshal
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import astuple
from support import serve_hub
from support.python_env import python_env
from support.store_rows import call_row, until

from agenthub.domain.caller import KeyTerms
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import StorageFailed
from agenthub.domain.pinning import Pin
from agenthub.outbound import database_process
from agenthub.outbound.database_line import FRAME
from agenthub.outbound.database_process import CALLS, FIRST, SCRIPT
from agenthub.outbound.home import holder
from agenthub.outbound.store import open_store
from agenthub.ports import CallFilter


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
async def store(home):
    async with open_store(home) as store:
        yield store


async def refusal(home):
    with pytest.raises(StorageFailed) as caught:
        async with open_store(home):
            pass
    words = str(caught.value)
    assert str(home) in words, "it says where"
    return words.removeprefix(f"{home / 'agenthub.db'}: ")


def numbers(home):
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        return [number for (number,) in db.execute("SELECT id FROM call ORDER BY id")]


def call_ids(home):
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        return [name for (name,) in db.execute("SELECT call_id FROM call ORDER BY id")]


class TestDeath:
    async def test_killed_in_the_middle_of_batches_it_loses_nothing_and_doubles_nothing(self, home):
        async with open_store(home) as store:
            for n in range(60_000):
                store.call_log.add(call_row(n))
                if n % 500 == 0:
                    await asyncio.sleep(0)
                if n in {10_000, 30_000, 50_000}:
                    store.call_log.flush()
                    restarts, killed = store.process.restarts, store.process.pid
                    os.kill(killed, signal.SIGKILL)
                    await until(lambda r=restarts: store.process.restarts > r)
                    await until(lambda k=killed: store.process.pid not in {None, k})
            assert store.call_log.dropped == 0
        assert call_ids(home) == [call_row(n).id for n in range(60_000)]

    async def test_rows_that_are_added_during_a_restart_come_after_those_before(self, home):
        """Rows that came late would be taken for rows sent again, and be lost."""
        async with open_store(home) as store:
            store.call_log.add(call_row(0))
            store.call_log.flush()
            os.kill(store.process.pid, signal.SIGKILL)
            count = 1
            answered = asyncio.ensure_future(store.transitions("s", 1))
            async with asyncio.timeout(10):
                while not answered.done():
                    store.call_log.add(call_row(count))
                    store.call_log.flush()
                    count += 1
                    await asyncio.sleep(0.001)
        assert call_ids(home) == [call_row(n).id for n in range(count)]

    async def test_rows_that_are_kept_are_told_apart_from_those_that_wait(self, home):
        """A batch is sent again until it, and not only the one before it, is durable."""
        async with open_store(home) as store:
            store.call_log.add(call_row(0))
            await until(lambda: store.call_log.waiting == 0)
            for n in (1, 2):
                store.call_log.add(call_row(n))
                store.call_log.flush()
            assert store.call_log.waiting == 2
            process = store.process
            process._kept(2, 0)
            assert [batch.first for batch in process._batches] == [3]

    async def test_a_change_that_was_under_way_is_made_once(self, store):
        writes = [
            asyncio.ensure_future(store.put_transition("s", b'{"n":%d}' % n)) for n in range(50)
        ]
        await asyncio.sleep(0)
        os.kill(store.process.pid, signal.SIGKILL)
        await asyncio.gather(*writes)
        assert sorted(e["n"] for e in await store.transitions("s", 100)) == list(range(50))
        assert store.process.restarts == 1

    async def test_killed_while_it_drains_another_one_finishes(self, home):
        async with open_store(home) as store:
            os.kill(store.process.pid, signal.SIGSTOP)
            for n in range(20_000):
                store.call_log.add(call_row(n))
            store.call_log.flush()
            loop, pid = asyncio.get_running_loop(), store.process.pid
            loop.call_later(0.05, os.kill, pid, signal.SIGKILL)
        assert len(numbers(home)) == 20_000

    async def test_what_a_hub_sent_that_was_killed_before_it_read_all_answers_is_kept(self, home):
        async with open_store(home):
            pass
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(SCRIPT), str(home / "agenthub.db"), "100", "1",
            stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        while len(await asyncio.to_thread(ours.recv, 100, socket.MSG_PEEK)) < FRAME.size:
            pass  # Its greeting; nobody reads it.
        rows = FIRST.pack(1) + marshal.dumps([astuple(call_row())])
        ours.sendall(FRAME.pack(len(rows), CALLS) + rows)
        ours.close()
        assert await process.communicate() == (None, b"")
        assert (process.returncode, len(numbers(home))) == (0, 1)

    async def test_signals_to_the_whole_group_do_not_stop_it(self, store):
        pid = store.process.pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        store.call_log.add(call_row())
        assert len((await store.calls(CallFilter())).rows) == 1
        assert (store.process.pid, store.process.restarts) == (pid, 0)

    async def test_the_loop_is_not_held_up_while_the_database_stands_still(self, home):
        async with open_store(home) as store:
            os.kill(store.process.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            started, count = loop.time(), 90_000
            for n in range(count):
                store.call_log.add(call_row(n))
                if n % 1000 == 0:
                    await asyncio.sleep(0)
            store.call_log.flush()
            assert loop.time() - started < 5
            for n in range(count, count + 20_000):
                store.call_log.add(call_row(n))
            store.call_log.flush()
            assert store.call_log.waiting == 100_000
            assert store.call_log.dropped == 10_000
            os.kill(store.process.pid, signal.SIGCONT)
        assert numbers(home) == list(range(1, 100_001))


HUB = """
import asyncio, signal, sys
from pathlib import Path
from agenthub.outbound import database_process
from agenthub.outbound.home import holder
from agenthub.outbound.store import open_store
from support.store_rows import call_row

async def main():
    stop = asyncio.Event()
    signal.alarm(60)  # Who waits for this may have been killed.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_store(Path(sys.argv[1])) as store:
        n = 0
        while n < int(sys.argv[2]) and not stop.is_set():
            for _ in range(500):
                n += 1
                store.call_log.add(call_row(n))
            if n == 50_000:
                print("half", flush=True)
            await asyncio.sleep(0)
            while store.call_log.waiting > 50_000:
                await asyncio.sleep(0.001)
    print(n, store.call_log.dropped, flush=True)

asyncio.run(main())
"""


class TestStop:
    def test_no_row_is_lost_when_the_hub_is_told_to_stop_in_the_middle(self, home):
        """SIGTERM goes to the whole process group, as a terminal or a service manager does it."""
        hub = subprocess.Popen(
            [sys.executable, "-c", HUB, home, "1000000"],
            stdout=subprocess.PIPE, start_new_session=True, text=True,
            env=python_env(),
        )  # fmt: skip
        with hub:
            assert hub.stdout.readline() == "half\n"
            os.killpg(hub.pid, signal.SIGTERM)
            added, dropped = map(int, hub.stdout.readline().split())
        assert hub.returncode == 0
        assert (len(numbers(home)), dropped) == (added, 0)
        assert 50_000 <= added < 1_000_000

    def test_after_kill_9_the_next_hub_waits_until_all_is_written(self, home):
        hub = subprocess.Popen(
            [sys.executable, "-c", HUB, home, "1000000"],
            stdout=subprocess.PIPE, text=True, env=python_env(),
        )  # fmt: skip
        with hub:
            hub.stdout.readline()
            hub.kill()

        async def look():
            async with open_store(home) as store:
                return (await store.calls(CallFilter(limit=1))).rows[0][0]

        assert asyncio.run(look()) == len(numbers(home)) > 0

    def test_after_kill_9_the_home_is_held_until_its_database_has_ended(self, home):
        hub = subprocess.Popen(
            [sys.executable, "-c", HUB, home, "1000000"],
            stdout=subprocess.PIPE, text=True, env=python_env(),
        )  # fmt: skip
        with hub:
            hub.stdout.readline()
            (database,) = serve_hub.descendants(hub.pid)
            os.kill(database, signal.SIGSTOP)
            hub.kill()
        held_by = holder(home)
        os.kill(database, signal.SIGCONT)
        assert held_by == hub.pid
        serve_hub.until(lambda: holder(home) is None)

    async def test_a_change_after_the_stop_is_refused(self, home):
        async with open_store(home) as store:
            pass
        with pytest.raises(StorageFailed, match="stops"):
            await store.put_list("a", b"{}", {})


class TestDisk:
    async def test_a_full_disk_refuses_changes_keeps_rows_and_heals(self, store):
        """A file size limit stands for the full disk: SQLite sees a failed write."""
        pid = store.process.pid
        await store.put_list("before", b"{}", {})
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        with pytest.raises(StorageFailed):
            await store.put_list("during", b"{}" * 10_000, {})
        for n in range(10):
            store.call_log.add(call_row(n))
        store.call_log.flush()
        await until(lambda: store.problem != "")
        assert await store.process.read("listings") == [("before", b"{}")]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        await store.put_list("after", b"{}", {})
        await until(lambda: store.call_log.waiting == 0)
        assert store.problem == ""
        assert set((await store.load()).lists) == {"before", "after"}
        assert len((await store.calls(CallFilter())).rows) == 10
        assert store.process.restarts == 0

    @pytest.mark.parametrize("how", ["deleted", "replaced"])
    async def test_a_file_taken_away_is_noticed_and_never_made_anew(self, home, how):
        async with open_store(home) as store:
            file = home / "agenthub.db"
            aside = file.rename(home / "aside.db")
            if how == "replaced":
                file.write_bytes(b"")
                file.chmod(0o600)
            with pytest.raises(StorageFailed, match=how):
                await store.put_list("a", b"{}", {})
            assert file.exists() == (how == "replaced")
            aside.rename(file)
            await store.put_list("a", b"{}", {})

    async def test_another_program_that_locks_the_file_is_waited_for(self, store, home):
        with closing(sqlite3.connect(home / "agenthub.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.ensure_future(store.put_list("a", b"{}", {}))
            await asyncio.wait([write], timeout=0.1)
            assert not write.done()
            other.execute("ROLLBACK")
            await write

    async def test_a_file_taken_away_is_not_made_anew_by_a_restart_of_the_process(self, home):
        async with open_store(home) as store:
            aside = (home / "agenthub.db").rename(home / "aside.db")
            os.kill(store.process.pid, signal.SIGKILL)
            await until(lambda: "deleted while the hub ran" in store.problem)
            with pytest.raises(StorageFailed, match="deleted while the hub ran"):
                await store.put_list("a", b"{}", {})
            store.call_log.add(call_row())
            store.call_log.flush()
            aside.rename(home / "agenthub.db")
            await until(lambda: store.problem == "")
            await store.put_list("a", b"{}", {})
        assert numbers(home) == [1]


PAGE_BYTES = 4096
SCHEMA = Path(database_process.SCRIPT).with_name("schema")
KNOWN = len(list(SCHEMA.glob("[0-9]*.sql")))


class TestMigration:
    """Of older databases; and to later schemas, which are not written yet, in a copy."""

    async def test_a_database_of_the_first_schema_is_brought_forward(self, home):
        home.mkdir(mode=0o700)
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            db.executescript((SCHEMA / "0001_first.sql").read_text())
            db.execute(f"PRAGMA application_id = {0x41474842}")
            db.execute("PRAGMA user_version = 1")
            db.execute("INSERT INTO listing VALUES ('kept', x'7b7d')")
            db.commit()
        (home / "agenthub.db").chmod(0o600)
        async with open_store(home) as store:
            assert (await store.load()).lists == {"kept": b"{}"}
        assert self.version(home) == KNOWN

    async def test_a_key_of_the_first_schema_has_no_limits(self, home):
        home.mkdir(mode=0o700)
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            db.executescript((SCHEMA / "0001_first.sql").read_text())
            db.execute(f"PRAGMA application_id = {0x41474842}")
            db.execute("PRAGMA user_version = 1")
            row = "'k', 'n', x'00', '[\"tools\"]', NULL, 1, NULL, 0"
            db.execute(f"INSERT INTO client_key VALUES ({row})")
            db.commit()
        (home / "agenthub.db").chmod(0o600)
        async with open_store(home) as store:
            assert (await store.load()).keys[0].terms == KeyTerms()

    @pytest.fixture
    def later(self, tmp_path, monkeypatch):
        script = Path(database_process.SCRIPT)
        shutil.copytree(script.parent / "schema", tmp_path / "later" / "schema")
        for part in script.parent.glob("database*.py"):
            shutil.copy(part, tmp_path / "later")
        monkeypatch.setattr(database_process, "SCRIPT", tmp_path / "later" / script.name)
        return tmp_path / "later" / "schema" / "9999_later.sql"

    @pytest.fixture
    async def older(self, home):
        async with open_store(home) as store:
            await store.put_list("kept", b"{}", {})

    def version(self, home):
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            return db.execute("PRAGMA user_version").fetchone()[0]

    async def test_an_older_schema_is_brought_forward_with_all_that_is_in_it(
        self, home, older, later
    ):
        later.write_text("CREATE TABLE later (x INTEGER) STRICT; INSERT INTO later VALUES (7);")
        async with open_store(home) as store:
            assert (await store.load()).lists == {"kept": b"{}"}
        assert self.version(home) == KNOWN + 1
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            assert db.execute("SELECT x FROM later").fetchall() == [(7,)]

    async def test_a_home_of_the_first_version_is_brought_forward(self, home):
        home.mkdir(mode=0o700)
        file = home / "agenthub.db"
        file.touch(0o600)
        with closing(sqlite3.connect(file)) as db, db:
            db.executescript((SCHEMA / "0001_first.sql").read_text())
            db.execute("INSERT INTO pin VALUES ('calculator', 'add', x'07')")
            db.execute("PRAGMA application_id = 0x41474842")
            db.execute("PRAGMA user_version = 1")
        async with open_store(home) as store:
            assert (await store.load()).pins == {("calculator", "add"): Pin(b"\x07", b"")}
        assert self.version(home) == KNOWN

    async def test_a_step_that_fails_changes_nothing(self, home, older, later):
        later.write_text("CREATE TABLE later (x INTEGER) STRICT; SELECT nonsense FROM nowhere;")
        assert await refusal(home) == "The database failed: OperationalError."
        assert self.version(home) == KNOWN
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            assert db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'later'").fetchall() == []


class TestFile:
    async def test_a_newer_schema_is_refused(self, home):
        async with open_store(home):
            pass
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            db.execute("PRAGMA user_version = 99")
        assert "written by a newer AgentHub (its schema is 99" in await refusal(home)
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (99,)

    async def test_another_programs_database_is_refused_and_left_as_it_is(self, home):
        home.mkdir(mode=0o700)
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            db.execute("CREATE TABLE theirs (x)")
        (home / "agenthub.db").chmod(0o600)
        before = (home / "agenthub.db").read_bytes()
        assert await refusal(home) == "The file is a database of another program."
        assert (home / "agenthub.db").read_bytes() == before

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "The database file is empty"),
            (b"not a database, " * 400, "The file is not a database."),
        ],
    )
    async def test_a_damaged_file_is_refused_and_left_as_it_is(self, home, content, words):
        home.mkdir(mode=0o700)
        file = home / "agenthub.db"
        file.write_bytes(content)
        file.chmod(0o600)
        assert (await refusal(home)).startswith(words)
        assert file.read_bytes() == content

    async def test_a_damaged_page_is_refused(self, home):
        async with open_store(home) as store:
            for n in range(50):
                await store.put_list(f"server-{n}", os.urandom(1_000), {})
        file = home / "agenthub.db"
        data = bytearray(file.read_bytes())
        page = data.index(b"server-25") // PAGE_BYTES * PAGE_BYTES
        data[page : page + PAGE_BYTES] = b"\xff" * PAGE_BYTES
        file.write_bytes(data)
        assert await refusal(home) == "The database file is damaged."
        assert file.read_bytes() == data

    async def test_a_file_that_is_gone_while_its_log_is_there_is_refused(self, home):
        async with open_store(home):
            pass
        (home / "agenthub.db").rename(home / "elsewhere")
        (home / "agenthub.db-wal").write_bytes(b"x")
        (home / "agenthub.db-wal").chmod(0o600)
        assert "The database file is gone, but agenthub.db-wal is there" in await refusal(home)

    async def test_a_file_that_is_gone_is_made_anew_but_not_silently(self, home, caplog):
        async with open_store(home):
            pass
        (home / "agenthub.db").unlink()
        async with open_store(home):
            pass
        assert "The database was gone" in caplog.text

    async def test_a_first_start_warns_of_nothing(self, home, caplog):
        async with open_store(home):
            pass
        assert caplog.text == ""

    async def test_what_a_start_left_half_made_is_made_again(self, home):
        home.mkdir(mode=0o700)
        (home / "agenthub.db.new").write_bytes(b"half")
        async with open_store(home) as store:
            await store.load()
        assert not (home / "agenthub.db.new").exists()

    @pytest.mark.parametrize(
        "what", ["load_extension('/tmp/x')", "name FROM pragma_table_info('client_key')"]
    )
    async def test_triggers_in_a_planted_file_cannot_run_functions(self, home, what):
        """A55. SQLite refuses the first of itself, the second only if the schema is not trusted."""
        async with open_store(home):
            pass
        with closing(sqlite3.connect(home / "agenthub.db")) as db:
            db.execute(f"CREATE TRIGGER planted AFTER INSERT ON listing BEGIN SELECT {what}; END")
        async with open_store(home) as store:
            with pytest.raises(StorageFailed):
                await store.put_list("a", b"{}", {})


class TestHome:
    def test_two_hubs_on_one_home_are_refused_naming_the_first(self, home):
        hub = subprocess.Popen(
            [sys.executable, "-c", HUB, home, "1000000000"],
            stdout=subprocess.PIPE, text=True, env=python_env(),
        )  # fmt: skip
        with hub:
            hub.stdout.readline()
            words = asyncio.run(refusal(home))
            assert f"Another hub (process {hub.pid}) runs with {home}" in words
            hub.terminate()
            hub.stdout.read()
        assert hub.returncode == 0

    async def test_a_home_of_our_own_is_closed_to_others(self, home):
        home.mkdir(mode=0o755)
        home.chmod(0o755)
        async with open_store(home):
            assert home.stat().st_mode & 0o777 == 0o700

    async def test_a_home_that_others_may_write_in_is_refused(self, home):
        home.mkdir()
        home.chmod(0o777)
        assert f"chmod 700 {home}" in await refusal(home)
        assert list(home.iterdir()) == []

    async def test_a_file_that_others_may_read_is_refused(self, home):
        async with open_store(home):
            pass
        (home / "agenthub.db").chmod(0o644)
        assert f"chmod 600 {home / 'agenthub.db'}" in await refusal(home)

    async def test_a_home_that_is_a_file_is_refused(self, home):
        home.write_text("")
        assert "cannot be used" in await refusal(home)

    async def test_the_endpoint_survives_odd_names_of_the_home(self, tmp_path):
        home = tmp_path / "a b?c#d%41'"
        async with open_store(home) as store:
            await store.put_endpoint(Endpoint(name="a", url="http://x/"))
        async with open_store(home) as store:
            assert len((await store.load()).endpoints) == 1
        assert (home / "agenthub.db").exists()


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ("3.6.23", False), ("3.40.1", True), ("3.44.5", True), ("3.44.6", False), ("3.45.0", True),
        ("3.50.6", True), ("3.50.7", False), ("3.51.0", True), ("3.51.2", True), ("3.51.3", False),
        ("3.53.0", False),
    ],
)  # fmt: skip
def test_it_is_known_which_sqlite_resets_its_wal(version, has_it):
    assert database_process.resets_wal(version) is has_it


async def test_an_sqlite_that_resets_its_wal_is_told_at_the_start_once(home, caplog, monkeypatch):
    monkeypatch.setattr(database_process, "resets_wal", lambda _: True)
    caplog.set_level("INFO")
    async with open_store(home) as store:
        os.kill(store.process.pid, signal.SIGKILL)
        await store.load()
    assert caplog.text.count("no other program should") == 1
