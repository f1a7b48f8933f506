"""What is measured: the bare upstream, nginx as a plain proxy before it, and the hub before it."""

import http.client
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from caller import Caller, Refused
from process import LOAD_CORE, SUBJECT_CORE, Process
from tool import tool

AGENTHUB = Path(sys.executable).with_name("agenthub")
READY_S = 60
UNBOUND = {"rps": 1_000_000, "burst": 1_000_000}
"""A limit that is kept, but never reached."""


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_answer_ms(process: Process, caller: Caller, seconds: float = READY_S) -> float:
    """Milliseconds from the start of the process to its first answered call."""
    problem: Exception | None = None
    while time.monotonic_ns() - process.started_ns < seconds * 10**9:
        if process.code is not None:
            raise OSError(f"ended with {process.code}: {process.tail()}")
        try:
            caller.call("echo")
        except (OSError, Refused, http.client.HTTPException) as error:
            problem = error
            time.sleep(0.005)
        else:
            return (time.monotonic_ns() - process.started_ns) / 1e6
    raise OSError(f"no answer in {seconds} s: {problem}; {process.tail()}")


class Upstream:
    """The C server: cheap, counting, and modern, or legacy only."""

    def __init__(self, era: str = "modern", tools: int = 3, caller: Caller | None = None) -> None:
        self.port = free_port()
        self.process = Process([tool("upstream"), str(self.port), str(tools), era], LOAD_CORE)
        self.caller = replace(caller or Caller(0, era=era), port=self.port)
        first_answer_ms(self.process, self.caller)

    def stats(self) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection):
            connection.request("GET", "/stats")
            return json.loads(connection.getresponse().read())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


NGINX_CONFIG = """
worker_processes 1; daemon off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream bench {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffers 32 8k; proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


class Nginx:
    """The yardstick: the cheapest thing that can stand between a client and a server."""

    def __init__(self, home: Path, upstream: Upstream) -> None:
        home.mkdir()
        self.port = free_port()
        config = home / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(home=home, port=self.port, upstream=upstream.port))
        command = [self.program() or "", "-c", str(config), "-p", str(home)]
        self.process = Process(command, SUBJECT_CORE, home / "log")
        self.caller = replace(upstream.caller, port=self.port)
        first_answer_ms(self.process, self.caller)

    @staticmethod
    def program() -> str | None:
        return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


class Hub:
    """A hub of its own home, with its guards on: a key, limits that do not bind, the call log."""

    def __init__(
        self,
        home: Path,
        servers: Mapping[str, str | dict[str, Any]],
        path: str = "/mcp/bench",
        era: str = "modern",
        **settings: Any,
    ) -> None:
        """`servers`: the address of each, or its whole record; `settings`: more of them."""
        self.home = home
        self.port = free_port()
        home.mkdir(mode=0o700)
        endpoints = {
            name: {"rate_limit": UNBOUND, "concurrency": 1_000}
            | (one if isinstance(one, dict) else {"url": one})
            for name, one in servers.items()
        }
        settings |= {"endpoints": endpoints, "limits": {"calls_in_flight": 10_000}}
        (home / "agenthub.yaml").write_text(json.dumps(settings))
        self.caller = Caller(self.port, path, era, {"Authorization": f"Bearer {self.key('bench')}"})

    def key(self, name: str) -> str:
        """A new one, while the hub does not run."""
        return json.loads(self.command("key", "create", name, "--json"))["key"]

    def start(self) -> float:
        """Starts it; gives the milliseconds to its first answered call."""
        serve = ["serve", "--no-demo", "--port", str(self.port), "--home", str(self.home)]
        command = [str(AGENTHUB), *serve]
        self.process = Process(command, SUBJECT_CORE, self.home / "log")
        return first_answer_ms(self.process, self.caller)

    def rows(self, *, distinct: bool = False) -> int:
        """How many calls that went well are in the log, read from the file."""
        counted = "DISTINCT call_id" if distinct else "*"
        with closing(sqlite3.connect(self.home / "agenthub.db")) as database:
            return database.execute(
                f"SELECT count({counted}) FROM call WHERE method = 'tools/call' AND outcome = 'ok'"
            ).fetchone()[0]

    def rows_soon(self, wanted: int, seconds: float = 10) -> int:
        """`rows`, once there are as many as wanted or the time is up."""
        until = time.monotonic() + seconds
        while (found := self.rows()) < wanted and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(AGENTHUB), *arguments, "--home", str(self.home)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise OSError(f"agenthub {arguments[0]}: {done.stderr[-600:]}")
        return done.stdout


Subject = Upstream | Nginx | Hub
