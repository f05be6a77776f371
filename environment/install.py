"""Create .venv with what a lock lists: python environment/install.py LOCK.

`make install` runs it, with a Python outside any environment.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

VENV = Path(".venv")
PYTHON = VENV / "bin/python"
INSTALLED = VENV / "bin/installed.txt"  # the lock that was installed
STARTUP = Path("environment/convline_startup.py")  # what PYTHON does whenever it starts
COMMAND = Path("environment/convline")

# With these, pip installs elsewhere. A pip.conf can say so too: see `lacking`.
ELSEWHERE = {"PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_USER"}


def main() -> None:
    """Wait until no other `make` is installing, then install what is still missing."""
    lock = Path(sys.argv[1])
    # One file, whichever lock is installed. The system releases it, however this process ends.
    with open("requirements.txt", "r+") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another `make`, which is installing into .venv", flush=True)
            fcntl.flock(turn, fcntl.LOCK_EX)
        wanted = lock.read_bytes()
        # If .venv is a link, its target belongs to another clone: leave it alone
        if VENV.is_symlink() or not PYTHON.exists() or installed() != wanted:
            install(lock, turn.fileno())
            INSTALLED.write_bytes(wanted)
        add_own()


def installed() -> bytes:
    """The lock that was installed, or nothing if the installation did not finish."""
    return INSTALLED.read_bytes() if INSTALLED.exists() else b""


def install(lock: Path, turn: int) -> None:
    """Create the environment. Programs started here inherit `turn`, and hold it until they end.

    Exits if one fails, or if the packages are not in the environment afterwards.
    """
    print(f"Installing {lock} into .venv (3 GB, once)", flush=True)
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    variables = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}

    def run(*command: str) -> None:
        code = subprocess.run(command, env=variables, pass_fds=[turn], check=False).returncode
        if code:
            sys.exit(1)  # it has said why

    run(sys.executable, "-I", "-m", "venv", str(VENV))
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        pip = [str(PYTHON), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--no-user", "--require-hashes", "-r", str(lock), "--report", report.name)
        packages = [package["metadata"] for package in json.load(report)["install"]]
    if missing := lacking({package["name"]: package["version"] for package in packages}):
        sys.exit(
            f"make: pip did not put {', '.join(missing)} into .venv: "
            f"`{PYTHON} -m pip config list` shows the setting to remove"
        )


def lacking(packages: dict[str, str]) -> list[str]:
    """Which of `packages`, versions by name, are not in the environment."""
    here = {found.name: found.version for found in metadata.distributions(path=[str(site())])}
    return [name for name, version in packages.items() if here.get(name) != version]


def add_own() -> None:
    """Add COMMAND to the programs, and have PYTHON run STARTUP whenever it starts."""
    shutil.copy(COMMAND, VENV / "bin" / COMMAND.name)
    (site() / f"{STARTUP.stem}.pth").write_text(f"import {STARTUP.stem}\n")
    (site() / "path_first.pth").unlink(missing_ok=True)  # from before there was STARTUP
    shutil.copyfile(STARTUP, site() / STARTUP.name)  # last, because `make` looks for it


def site() -> Path:
    """The folder of the environment's packages."""
    return next(VENV.glob("lib/python3.*/site-packages"))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"make: {error}")
