"""Servers that hang in three ways, and processes of none of them can be waited for."""

import socket
import sys
import threading
from contextlib import contextmanager

from support.stdio_hub import SERVERS


@contextmanager
def silent_tcp():
    """Accepts and never says a word; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def accept():
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/mcp"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for one in held:
            one.close()


@contextmanager
def deaf_tcp():
    """Never accepts: its queue is full, so that connecting hangs; gives its URL."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        held = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            held.append(one)
        yield f"http://127.0.0.1:{port}/mcp"
        for one in held:
            one.close()


def hung_command():
    """A child that reads nothing and never ends by itself."""
    return [sys.executable, "-S", str(SERVERS / "hung.py")]
