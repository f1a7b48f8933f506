"""Delivers a spool to the hub, in a thread of its own that never holds up who adds to it.

something waits ─► a second later ─► POST ─2xx─► next ─► … ─► nothing waits
                                      ├─ 400, 413, 415, 422 ─► put aside, and told
                                      └─ anything else ─► again after 1, 2, 5 … 60 s
"""

import atexit
import http.client
import logging
import os
import ssl
import threading
from typing import Final
from urllib.parse import urlsplit

from agenthub.integrations.spool import Batch, Spool

log = logging.getLogger(__name__)

GATHER_S: Final = 1.0
"""What comes within it goes together."""
PAUSES_S: Final = (1, 2, 5, 10, 30, 60)
"""After a delivery that failed; the last one for all further ones."""
TIMEOUT_S: Final = 10
FAREWELL_S: Final = 3
"""How long the end of the process may wait; what is left then is delivered by the next one."""
SENSELESS: Final = frozenset({400, 413, 415, 422})
"""Answers to which the same is not sent again."""
ANSWER_MAX: Final = 64 * 1024


class Courier:
    """To one address. The thread begins with the first line, and anew after a fork."""

    def __init__(self, spool: Spool, url: str, path: str, key: str) -> None:
        """Raises ValueError, in words."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ValueError("The hub's address: expected http://host:port or https://host")
        self._spool = spool
        self._parts = parts
        self._path = parts.path.rstrip("/") + path
        self._key = key
        self._pid = 0
        self._some = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self.problem = ""
        """Why nothing is delivered now; empty when it is."""
        atexit.register(self.close)

    def add(self, line: bytes) -> None:
        """Never raises, never waits."""
        if self._pid != os.getpid():
            self._start()
        if not self._spool.add(line) and self._spool.dropped == 1:
            log.error("The spool takes no more; calls are not reported to the hub")
        self._some.set()

    def _start(self) -> None:
        if self._pid:
            self._spool.forget()
        self._pid = os.getpid()
        self._some, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="agenthub courier", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Deliver what an earlier process left, before anything is added."""
        if self._pid != os.getpid():
            self._start()
        self._some.set()

    def close(self) -> None:
        """At the end of the process: a last try, and no more."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            self._over.set()
            self._some.set()
            thread.join(FAREWELL_S)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._over.is_set():
            self._some.wait()
            self._over.wait(GATHER_S)
            self._some.clear()
            while not self._deliver() and not self._over.is_set():
                self._over.wait(PAUSES_S[min(self._failures, len(PAUSES_S)) - 1])

    def _deliver(self) -> bool:
        """False: something is left, and it makes no sense to go on now."""
        try:
            for batch in self._spool.batches():
                if not self._handed_over(batch):
                    return False
        except OSError as error:
            self._failed(f"the spool: {error.strerror}")
            return False
        return True

    def _handed_over(self, batch: Batch) -> bool:
        lines = batch.lines()
        try:
            status = self._post(b"[" + b",".join(lines) + b"]") if lines else 200
        except (OSError, http.client.HTTPException, ValueError) as error:
            batch.close()
            self._failed(type(error).__name__)
            return False
        if status in SENSELESS:
            log.error("The hub refused reports of calls; they are put aside", extra={
                "status": status, "calls": len(lines), "file": str(batch.path),
            })  # fmt: skip
            batch.refused()
        elif 200 <= status < 300:
            batch.delivered()
        else:
            batch.close()
            self._failed(f"HTTP {status}")
            return False
        self._failures, self.problem = 0, ""
        return True

    def _failed(self, why: str) -> None:
        self._failures += 1
        if not self.problem:
            log.warning("The hub takes no reports; they wait", extra={"problem": why})
        self.problem = why

    def _post(self, body: bytes) -> int:
        """The status. Raises OSError or HTTPException."""
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            line = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        else:
            line = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            line.request("POST", self._path, body, {
                "Authorization": f"Bearer {self._key}", "Content-Type": "application/json",
            })  # fmt: skip
            answer = line.getresponse()
            answer.read(ANSWER_MAX)
            return answer.status
        finally:
            line.close()
