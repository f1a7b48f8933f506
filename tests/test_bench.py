"""The benchmarks run that build the waist by hand, or ask models: what they use changes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parent.parent / "bench" / "models.py"
WAIST = Path(__file__).parent.parent / "bench" / "waist.py"


def test_the_bench_of_the_waist_runs():
    done = subprocess.run(
        [sys.executable, str(WAIST), "50"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "µs per call" in done.stdout


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.timeout(240)
def test_the_bench_of_models_runs_and_all_its_answers_are_right():
    done = subprocess.run(
        [sys.executable, str(MODELS), "1", "0.01", "20"],
        capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "models call_1 hub" in done.stdout
    assert "models errors: 0" in done.stdout
