"""Processes of one training on this machine, started by the three variables."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from convline import processes
from servers import LOOPBACK

# Of those that end because another has; the promise
WITHIN = 30


@dataclass
class Member:
    """One of the processes, and the file with its stderr."""

    process: subprocess.Popen[bytes]
    stderr: Path

    @property
    def child(self) -> psutil.Process:
        """The process below it that trains, once there is one."""
        while True:
            if children := psutil.Process(self.process.pid).children():
                return children[0]
            assert self.process.poll() is None, self.stderr.read_text()
            time.sleep(0.05)

    def ended(self, within: float = 300) -> tuple[int, list[str]]:
        """Its exit code and the lines on stderr."""
        return self.process.wait(within), self.stderr.read_text().splitlines()


def variables(number: object, count: object, port: int) -> dict[str, str]:
    """The three variables of a process."""
    return {
        processes.ADDRESS: f"{LOOPBACK}:{port}",
        processes.COUNT: str(count),
        processes.NUMBER: str(number),
    }


@contextmanager
def started(
    command: Sequence[str],
    folders: Sequence[Path],
    environments: Sequence[Mapping[str, str]],
) -> Iterator[list[Member]]:
    """A process for each of the environments, in these folders; all have ended at the end."""
    members: list[Member] = []
    try:
        for number, (folder, environment) in enumerate(zip(folders, environments, strict=True)):
            stderr = folder / f"stderr{number}.txt"
            with open(stderr, "wb") as file, open(folder / f"stdout{number}.txt", "wb") as output:
                process = subprocess.Popen(
                    [sys.executable if word == "python" else word for word in command],
                    cwd=folder,
                    env=os.environ | environment,
                    stdout=output,
                    stderr=file,
                )
            members.append(Member(process, stderr))
        yield members
    finally:
        for member in members:
            if member.process.poll() is None:
                for one in [*psutil.Process(member.process.pid).children(), member.process]:
                    one.send_signal(signal.SIGKILL)
            member.process.wait()
