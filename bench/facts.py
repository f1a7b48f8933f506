"""On what machine, with what, and of which commit the figures are."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from subject import Nginx

ROOT = Path(__file__).parents[1]


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def _field(file: str, name: str) -> str:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def facts() -> dict[str, Any]:
    nginx = Nginx.program()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"),
        "changed_files": len(
            _said("git", "-C", str(ROOT), "status", "--short", "src").splitlines()
        ),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": (_said("cc", "--version").splitlines() or [""])[0],
        "nginx": _said(nginx, "-v").partition("nginx/")[2] if nginx else None,
        "load_average": os.getloadavg()[0],
        "priority": os.environ.get("BENCH_PRIO", ""),
    }
