"""The line to the database process: what is written in one turn of the loop goes out together."""

import asyncio
import marshal
import struct
from collections.abc import Callable
from typing import Any, Final, cast

FRAME: Final = struct.Struct("<IB")
PIECE: Final = 32
"""So many frames go out before the turn's end, so that the database works on them meanwhile: with
100 callers, else, either side would wait for the other one half of the time."""


class Line(asyncio.Protocol):
    """One connection to one database process."""

    def __init__(self, heard: Callable[[tuple[Any, ...]], None]) -> None:
        self._heard = heard
        self._received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()
        """Done when the process has closed its end."""
        self.transport: asyncio.Transport | None = None
        self._frames: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, not its classes.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        while len(received) - start >= FRAME.size:
            length, _ = FRAME.unpack_from(received, start)
            body = start + FRAME.size
            if len(received) - body < length:
                break
            start = body + length
            # The other end is a program of the hub's own, which it started itself.
            self._heard(marshal.loads(bytes(memoryview(received)[body:start])))  # noqa: S302
        del received[:start]

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.lost.done():
            self.lost.set_result(None)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def write(self, frame: bytes) -> None:
        """At the end of the loop's turn, with all that is written in it, or in pieces: the more
        come together, the more share a commit.
        """
        frames = self._frames
        if not frames:
            asyncio.get_running_loop().call_soon(self.flush)
        frames.append(frame)
        if len(frames) >= PIECE:
            self.flush()

    def flush(self) -> None:
        frames, self._frames = self._frames, []
        if frames and self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(frames))

    def end(self) -> None:
        """Say that nothing more comes."""
        self.flush()
        if self.transport is not None:
            self.transport.write_eof()
