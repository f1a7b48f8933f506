"""The benchmark of the waist runs: it builds the waist by hand, which changes."""

import subprocess
import sys
from pathlib import Path

WAIST = Path(__file__).parent.parent / "bench" / "waist.py"


def test_the_bench_of_the_waist_runs():
    done = subprocess.run(
        [sys.executable, str(WAIST), "50"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "µs per call" in done.stdout
