"""Servers on loopback while a `with` lasts: places for a DVC remote, and a Slurm."""

import getpass
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

LOOPBACK = "127.0.0.1"
PROGRAMS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
SWIFT = ("account", "container", "object", "proxy")
NEEDED = {
    "folder": (),
    "ssh": ("sshd", "ssh", "ssh-agent", "ssh-keygen"),
    "s3": tuple(f"swift-{name}-server" for name in SWIFT),
    "https": ("openssl",),
    "slurm": ("slurmctld", "slurmd", "sbatch", "scancel", "sinfo", "srun"),
}
S3_WRITER = {"AWS_ACCESS_KEY_ID": "team:writer", "AWS_SECRET_ACCESS_KEY": "writing"}
S3_READER = {"AWS_ACCESS_KEY_ID": "team:reader", "AWS_SECRET_ACCESS_KEY": "reading"}


@dataclass(frozen=True)
class Storage:
    """A place for a DVC remote.

    `options` are what `dvc remote modify` has to set, and `environment` what the shell of its user
    has to have. `port` is the server's. What lies there is in the folder `root` of `fs`, without
    passing through the server where that is no S3.
    """

    url: str
    root: str
    fs: AbstractFileSystem = field(default_factory=LocalFileSystem)
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0

    def at(self, name: str) -> "Storage":
        """A folder of it, as a storage of its own."""
        return replace(self, url=f"{self.url}/{name}", root=f"{self.root}/{name}")

    def object(self, md5: str) -> str:
        """The path in `fs` of an object of a DVC remote there."""
        return f"{self.root}/files/md5/{md5[:2]}/{md5[2:]}"


@contextmanager
def folder(place: Path) -> Iterator[Storage]:
    """A folder, which needs no server."""
    yield Storage(str(place / "store"), str(place / "store"))


@contextmanager
def ssh(place: Path) -> Iterator[Storage]:
    """OpenSSH's sshd, with throw-away keys.

    Its user's ~/.ssh/config, in `place / "home"`, gives it the name storage.example.com.
    """
    port = free_port()
    for key in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / key)
    (place / "sshd_config").write_text(f"""
ListenAddress {LOOPBACK}:{port}
HostKey {place}/host
AuthorizedKeysFile {place}/user.pub
StrictModes no
PidFile none
LogLevel DEBUG1
Subsystem sftp internal-sftp
""")
    settings = place / "home/.ssh"
    settings.mkdir(parents=True)
    (settings / "config").write_text(f"""
Host storage.example.com
  HostName {LOOPBACK}
  Port {port}
  User {getpass.getuser()}
  IdentityFile {place}/user
  UserKnownHostsFile {settings}/known_hosts
""")
    host_key = (place / "host.pub").read_text()
    (settings / "known_hosts").write_text(f"[{LOOPBACK}]:{port} {host_key}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd asks for it; an init script would make it
    store = place / "store"
    # sshd wants to be called by its whole path
    with running(place, str(which("sshd")), "-D", "-e", "-f", place / "sshd_config"):
        wait_for(port)
        yield Storage(
            f"ssh://storage.example.com{store}",
            str(store),
            environment={"HOME": str(place / "home")},
            port=port,
        )


@contextmanager
def s3(place: Path, full: bool = False) -> Iterator[Storage]:
    """OpenStack Swift with its S3 interface, a bucket, and two users, one of whom only reads.

    With `full`, its disk takes no more objects. What is stored survives until `place` is removed.
    """
    ports = {name: free_port() for name in SWIFT}
    (place / "devices/disk").mkdir(parents=True, exist_ok=True)
    (place / "swift.conf").write_text("""
[swift-hash]
swift_hash_path_suffix = convline
[storage-policy:0]
name = one
default = yes
""")
    for name in SWIFT:
        (place / f"{name}.conf").write_text(f"""
[DEFAULT]
bind_ip = {LOOPBACK}
bind_port = {ports[name]}
workers = 0
user = {getpass.getuser()}
swift_dir = {place}
devices = {place}/devices
mount_check = false
fallocate_reserve = {"100%" if full and name == "object" else 0}
[app:{name}-server]
use = egg:swift#{name}
account_autocreate = true
[pipeline:main]
pipeline = {FILTERS if name == "proxy" else ""} {name}-server
""")
    with (place / "proxy.conf").open("a") as file:
        for name in FILTERS.split():
            file.write(f"[filter:{name}]\nuse = egg:swift#{name}\n")
            file.writelines(f"{line}\n" for line in FILTER_SETTINGS.get(name, ()))
    # Swift's own Python, which is the system's
    run("/usr/bin/python3", "-c", RINGS.format(ports=ports, host=LOOPBACK, place=place))
    with ExitStack() as servers:
        for name in SWIFT:
            servers.enter_context(running(place, f"swift-{name}-server", place / f"{name}.conf"))
        for port in ports.values():
            wait_for(port)
        url = f"http://{LOOPBACK}:{ports['proxy']}"
        fs = S3FileSystem(
            key=S3_WRITER["AWS_ACCESS_KEY_ID"],
            secret=S3_WRITER["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=url,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        if not fs.exists("convline"):
            fs.mkdir("convline")
        (place / "aws").touch()
        yield Storage(
            "s3://convline/store",
            "convline/store",
            fs,
            options={"endpointurl": url},
            environment=S3_WRITER | {"AWS_CONFIG_FILE": str(place / "aws")},  # nobody's own
            port=ports["proxy"],
        )


# `memcache` is asked for, but need not be there; `proxy_logging` keeps HEAD without a body
FILTERS = (
    "catch_errors gatekeeper proxy_logging memcache listing_formats s3api tempauth copy slo dlo"
)
FILTER_SETTINGS = {
    "memcache": [f"memcache_servers = {LOOPBACK}:9"],
    "tempauth": [
        "user_team_writer = writing .admin",
        "user_team_reader = reading .reseller_reader",
    ],
}
RINGS = """
from swift.common.ring import RingBuilder
for name, port in {ports}.items():
    builder = RingBuilder(1, 1, 0)
    builder.add_dev(dict(region=1, zone=1, ip="{host}", port=port, device="disk", weight=1))
    builder.rebalance()
    builder.get_ring().save("{place}/" + name + ".ring.gz")
"""


@contextmanager
def https(place: Path, served: Path) -> Iterator[Storage]:
    """A web server that gives out the files of `served` and takes none."""
    key, certificate = place / "key.pem", place / "certificate.pem"
    subject = ("-subj", "/CN=test", "-addext", f"subjectAltName=IP:{LOOPBACK}")
    files = ("-keyout", key, "-out", certificate)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Do as though nothing were: DVC hangs up where it has read enough."""

    with Server((LOOPBACK, 0), partial(Handler, directory=str(served))) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Storage(
                f"https://{LOOPBACK}:{server.server_port}",
                str(served),
                environment={"SSL_CERT_FILE": str(certificate)},
                port=server.server_port,
            )
        finally:
            server.shutdown()


@contextmanager
def slurm(place: Path, nodes: int) -> Iterator[dict[str, str]]:
    """A Slurm whose nodes, of one core each, are all on this machine.

    Yields the variables with which its commands find it.
    """
    host = socket.gethostname().partition(".")[0]
    settings = place / "slurm.conf"
    names = [f"n{number}" for number in range(1, nodes + 1)]
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr={LOOPBACK} Port={free_port()} CPUs=1 "
        "RealMemory=4000"
        for name in names
    ]
    (place / "state").mkdir()
    settings.write_text(
        f"""
ClusterName=test
SlurmctldHost={host}({LOOPBACK})
SlurmctldPort={free_port()}
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/pgid
ReturnToService=2
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmdSpoolDir={place}/%n
StateSaveLocation={place}/state
SlurmUser={getpass.getuser()}
SlurmdUser={getpass.getuser()}
SwitchType=switch/none
TaskPlugin=task/none
SelectType=select/linear
"""
        + "\n".join([*lines, "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"])
    )
    environment = {"SLURM_CONF": str(settings)}
    with ExitStack() as daemons:
        start = partial(running, place)
        daemons.enter_context(start(str(which("slurmctld")), "-D", "-f", settings))
        for name in names:
            (place / name).mkdir()
            daemons.enter_context(start(str(which("slurmd")), "-D", "-N", name, "-f", settings))
        end = time.monotonic() + 60
        while True:
            found = subprocess.run(
                ["sinfo", "--noheader", "--format=%D %t"],
                env=os.environ | environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if found.stdout.split() == [str(nodes), "idle"]:
                break
            if time.monotonic() > end:
                raise OSError(f"Slurm does not start: {found.stdout}{found.stderr}")
            time.sleep(0.2)
        try:
            yield environment
        finally:
            subprocess.run(
                ["scancel", "--state=RUNNING"], env=os.environ | environment, check=False
            )


@contextmanager
def narrow(port: int, bytes_: int) -> Iterator[tuple[int, threading.Event]]:
    """A way to `port` that ends after `bytes_` have gone there: its port, and the event of it.

    From then on it is silent: neither side hears of the other, and nobody hangs up.
    """
    left, ended = [bytes_], threading.Event()

    def pass_on(source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1024):
                if counted:
                    left[0] -= len(data)
                if left[0] <= 0:
                    ended.set()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection((LOOPBACK, port))
                    stack.enter_context(client)
                    stack.enter_context(server)
                    for pair in ((client, server, True), (server, client, False)):
                        threading.Thread(target=pass_on, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], ended


@contextmanager
def example(place: Path, repository: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """All of them, and a git server for `repository`, for a page that speaks of example.com.

    Yields the addresses of the page with those of the servers, and what the shell has to have.
    """
    store, origin = place / "store", place / "origin"
    store.mkdir()
    run("git", "clone", "--quiet", "--bare", repository, origin)
    run("git", "-C", repository, "remote", "add", "origin", origin)
    run("git", "-C", repository, "push", "--quiet", "--set-upstream", "origin", "HEAD")
    places = {name: place / name for name in ("ssh", "s3", "https")}
    for folder_ in places.values():
        folder_.mkdir()
    with (
        ssh(places["ssh"]) as server,
        s3(places["s3"]) as bucket,
        https(places["https"], store) as web,
    ):
        addresses = {
            "/srv/convline": str(store),
            "https://s3.example.com": bucket.options["endpointurl"],
            "https://data.example.com": web.url,
            "git@git.example.com:convline.git": str(origin),
        }
        yield addresses, server.environment | bucket.environment | web.environment


WRITABLE: dict[str, Callable[[Path], AbstractContextManager[Storage]]] = {
    "folder": folder,
    "ssh": ssh,
    "s3": s3,
}


def missing(*kinds: str) -> str:
    """What has to be installed on this machine for these kinds of storage, or nothing."""
    lacking = [name for kind in kinds for name in NEEDED[kind] if not which(name)]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def which(program: str) -> str | None:
    """Its path, where it is installed."""
    return shutil.which(program, path=PROGRAMS)


def run(*command: str | Path) -> None:
    """Run a command that says nothing unless it fails."""
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def running(place: Path, *command: str | Path, **environment: str) -> Iterator[None]:
    """A server, with further variables, stopped at the end. What it prints is kept in `place`."""
    with (place / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, seconds: float = 30) -> None:
    """Wait until something listens on `port`. Raises `OSError` if it takes longer than that."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=seconds).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
