"""One training in several processes: whether all have come, and whether all still go on.

Slurm, Open MPI 4 or three variables start them. Each starts a child that trains, and watches it
and the other processes meanwhile. JAX alone would end a process that misses another with a page of
C++, or let it wait for ever; the parent ends its child at once and says why in one line.
"""

import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from convline import problems
from convline.paths import PARAMS
from convline.problems import Problem
from convline.text import few, shortened

# Those of `keras.distribution.initialize`
ADDRESS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
NUMBER = "KERAS_DISTRIBUTION_PROCESS_ID"
LAUNCHED = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")  # by Slurm and Open MPI: how many
CHILD = "CONVLINE_CHILD"  # the variable in which a child finds its place

COME_WITHIN = 120.0  # seconds from the start of a process until all are there
SILENT_FOR = 15.0  # seconds after which a process that says nothing is dead or stopped
STUCK_FOR = 600.0  # seconds without a batch: compiling the first step can take minutes
REASON_WITHIN = 5.0  # seconds to wait for others to say why, where a child has only lost them
# Words in the error of a child that lost another
LOST = ("Gloo", "NCCL", "coordination", "Coordination")


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, and where the first one, number 0, listens."""

    number: int = 0
    count: int = 1
    host: str = ""
    port: int = 0
    jax_port: int = 0  # of JAX's own service, in the first process
    progress: int = -1  # a pipe to the parent, which gets a byte for each batch


_here = Place()


def here() -> Place:
    """The place of this process: the only one, unless it was started as one of several."""
    return _here


def run(main: Callable[[], None]) -> None:
    """Run `main` as `problems.run` does: in this process or, if it is one of several, in its child.

    Within `main`, `join` connects JAX with that of the other processes.
    """
    global _here
    if CHILD in os.environ:
        _here = Place(**json.loads(os.environ.pop(CHILD)))
        _be_child(main)
    problems.run(lambda: _be_parent(main))


def join() -> None:
    """Connect JAX with the other processes, before anything computes. Alone, do nothing."""
    if _here.count == 1:
        return
    import jax

    jax.distributed.initialize(
        _address(_here.host, _here.jax_port),
        _here.count,
        _here.number,
        coordinator_bind_address=_address(_listens_at(_here.host) or "::", _here.jax_port),
        initialization_timeout=int(COME_WITHIN),
        heartbeat_timeout_seconds=int(2 * SILENT_FOR),  # the parents notice first
        shutdown_timeout_seconds=int(STUCK_FOR),
    )


def go_on() -> None:
    """Tell the parent, if there is one, that this process goes on."""
    if _here.progress >= 0:
        os.write(_here.progress, b".")


def launched() -> Place:
    """The place that Slurm, Open MPI or the three variables give this process.

    Raises `Problem` where they are incomplete or wrong.
    """
    given = {name: os.environ[name] for name in (ADDRESS, COUNT, NUMBER) if os.environ.get(name)}
    if not given:
        if all(os.environ.get(name, "1") == "1" for name in LAUNCHED):
            return Place()
        if "OMPI_COMM_WORLD_SIZE" not in os.environ and "SLURM_STEP_NODELIST" not in os.environ:
            return Place()  # in a job of Slurm, and not started by srun
        from jax._src.clusters import ClusterEnv  # as `jax.distributed.initialize` finds them

        address, count, number, _ = ClusterEnv.auto_detect_unset_distributed_params(
            os.environ.get("JAX_COORDINATOR_ADDRESS"), None, None, None, None, None
        )
        if None in (address, count, number):
            raise Problem(
                "this launcher does not say where the first process is, as Open MPI 5 and later; "
                f"use Slurm or Open MPI 4, or set {ADDRESS}, {COUNT} and {NUMBER}"
            )
        given = {ADDRESS: str(address), COUNT: str(count), NUMBER: str(number)}
    try:
        host, _, port = given[ADDRESS].split(",")[0].rpartition(":")
        place = Place(int(given[NUMBER]), int(given[COUNT]), host.strip("[]"), int(port))
    except (KeyError, ValueError) as error:
        shown = ", ".join(f"{name}={os.environ.get(name, '')}" for name in (ADDRESS, COUNT, NUMBER))
        raise Problem(
            "the variables of several processes should be HOST:PORT of the first one, their number "
            f"and the number of this one, from 0; they are {shown}"
        ) from error
    if not 0 <= place.number < place.count:
        raise Problem(
            f"this is process {place.number} of {place.count}, which have the numbers 0 to "
            f"{place.count - 1}"
        )
    return place


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listens_at(host: str) -> str:
    """Where the first process listens: at its IP address, or everywhere if it is given by name.

    On Debian, a machine's own name is for itself an address that others cannot reach.
    """
    if host == "localhost":
        return "127.0.0.1"
    return host if host.replace(".", "").isdigit() or ":" in host else ""


def _be_child(main: Callable[[], None]) -> NoReturn:
    """Run `main` and end, without JAX's waiting for others after a failure."""

    def end_with_parent() -> None:
        os.read(0, 1)  # at its end, because the parent never writes
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent obeys
    code = 1
    try:
        problems.run(main)
        if "jax" in sys.modules:
            sys.modules["jax"].distributed.shutdown()  # once all have come so far
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


@dataclass(eq=False)
class _Peer:
    """Another process, or what its parent has said."""

    connection: socket.socket
    number: int
    host: str
    heard: float  # when, on the monotonic clock
    unread: bytes = b""
    batches: int = 0
    done: bool = False

    def __str__(self) -> str:
        return f"process {self.number} ({self.host})"

    def fileno(self) -> int:
        """The socket, for `select`."""
        return self.connection.fileno()

    def say(self, **message: object) -> None:
        """Send a message. That the other one is gone, `hear` notices."""
        with suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def listen(self) -> bool:
        """Note what the other one has said. False at the end, after it was done.

        Raises `Problem` where it has ended before, or says why all should.
        """
        try:
            messages = self.hear()
        except EOFError:
            if self.done:
                return False
            raise Problem(f"{self} has ended: it was killed, or the network was cut") from None
        for message in messages:
            if "end" in message:
                raise Problem(message["end"])
            self.done = message.get("done", self.done)
            self.batches = message.get("batches", self.batches)
        return True

    def hear(self) -> list[dict[str, Any]]:
        """The messages that have come. Raises `EOFError` at their end."""
        try:
            received = self.connection.recv(65536)
        except OSError:
            received = b""
        if not received:
            raise EOFError
        self.heard = time.monotonic()
        *lines, self.unread = (self.unread + received).split(b"\n")
        return [json.loads(line) for line in lines]


def _be_parent(main: Callable[[], None]) -> None:
    place = launched()
    if place.count == 1:
        main()
        return
    peers: list[_Peer] = []
    try:
        place = _gather(place, peers)
        _Watch(place, peers).until_done()
    except Problem as problem:
        for peer in peers:
            peer.say(end=str(problem))
        raise


def _gather(place: Place, peers: list[_Peer]) -> Place:
    """Connect the first process with each other, and wait until all have come.

    Raises `Problem` where some do not come in time, or belong to another training.
    """
    until = time.monotonic() + COME_WITHIN
    hello = {
        "number": place.number,
        "host": socket.gethostname(),
        "count": place.count,
        PARAMS.name: hashlib.sha256(PARAMS.read_bytes()).hexdigest(),
    }
    if place.number:
        return _come(place, hello, peers, until)
    at = _listens_at(place.host)
    try:
        with socket.create_server((at, 0)) as free:
            place = replace(place, jax_port=free.getsockname()[1])
        with socket.create_server((at, place.port)) as listening:
            while len(peers) < place.count - 1:
                listening.settimeout(max(0.001, until - time.monotonic()))
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    come = {0, *(peer.number for peer in peers)}
                    absent = [number for number in range(place.count) if number not in come]
                    raise Problem(
                        f"{len(absent)} of {place.count} processes have not come within "
                        f"{COME_WITHIN:.0f} s: number {few(absent)}"
                    ) from None
                peers.append(_meet(connection, hello, peers))
    except OSError as error:
        raise Problem(
            f"process 0 cannot listen at {_address(place.host, place.port)}: "
            f"{problems.os_reason(error)}"
        ) from error
    for peer in peers:
        peer.say(jax_port=place.jax_port)
    return place


def _meet(connection: socket.socket, hello: dict[str, Any], peers: list[_Peer]) -> _Peer:
    """The process at the other end, which should say `hello` too, with a number of its own."""
    connection.settimeout(SILENT_FOR)
    peer = _Peer(connection, 0, "", time.monotonic())
    try:
        (theirs,) = peer.hear()
        peer.number, peer.host = theirs["number"], theirs["host"]
    except (EOFError, ValueError, KeyError, TypeError) as error:
        raise Problem("what has connected is no process of this training") from error
    reason = None
    if theirs["count"] != hello["count"]:
        reason = f"{peer} is one of {theirs['count']}, and process 0 one of {hello['count']}"
    elif theirs[PARAMS.name] != hello[PARAMS.name]:
        reason = f"{peer} has another {PARAMS} than process 0 ({hello['host']})"
    elif peer.number in (0, *(other.number for other in peers)):
        reason = f"two processes have the number {peer.number}"
    if reason:
        peer.say(end=reason)
        raise Problem(reason)
    return peer


def _come(place: Place, hello: dict[str, Any], peers: list[_Peer], until: float) -> Place:
    """Connect with the first process, and wait until it says that all have come."""
    there = f"process 0 at {_address(place.host, place.port)}"
    while True:
        try:
            connection = socket.create_connection((place.host, place.port), timeout=SILENT_FOR)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise Problem(
                    f"{there} cannot be reached within {COME_WITHIN:.0f} s: "
                    f"{problems.os_reason(error)}"
                ) from error
            time.sleep(0.2)
    connection.settimeout(2 * COME_WITHIN)  # while it waits for others
    first = _Peer(connection, 0, place.host, time.monotonic())
    first.say(**hello)
    try:
        (message,) = first.hear()
    except (EOFError, ValueError):
        raise Problem(f"{there} has ended, or was no process of this training") from None
    if "end" in message:
        raise Problem(message["end"])
    first.heard = time.monotonic()
    peers.append(first)
    return replace(place, jax_port=message["jax_port"])


@dataclass(eq=False)
class _Pipe:
    """A pipe from the child, and what has come through it."""

    descriptor: int
    received: bytes = b""

    def fileno(self) -> int:
        """The pipe, for `select`."""
        return self.descriptor

    def listen(self) -> bool:
        """Keep what has come. False at the end of the pipe."""
        received = os.read(self.descriptor, 65536)
        self.received += received
        return bool(received)


class _Watch:
    """A parent's watch over its child, which it starts, and over the other processes."""

    def __init__(self, place: Place, peers: list[_Peer]) -> None:
        self.own = f"process {place.number} ({socket.gethostname()})"
        self.first = place.number == 0
        self.peers = peers
        progress, of_child = os.pipe()
        self.child = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env=os.environ | {CHILD: json.dumps(asdict(replace(place, progress=of_child)))},
            stdin=subprocess.PIPE,
            stdout=None if self.first else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[of_child],
        )
        os.close(of_child)
        self.progress = _Pipe(progress)
        self.stderr = _Pipe(self.child.stderr.fileno() if self.child.stderr else -1)
        self.listening: list[_Pipe | _Peer] = [self.progress, self.stderr, *peers]
        self.batches = 0  # of all processes, when last looked at
        self.moved = self.said = self.now = time.monotonic()
        self.failed_at: float | None = None

    def until_done(self) -> None:
        """Return once the child has ended well.

        Raises `Problem` where this or another process fails, dies, is stopped or is stuck.
        """
        try:
            while not self._done():
                ready, _, _ = select.select(self.listening, [], [], 0.5)
                for source in ready:
                    if not source.listen():
                        self.listening.remove(source)
                self.now = time.monotonic()
                self._check_that_all_answer()
                if self.first:
                    self._check_that_all_go_on()
                self._report()
        finally:
            self.child.kill()
            self.child.wait()
            os.close(self.progress.descriptor)

    def _done(self) -> bool:
        """Whether the child has ended well. Raises `Problem` where it has failed."""
        code = self.child.poll()
        if code is None or self.stderr in self.listening:  # stderr is still being read
            return False
        if code == 0:
            for peer in self.peers:
                peer.say(done=True)
            return True
        self.failed_at = self.failed_at or self.now
        patient = self.now - self.failed_at < REASON_WITHIN
        if reason := _reason(code, self.stderr.received, patient):
            raise Problem(f"{self.own} {reason}")
        return False

    def _check_that_all_answer(self) -> None:
        for peer in self.peers:
            if not peer.done and self.now - peer.heard > SILENT_FOR:
                raise Problem(
                    f"{peer} has not answered for {SILENT_FOR:.0f} s: it was stopped, or its "
                    "machine or network is down"
                )

    def _check_that_all_go_on(self) -> None:
        batches = {self.own: len(self.progress.received)}
        batches |= {str(peer): peer.batches for peer in self.peers}
        if sum(batches.values()) > self.batches:
            self.batches, self.moved = sum(batches.values()), self.now
        elif self.now - self.moved > STUCK_FOR:
            least = min(batches.values())
            last = [process for process, count in batches.items() if count == least]
            raise Problem(f"no process has gone on for {STUCK_FOR:.0f} s; waiting for {few(last)}")

    def _report(self) -> None:
        """Tell the others once a second that this process goes on, unless its child is stopped."""
        if self.now - self.said > 1 and not self._child_is_stopped():
            self.said = self.now
            for peer in self.peers:
                peer.say(batches=len(self.progress.received))

    def _child_is_stopped(self) -> bool:
        if self.child.poll() is not None:
            return False
        changed = os.waitid(
            os.P_PID, self.child.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT
        )
        return changed is not None and changed.si_code == os.CLD_STOPPED


def _reason(code: int, notes: bytes, patient: bool) -> str | None:
    """Why a child has failed, after its exit code and what it wrote to stderr.

    None where the child has only lost another process, whose parent knows the reason, and as long
    as it is worth waiting for that: `patient`.
    """
    text = notes.decode(errors="replace")
    if code < 0 and code != -signal.SIGABRT:  # JAX aborts when it has lost another process
        return f"was killed by {signal.Signals(-code).name}"
    begin = f"{Path(sys.argv[0]).stem}: "
    lines = text.splitlines()
    if "Traceback" not in text and lines and lines[-1].startswith(begin):
        return f"has stopped: {lines[-1].removeprefix(begin)}"
    if patient and any(sign in text for sign in LOST):
        return None
    sys.stderr.write(text)
    return f"has failed: {shortened(lines[-1] if lines else f'exit code {code}', 200)}"
