"""The environment of a Python process that a test starts."""

import os
from pathlib import Path

TESTS = Path(__file__).parents[1]


def python_env() -> dict[str, str]:
    """It finds `support`, and the same hub as its parent: perhaps a mutant (tools/mutants.py)."""
    paths = (str(TESTS), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
