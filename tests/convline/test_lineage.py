"""From the md5 of a model to the commits, tags and experiments that have it."""

from pathlib import Path

import pytest

import registry
from convline import lineage
from convline.problems import Problem

pytestmark = pytest.mark.xdist_group("lineage")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on main, one on a branch that was thrown away in a merge, an experiment."""
    folder = registry.begin(tmp_path_factory.mktemp("lineage") / "project")
    registry.commit(folder, 0)
    registry.git(folder, "tag", "v1")
    registry.git(folder, "commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    registry.git(folder, "tag", "--annotate", "--message", "x", "classifier@v1.0.0")
    registry.git(folder, "checkout", "--quiet", "-b", "side")
    registry.commit(folder, 1)
    registry.git(folder, "checkout", "--quiet", "main")
    registry.commit(folder, 2)
    registry.git(folder, "merge", "--quiet", "--strategy", "ours", "side")
    registry.git(folder, "branch", "--quiet", "--delete", "side")
    registry.git(folder, "checkout", "--quiet", "--detach")
    registry.commit(folder, 3)
    reference = f"refs/exps/{'a' * 2}/{'b' * 38}/tried-it"
    registry.git(folder, "update-ref", reference, "HEAD")
    registry.git(folder, "checkout", "--quiet", "main")
    return folder


def md5(shift: int) -> str:
    """The md5 of a model."""
    return registry.md5(f"model {shift}".encode())


@pytest.fixture(autouse=True)
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


@pytest.mark.parametrize("length", [8, 32])
def test_tags_and_commits_are_found(project: Path, length: int) -> None:
    (found,) = lineage.origins(md5(0)[:length])
    assert (found.path, found.md5) == ("models/model.keras", md5(0))
    assert found.commits == registry.git(project, "rev-parse", "v1").split()
    assert found.names == {"tag": ["classifier@v1.0.0", "v1"]}
    assert found.revision == "classifier@v1.0.0"
    assert found.lock["stages"]["train"]["params"]["params.yaml"]["epochs"] == 5


def test_an_export_is_found_too() -> None:
    (found,) = lineage.origins(
        lineage.outputs(lineage.origins(md5(2))[0].lock)["models/model.onnx"]
    )
    assert found.path == "models/model.onnx"
    assert found.names == {"branch": ["main"]}


def test_what_a_merge_threw_away_is_found() -> None:
    (found,) = lineage.origins(md5(1))
    assert len(found.commits) == 1
    assert found.names == {}


def test_experiments_are_found() -> None:
    (found,) = lineage.origins(md5(3))
    assert found.names == {"experiment": ["tried-it"]}


def test_the_newest_comes_first() -> None:
    first, *_, last = lineage.origins("")
    assert (first.md5, last.md5) == (md5(3), md5(0))


def test_nothing_is_found() -> None:
    assert lineage.origins("0" * 32) == []


def test_damaged_files_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = registry.begin(tmp_path / "project")
    wanted = registry.commit(folder, 0)
    for content in (f"a: [{wanted}", wanted, "stages: 7", f"stages: {{a: {{outs: [{wanted}]}}}}"):
        (folder / "dvc.lock").write_text(content)
        registry.git(folder, "commit", "--quiet", "--all", "--message", "Damage")
    monkeypatch.chdir(folder)
    (found,) = lineage.origins(wanted)
    assert len(found.commits) == 1


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match="git for-each-ref` failed: fatal: not a git repository"):
        lineage.origins("0" * 32)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Problem, match="git cannot be run"):
        lineage.origins("0" * 32)
