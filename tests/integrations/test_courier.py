"""Lines that wait on disk, and their way to a real server that refuses, hangs or is away."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.serve_hub import until

from agenthub.integrations import courier as module
from agenthub.integrations.courier import Courier
from agenthub.integrations.spool import LINE_BYTES, LINES_MAX, Spool

MIB = 1 << 20
WRITER = """
import json, pathlib, sys, time
from agenthub.integrations.spool import Spool
spool = Spool(pathlib.Path(sys.argv[1]), 1 << 20)
number = 0
while True:
    spool.add(json.dumps({"number": number}).encode())
    number += 1
    print(number, flush=True)
    time.sleep(0.001)
"""


FORKS = """
import os, pathlib, sys
from agenthub.integrations.courier import Courier
from agenthub.integrations.spool import Spool
courier = Courier(Spool(pathlib.Path(sys.argv[1]), 1 << 20), sys.argv[2], "/api/x", "k")
courier.add(b'{"number": 1}')
child = os.fork()
courier.add(b'{"number": 2}' if child == 0 else b'{"number": 3}')
if child == 0:
    courier.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


class Hub:
    """Takes arrays, or says no."""

    def __init__(self):
        self.status, self.came, self.asked = 200, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.asked.append((self.path, self.headers["authorization"]))
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if outer.status == 200:
                    outer.came += body
                self.send_response(outer.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def numbers(self):
        return [one["number"] for one in self.came]


@pytest.fixture
def hub():
    with closing(Hub()) as hub:
        yield hub


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "GATHER_S", 0.02)
    monkeypatch.setattr(module, "PAUSES_S", (0.05, 0.1))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "spool"


@pytest.fixture
def courier(hub, folder):
    made = Courier(Spool(folder, MIB), hub.url, "/api/x", "the-key")
    yield made
    made.close()


def line(number, **more):
    return json.dumps({"number": number, **more}).encode()


def left(folder, kind="jsonl"):
    return sorted(folder.glob(f"*.{kind}"))


def test_lines_are_delivered_in_order_with_the_key_and_are_gone_then(hub, folder, courier):
    for number in range(3 * LINES_MAX):
        courier.add(line(number))
    until(lambda: len(hub.came) == 3 * LINES_MAX, what="all lines")
    assert hub.numbers == list(range(3 * LINES_MAX))
    assert set(hub.asked) == {("/api/x", "Bearer the-key")}
    until(lambda: not left(folder), what="an empty spool")


def test_what_waits_is_for_its_owner_alone_and_the_key_is_not_in_it(hub, folder):
    spool = Spool(folder, MIB)
    spool.add(line(1))
    (file,) = left(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for batch in spool.batches():
        assert b"key" not in b"".join(batch.lines())
        batch.close()


@pytest.mark.parametrize("status", [500, 503, 429, 401, 403, 404])
def test_a_hub_that_says_no_gets_it_later(hub, folder, courier, status, caplog):
    hub.status = status
    courier.add(line(1))
    until(lambda: len(hub.asked) > 3, what="some tries")
    assert courier.problem == f"HTTP {status}"
    assert len([one for one in caplog.records if "they wait" in one.message]) == 1
    hub.status = 200
    until(lambda: hub.numbers == [1], what="the line")
    until(lambda: not courier.problem, what="no problem")


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_can_never_be_taken_is_put_aside_and_told(hub, folder, courier, status, caplog):
    hub.status = status
    courier.add(line(1))
    until(lambda: left(folder, "refused"), what="a file aside")
    assert not left(folder)
    hub.status = 200
    courier.add(line(2))
    until(lambda: hub.numbers == [2], what="the next line")
    assert "put aside" in caplog.text


def test_a_hub_that_is_away_loses_nothing_and_holds_nobody_up(hub, folder):
    with closing(Hub()) as gone:
        pass
    courier = Courier(Spool(folder, MIB), gone.url, "/api/x", "k")
    for number in range(10):
        courier.add(line(number))
    until(lambda: courier.problem == "ConnectionRefusedError", what="a problem")
    courier.close()
    other = Courier(Spool(folder, MIB), hub.url, "/api/x", "k")
    other.start()
    until(lambda: sorted(hub.numbers) == list(range(10)), what="what the first one left")
    other.close()


def test_what_a_killed_process_wrote_is_delivered_by_the_next(hub, folder):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with writer:
        told = [int(writer.stdout.readline()) for _ in range(50)][-1]
        spool = Spool(folder, MIB)
        assert list(spool.batches()) == [], "it is the living one's"
        os.kill(writer.pid, signal.SIGKILL)
        told = max([told, *map(int, writer.stdout.read().split())])
    (file,) = left(folder)
    with file.open("ab") as cut:
        cut.write(b'{"number": 1')
    courier = Courier(spool, hub.url, "/api/x", "k")
    courier.start()
    until(lambda: len(hub.came) >= told, what="its lines")
    courier.close()
    assert hub.numbers[:told] == list(range(told))


def test_two_deliver_from_one_folder_and_nothing_twice(hub, folder):
    spools = [Spool(folder, MIB) for _ in range(2)]
    couriers = [Courier(spool, hub.url, "/api/x", "k") for spool in spools]
    for number in range(400):
        couriers[number % 2].add(line(number))
    until(lambda: len(hub.came) >= 400, what="all lines")
    for one in couriers:
        one.close()
    assert sorted(hub.numbers) == list(range(400))


def test_a_child_process_delivers_for_itself(hub, folder):
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(folder), hub.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: sorted(hub.numbers) == [1, 2, 3], what="all of both")
    assert left(folder) == []


def test_a_full_spool_drops_what_is_new_says_so_once_and_keeps_what_it_has(folder, caplog):
    spool = Spool(folder, 4_000)
    courier = Courier(spool, "http://127.0.0.1:1", "/x", "k")
    for number in range(3 * LINES_MAX):
        courier.add(line(number, text="x" * 100))
    courier.close()
    assert spool.dropped >= LINES_MAX
    assert len([one for one in caplog.records if "takes no more" in one.message]) == 1
    assert sum(file.stat().st_size for file in left(folder)) < 300_000
    assert not spool.add(b"x" * (LINE_BYTES + 1))


def test_a_spool_that_cannot_be_written_costs_its_caller_nothing(tmp_path):
    folder = tmp_path / "spool"
    spool = Spool(folder, MIB)
    folder.rmdir()
    courier = Courier(spool, "http://127.0.0.1:1", "/x", "k")
    courier.add(line(1))
    assert spool.dropped == 1
    courier.close()


@pytest.mark.parametrize("url", ["", "hub", "ftp://hub", "http://", "http://user:pass@hub"])
def test_an_address_that_cannot_be_is_refused_and_not_repeated(folder, url):
    with pytest.raises(ValueError, match="expected http://host:port") as caught:
        Courier(Spool(folder, MIB), url, "/x", "k")
    assert "pass" not in str(caught.value)


def test_without_litellm_it_is_said_what_is_missing():
    code = "import agenthub.integrations.litellm"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])},
    )  # fmt: skip
    assert "install litellm" in done.stderr
