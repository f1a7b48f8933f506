"""How the process is told to stop, and when to read its settings anew.

- SIGTERM, SIGINT: stop in order. No new calls, those in flight end, everything is written.
- A second SIGINT: stop at once.
- SIGHUP: read the settings again; if it comes because the terminal is gone, stop.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Hears the signals from its making to its `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._has_terminal = os.isatty(0)
        for number in STOPPING:
            self._loop.add_signal_handler(number, self._stop, number)
        self.on_hangup(lambda: None)

    def on_hangup(self, reload: Callable[[], None]) -> None:
        """Do this for SIGHUP from now on."""
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up, reload)

    async def wait(self) -> None:
        """Until the process is told to stop."""
        await self._told.wait()

    def close(self) -> None:
        for number in (*STOPPING, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        if self._told.is_set() and number is signal.SIGINT:
            # The database and the guardian see their sockets close, and end in order.
            os._exit(128 + number)
        self._told.set()

    def _hang_up(self, reload: Callable[[], None]) -> None:
        if self._has_terminal and not os.isatty(0):
            self._told.set()
        else:
            reload()
