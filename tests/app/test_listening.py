"""The life of a hub, in this process: what its parts are told, and in which order it ends."""

import asyncio
import json
import os
import signal
import sys
from contextlib import closing

import httpx2
import pytest
from support.serve_hub import config

from agenthub.app import serving
from agenthub.app.listening import open_listening
from agenthub.app.stop import Stop
from agenthub.domain.errors import StorageFailed
from agenthub.settings import Options

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AGENTHUB")]:
        monkeypatch.delenv(name)
    return tmp_path / "home"


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - processes have no events
            await asyncio.sleep(0.01)


async def get(url, home, path):
    token = (home / "admin-token").read_text().strip()
    async with httpx2.AsyncClient(base_url=url) as client:
        return await client.get(path, headers={"authorization": f"Bearer {token}"})


async def test_it_serves_from_its_opening_to_its_end(home):
    with closing(Stop()) as stop:
        async with open_listening(Options(home, port=0), stop) as listening:
            assert (await get(listening.url, home, "/readyz")).status_code == 200
            assert json.loads((home / "hub.json").read_text())["url"] == listening.url
            assert listening.is_new
        with pytest.raises(httpx2.TransportError):
            await get(listening.url, home, "/readyz")
        assert not (home / "hub.json").exists()


async def test_what_is_so_now_stands_in_the_metrics(home):
    config(
        home,
        "endpoints:\n"
        f"  good: {json.dumps({'command': CALCULATOR})}\n"
        "  held: {command: [x], enabled: false}\n",
    )
    with closing(Stop()) as stop:
        async with open_listening(Options(home, port=0), stop) as listening:
            await until(lambda: listening.hub.catalog.get("good").listing)
            breaker = listening.hub.catalog.get("held").lane.breaker
            breaker.force_open(listening.hub.clock.now(), "test", None)
            page = (await get(listening.url, home, "/metrics")).text
            for line in (
                'agenthub_server_up{endpoint="good"} 1',
                'agenthub_server_up{endpoint="held"} 0',
                'agenthub_breaker_open{endpoint="good"} 0',
                'agenthub_breaker_open{endpoint="held"} 1',
                "agenthub_calls_in_flight 0",
                "agenthub_log_rows_waiting 0",
                "agenthub_log_rows_dropped 0",
                'agenthub_breaker_transitions_total{endpoint="held",to="forced_open"} 1',
            ):
                assert line in page.splitlines(), page


async def test_a_secret_is_filled_in_for_the_server_and_shown_to_nobody(home, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hush-hush")
    code = "import os, sys; sys.stderr.write('got ' + os.environ['X'][::-1]); input()"
    entry = {"command": [sys.executable, "-c", code], "env": {"X": "${MY_SECRET}"}}
    missing = {"command": ["x"], "env": {"X": "${NOT_SET}"}}
    config(home, f"endpoints:\n  a: {json.dumps(entry)}\n  b: {json.dumps(missing)}\n")
    with closing(Stop()) as stop:
        async with open_listening(Options(home, port=0), stop) as listening:
            await until(lambda: listening.hub.catalog.get("a").state.stderr)
            assert listening.hub.catalog.get("a").state.stderr == ("got hsuh-hsuh",)
            shown = (await get(listening.url, home, "/api/endpoints")).text
            assert "hush-hush" not in shown
            assert "${MY_SECRET}" in shown
            assert "the environment variable NOT_SET is not set" in shown
    assert b"hush-hush" not in (home / "agenthub.db").read_bytes()


class TestServing:
    async def serve(self, home, *signals):
        """The banner of a hub that gets these signals once it is up."""
        task = asyncio.ensure_future(serving._serve(Options(home, port=0)))
        await until((home / "hub.json").exists)
        await asyncio.sleep(0.3)
        for number in signals:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.05)
        await asyncio.wait_for(task, 10)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_ends_it_in_order(self, home, number, capsys):
        await self.serve(home, number)
        assert "AgentHub listens on http://127.0.0.1:" in capsys.readouterr().out

    async def test_a_hang_up_reads_the_settings_and_ends_nothing(self, home, caplog):
        caplog.set_level("INFO", "agenthub")
        await self.serve(home, signal.SIGHUP, signal.SIGTERM)
        assert [r.message for r in caplog.records if "Settings" in r.message] == ["Settings taken"]

    async def test_a_hang_up_because_the_terminal_is_gone_ends_it(self, home, monkeypatch):
        answers = [True, False]
        monkeypatch.setattr(os, "isatty", lambda fd: answers.pop(0) if answers else False)
        await self.serve(home, signal.SIGHUP)

    async def test_a_second_ctrl_c_ends_it_at_once(self, monkeypatch):
        ended = []
        monkeypatch.setattr(os, "_exit", ended.append)
        with closing(Stop()) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(stop.wait(), 5)
            assert ended == []
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            await until(lambda: ended == [130])

    async def test_without_its_first_key_it_still_shows_the_banner(self, home, monkeypatch, capsys):
        async def fail(self, name):
            raise StorageFailed("The disk is full.")

        monkeypatch.setattr("agenthub.keys.KeyRing.create", fail)
        await self.serve(home, signal.SIGTERM)
        assert "Bearer ${AGENTHUB_KEY}" in capsys.readouterr().out
