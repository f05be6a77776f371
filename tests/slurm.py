"""Slurm with two nodes on this machine, for as long as a test needs it."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import teams

PROGRAMS = ("slurmctld", "slurmd", "srun")

# Nobody but this machine can connect, so nothing is authenticated
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=second NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def missing() -> str:
    """What is not installed, as a reason to skip; empty if nothing is."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=_path())]
    return f"needs {', '.join(absent)}" if absent else ""


def _path() -> str:
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin"


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Both nodes, ready for `srun -N 2`: the variables with which it finds them."""
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host,
            user=getpass.getuser(),
            folder=folder,
            ports=[teams.free_port() for _ in range(3)],
        )
    )
    variables = {"SLURM_CONF": str(configuration), "PATH": _path()}
    daemons = [
        subprocess.Popen(
            command,
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in (
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", host],
            ["slurmd", "-D", "-N", "second"],
        )
    ]
    try:
        until = time.monotonic() + 120
        idle = ["sinfo", "--noheader", "--states=idle", "--format=%D"]
        while True:
            found = subprocess.run(
                idle, env=os.environ | variables, capture_output=True, text=True, check=False
            )
            if found.stdout.strip() == "2":
                break
            logs = "".join(log.read_text() for log in folder.glob("*.log"))
            assert time.monotonic() < until, logs
            time.sleep(0.2)
        yield variables
    finally:
        for daemon in daemons:
            daemon.kill()
            daemon.wait()
