"""The hub's memory over restarts: a database file in its home (ports.Store, CallLog, Ledger).

What is kept, and in which tables: `schema/`. Which process writes: `database.py`.
"""

import logging
import os
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from agenthub.domain.caller import KeyTerms
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import StorageFailed
from agenthub.domain.pinning import Pin
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import View
from agenthub.outbound.call_log import BatchedCallLog
from agenthub.outbound.claim_log import StoredClaims
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.conversations import DatabaseConversations
from agenthub.outbound.database_process import DatabaseProcess, Keeping, Row
from agenthub.outbound.home import only_hub, refuse_loose_file, secure_home
from agenthub.outbound.ledger import DatabaseLedger
from agenthub.outbound.usage import DatabaseUsage
from agenthub.ports import BreakerRow, CallFilter, CallPage, CallRow, KeyRow, Rotation, Stored

log = logging.getLogger(__name__)

FILE: Final = "agenthub.db"
KEEP_ROWS: Final = 1_000_000
KEEP_DAYS: Final = 30
SECRETS: Final = ("key-hmac", "session")
"""Random secrets that each home has of its own, made at first start."""
TRANSITIONS_MAX: Final = 200
"""Kept of each server's breaker history."""
PAGE_MAX: Final = 500
WINDOW_ROWS: Final = 20_000
"""Call rows looked at in one read, so that no read holds up the writing for long."""
WINDOWS_MAX: Final = 10
"""A page ends after so many windows, even if it is not full; the next one goes on there."""


class DatabaseStore:
    """ports.Store over the database process."""

    def __init__(self, process: DatabaseProcess) -> None:
        self.process = process
        self.call_log = BatchedCallLog(process)
        self.claim_log = StoredClaims(process)
        self.ledger = DatabaseLedger(process, LoopClock())
        self.usage = DatabaseUsage(process)
        self.conversations = DatabaseConversations(process)

    @property
    def problem(self) -> str:
        """Why the database does not work now, for people; empty when it does."""
        return self.process.problem

    async def load(self) -> Stored:
        try:
            return await self._load()
        except StorageFailed as error:
            raise StorageFailed(f"{self.process.file}: {error}") from error

    async def _load(self) -> Stored:
        read = self.process.read
        known = dict(await read("secrets"))
        if missing := [(n, secrets.token_bytes(32)) for n in SECRETS if n not in known]:
            await self.process.change(("put_secret", missing))
        await self.claim_log.begin(int(time.time()))
        return Stored(
            endpoints=tuple(filter(None, (_endpoint(*row) for row in await read("endpoints")))),
            keys=tuple(_key(row) for row in await read("keys")),
            breakers=tuple(BreakerRow(*row) for row in await read("breakers")),
            lists=dict(await read("listings")),
            pins={(name, tool): Pin(*pin) for name, tool, *pin in await read("pins")},
            secrets=known | dict(missing),
            views=tuple(filter(None, (_view(*row) for row in await read("views")))),
        )

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        row = (endpoint.name, msgspec.json.encode(endpoint))
        await self.process.change(("put_endpoint", [row]))

    async def delete_endpoint(self, name: str) -> None:
        tables = ("endpoint", "breakers", "transitions", "listing", "pins", "credentials")
        await self.process.change(*((f"delete_{table}", [(name,)]) for table in tables))

    async def put_key(self, row: KeyRow) -> None:
        endpoints = None if row.endpoints is None else _text(row.endpoints)
        values: Row = (
            row.id, row.name, row.digest, _text(row.scopes), endpoints, row.created_at,
            row.expires_at, int(row.revoked), msgspec.json.encode(row.terms),
            msgspec.json.encode(row.rotation),
        )  # fmt: skip
        await self.process.change(("put_key", [values]))

    async def put_view(self, view: View) -> None:
        await self.process.change(("put_view", [(view.name, msgspec.json.encode(view))]))

    async def delete_view(self, name: str) -> None:
        await self.process.change(("delete_view", [(name,)]))

    async def put_secret(self, name: str, data: bytes) -> None:
        await self.process.change(("replace_secret", [(name, data)]))

    async def delete_secret(self, name: str) -> None:
        await self.process.change(("delete_secret", [(name,)]))

    async def put_list(self, endpoint: str, data: bytes, pins: Mapping[str, Pin]) -> None:
        await self.process.change(
            ("put_listing", [(endpoint, data)]), ("put_pin", _pin_rows(endpoint, pins))
        )

    async def put_pins(self, endpoint: str, pins: Mapping[str, Pin]) -> None:
        """Adds and replaces; a pin stays when its tool is gone, for a tool may come back."""
        await self.process.change(("put_pin", _pin_rows(endpoint, pins)))

    async def put_breakers(self, rows: Sequence[BreakerRow]) -> None:
        await self.process.change(("put_breaker", [(row.key, row.data) for row in rows]))

    async def transitions(self, endpoint: str, limit: int) -> Sequence[Mapping[str, object]]:
        rows = await self.process.read("transitions", endpoint, max(1, min(limit, PAGE_MAX)))
        return [msgspec.json.decode(data, type=dict[str, object]) for (data,) in rows]

    async def put_transition(self, endpoint: str, data: bytes) -> None:
        await self.process.change(
            ("put_transition", [(os.urandom(12), endpoint, data)]),
            ("prune_transitions", [(endpoint, TRANSITIONS_MAX)]),
        )

    async def calls(self, which: CallFilter) -> CallPage:
        """A page of the log, with all that was added before.

        A page may be short of its limit, even empty, and still have a next one: a filter that
        fits few rows is not allowed to read the whole log at once.
        """
        self.call_log.flush()
        low, high = (await self.process.read("call_range"))[0]
        if low is None:
            return CallPage((), None)
        limit = max(1, min(which.limit, PAGE_MAX))
        until = high + 1 if which.before is None else max(low, min(which.before, high + 1))
        rows: list[tuple[int, CallRow]] = []
        for _ in range(WINDOWS_MAX):
            if until <= low or len(rows) >= limit:
                break
            since = max(low, until - WINDOW_ROWS)
            found = await self.process.read(
                "calls", since, until, which.endpoint, which.outcome, which.caller,
                limit - len(rows),
            )  # fmt: skip
            rows += [(row[0], CallRow(*row[1:])) for row in found]
            until = rows[-1][0] if len(rows) >= limit else since
        return CallPage(tuple(rows), until if until > low else None)


@asynccontextmanager
async def open_store(
    home: Path, *, brief: bool = False, keep_rows: int = KEEP_ROWS, keep_days: int = KEEP_DAYS
) -> AsyncGenerator[DatabaseStore]:
    """The store of this home, alone; on leaving, all that was handed over is durable.

    `brief`: for one command; a hub that starts meanwhile waits for it.

    Raises:
        StorageFailed: Another hub has it, or the home or the file cannot be used; in words.
    """
    secure_home(home)
    file = home / FILE
    for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
        refuse_loose_file(home / name)
    used_before = (home / "hub.lock").exists()
    with only_hub(home, brief=brief) as lock:
        process = DatabaseProcess(Keeping(file, keep_rows, keep_days), lock)
        await process.open()
        if process.created and used_before:
            log.warning(
                "The database was gone: the hub starts with a new one, without its servers and"
                " keys", extra={"file": str(file)},
            )  # fmt: skip
        store = DatabaseStore(process)
        try:
            yield store
        finally:
            store.call_log.flush()
            store.ledger.close()
            await process.close()
            await store.claim_log.close()
            if process.unkept:
                log.error(
                    "Call rows could not be kept",
                    extra={"rows": process.unkept, "problem": process.problem},
                )


def _pin_rows(endpoint: str, pins: Mapping[str, Pin]) -> list[Row]:
    return [(endpoint, tool, pin.digest, pin.definition) for tool, pin in pins.items()]


def _text(names: tuple[str, ...]) -> str:
    return msgspec.json.encode(names).decode()


def _endpoint(name: str, data: bytes) -> Endpoint | None:
    """One unreadable record must not stop the others."""
    try:
        return msgspec.json.decode(data, type=Endpoint)
    except ValueError as error:
        log.error(  # noqa: TRY400 - the record is the fault, not the code
            "A kept server is unreadable and left out",
            extra={"endpoint": name, "problem": str(error)},
        )
        return None


def _view(name: str, data: bytes) -> View | None:
    try:
        return msgspec.json.decode(data, type=View)
    except ValueError as error:
        log.error(  # noqa: TRY400 - the record is the fault, not the code
            "A kept view is unreadable and left out", extra={"view": name, "problem": str(error)}
        )
        return None


def _key(row: tuple[Any, ...]) -> KeyRow:
    key_id, name, digest, scopes, endpoints, created_at, expires_at, revoked, terms, rotation = row
    decode = msgspec.json.Decoder(tuple[str, ...]).decode
    return KeyRow(
        key_id, name, digest, decode(scopes), None if endpoints is None else decode(endpoints),
        created_at, expires_at, bool(revoked), _terms(key_id, terms),
        Rotation() if rotation is None else msgspec.json.decode(rotation, type=Rotation),
    )  # fmt: skip


def _terms(key_id: str, data: bytes | None) -> KeyTerms:
    """Terms that cannot be read open nothing: a limit must not be lost."""
    if data is None:
        return KeyTerms()
    try:
        return msgspec.json.decode(data, type=KeyTerms)
    except ValueError as error:
        log.error(  # noqa: TRY400 - the record is the fault, not the code
            "A key's terms are unreadable; it opens nothing",
            extra={"key": key_id, "problem": str(error)},
        )
        return KeyTerms(tools=ToolSet(allow=()))
