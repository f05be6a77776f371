"""Run the commands of a page and write into it what they print: python docs/console.py PAGE.

They run on MNIST, in a clone of the last commit that has the outputs of `main`. A command is a line
that starts with "$ " in a console block; what follows is its output. Where that starts with "...",
as many of its last lines are written as were there before. A page that speaks of example.com gets
servers on this machine instead, one that speaks of ~/pictures a folder of drawn ones, and one that
serves the model a port that is free.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
PICTURES = "~/pictures"
SERVE, SERVED = "convline serve", "127.0.0.1:8000"
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass
class Shell:
    """Runs commands one after the other, each in the folder where the one before ended.

    `addresses` are those that commands name, with those that stand for them on this machine.
    """

    folder: Path
    environment: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)

    def __call__(self, command: str) -> str:
        """What a command prints. Ends this process where the command fails."""
        real = command
        for named, standing_in in self.addresses.items():
            real = real.replace(named, standing_in)
        with tempfile.NamedTemporaryFile("r") as ended_in:
            script = f'{real}\nstatus=$?; pwd > "$1"; exit $status'
            result = subprocess.run(
                ["bash", "-c", script, "bash", ended_in.name],  # noqa: S607
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            self.folder = Path(ended_in.read().removesuffix("\n"))
        if result.returncode:
            sys.exit(f"{command} ended with exit code {result.returncode}:\n{result.stdout}")
        output = result.stdout
        for named, standing_in in self.addresses.items():
            output = output.replace(standing_in, named)
        return output


@contextmanager
def free_port(project: Path) -> Iterator[dict[str, str]]:
    """What stands for the server's command and address, so that its usual port may be in use.

    A server whose process is in server.pid of the `project` is stopped at the end.
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    try:
        yield {SERVE: f"{SERVE} --port {port}", SERVED: f"127.0.0.1:{port}"}
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((project / "server.pid").read_text()), signal.SIGTERM)


def main() -> None:
    """Rewrite the page that the command line names."""
    page = Path(sys.argv[1])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clone = folder / "convline"
        shell = Shell(folder, os.environ | {"PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"})
        repository, cache = shlex.quote(str(REPOSITORY)), shlex.quote(f"{REPOSITORY}/.dvc/cache")
        shell(f"git clone --quiet --origin source {repository} convline && cd convline")
        shell(f"ln -s {shlex.quote(sys.prefix)} .venv")
        shell("git config user.name A && git config user.email a@example.com")
        shell(f"dvc cache dir --local {cache} && dvc checkout")
        sys.path.append(str(REPOSITORY / "tests"))
        if "example.com" in page.read_text():
            import servers

            shell.addresses, variables = stack.enter_context(servers.example(folder, clone))
            shell.environment = shell.environment | variables
        if PICTURES in page.read_text():
            import drawings

            shell.addresses = {PICTURES: str(drawings.draw_all(folder / "pictures"))}
        if SERVE in page.read_text():
            shell.addresses = shell.addresses | stack.enter_context(free_port(clone))

        def execute(command: str) -> str:
            print(f"$ {command}", flush=True)
            return shell(command)

        unfinished = page.with_name(f"{page.name}.part")
        unfinished.write_text(refreshed(page.read_text(), execute))
        unfinished.replace(page)


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
