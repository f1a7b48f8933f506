"""Has a child in its group, one in a session of its own, and a daemon; ignores SIGTERM and EOF."""

# ruff: noqa: PTH123 - starts faster without pathlib

import os
import signal
import subprocess
import sys
import time

from base import serve, text

STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"


def note(pid):
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{pid}\n")


signal.signal(signal.SIGTERM, signal.SIG_IGN)
note(os.getpid())
for own_session in (False, True):
    note(subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=own_session).pid)
if os.fork() == 0:
    os.setsid()
    if (pid := os.fork()) == 0:
        for fd in (0, 1, 2):
            os.close(fd)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    note(pid)
    os._exit(0)
serve(lambda message, arguments: text(message, "ok"))
time.sleep(600)
