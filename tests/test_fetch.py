"""The fetch stage, run as its script: every way in which a source can fail, and what it brings."""

import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Project, describe, with_pets
from convline.data import idx
from convline.data.datasets import FILES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

pytestmark = pytest.mark.xdist_group("fetch")
FIRST = TEST_IMAGES  # of the tiny dataset's files, as datasets.yaml orders them
ENDLESS = 1 << 28  # bytes after which an endless stream ends, so that a broken test does
PATIENCE = 60  # seconds until a test that waits for something fails

# The stage, with a time-out in seconds that a test can wait for
HASTY = """
import sys
sys.path.insert(0, "src")
from convline.data import download
from convline import problems
download.TIMEOUT = float(sys.argv[1])
sys.argv = ["src/fetch.py"]
import fetch
problems.run(fetch.main)
"""

# The stage, without a network
OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise AssertionError(f"{event} {arguments}")
sys.addaudithook(refuse)
sys.path.insert(0, "src")
sys.argv = ["src/fetch.py"]
import fetch
from convline import problems
problems.run(fetch.main)
"""


class Server(ThreadingHTTPServer):
    """A mirror on loopback that answers each request for a file with `answer`."""

    def __init__(self, folder: Path, answer: "Answer") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.answer = answer
        self.requests: list[str] = []
        self.sent = 0
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        """What to set CONVLINE_MIRROR to."""
        return f"http://127.0.0.1:{self.server_port}/some/path"


class Handler(BaseHTTPRequestHandler):
    """One request to a `Server`."""

    server: Server

    def do_GET(self) -> None:
        """Answer as the test wants it."""
        name = self.path.removeprefix("/some/path/")
        self.server.requests.append(name)
        try:
            self.server.answer(self, (self.server.folder / name).read_bytes())
        except ConnectionError:
            self.close_connection = True

    def reply(self, body: bytes, status: int = 200, **headers: object) -> None:
        """Send a whole response. Header names are given with _ for -."""
        self.send_response(status)
        for header, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(header.replace("_", "-"), str(value))
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        """Send a part of a response."""
        self.wfile.write(body)
        self.server.sent += len(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


Answer = Callable[[Handler, bytes], None]


def good(handler: Handler, file: bytes) -> None:
    handler.reply(file)


def labelled_as_gzip(handler: Handler, file: bytes) -> None:
    handler.reply(file, Content_Encoding="gzip", Content_Type="application/x-gzip")


def error_page(handler: Handler, file: bytes) -> None:
    handler.reply(b"<!doctype html><title>Sign in to the network</title>")


def long_error_page(handler: Handler, file: bytes) -> None:
    handler.reply(b"<!doctype html>" * len(file))


def missing(handler: Handler, file: bytes) -> None:
    handler.reply(b"no such file", 404, Content_Length=100)
    handler.wfile.flush()
    silent(handler, file)  # the stage has to close the connection


def broken(handler: Handler, file: bytes) -> None:
    handler.reply(b"try later", 500)


def truncated(handler: Handler, file: bytes) -> None:
    handler.reply(file[:-1])


def dropped(handler: Handler, file: bytes) -> None:
    handler.reply(file[: len(file) // 2], Content_Length=len(file))


def flipped(handler: Handler, file: bytes) -> None:
    handler.reply(file[:-9] + bytes([file[-9] ^ 1]) + file[-8:])


def endless(handler: Handler, file: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    while handler.server.sent < ENDLESS:
        handler.send(bytes(1 << 16))


def silent(handler: Handler, file: bytes) -> None:
    handler.server.stopped.wait(PATIENCE)


def silent_half_way(handler: Handler, file: bytes) -> None:
    dropped(handler, file)
    handler.wfile.flush()
    silent(handler, file)


@contextmanager
def serving(folder: Path, answer: Answer) -> Iterator[Server]:
    """A server with the files of `folder`, up for as long as the context."""
    with Server(folder, answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing stand between the stage and the test's server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def raw(project: Project) -> dict[str, bytes]:
    """What lies in data/raw, by name."""
    return {file.name: file.read_bytes() for file in (project.path / "data/raw").glob("[!.]*")}


def has_all(project: Project) -> bool:
    """Whether data/raw holds exactly the mirror's files."""
    return raw(project) == {name: (project.mirror / name).read_bytes() for name in FILES}


def fetch(project: Project, source: str, name: str = "tiny") -> None:
    """Run the stage with CONVLINE_MIRROR set to `source`. It has to succeed in silence."""
    result = project.run("python", "src/fetch.py", CONVLINE_MIRROR=source)
    assert result.stderr == ""
    assert result.stdout == f"fetch: {name} is in data/raw/\n"


FAILURES: list[tuple[Answer, str, int]] = [
    (error_page, "ended after 52 of {size} bytes", 2),
    (long_error_page, "sends more than the {size} bytes expected", 1),
    (missing, "404 Not Found", 1),
    (broken, "500 Internal Server Error", 2),
    (truncated, "ended after {less} of {size} bytes", 2),
    (dropped, "payload is not completed", 2),
    (flipped, "has other bytes: its sha256 is", 1),
    (endless, "sends more than the {size} bytes expected", 1),
]


@pytest.mark.parametrize(("answer", "reason", "requests"), FAILURES)
def test_a_source_fails(clone: Project, answer: Answer, reason: str, requests: int) -> None:
    """The line names file, source, reason and remedy. What broke off is tried twice."""
    size = (clone.mirror / FIRST).stat().st_size
    with serving(clone.mirror, answer) as server:
        line = clone.problem("fetch", CONVLINE_MIRROR=server.url)
    assert line.startswith(f"fetch: no source delivered {FIRST}: {server.url} (")
    assert reason.format(size=f"{size:,}", less=f"{size - 1:,}") in line
    assert line.endswith("set CONVLINE_MIRROR to a folder or URL that has it")
    assert server.requests == [FIRST] * requests
    assert raw(clone) == {}


def test_the_next_source_is_tried(clone: Project) -> None:
    """One run past every kind of failure, to the last source, which is good."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(clone.mirror, answer))
            for answer in [*(failure[0] for failure in FAILURES), good]
        ]
        refusing = stack.enter_context(socket.socket())
        refusing.bind(("127.0.0.1", 0))
        unusable = [
            f"http://127.0.0.1:{refusing.getsockname()[1]}",
            "teleport://mirror",
            "/no/such",
        ]
        clone.set_dataset("tiny", mirrors=[*unusable, *(server.url for server in servers)])
        fetch(clone, "/nowhere")
    assert [set(server.requests) for server in servers] == [set(FILES)] * len(servers)
    assert has_all(clone)


@pytest.mark.parametrize("answer", [dropped, broken])
def test_a_source_that_broke_off_once_is_tried_again(clone: Project, answer: Answer) -> None:
    def answer_at_first(handler: Handler, file: bytes) -> None:
        (answer if len(handler.server.requests) == 1 else good)(handler, file)

    with serving(clone.mirror, answer_at_first) as server:
        fetch(clone, server.url)
    assert Counter(server.requests) == Counter([FIRST, *FILES])
    assert has_all(clone)


def test_an_edited_stage_needs_no_source_to_run_again(clone: Project) -> None:
    """DVC deletes the files before it runs the stage; the user's cache still has them."""
    clone.dvc("repro", "fetch")
    with (clone.path / "src/convline/problems.py").open("a") as source:
        source.write("# changed\n")
    output = clone.run("dvc", "repro", "fetch", CONVLINE_MIRROR="/nowhere").stdout
    assert "Running stage 'fetch'" in output
    assert has_all(clone)


def test_of_two_that_fetch_at_once_one_downloads(clone: Project, tmp_path: Path) -> None:
    another = clone.copy(tmp_path / "another")

    def slowly(handler: Handler, file: bytes) -> None:
        time.sleep(0.5)
        good(handler, file)

    with serving(clone.mirror, slowly) as server:
        both = [
            subprocess.Popen(
                ["python", "src/fetch.py"],
                cwd=project.path,
                env=project.environment | {"CONVLINE_MIRROR": server.url},
            )
            for project in (clone, another)
        ]
        assert [process.wait(PATIENCE) for process in both] == [0, 0]
    assert Counter(server.requests) == Counter(FILES)
    assert has_all(clone)
    assert has_all(another)


def test_an_endless_stream_is_left_at_once(clone: Project) -> None:
    """What the server can send before it notices is what the system buffers."""
    with serving(clone.mirror, endless) as server:
        clone.problem("fetch", CONVLINE_MIRROR=server.url)
    assert server.sent < ENDLESS / 8


def test_nothing_is_unzipped_on_the_way(clone: Project) -> None:
    """A gzip bomb counts as the bytes that it is, whatever the server calls it."""
    bomb = gzip.compress(bytes(1 << 24))
    files: dict[str, Any] = describe(clone.mirror)
    files[FIRST]["bytes"] = len(bomb)
    clone.set_dataset("tiny", files=files)

    def send_bomb(handler: Handler, file: bytes) -> None:
        labelled_as_gzip(handler, bomb)

    with serving(clone.mirror, send_bomb) as server:
        line = clone.problem("fetch", CONVLINE_MIRROR=server.url)
    assert f"its sha256 is {hashlib.sha256(bomb).hexdigest()}" in line


@pytest.mark.parametrize("answer", [silent, silent_half_way])
def test_a_source_that_falls_silent(clone: Project, answer: Answer) -> None:
    with serving(clone.mirror, answer) as server:
        result = clone.run("python", "-c", HASTY, "0.5", ok=False, CONVLINE_MIRROR=server.url)
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert f"{FIRST}: {server.url} (no answer for 0.5 seconds)" in result.stderr
        assert server.requests == [FIRST]
        assert raw(clone) == {}

        clone.set_dataset("tiny", mirrors=[clone.mirror.as_uri()])
        clone.run("python", "-c", HASTY, "0.5", CONVLINE_MIRROR=server.url)
        assert has_all(clone)


def test_a_source_where_nothing_listens(clone: Project) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{refusing.getsockname()[1]}/"
        line = clone.problem("fetch", CONVLINE_MIRROR=url)
    assert f"{FIRST}: {url} (Cannot connect to host" in line


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("teleport://mirror", "Protocol not known: teleport"),
        ("/no/such/folder", "not found"),
        ("file:///no/such/folder/", "not found"),
        ("http://[", "Invalid IPv6 URL"),
        ("no such\nfolder", "not found"),
    ],
)
def test_an_unusable_mirror(clone: Project, source: str, reason: str) -> None:
    line = clone.problem("fetch", CONVLINE_MIRROR=source)
    assert f"{FIRST}: {' '.join(source.split())} ({reason})" in line
    assert line.endswith("set CONVLINE_MIRROR to a folder or URL that has it")


def test_every_source_is_named_where_all_fail(clone: Project) -> None:
    clone.set_dataset("tiny", mirrors=["/no/such", "teleport://mirror"])
    line = clone.problem("fetch", CONVLINE_MIRROR="/nowhere")
    assert (
        f"{FIRST}: /nowhere (not found); /no/such (not found); "
        "teleport://mirror (Protocol not known: teleport); dvc://data/raw (not found); set" in line
    )


def test_no_source_but_dvc(clone: Project) -> None:
    line = clone.problem("fetch", CONVLINE_MIRROR="")
    assert f"{FIRST}: dvc://data/raw (not found); set CONVLINE_MIRROR" in line


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("folder", "/"),
        ("relative", ""),
        ("relative", "/"),
        ("file", ""),
        ("file", "/"),
        ("http", ""),
        ("http", "/"),
    ],
)
def test_kinds_of_mirrors(clone: Project, kind: str, end: str) -> None:
    shutil.copytree(clone.mirror, clone.path / "near by")
    with serving(clone.mirror, labelled_as_gzip) as server:
        sources = {
            "folder": str(clone.mirror),
            "relative": "near by",
            "file": clone.mirror.as_uri(),
            "http": server.url,
        }
        fetch(clone, sources[kind] + end)
        assert Counter(server.requests) == Counter(FILES if kind == "http" else [])
    assert has_all(clone)


@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
def test_bytes_are_accepted_by_checksum_alone(clone: Project, algorithm: str) -> None:
    files: dict[str, Any] = describe(clone.mirror)
    for name, file in files.items():
        digest = hashlib.new(algorithm, (clone.mirror / name).read_bytes()).hexdigest()
        file["checksum"] = f"{algorithm}:{digest}"
    clone.set_dataset("tiny", files=files)
    fetch(clone, str(clone.mirror))
    assert has_all(clone)


@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
def test_bytes_of_another_checksum_are_refused(clone: Project, algorithm: str) -> None:
    files: dict[str, Any] = describe(clone.mirror)
    digest = hashlib.new(algorithm, (clone.mirror / FIRST).read_bytes()).hexdigest()
    files[FIRST]["checksum"] = f"{algorithm}:{'0' * len(digest)}"
    clone.set_dataset("tiny", files=files)
    line = clone.problem("fetch")
    assert f"{FIRST}: {clone.mirror} (has other bytes: its {algorithm} is {digest});" in line


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tinny", "did you mean tiny?"),
        ("Digits", "did you mean digits?"),
        ("xyzzy", "it has mnist, fashion-mnist, kmnist, digits, cifar10, tiny"),
    ],
)
def test_an_unknown_dataset(clone: Project, name: str, hint: str) -> None:
    clone.set_params(dataset=name)
    line = clone.problem("fetch")
    assert line == (
        f"fetch: datasets.yaml has no dataset {name!r} (`dataset` in params.yaml); {hint}"
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shape": [12]}, "shape.1: Field required"),
        ({"shape": ["a", 12]}, "shape.0 is 'a'; it should be a valid integer"),
        ({"shape": [12, 0]}, "shape.1 is 0; it should be greater than or equal to 1"),
        ({"shape": True}, "shape is True; it should be a valid tuple"),
        ({"classes": ["ant"]}, "classes is ['ant']: List should have at least 2 items"),
        ({"classes": ["ant", "ant"]}, "classes is ['ant', 'ant']: two classes have the same name"),
        ({"classes": [True, False]}, "classes.0 is True; it should be a valid string"),
        (
            {"classes": ["ant", "\x1b[31m"]},
            "classes.1 is '\\x1b[31m'; it should hold no character that cannot be printed",
        ),
        ({"mirrors": "http://localhost/"}, "mirrors is 'http://localhost/'; it should be"),
        ({"mirror": []}, "mirror: Extra inputs are not permitted"),
        ({"files": "sklearn"}, "files is 'sklearn'; it should be scikit-learn, or exactly"),
        ({"files": None}, "files is empty; it should be scikit-learn, or exactly"),
        (
            {"files": {}},
            f"files is {{}}; it should be scikit-learn, or exactly the files {FILES[0]}",
        ),
    ],
)
def test_a_wrong_entry_of_datasets_yaml(
    clone: Project, values: dict[str, object], words: str
) -> None:
    clone.set_dataset("tiny", **values)
    assert f"datasets.yaml: tiny: {words}" in clone.problem("fetch")


CHECKSUM = "it should be md5, sha256 or sha512, a colon and the digest in hexadecimal"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("checksum", "crc32:12345678", CHECKSUM),
        ("checksum", "d41d8cd98f00b204e9800998ecf8427e", CHECKSUM),
        ("checksum", "md5:d41d8cd98f00b204e9800998ecf8427", CHECKSUM),
        ("checksum", "sha256:d41d8cd98f00b204e9800998ecf8427e", CHECKSUM),
        ("checksum", "md5:d41d8cd98f00b204e9800998ecf8427e\n", CHECKSUM),
        ("checksum", 123, "it should be a valid string"),
        ("bytes", 0, "it should be greater than or equal to 1"),
        ("bytes", "many", "it should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_a_wrong_file_in_datasets_yaml(
    clone: Project, key: str, value: object, expected: str
) -> None:
    files: dict[str, Any] = describe(clone.mirror)
    files[TRAIN_LABELS][key] = value
    clone.set_dataset("tiny", files=files)
    line = clone.problem("fetch")
    assert line == (
        f"fetch: datasets.yaml: tiny: files.{TRAIN_LABELS}.{key} is {value!r}; {expected}"
    )


@pytest.mark.parametrize("change", ["missing", "more"])
def test_other_files_than_the_four(clone: Project, change: str) -> None:
    files = describe(clone.mirror)
    if change == "missing":
        del files[TRAIN_LABELS]
    else:
        files["more.gz"] = files[TRAIN_LABELS]
    clone.set_dataset("tiny", files=files)
    line = clone.problem("fetch")
    assert line.startswith("fetch: datasets.yaml: tiny: files is {")
    assert f"it should be scikit-learn, or exactly the files {', '.join(FILES)}, or what" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize(("dataset", "name"), [("tiny", FIRST), ("digits", TRAIN_LABELS)])
def test_a_full_disk(clone: Project, dataset: str, name: str) -> None:
    clone.set_params(dataset=dataset)
    clone.set_dataset("tiny", mirrors=[str(clone.mirror)])
    folder = clone.path / "data/raw"
    folder.mkdir()
    (folder / f"{name}.part").symlink_to("/dev/full")
    line = clone.problem("fetch")
    assert line == f"fetch: data/raw/{name} cannot be written: No space left on device"
    assert name not in raw(clone)


def test_a_file_where_the_folder_should_be(clone: Project) -> None:
    shutil.rmtree(clone.path / "data")
    (clone.path / "data").write_text("in the way")
    assert f"data/raw/{FIRST} cannot be written: " in clone.problem("fetch")
    assert (clone.path / "data").read_text() == "in the way"


def test_a_file_appears_when_it_is_complete(clone: Project) -> None:
    """Half of the first file is there: under a name that no stage reads."""
    go_on = threading.Event()

    def answer(handler: Handler, file: bytes) -> None:
        half = len(file) // 2
        handler.reply(file[:half], Content_Length=len(file))
        handler.wfile.flush()
        assert go_on.wait(PATIENCE)
        handler.send(file[half:])

    unfinished = clone.path / f"data/raw/{FIRST}.part"
    with serving(clone.mirror, answer) as server:
        process = subprocess.Popen(
            ["python", "src/fetch.py"],
            cwd=clone.path,
            env=clone.environment | {"CONVLINE_MIRROR": server.url},
        )
        try:
            end = time.monotonic() + PATIENCE
            while not unfinished.exists():
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.01)
            assert list(raw(clone)) == [unfinished.name]
        finally:
            go_on.set()
            code = process.wait(PATIENCE)
    assert code == 0
    assert has_all(clone)


def test_files_that_are_there_give_way(clone: Project) -> None:
    """Those of another version, and those that a killed run left."""
    folder = clone.path / "data/raw"
    folder.mkdir()
    (folder / FIRST).write_bytes(b"another version")
    (folder / f"{FIRST}.part").write_bytes(b"left behind" * 10_000)
    fetch(clone, str(clone.mirror))
    assert has_all(clone)


def test_progress_is_shown_in_a_terminal(clone: Project) -> None:
    terminal, end = os.openpty()
    termios.tcsetwinsize(end, (24, 100))
    with serving(clone.mirror, good) as server, os.fdopen(terminal, "rb", 0) as shown:
        subprocess.run(
            ["python", "src/fetch.py"],
            cwd=clone.path,
            env=clone.environment | {"CONVLINE_MIRROR": server.url},
            stderr=end,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        os.set_blocking(terminal, False)
        output = (shown.read(1 << 16) or b"").decode()
        os.close(end)
    for name in FILES:
        assert f"{name}:   0%|" in output


@pytest.fixture
def left_alone(project: Project) -> Project:
    """A reproduced project where no mirror delivers, and nothing is in the user's cache."""
    project.mirror = Path("/nowhere")
    return project


def cloned(project: Project, path: Path) -> Project:
    """A clone of a colleague who has not pulled. What `project` pushes is in `path`/store."""
    project.add_remote(str(path / "store"))
    project.commit()
    project.dvc("push")
    clone = Project(path / "colleague/project", project.mirror)
    project.run("git", "clone", "--quiet", ".", str(clone.path))
    clone.run("git", "config", "user.name", "Test")
    clone.run("git", "config", "user.email", "test@example.com")
    return clone


def edit(project: Project) -> None:
    """Change the stage, so that DVC deletes its outputs and runs it again."""
    with (project.path / "src/fetch.py").open("a") as source:
        source.write("# changed\n")


def kept(store: Path, content: bytes) -> Path:
    """Where DVC keeps a file of this content in its cache, or in a folder as remote."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return store / "files/md5" / md5[:2] / md5[2:]


def test_what_no_mirror_has_comes_from_the_cache_of_dvc(left_alone: Project) -> None:
    before = raw(left_alone)
    edit(left_alone)
    output = left_alone.dvc("repro", "fetch")
    assert "> python src/fetch.py\nfetch: tiny is in data/raw/\n" in output
    assert raw(left_alone) == before


@pytest.mark.parametrize(
    "command", ["repro fetch", "repro --pull --force fetch", "exp run --temp fetch"]
)
def test_what_no_mirror_has_comes_from_the_remote_of_dvc(
    left_alone: Project, tmp_path: Path, command: str
) -> None:
    """And the rest can be pulled."""
    clone = cloned(left_alone, tmp_path)
    edit(clone)
    output = clone.dvc(*command.split())
    assert "> python src/fetch.py\nfetch: tiny is in data/raw/\n" in output
    clone.dvc("pull")
    assert clone.hashes() | {"dvc.lock": ""} == left_alone.hashes() | {"dvc.lock": ""}


def test_another_version_in_dvc_is_refused(left_alone: Project) -> None:
    before = left_alone.hashes()
    digest = hashlib.sha256(raw(left_alone)[FIRST]).hexdigest()
    files: dict[str, Any] = describe(left_alone.path / "data/raw")
    files[FIRST]["checksum"] = f"sha256:{'0' * 64}"
    left_alone.set_dataset("tiny", files=files)
    output = left_alone.dvc("repro", "fetch", ok=False)
    assert (
        f"\nfetch: no source delivered {FIRST}: /nowhere (not found); "
        f"dvc://data/raw (has other bytes: its sha256 is {digest}); set CONVLINE_MIRROR" in output
    )
    assert raw(left_alone) == {}
    left_alone.run("git", "checkout", "HEAD", "--", ".")
    left_alone.dvc("checkout")
    assert left_alone.hashes() == before


@pytest.mark.parametrize("where", ["cache", "remote"])
def test_damaged_bytes_in_dvc_are_refused(left_alone: Project, tmp_path: Path, where: str) -> None:
    good = raw(left_alone)
    project = cloned(left_alone, tmp_path)
    store = tmp_path / "store"
    if where == "cache":
        project.dvc("pull", "fetch")
        store = project.path / ".dvc/cache"
    damaged = kept(store, good[FIRST])
    damaged.chmod(0o644)
    damaged.write_bytes(good[FIRST][::-1])
    edit(project)
    output = project.dvc("repro", "fetch", ok=False)
    digest = hashlib.sha256(good[FIRST][::-1]).hexdigest()
    assert f"{FIRST}: /nowhere (not found); dvc://data/raw (has other bytes: its sha256" in output
    assert digest in output
    assert raw(project) == {}
    damaged.write_bytes(good[FIRST])
    project.dvc("repro", "fetch")
    assert raw(project) == good


def test_a_remote_of_dvc_that_never_answers(left_alone: Project) -> None:
    """DVC itself would wait for half an hour."""
    shutil.rmtree(left_alone.path / ".dvc/cache")
    shutil.rmtree(left_alone.path / "data/raw")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"ssh://127.0.0.1:{silent.getsockname()[1]}/store"
        left_alone.add_remote(url)
        result = left_alone.run("python", "-c", HASTY, "3", ok=False)
        silent.settimeout(0)
        silent.accept()[0].close()  # it was asked
    assert result.stderr.count("\n") == 1
    assert "/nowhere (not found); dvc://data/raw (no answer for 3.0 seconds)" in result.stderr


@pytest.fixture(scope="module")
def digits(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with `digits` in data/raw, made without a network or a mirror."""
    project = fresh.copy(tmp_path_factory.mktemp("digits") / "project")
    project.set_params(dataset="digits")
    project.run("python", "-c", OFFLINE, CONVLINE_MIRROR="")
    return project


def test_digits_are_made_like_mnist(digits: Project) -> None:
    arrays = {
        name: np.concatenate(
            list(idx.blocks(digits.path / "data/raw" / name, 3 if "idx3" in name else 1))
        )
        for name in FILES
    }
    assert arrays[TRAIN_IMAGES].shape == (1437, 28, 28)
    assert arrays[TEST_IMAGES].shape == (360, 28, 28)
    assert arrays[TRAIN_LABELS].shape == (1437,)
    assert arrays[TEST_LABELS].shape == (360,)
    images = np.concatenate([arrays[TRAIN_IMAGES], arrays[TEST_IMAGES]])
    assert (images.min(), images.max()) == (0, 255)
    # Ink is bright on dark, as in MNIST
    assert images[:, :, [0, -1]].mean() < 2 < 100 < images[:, 10:18, 10:18].mean()

    train, test = ({image.tobytes() for image in arrays[n]} for n in (TRAIN_IMAGES, TEST_IMAGES))
    assert len(train | test) == 1797  # disjoint, and no image twice
    share = np.bincount(arrays[TEST_LABELS]) / np.bincount(
        np.concatenate([arrays[TRAIN_LABELS], arrays[TEST_LABELS]])
    )
    assert len(share) == 10
    assert np.allclose(share, 0.2, atol=0.005)


def test_digits_are_the_same_every_time(digits: Project, clone: Project) -> None:
    clone.set_params(dataset="digits")
    result = clone.run("python", "src/fetch.py", CONVLINE_MIRROR="/no/such/folder")
    assert result.stdout == "fetch: digits is in data/raw/\n"
    assert raw(clone) == raw(digits)


@pytest.fixture(scope="module")
def first(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has imported pictures, and has fetched none. Tests leave it as it is."""
    return with_pets(fresh, tmp_path_factory.mktemp("first"), dataset="pets")


@pytest.fixture
def imported(first: Project, tmp_path: Path) -> Project:
    """The same, for a test to change."""
    return first.copy(tmp_path / "project")


def packed(project: Project) -> dict[str, bytes]:
    """The files of the imported pictures."""
    return {path.name: path.read_bytes() for path in (project.path / "data/sets/pets").iterdir()}


def test_pictures_come_from_where_they_were_packed(imported: Project) -> None:
    """What is there of another dataset goes, and the user's download cache is left alone."""
    shutil.copytree(imported.mirror, imported.path / "data/raw")
    (imported.path / "data/raw/pictures-0.zip").write_bytes(b"an older version")
    fetch(imported, "", "pets")
    assert raw(imported) == packed(imported)
    assert not (imported.path.parent / "cache/convline").exists()
    imported.set_params(dataset="tiny")
    fetch(imported, str(imported.mirror))
    assert has_all(imported)


@pytest.mark.parametrize("change", ["damaged", "missing", "all missing"])
def test_packed_pictures_that_are_not_right_come_from_dvc(imported: Project, change: str) -> None:
    good = packed(imported)
    path = imported.path / "data/sets/pets/pictures-3.zip"
    if change == "damaged":
        path.write_bytes(good[path.name][::-1])
    elif change == "missing":
        path.unlink()
    else:
        shutil.rmtree(imported.path / "data/sets")
        imported.run("git", "checkout", "--", "data/sets")
    fetch(imported, "", "pets")
    assert raw(imported) == good


def test_pictures_that_nobody_has_end_in_one_line(imported: Project) -> None:
    good = packed(imported)["pictures-3.zip"]
    (imported.path / "data/sets/pets/pictures-3.zip").write_bytes(good[::-1])
    kept(imported.path / ".dvc/cache", good).unlink()
    line = imported.problem("fetch")
    digest = hashlib.sha256(good[::-1]).hexdigest()
    assert f"pictures-3.zip: data/sets/pets (has other bytes: its sha256 is {digest}); " in line
    assert "dvc://data/sets/pets (" in line
    assert line.endswith("; run `dvc pull data/sets/pets.dvc`, or `convline import pets PICTURES`")
    assert "pictures-3.zip" not in raw(imported)
