"""Real clients whose connection breaks in the middle of a call: they come back by themselves."""

import sys

import pytest
from support.cutter import Cutter
from support.interop_clients import CLIENTS, LEGACY, ROOT, RealClient, Wish
from support.real_hub import RealHub

RESUMING = [client for client in CLIENTS if client.version == LEGACY]
PATIENT = [sys.executable, str(ROOT / "tests" / "support" / "stdio_servers" / "patient.py")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with RealHub(tmp_path_factory.mktemp("lost") / "home") as hub:
        hub.command("add", "patient", "--", *PATIENT)
        hub.ready("patient")
        yield hub


@pytest.mark.parametrize("client", RESUMING, ids=lambda client: client.name)
def test_a_client_that_lost_its_stream_comes_back_for_the_answer(client: RealClient, hub):
    port = int(hub.url.rpartition(":")[2])
    calls = [("work", {"seconds": 0.5, "steps": 2})]
    with Cutter(port, b"notifications/progress", times=2) as cutter:
        url = f"http://127.0.0.1:{cutter.port}/mcp/patient"
        told = client.do(Wish(url=url, key=hub.key(), calls=calls, progress=True))
    assert cutter.cuts == 2
    assert told["answers"] == [{"text": "done", "error": False}]
