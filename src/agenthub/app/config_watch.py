"""Settings that change while the hub runs: on SIGHUP, and when the file has changed.

Servers, views, models, prices and the time zone change at run time; the rest is fixed at start, and
what differs there is said. A file that is refused changes nothing (F54).
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from agenthub.domain.errors import HubError
from agenthub.settings import Options, Settings

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
FIXED: Final = ("server", "auth", "limits", "ledger", "alerts", "demo")
"""Parts of the settings that take effect with the next start."""
Look: TypeAlias = tuple[int, int, int] | None
"""What tells one state of a file from another: time, inode, size; None when it is not there."""


class ConfigWatch:
    """Reloads the settings when it is asked to, or the file changed and then rested for a second.

    An editor may write a file in pieces, so what is still changing is not read. To be made before
    the settings are read for the first time: what changes from then on is a change.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._file = options.file
        self._asked = asyncio.Event()
        self._taken = self._look()

    def reload(self) -> None:
        """Read the settings now, changed or not."""
        self._asked.set()

    async def watch(
        self, settings: Settings, take: Callable[[Settings], Awaitable[object]]
    ) -> None:
        """For as long as the hub runs, which started with these settings."""
        before = self._taken
        while True:
            asked = await self._wait()
            now = self._look()
            if asked or (now != self._taken and now == before):
                self._taken = now
                await self._reload(settings, take)
            before = now

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(EVERY_S):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _look(self) -> Look:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    async def _reload(
        self, started_with: Settings, take: Callable[[Settings], Awaitable[object]]
    ) -> None:
        try:
            settings = self._options.load(os.environ)
            await take(settings)
        except HubError as error:
            log.error("Settings refused; the old ones stay", extra={"problem": str(error)})  # noqa: TRY400 - the file is at fault
            return
        except OSError as error:
            log.error("Settings unreadable; the old ones stay", extra={"problem": str(error)})  # noqa: TRY400
            return
        log.info("Settings taken", extra={"file": str(self._file)})
        for part in FIXED:
            if getattr(settings, part) != getattr(started_with, part):
                log.warning("A setting takes effect with the next start", extra={"part": part})
