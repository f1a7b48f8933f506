"""The views of a hub: kept in the database, or written in the configuration file."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from agenthub.domain.caller import Caller
from agenthub.domain.errors import Conflict, UnknownTarget
from agenthub.domain.events import ViewChanged
from agenthub.domain.span import MILLISECOND
from agenthub.domain.view import View, check_view
from agenthub.ports import Clock, Observer, Store

VIEWS_MAX: Final = 1_000


class Views:
    """All views by name. The file's stand before kept ones, and are changed in the file only."""

    def __init__(self, store: Store, clock: Clock, observer: Observer) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._file = ""
        self._in_file: Mapping[str, View] = {}
        self._kept: dict[str, View] = {}
        self._changing = asyncio.Lock()
        self.all: dict[str, View] = {}
        """Those that are there; always the same dict."""
        self.listeners: list[Callable[[], None]] = []
        """Are told that some view is another than before, ere anybody hears of it."""

    def load(self, views: Iterable[View]) -> None:
        """Those that were kept."""
        self._kept = {view.name: view for view in views}
        self._take()

    def get(self, name: str) -> View:
        """Raises UnknownTarget."""
        if name not in self.all:
            raise UnknownTarget(f"There is no view named {name[:64]!r}")
        return self.all[name]

    def enter(self, name: str, caller: Caller) -> Caller | None:
        """The caller as it is in this view; None if there is no such view for it."""
        view = self.all.get(name)
        return caller.within(view) if view is not None and caller.sees_view(name) else None

    async def add(self, view: View) -> None:
        """Raises BadSetting, Conflict or StorageFailed; then nothing has changed."""
        check_view(view)
        async with self._changing:
            if view.name in self.all:
                raise Conflict(f"There is a view named {view.name!r} already")
            if len(self.all) >= VIEWS_MAX:
                raise Conflict(f"There are {VIEWS_MAX} views already")
            await self._put(view)

    async def replace(self, view: View) -> None:
        """Raises BadSetting, UnknownTarget, Conflict or StorageFailed; then nothing has changed."""
        check_view(view)
        async with self._changing:
            self._check_ours(view.name)
            await self._put(view)

    async def remove(self, name: str) -> None:
        """Raises UnknownTarget, Conflict or StorageFailed; then nothing has changed."""
        async with self._changing:
            self._check_ours(name)
            await self._store.delete_view(name)
            del self._kept[name]
            self._take()

    async def reload(self, views: Mapping[str, View], file: str) -> None:
        """Take what the configuration file says now; it has been checked."""
        async with self._changing:
            self._in_file, self._file = views, file
            self._take()

    async def _put(self, view: View) -> None:
        await self._store.put_view(view)
        self._kept[view.name] = view
        self._take()

    def _check_ours(self, name: str) -> None:
        self.get(name)
        if name in self._in_file:
            raise Conflict(f"The view {name!r} is configured in {self._file}; change it there")

    def _take(self) -> None:
        """Let what is kept and what is in the file be what there is, and tell what is new in it."""
        before = dict(self.all)
        self.all.clear()
        self.all.update({**self._kept, **self._in_file})
        states = {
            name: "removed" if name not in self.all else "changed" if name in before else "added"
            for name in sorted({*before, *self.all})
            if before.get(name) != self.all.get(name)
        }
        if states:
            for listener in self.listeners:
                listener()
        for name, state in states.items():
            wall = self._clock.wall() // MILLISECOND
            self._observer.event(ViewChanged(wall, name, state))
