"""A fork server: processes for tests that have already imported Keras and DVC.

A stage on the tiny dataset spends most of its time importing Keras, and `dvc status` importing DVC.
The server imports both once, Keras on TensorFlow. Its programs `python` and `dvc` ask it for a fork
that runs a script of src/ or benchmarks/, or DVC's command line, with their arguments, environment,
folder and standard streams. Forks import Convline's modules from their own project.

Programs start a new process instead where a fork would behave differently: for other scripts, with
other values of variables that are read only at startup, with other resource limits or privileges.
"""

import atexit
import gc
import importlib
import io
import json
import os
import re
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

SOURCE = Path(__file__).parent.parent / "src"
# What stages and DVC need beside Keras. onnxruntime starts threads, which forks would lack.
IMPORTED = (
    "dvc.cli.parser",
    "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.run",
    "dvc.repo.reproduce",
    "dvclive",
    "hydra.core.override_parser.overrides_parser",
    "networkx",
    "pandas",
    "pygit2",
    "pyparsing",
    "sklearn.metrics",
    "tf2onnx.convert",
)
SOCKET = "CONVLINE_FORK_SERVER"  # the variable with the path of the server's socket
CLIENTS = ("python", "dvc")
NEW = {SOCKET: ""}  # with this, processes start as usual
SCRIPTS = r"(^|/)(src|(src|benchmarks)/\w+\.py)$"
READ_AT_START = re.compile("(PYTHON[A-Z]|KERAS_|TF_|LC_|LD_|OMP_|OPENBLAS_|MALLOC_|LANG$)")
LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
RIGHTS = ("Uid:", "Gid:", "Groups:", "Cap")  # lines of /proc/self/status
STREAMS = cast(io.TextIOWrapper, sys.stdout), cast(io.TextIOWrapper, sys.stderr)
# What `backend.choose` sets, also in the tests' own process
CHOSEN = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")

# It imports little, and no site-packages: it starts in a fiftieth of a second
CLIENT = """#!{python} -IS
import json, os, re, resource, socket, sys

program, arguments = {program!r}, sys.argv[1:]
server = os.environ.get({variable!r})
read = {{key: value for key, value in os.environ.items() if re.match({pattern!r}, key)}}
limits = [list(resource.getrlimit(limit)) for limit in {limit_numbers}]
with open("/proc/self/status") as status:
    rights = [line for line in status if line.startswith({rights_begin})]
if arguments[:2] == ["-m", "dvc"]:
    program, arguments = "dvc", arguments[2:]
known = program == "dvc" or (arguments and re.search({scripts!r}, arguments[0]))
known = known or (len(arguments) > 1 and arguments[0] == "-c")
if not (server and known and (read, limits, rights) == {expected}):
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
connection = socket.socket(socket.AF_UNIX)
connection.connect(server)
asked = {{
    "program": program,
    "client": {client!r},
    "arguments": arguments,
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "umask": os.umask(0o22),
}}
socket.send_fds(connection, [json.dumps(asked).encode() + b"\\n"], [0, 1, 2])
code = int(connection.recv(16) or b"-9")
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """A server in `folder`: the variables with which a process uses its programs.

    The folder `environment` beside its socket stands for .venv: it has all programs of this
    environment, with the server's in place of their own.
    """
    address, environment = folder / "socket", folder / "environment"
    programs = environment / "bin"
    programs.mkdir(parents=True)
    for there in Path(sys.prefix).iterdir():
        if there.name != "bin":
            (environment / there.name).symlink_to(there)
    for there in Path(sys.executable).parent.iterdir():
        if there.name == "activate":
            (programs / "activate").write_text(
                there.read_text().replace(sys.prefix, str(environment))
            )
        elif there.name not in CLIENTS:
            (programs / there.name).symlink_to(there)
    variables = {key: value for key, value in os.environ.items() if key not in (SOCKET, *CHOSEN)}
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    status = Path("/proc/self/status").read_text()
    for program in CLIENTS:
        client = programs / program
        client.write_text(
            CLIENT.format(
                python=sys.executable,
                program=program,
                client=str(client),
                real=str(Path(sys.executable).with_name(program)),
                variable=SOCKET,
                scripts=SCRIPTS,
                pattern=READ_AT_START.pattern,
                limit_numbers=LIMITS,
                rights_begin=RIGHTS,
                expected=(
                    {key: value for key, value in variables.items() if READ_AT_START.match(key)},
                    [list(resource.getrlimit(limit)) for limit in LIMITS],
                    [line for line in status.splitlines(keepends=True) if line.startswith(RIGHTS)],
                ),
            )
        )
        client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address], env=variables, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout and server.stdout.readline() == b"ready\n"
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent)])
        yield {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", SOCKET: str(address)}
    finally:
        server.kill()
        server.communicate()


def serve(address: str) -> None:
    """Fork a process for each client that connects to the socket at `address`."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(100)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Run what the client asks for in a child, which ends with the client, and send its code."""
    content, streams, _, _ = socket.recv_fds(connection, 65536, 3)
    while not content.endswith(b"\n"):
        content += connection.recv(65536)
    asked = json.loads(content)
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        _run(asked)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, connection.fileno()], [], [])
    if ended not in ready:  # the client is gone
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with suppress(BrokenPipeError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(asked: dict[str, Any]) -> NoReturn:
    """Become the process that was asked for, as far as a program can tell, and end."""
    os.umask(asked["umask"])
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if asked["program"] == "python":
        sys.executable = asked["client"]
        sys.stdout, sys.stderr = STREAMS  # DVC's imports put others there
    STREAMS[0].reconfigure(line_buffering=STREAMS[0].isatty())
    sys.argv = [asked["program"], *asked["arguments"]]
    code: object = 1
    try:
        if asked["program"] == "dvc":
            code = importlib.import_module("dvc.cli").main()
        elif asked["arguments"][0] == "-c":
            source = sys.argv.pop(2)
            del sys.argv[0]
            sys.path.insert(0, "")
            exec(compile(source, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
            code = 0
        else:
            del sys.argv[0]
            sys.path.insert(0, str(Path(sys.argv[0]).absolute().parent))
            code = runpy.run_path(sys.argv[0], run_name="__main__") and 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        code = "Keras is on TensorFlow in a fork: run this with **fork_server.NEW"
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def import_all() -> None:
    """Import what most processes need, Keras as stages do."""
    sys.path.insert(0, str(SOURCE))
    backend = importlib.import_module("convline.backend")
    backend.choose(backend.BackendParams(backend="tensorflow", threads=2))
    with backend.imports.lean(), backend.imports.quiet():
        importlib.import_module("keras")
    for name in IMPORTED:
        importlib.import_module(name)
    sys.path.remove(str(SOURCE))
    for name in [name for name in sys.modules if name.partition(".")[0] == "convline"]:
        del sys.modules[name]
    gc.freeze()  # forks do not look for garbage in what they share


if __name__ == "__main__":
    import_all()
    serve(sys.argv[1])
