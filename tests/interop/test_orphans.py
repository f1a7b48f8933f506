"""What a hub that is killed leaves behind of a server that `npx` started: nothing."""

from pathlib import Path

from support.interop_clients import INSTALLED, environment
from support.real_hub import RealHub, family, gone, wait_for
from support.stdio_hub import alive


def test_kill_9_of_the_hub_leaves_no_grandchild_of_npx(tmp_path):
    npx = ("npx", "--prefix", str(INSTALLED / "npm"), "--no-install", "mcp-server-everything")
    with RealHub(tmp_path / "home", environment()) as hub:
        hub.command("add", "everything", "--", *npx)
        hub.ready("everything")
        assert "Echo: hi" in hub.command("call", "everything", "echo", "--arg", "message=hi")
        below = family(hub.pid) - {hub.pid}
        # The guardian, npx, a shell or not, node: the wrapper and its child at least.
        nodes = {pid for pid in below if b"mcp-server-everything" in command_line(pid)}
        assert len(nodes) >= 2
        assert all(map(alive, below))
        hub.kill()
        wait_for(lambda: gone(below), 10)


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
