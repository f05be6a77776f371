"""Stages of all kinds that DVC knows, beside and within Convline's own: every command copes."""

import hashlib
import html
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import STAGES, Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("foreign")]

WORD = "${word}"  # a key that only templates use
OWN = {
    "nothing": {
        "cmd": "echo 1 > nothing.txt",
        "outs": ["nothing.txt"],
    },
    "check": {"cmd": ["test -d made", "true"], "deps": ["made"]},  # without outs
    "folder": {
        "cmd": "rm -rf made && mkdir made && cp given/* made && echo $word",
        "deps": ["given"],
        "params": ["mine.lr"],
        "outs": ["made"],
    },
    "within": {"cmd": "cp made/a.txt a.txt", "deps": ["made/a.txt"], "outs": ["a.txt"]},
    "around": {"cmd": "ls data > ls.txt", "deps": ["data/raw"], "outs": ["ls.txt"]},
    "elsewhere": {"cmd": f"echo {WORD} > b.txt", "deps": ["URL"], "outs": ["b.txt"]},
    "each": {
        "foreach": ["x", "y"],
        "do": {"cmd": "cp a.txt ${item}.txt", "deps": ["a.txt"], "outs": ["${item}.txt"]},
    },
    "grid": {
        "matrix": {"size": [1, 2]},
        "cmd": "echo ${item.size} > grid${item.size}.txt",
        "params": ["mine.lr"],
        "outs": ["grid${item.size}.txt"],
    },
}
NAMES = {
    *("nothing", "check", "folder", "within", "around", "elsewhere"),
    *("each@x", "each@y", "grid@1", "grid@2"),
}


@contextmanager
def served(port: int = 0) -> Iterator[int]:
    """A server of one text with an ETag, and its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("ETag", '"version-1"')
            self.send_header("Content-Length", "5")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"text\n")

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@dataclass
class Foreign:
    """A reproduced project with stages of all kinds, pushed; and the port of their server.

    Train depends on a folder and on a URL, too. The branch `other` has another `mine.lr`, and
    `third` another text in a.txt.
    """

    project: Project
    port: int


def locked(project: Project) -> Any:
    return yaml.safe_load((project.path / "dvc.lock").read_text())["stages"]


@pytest.fixture(scope="module")
def foreign(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    """Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("foreign")
    project = fresh.copy(folder / "project")
    project.shell = {"no_proxy": "127.0.0.1"}
    (project.path / "given").mkdir()
    (project.path / "given/a.txt").write_text("a\n")
    project.set_params(
        mine={"lr": 1},
        word="hello",
        gate={"baseline": "main", "least_accuracy": 0.5, "largest_fall": 0},
    )
    pipeline = project.path / "dvc.yaml"
    content = yaml.safe_load(pipeline.read_text())
    with served() as port:
        url = f"http://127.0.0.1:{port}/text"
        content["stages"] |= OWN
        content["stages"]["elsewhere"]["deps"] = [url]
        content["stages"]["train"]["deps"] += ["given", url]
        pipeline.write_text(yaml.safe_dump(content, sort_keys=False))
        project.dvc("repro")
        project.add_remote("../storage")
        project.commit("Reproduce")
        project.dvc("push")
        for branch, change in (("other", "params"), ("third", "text")):
            project.run("git", "checkout", "--quiet", "-b", branch, "main")
            project.dvc("checkout")
            if change == "params":
                project.set_params(mine={"lr": 2})
                project.dvc("repro", "folder", "grid")
            else:
                content["stages"]["within"]["cmd"] += " && echo b >> a.txt"
                pipeline.write_text(yaml.safe_dump(content, sort_keys=False))
                project.dvc("repro", "each")
            project.commit(branch)
        project.run("git", "checkout", "--quiet", "main")
        project.dvc("checkout")
    return Foreign(project, port)


def test_all_kinds_ran(foreign: Foreign) -> None:
    """What the other tests rest on."""
    stages = locked(foreign.project)
    assert set(stages) == {*STAGES, *NAMES}
    assert "deps" not in stages["nothing"]
    assert "outs" not in stages["check"]
    (external,) = stages["elsewhere"]["deps"]
    assert "md5" not in external
    assert {*external} & {"etag", "checksum"}
    assert stages["folder"]["deps"][0]["md5"].endswith(".dir")
    given = {dep["path"]: dep for dep in stages["train"]["deps"]}
    assert given["given"]["md5"].endswith(".dir")


def test_compare(foreign: Foreign) -> None:
    """The server of the URL is gone: what it would answer is no change."""
    result = foreign.project.convline("compare", "main", "other")
    assert result.stderr == ""
    assert "No evidence of a difference between other and main" in result.stdout


def test_compare_notices_a_changed_folder(foreign: Foreign, tmp_path: Path) -> None:
    project = foreign.project.copy(tmp_path / "project")
    (project.path / "given/b.txt").write_text("b\n")
    remark = project.convline("compare").stderr
    assert "`dvc repro` would run train\n" in remark


def test_a_record_of_other_bytes_in_a_folder_contradicts(foreign: Foreign, tmp_path: Path) -> None:
    project = foreign.project.copy(tmp_path / "project")
    lock = project.path / "dvc.lock"
    (md5,) = {dep["md5"] for dep in locked(project)["train"]["deps"] if dep["path"] == "given"}
    lock.write_text(lock.read_text().replace(md5, md5[-5::-1] + ".dir"))
    result = project.convline("compare", ok=False)
    assert result.returncode == 1
    assert f"train ran with given {md5}, and not {md5[-5::-1]}.dir" in result.stderr


def test_gate(foreign: Foreign) -> None:
    result = foreign.project.convline("gate", "other")
    assert result.stderr == ""
    assert result.stdout.count("gate: passed ") == 2


def test_card(foreign: Foreign) -> None:
    card = foreign.project.convline("card").stdout
    model = (foreign.project.path / "models/model.keras").read_bytes()
    assert hashlib.md5(model, usedforsecurity=False).hexdigest() in card
    assert "Warning" not in card
    assert "mine" not in card  # which concerns no stage of the model


def test_report(foreign: Foreign, tmp_path: Path) -> None:
    project = foreign.project.copy(tmp_path / "project")
    assert "No evidence of a difference" in project.convline("report", "other").stdout
    page = (project.path / "report.html").read_text()
    cards = {
        html.unescape(name): " ".join(html.unescape(re.sub("<[^>]*>", " ", card)).split())
        for name, card in re.findall(
            r"<h3>([^<]*)</h3>\n *<dl>(.*?)\n      </div>", page.replace("<wbr>", ""), re.DOTALL
        )
    }
    assert set(cards) == {*STAGES, *NAMES}
    assert cards["nothing"] == "writes nothing.txt"
    assert cards["check"] == "reads, from folder made"
    assert cards["within"] == "reads, from folder made/a.txt writes a.txt"
    assert cards["around"] == "reads, from fetch data/raw writes ls.txt"
    assert cards["each@x"] == "reads, from within a.txt writes x.txt"
    assert cards["grid@1"] == "parameters mine.lr writes grid1.txt"
    assert f"http://127.0.0.1:{foreign.port}/text" in cards["elsewhere"]
    changed = page[page.index("<h2>What changed") : page.index("All parameters")]
    assert "mine.lr" in changed


def test_pushed(foreign: Foreign, tmp_path: Path) -> None:
    """All that DVC stores: folders, outputs of names with @, and those of own stages."""
    project = foreign.project.copy(tmp_path / "a" / "project")
    stored = project.objects()
    assert {"made", "nothing.txt", "x.txt", "grid2.txt", "models/model.keras"} <= set(stored)
    project.dvc("remote", "modify", "storage", "url", str(tmp_path / "storage"))
    project.dvc("push")
    result = project.convline("pushed")
    assert result.stdout == f"pushed: the remote 'storage' has all {len(stored)} outputs of HEAD\n"

    md5 = stored["made"].removesuffix(".dir")
    listing = tmp_path / "storage/files/md5" / md5[:2] / f"{md5[2:]}.dir"
    (entry,) = json.loads(listing.read_text())
    (tmp_path / "storage/files/md5" / entry["md5"][:2] / entry["md5"][2:]).unlink()
    result = project.convline("pushed", ok=False)
    assert result.returncode == 4
    assert "lacks a.txt, x.txt, y.txt, made/a.txt of HEAD" in result.stderr


def test_merge_driver(foreign: Foreign, tmp_path: Path) -> None:
    """Two branches that changed different stages of somebody's own."""
    project = foreign.project.copy(tmp_path / "project")
    theirs = locked(project)
    project.install()
    project.run("make", "hooks")
    project.run("git", "merge", "--no-edit", "--quiet", "other")
    merged = project.run("git", "merge", "--no-edit", "--quiet", "third")
    assert merged.stderr == ""
    stages = locked(project)
    assert set(stages) == set(theirs)
    changed = {name for name in stages if stages[name] != theirs[name]}
    assert changed == {"folder", "grid@1", "grid@2", "within", "each@x", "each@y"}


def test_merge_driver_names_a_stage_with_an_at_sign(foreign: Foreign, tmp_path: Path) -> None:
    project = foreign.project.copy(tmp_path / "project")
    project.install()
    project.run("make", "hooks")
    for branch, word in (("ours", "o"), ("theirs", "t")):
        project.run("git", "checkout", "--quiet", "-b", branch, "main")
        lock = project.path / "dvc.lock"
        lock.write_text(lock.read_text().replace("cp a.txt x.txt", f"cp {word}.txt x.txt"))
        project.commit(branch)
    result = project.run("git", "merge", "ours", ok=False)
    assert "both sides changed each@x: run `" in result.stderr


def test_run(foreign: Foreign, tmp_path: Path) -> None:
    """With nothing to do."""
    project = foreign.project.copy(tmp_path / "project")
    with served(foreign.port):
        printed = project.convline("run").stdout
    assert "Running stage" not in printed
    assert "Dataset        tiny" in printed
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_run_where_this_machine_computed_other_bytes(foreign: Foreign, tmp_path: Path) -> None:
    project = foreign.project.copy(tmp_path / "project")
    md5 = project.objects()["models/model.keras"]
    project.rewrite_run(md5, md5[::-1])
    project.commit("Run on another processor")
    project.rewrite_run(md5[::-1], md5)
    with served(foreign.port):
        printed = project.convline("run").stdout
    assert "commit it once" in printed


def test_deps(foreign: Foreign, tmp_path: Path) -> None:
    """Nothing is to be added, and nothing of the others is lost."""
    project = foreign.project.copy(tmp_path / "project")
    before = yaml.safe_load((project.path / "dvc.yaml").read_text())
    project.convline("deps")
    after = yaml.safe_load((project.path / "dvc.yaml").read_text())
    for name in OWN:
        assert after["stages"][name] == before["stages"][name]
    assert set(after["stages"]["train"]["deps"]) == set(before["stages"]["train"]["deps"])
