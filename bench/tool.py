"""The upstream and the load generator: small C programs, built when they are first needed."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def tool(name: str) -> str:
    """The program built of `name`.c."""
    source, program = HERE / f"{name}.c", HERE / "build" / name
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("The benchmark needs a C compiler: install `cc` (Debian: gcc, macOS: Xcode).")
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return str(program)
