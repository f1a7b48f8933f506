"""A way to a hub that breaks: it cuts every connection once something has passed through it."""

import socket
import threading
from contextlib import closing, suppress
from typing import Self


class Cutter:
    """`with Cutter(port, b"progress", times=2) as cutter:`, then talk to `cutter.port`."""

    def __init__(self, port: int, at: bytes, times: int) -> None:
        self._target = port
        self._at = at
        self._left = times
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._own, self._theirs = (b"127.0.0.1:%d" % one for one in (self.port, port))
        """What stands in `Host`: the hub takes none but its own."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                hub = socket.create_connection(("127.0.0.1", self._target))
                for source, sink in ((client, hub), (hub, client)):
                    way = threading.Thread(target=self._carry, args=(source, sink), daemon=True)
                    way.start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with closing(source), closing(sink), suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data.replace(self._own, self._theirs))
                if self._at in data and self._left:
                    self._left -= 1
                    self.cuts += 1
                    for one in (source, sink):
                        one.shutdown(socket.SHUT_RDWR)
                    return
