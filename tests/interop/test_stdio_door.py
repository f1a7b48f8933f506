"""`agenthub stdio` for clients that only know how to start a program."""

import pytest
from support.interop_clients import CLIENTS, RealClient, Wish, environment
from support.real_hub import AGENTHUB, RealHub

STARTERS = [client for client in CLIENTS if client.program == "client_mcp2.py"]


@pytest.mark.parametrize("client", STARTERS, ids=lambda client: client.name)
def test_a_client_that_starts_the_hub_gets_its_servers(client: RealClient, tmp_path):
    home = tmp_path / "home"
    hub = RealHub(home, environment())
    hub.command("add", "time", "--", "mcp-server-time", "--local-timezone", "UTC")
    command = [str(AGENTHUB), "stdio", "--no-demo", "--home", str(home)]
    calls = [("time__get_current_time", {"timezone": "UTC"})]
    told = client.do(Wish(command=command, env=environment(), calls=calls))
    assert told["version"] == client.version
    assert told["tools"] == ["time__convert_time", "time__get_current_time"]
    assert '"UTC"' in told["answers"][0]["text"]


@pytest.mark.parametrize("client", STARTERS, ids=lambda client: client.name)
def test_beside_a_running_hub_it_is_that_hub_s_door(client: RealClient, tmp_path):
    with RealHub(tmp_path / "home", environment()) as hub:
        hub.command("add", "time", "--", "mcp-server-time", "--local-timezone", "UTC")
        hub.ready("time")
        command = [str(AGENTHUB), "stdio", "--no-demo", "--home", str(hub.home)]
        calls = [("time__get_current_time", {"timezone": "UTC"})]
        told = client.do(Wish(command=command, env=environment(), calls=calls))
        assert '"UTC"' in told["answers"][0]["text"]
