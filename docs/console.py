"""Run the commands of a page and write into it what they print: python docs/console.py PAGE.

They run on MNIST, in a clone of the last commit that has the outputs of `main`. A command is a line
that starts with "$ " in a console block; what follows is its output. Where that starts with "...",
as many of its last lines are written as were there before.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def main() -> None:
    """Rewrite the page that the command line names."""
    page = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "convline")
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)  # noqa: S607
        (clone / ".venv").symlink_to(sys.prefix)
        environment = os.environ | {"PATH": f"{clone / '.venv/bin'}:{os.environ['PATH']}"}

        def execute(command: str) -> str:
            print(f"$ {command}", flush=True)
            return shell(command, clone, environment)

        execute(f"dvc cache dir --local {REPOSITORY / '.dvc/cache'} && dvc checkout")
        page.write_text(refreshed(page.read_text(), execute))


def shell(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command prints. Ends this process where the command fails."""
    result = subprocess.run(
        ["bash", "-c", command],  # noqa: S607
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{command} ended with exit code {result.returncode}:\n{result.stdout}")
    return result.stdout


def outputs(page: str) -> list[tuple[str, str]]:
    """The commands of a page, in order, and what it shows of their output."""
    return [pair for block in BLOCK.findall(page) for pair in COMMAND.findall(block)]


def refreshed(page: str, execute: Callable[[str], str]) -> str:
    """The page with the output of each command, as `execute` gives it."""

    def output(found: re.Match[str]) -> str:
        before = found[2].splitlines()
        lines = [line.rstrip() for line in execute(found[1]).strip("\n").splitlines()]
        if before[:1] == ["..."]:
            lines = ["...", *lines[len(lines) - len(before) + 1 :]]
        return "\n".join([f"$ {found[1]}", *lines]) + "\n"

    return BLOCK.sub(lambda block: COMMAND.sub(output, block[0]), page)


if __name__ == "__main__":
    main()
