"""Where the hub listens, who it refuses to listen for, and how it stops."""

import asyncio
import socket

import pytest
from support.edge_hub import open_house, settings
from support.stdio_hub import until

from agenthub.domain.errors import BadSetting


async def test_port_0_is_any_free_port():
    async with open_house() as one, open_house() as other:
        assert one.port != other.port
        assert (await one.ask(one.head(body=b"{}"))).status == 200


async def test_a_port_that_is_taken_is_told_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSetting) as caught:
            async with open_house(port=port):
                raise AssertionError
    assert f"server.port: 127.0.0.1:{port} is in use" in str(caught.value)
    assert "--port" in str(caught.value)


async def test_a_second_hub_does_not_share_the_port_of_the_first():
    async with open_house() as house:
        with pytest.raises(BadSetting, match="in use"):
            async with open_house(port=house.port):
                raise AssertionError


async def test_a_port_is_free_again_after_the_stop():
    async with open_house() as house:
        assert (await house.ask(house.head(body=b"{}"))).status == 200
    async with open_house(port=house.port) as again:
        assert (await again.ask(again.head(body=b"{}"))).status == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_of_this_machine_is_named(host):
    with pytest.raises(BadSetting, match=r"^server\.host: .*" + host):
        async with open_house(host=host):
            raise AssertionError


async def test_a_port_for_root_alone_is_told(monkeypatch):
    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(BadSetting, match=r"server\.port: 80 is for root only"):
        async with open_house(port=80):
            raise AssertionError


async def test_other_machines_are_not_let_in_without_a_key():
    """T7."""
    with pytest.raises(BadSetting, match=r"anonymous_loopback"):
        async with open_house(host="0.0.0.0", anonymous=True):
            raise AssertionError


async def test_listening_for_other_machines_needs_a_key_and_is_warned_of(caplog):
    async with open_house(host="0.0.0.0") as house:
        assert "without TLS" in caplog.text
        assert (await house.ask(house.head(key=None, body=b"{}"))).status == 401
        assert (await house.ask(house.head(body=b"{}"))).status == 200


async def test_loopback_is_not_warned_of(caplog):
    async with open_house(anonymous=True) as house:
        assert caplog.text == ""
        answer = await house.ask(house.head(key=None, body=b"{}"))
        assert answer.json["caller"] == "anonymous"


async def test_the_name_localhost_is_loopback():
    async with open_house(host="localhost", anonymous=True) as house:
        assert house.port > 0


# ---------------------------------------------------------------- the stop


async def test_new_requests_of_a_stopping_hub_are_told_to_come_again():
    """F40."""
    async with open_house() as house, house.client() as client:
        assert (await client.ask(house.head(body=b"{}"))).status == 200
        house.listener.stop_accepting()
        answer = await client.ask(house.head(body=b"{}"))
        assert (answer.status, answer["retry-after"], answer["connection"]) == (503, "1", "close")
        assert answer.json["code"] == "stopping"
        assert await client.ended() == b""
        assert (await house.ask(house.head("GET /api/endpoints HTTP/1.1"))).status == 503


async def test_an_answer_that_is_on_comes_to_its_end():
    async with open_house() as house, house.client() as client, house.client() as idle:
        assert (await idle.ask(house.head(body=b"{}"))).status == 200
        await client.send(house.head("POST /mcp/hold HTTP/1.1", body=b"{}"))
        await until(lambda: house.doors.held)
        closing = asyncio.ensure_future(house.listener.close(5_000))
        assert await idle.ended() == b""
        assert not closing.done()
        house.doors.held[0].answer(200, b'"late"')
        answer = await client.answer()
        assert (answer.json, answer["connection"]) == ("late", "close")
        await asyncio.wait_for(closing, 2)
        assert house.doors.gone == []


async def test_an_asgi_answer_that_is_on_comes_to_its_end(monkeypatch):
    async with open_house() as house, house.client() as client:
        may_go_on = asyncio.Event()

        async def calls(which):
            await may_go_on.wait()
            return house.hub.store.page

        house.hub.store.calls = calls
        await client.send(house.head("GET /api/calls HTTP/1.1"))
        await until(lambda: house.listener._state.tasks)
        closing = asyncio.ensure_future(house.listener.close(5_000))
        await asyncio.sleep(0.05)
        assert not closing.done()
        may_go_on.set()
        assert (await client.answer()).status == 200
        await asyncio.wait_for(closing, 2)


async def test_what_does_not_end_in_time_is_ended():
    async with open_house() as house, house.client() as client:
        await client.send(house.head("POST /mcp/stream HTTP/1.1", body=b"{}"))
        await until(lambda: house.doors.held)
        await asyncio.wait_for(house.listener.close(100), 2)
        await until(lambda: house.doors.gone)
        await client.ended()


@pytest.mark.parametrize("path", ["/mcp/stream", "/api/events"])
async def test_a_stream_of_events_does_not_hold_the_stop_up(path):
    async with open_house() as house, house.client() as client:
        await client.send(house.head(f"GET {path} HTTP/1.1"))
        await client.answer(head_only=True, seconds=10)
        await asyncio.wait_for(house.listener.close(20_000), 3)
        await client.ended()
        assert not house.listener._state.tasks


async def test_a_task_that_goes_on_is_cancelled_at_the_end():
    async with open_house() as house, house.client() as client:

        async def calls(which):
            await asyncio.Event().wait()

        house.hub.store.calls = calls
        await client.send(house.head("GET /api/calls HTTP/1.1"))
        await until(lambda: house.listener._state.tasks)
        await asyncio.wait_for(house.listener.close(50), 3)
        assert not house.listener._state.tasks


async def test_closing_twice_or_before_the_start_does_nothing():
    async with open_house() as house:
        await house.listener.close(0)
        await house.listener.close(0)
        house.listener.stop_accepting()
    other = type(house)(settings())
    other.listener.stop_accepting()
    await other.listener.close(0)
