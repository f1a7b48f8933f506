"""Settings that change while the hub runs: taken whole, or not at all (F54)."""

import asyncio
import logging
import os

import pytest

from agenthub.app import config_watch
from agenthub.app.config_watch import ConfigWatch
from agenthub.domain.errors import BadSetting
from agenthub.settings import Options
from agenthub.tasks import Tasks

GIT = "endpoints: {git: {command: [git-server]}}\n"


class Watched:
    """A watch over a file in a home, and what it gave."""

    def __init__(self, home):
        self.file = home / "agenthub.yaml"
        self.options = Options(home)
        self.taken = []
        self.refusal = None
        self.watch = ConfigWatch(self.options)

    async def take(self, settings):
        if self.refusal:
            raise self.refusal
        self.taken.append(set(settings.endpoints))

    def write(self, text):
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)

    async def until_taken(self, times):
        async with asyncio.timeout(5):
            while len(self.taken) < times:  # noqa: ASYNC110 - files have no events
                await asyncio.sleep(0.001)

    async def rounds(self, number=8):
        """So many looks at the file."""
        await asyncio.sleep(config_watch.EVERY_S * number)


async def until_logged(caplog, word):
    async with asyncio.timeout(5):
        while word not in caplog.text:  # noqa: ASYNC110 - the log has no events
            await asyncio.sleep(0.001)


@pytest.fixture
async def watched(tmp_path, monkeypatch):
    monkeypatch.setattr(config_watch, "EVERY_S", 0.01)
    for name in [name for name in os.environ if name.startswith("AGENTHUB__")]:
        monkeypatch.delenv(name)
    watched, tasks = Watched(tmp_path), Tasks()
    tasks.start(watched.watch.watch(watched.options.load({}), watched.take), "watch")
    yield watched
    await tasks.close()


async def test_a_file_that_comes_changes_and_goes_is_taken_each_time(watched):
    watched.write(GIT)
    await watched.until_taken(1)
    watched.write(GIT.replace("git:", "hub:"))
    await watched.until_taken(2)
    watched.file.unlink()
    await watched.until_taken(3)
    assert watched.taken == [{"git"}, {"hub"}, set()]


async def test_what_changed_while_the_hub_started_is_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(config_watch, "EVERY_S", 0.01)
    watched, tasks = Watched(tmp_path), Tasks()
    settings = watched.options.load({})
    watched.write(GIT)
    tasks.start(watched.watch.watch(settings, watched.take), "watch")
    await watched.until_taken(1)
    await tasks.close()
    assert watched.taken == [{"git"}]


async def test_a_file_that_does_not_change_is_not_read_again(watched):
    watched.write(GIT)
    await watched.until_taken(1)
    await watched.rounds()
    assert len(watched.taken) == 1


async def test_a_file_that_is_still_being_written_is_not_read(watched):
    """Half a file is a good file with fewer servers in it."""
    text = "endpoints:\n" + "".join(f"  s{n}: {{command: [x]}}\n" for n in range(60))
    with watched.file.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
            await asyncio.sleep(0.004)
    await watched.until_taken(1)
    assert [len(names) for names in watched.taken] == [60]


async def test_a_wrong_file_is_refused_in_words_and_changes_nothing(watched, caplog):
    watched.write(GIT)
    await watched.until_taken(1)
    watched.write("endpoints:\n  git:\n    comand: [x]\n")
    await until_logged(caplog, "refused")
    (record,) = caplog.records
    assert record.message == "Settings refused; the old ones stay"
    assert record.problem == (
        f"{watched.file}:3: endpoints.git.comand: unknown key; did you mean command?"
    )
    assert watched.taken == [{"git"}]
    watched.write(GIT + "demo: false\n")
    await watched.until_taken(2)


async def test_what_the_catalog_refuses_is_said_too(watched, caplog):
    watched.refusal = BadSetting("endpoints.git.fallbacks: a circle")
    watched.write(GIT)
    await until_logged(caplog, "refused")
    assert caplog.records[0].problem == "endpoints.git.fallbacks: a circle"


async def test_a_file_that_cannot_be_read_is_said_and_changes_nothing(watched, caplog, monkeypatch):
    def fail(self, environ):
        raise PermissionError(13, "Permission denied", "agenthub.yaml")

    monkeypatch.setattr(Options, "load", fail)
    watched.watch.reload()
    await until_logged(caplog, "unreadable")
    assert watched.taken == []


async def test_whoever_asks_gets_the_settings_read_at_once_changed_or_not(watched, monkeypatch):
    monkeypatch.setattr(config_watch, "EVERY_S", 60)
    await asyncio.sleep(0.02)  # The look that is on still has the short wait.
    watched.watch.reload()
    await watched.until_taken(1)
    watched.watch.reload()
    await watched.until_taken(2)
    assert watched.taken == [set(), set()]


async def test_what_is_fixed_at_start_is_said_not_silently_ignored(watched, caplog):
    caplog.set_level(logging.INFO, "agenthub")
    watched.write(
        GIT + "server: {port: 9000}\nlimits: {drain_ms: 5}\nledger: {url: 'postgresql://x'}\n"
    )
    await watched.until_taken(1)
    await asyncio.sleep(0)
    told = [(r.message, getattr(r, "part", None)) for r in caplog.records]
    assert told == [
        ("Settings taken", None),
        ("A setting takes effect with the next start", "server"),
        ("A setting takes effect with the next start", "limits"),
        ("A setting takes effect with the next start", "ledger"),
    ]
