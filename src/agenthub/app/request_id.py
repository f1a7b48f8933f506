"""Request ids: unique, and not to be guessed."""

import os
from collections.abc import Callable, Iterator

BYTES = 12
"""96 bits: among a billion ids two are equal with a chance of one in 10^11."""
BATCH = 512
"""Ids from one reading of the system's randomness, which costs more than the ids do."""


def request_ids() -> Callable[[], str]:
    return _minted().__next__


def _minted() -> Iterator[str]:
    length = 2 * BYTES
    while True:
        pool = os.urandom(BYTES * BATCH).hex()
        yield from (pool[start : start + length] for start in range(0, len(pool), length))
