"""These tests drive what `make interop` installs; without it they are skipped, and say why."""

import os

import pytest
from support.interop_clients import INSTALLED, INTEROP


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (INSTALLED / "stamp").exists() and not (INSTALLED / "missing").exists():
        why = ""
    elif (INSTALLED / "missing").exists():
        why = (INSTALLED / "missing").read_text()
    else:
        why = "they were never installed: run `make interop`"
    if why and os.environ.get("AGENTHUB_CI"):
        raise pytest.UsageError(f"The real clients and servers are missing: {why}")
    for item in items:
        if item.path.is_relative_to(INTEROP):
            item.add_marker(pytest.mark.interop)
            if why:
                item.add_marker(pytest.mark.skip(reason=f"Real clients and servers: {why}"))
