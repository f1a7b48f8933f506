"""A PostgreSQL of the tests' own: a cluster in a folder, on a Unix socket."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from agenthub.outbound.postgres import open_postgres

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda p: int(p.parent.name))

NEEDS_POSTGRES = pytest.mark.skipif(
    BIN is None and not os.environ.get("AGENTHUB_CI"),
    reason="PostgreSQL is not installed (Debian: apt-get install postgresql)",
)


class Cluster:
    def __init__(self, *options):
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self.options = options
        self.user = None
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root.
            self.user = pwd.getpwnam("postgres")
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self._run("initdb", "-D", str(self.data), "-U", "hub", "-A", "trust", "-N", "-E", "UTF8")
        self.server = None
        self.start()

    @property
    def data(self):
        return self.folder / "data"

    @property
    def _as(self):
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _run(self, name, *words):
        subprocess.run(
            [BIN / name, *words], cwd=self.folder, check=True, capture_output=True, timeout=60,
            **self._as,
        )  # fmt: skip

    def url(self, database="postgres"):
        return f"postgresql://hub@/{database}?host={self.folder}"

    def create(self, name):
        self._run("createdb", "-h", str(self.folder), "-U", "hub", name)
        return self.url(name)

    def schema(self, name):
        """A database in which a hub has made its tables."""
        url = self.create(name)

        async def made():
            async with open_postgres(url):
                pass

        asyncio.run(made())
        return url

    def start(self):
        log = (self.folder / "log").open("ab")
        self.server = subprocess.Popen(
            [BIN / "postgres", "-D", self.data, "-k", self.folder, "-c", "listen_addresses=",
             "-c", "shared_buffers=16MB", *self.options],
            cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **self._as,
        )  # fmt: skip
        log.close()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                return self._run("pg_isready", "-h", str(self.folder))
            except subprocess.CalledProcessError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self):
        """As if the machine had: all its processes at once."""
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait(10)

    def close(self):
        self.server.send_signal(signal.SIGINT)
        self.server.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
