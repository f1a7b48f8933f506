"""`agenthub stdio` in this process, over pipes: as the hub, and as a way to one."""

import asyncio
import json
import os
from contextlib import asynccontextmanager, closing

import pytest
from support.claims import asked, claim

from agenthub.app import one_client, relay
from agenthub.app.hub_file import find
from agenthub.app.listening import open_listening
from agenthub.app.relay import NAME, Nowhere, open_relay
from agenthub.app.stop import Stop
from agenthub.domain.errors import StorageFailed, UnknownTarget, UpstreamUnavailable
from agenthub.domain.span import SECOND
from agenthub.domain.view import Renamed, View
from agenthub.inbound.mcp.transport.stdio import StdioDoor
from agenthub.outbound.home import only_hub, secure_home
from agenthub.ports import CallFilter
from agenthub.settings import Options

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AGENTHUB")]:
        monkeypatch.delenv(name)
    return tmp_path / "home"


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - processes have no events
            await asyncio.sleep(0.01)


@asynccontextmanager
async def hub_of(home):
    """A hub that listens, in this process."""
    with closing(Stop()) as stop:
        async with open_listening(Options(home, port=0), stop) as listening:
            await until(lambda: listening.hub.catalog.get("calculator").listing)
            yield listening
            # Who looks whether a hub listens connects; the loop has to see that it went again.
            await asyncio.sleep(0.05)


class Pipes:
    """The client's ends of stdin and stdout."""

    def __init__(self, monkeypatch):
        self._stdin, self._to = os.pipe()
        self._from, self._stdout = os.pipe()
        made = lambda hub, face: StdioDoor(hub, face, self._stdin, self._stdout)  # noqa: E731
        monkeypatch.setattr(one_client, "StdioDoor", made)
        self._lines = os.fdopen(self._from, "rb")

    async def ask(self, method, **params):
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
        os.write(self._to, json.dumps(message).encode() + b"\n")
        line = await asyncio.wait_for(asyncio.to_thread(self._lines.readline), 10)
        return json.loads(line)["result"]

    async def add(self, a, b):
        answer = await self.ask(
            "tools/call", name="calculator__add", arguments={"a": a, "b": b}
        )  # fmt: skip
        return answer["structuredContent"]["result"]

    def end(self):
        os.close(self._to)


@pytest.fixture
def pipes(monkeypatch):
    pipes = Pipes(monkeypatch)
    yield pipes
    pipes._lines.close()


async def test_alone_it_is_the_hub_and_can_be_found_by_others(home, pipes):
    running = asyncio.ensure_future(one_client._serve(Options(home), None))
    assert await pipes.add(2, 3) == 5
    assert find(home).pid == os.getpid()
    pipes.end()
    await asyncio.wait_for(running, 10)
    assert find(home) is None


async def test_beside_a_hub_it_is_a_way_to_it(home, pipes):
    async with hub_of(home) as listening:
        await (way := listening.hub).catalog.get("calculator").test(5 * 10**9)
        running = asyncio.ensure_future(
            one_client._relay(Options(home), find(home) or pytest.fail("no hub"), None, FakeStop())
        )
        assert await pipes.add(20, 22) == 42
        pipes.end()
        await asyncio.wait_for(running, 10)
        assert way.metrics.totals() == (1, 0)


VIEW = View("sums", names={"calculator_plus": Renamed("calculator__add")})


async def test_beside_a_hub_it_is_a_way_to_a_view(home, pipes):
    async with hub_of(home) as listening:
        hub = listening.hub
        await hub.catalog.get("calculator").test(5 * 10**9)
        await hub.catalog.views.add(VIEW)
        running = asyncio.ensure_future(
            one_client._relay(
                Options(home), find(home) or pytest.fail("no hub"), "sums", FakeStop()
            )
        )
        listed = await pipes.ask("tools/list")
        assert [tool["name"] for tool in listed["tools"]] == ["calculator_plus"]
        answer = await pipes.ask("tools/call", name="calculator_plus", arguments={"a": 1, "b": 2})
        assert answer["structuredContent"]["result"] == 3
        pipes.end()
        await asyncio.wait_for(running, 10)


async def test_alone_it_is_the_hub_with_one_view(home, pipes):
    home.mkdir(mode=0o700)
    text = "views: {sums: {names: {plus: {target: calculator__add}}}}"
    (home / "agenthub.yaml").write_text(text)
    (home / "agenthub.yaml").chmod(0o600)
    running = asyncio.ensure_future(one_client._serve(Options(home), "sums"))
    listed = await pipes.ask("tools/list")
    assert [tool["name"] for tool in listed["tools"]] == ["plus"]
    pipes.end()
    await asyncio.wait_for(running, 10)


async def test_a_view_that_is_not_there_is_told_with_those_that_are(home):
    with pytest.raises(UnknownTarget, match="no view named 'none'; `agenthub view add` makes one"):
        await one_client._serve(Options(home), "none")
    async with hub_of(home) as listening:
        await listening.hub.catalog.views.add(VIEW)
        await listening.hub.catalog.views.add(View("all", allow=("*",)))
        with pytest.raises(UnknownTarget, match="no view named 'none'; there are: all, sums"):
            await one_client._serve(Options(home), "none")


async def test_a_hub_that_does_not_tell_its_views_is_told_of(home):
    with pytest.raises(UpstreamUnavailable, match=":9 did not tell its views"):
        await asyncio.to_thread(one_client._views, "http://127.0.0.1:9", "t")
    async with hub_of(home) as listening:
        with pytest.raises(UpstreamUnavailable, match="did not tell its views: HTTP 401"):
            await asyncio.to_thread(one_client._views, listening.url, "wrong")


class FakeStop:
    async def wait(self):
        await asyncio.Event().wait()


async def test_a_hub_that_took_the_home_a_moment_ago_is_waited_for(home):
    assert await one_client._other_hub(home) is None
    async with hub_of(home) as listening:
        (home / "hub.json").rename(home / "aside")
        waiting = asyncio.ensure_future(one_client._other_hub(home))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        (home / "aside").rename(home / "hub.json")
        assert (await asyncio.wait_for(waiting, 5)).url == listening.url


async def test_one_that_never_listens_is_not_waited_for_longer_than_is_said(home, monkeypatch):
    monkeypatch.setattr(one_client, "OTHER_S", 0.2)
    secure_home(home)
    with only_hub(home):
        assert await one_client._other_hub(home) is None


async def test_a_home_that_cannot_be_used_is_refused(home):
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(StorageFailed, match="chmod 700"):
        await one_client._serve(Options(home), None)


async def test_without_the_token_there_is_no_way(home):
    async with hub_of(home):
        (home / "admin-token").unlink()
        with pytest.raises(StorageFailed, match="is gone"):
            await one_client._serve(Options(home), None)


async def test_it_follows_the_hub_to_another_address(home, monkeypatch):
    monkeypatch.setattr(relay, "LOOK_S", 0.05)
    settings = Options(home).load({})
    async with hub_of(home) as first:
        token = (home / "admin-token").read_text().strip()
        opened = open_relay(settings, home, "http://127.0.0.1:9", token)
        monkeypatch.setattr(relay, "SETTLE", 0)
        async with opened as small:
            await until(lambda: small.catalog.get(NAME).endpoint.url == f"{first.url}/mcp")
            await until(lambda: small.catalog.get(NAME).listing)
            assert small.catalog.get(NAME).lane.breaker.state.value == "forced_closed"


async def test_a_hub_that_lets_nobody_in_is_told_of(home, monkeypatch, caplog):
    monkeypatch.setattr(relay, "SETTLE", SECOND // 5)
    async with hub_of(home) as hub, open_relay(hub.hub.settings, home, hub.url, "wrong"):
        (told,) = [record for record in caplog.records if "no tools" in record.message]
        assert "HTTP 401" in told.problem


async def test_it_keeps_nothing():
    nowhere = Nowhere()
    assert (await nowhere.calls(CallFilter())).rows == ()
    assert await nowhere.transitions("x", 1) == ()
    assert (await nowhere.load()).endpoints == ()
    assert [await asked(nowhere, claim()) for _ in range(2)] == [None, None]
