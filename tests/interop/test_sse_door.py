"""The hub's door for HTTP+SSE of 2024-11-05, and clients that still speak it."""

import pytest
from support.interop_clients import LEGACY, RealClient, Wish, environment
from support.real_hub import RealHub

TS1 = RealClient("TypeScript v1, HTTP+SSE", "client_ts1_sse.mjs", "legacy", LEGACY)


@pytest.mark.parametrize(("path", "prefix"), [("/sse", "time__"), ("/sse/time", "")])
def test_the_typescript_client_is_served(path, prefix, tmp_path):
    with RealHub(tmp_path / "home", environment()) as hub:
        hub.command("add", "time", "--", "mcp-server-time", "--local-timezone", "UTC")
        hub.ready("time")
        calls = [(f"{prefix}get_current_time", {"timezone": "UTC"})]
        told = TS1.do(Wish(url=hub.url + path, key=hub.key(), calls=calls))
        assert told["version"] == TS1.version
        assert f"{prefix}get_current_time" in told["tools"]
        assert '"UTC"' in told["answers"][0]["text"]
