"""How many connections the process can have: each is an open file, as are those to servers.

Most systems begin with 1,024 open files, some with 256, and let a process have far more if it asks.
Beyond its limit nothing can be accepted, not even to be refused. So the hub asks for what its
settings need, and where it does not get that, takes fewer connections and says so.
"""

import logging
import resource
from contextlib import suppress
from typing import Final

log = logging.getLogger(__name__)

SPARE: Final = 1_024
"""Files beside clients' connections: servers, the database, the log, and who is being refused. A
quarter, where there are few."""


def room_for(connections: int) -> int:
    """So many connections, or as many as the system lets the process have."""
    files = _files(connections + SPARE)
    room = min(connections, files - min(SPARE, files // 4))
    if room < connections:
        extra = {"connections": room, "wanted": connections, "open_files": files}
        log.warning("Fewer connections than the settings allow", extra=extra)
    return room


def _files(wanted: int) -> int:
    """How many files may be open, after asking for this many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):  # Some systems let nobody have as much as they say.
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return soft
