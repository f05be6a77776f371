"""A trial as a worker starts it: one process, told on stdin, that leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from convline.search import trial
from convline.search.trial import Failed, Trial
from searching import experiments, of_trial, pretend, until


def spec(project: Project, name: str = "demo-0", **changes: object) -> dict[str, Any]:
    """What a worker gets of a trial that shares with `project` itself."""
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    return {
        "name": name,
        "commit": commit,
        "ref": f"refs/exps/{commit[:2]}/{commit[2:]}/{name}",
        "origin": str(project.path),
        "remote": None,
        "cache": str(project.path / ".dvc/cache"),
        "identity": {"name": "Test", "email": "test@example.com"},
        "overrides": ["learning_rate=0.02"],
        "file": "metrics/train.json",
        "key": "accuracy",
        "history": "metrics/history/plots/metrics/validation/accuracy.tsv",
    } | changes


@pytest.fixture
def project(fresh: Project, tmp_path: Path) -> Project:
    """A project that pretends to train."""
    return pretend(fresh.copy(tmp_path / "project"), trials=1)


def started(project: Project, folder: Path, given: dict[str, Any], **more: str) -> Any:
    """The process of a trial, as a worker starts it."""
    folder.mkdir()
    script = folder / "trial.py"
    script.write_text(Path(trial.__file__).read_text())
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=project.environment | more,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps(given).encode() + b"\n")
    process.stdin.flush()
    return process


def told(process: Any) -> list[dict[str, Any]]:
    """What a trial tells until it ends."""
    output, _ = process.communicate(timeout=240)
    return [json.loads(line) for line in output.splitlines()]


def test_a_trial_tells_its_epochs_and_removes_its_folder(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "demo-0-abc"
    process = started(project, folder, spec(project))
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
    process.communicate()
    assert [line["step"] for line in lines if "step" in line] == [1, 2]
    assert lines[-1]["state"] == "complete"
    assert lines[-1]["rev"] == experiments(project)["demo-0"]
    assert not folder.exists()

    # Somebody asks once more: origin has the name, and nothing runs
    again = started(project, folder, spec(project, overrides=["learning_rate=0.03"]))
    lines = [json.loads(line) for line in again.stdout]
    again.communicate()
    assert lines[-1]["rev"] == experiments(project)["demo-0"]
    assert not [line for line in lines if "step" in line]
    assert not folder.exists()


@pytest.mark.parametrize("word", [b"stop\n", b""])
def test_nothing_is_left_of_a_trial_that_is_stopped(
    project: Project, tmp_path: Path, word: bytes
) -> None:
    folder = tmp_path / "demo-0-abc"
    process = started(project, folder, spec(project), NAP="60")
    # The stage runs, as a grandchild
    until(lambda: (folder / "project/metrics/history").exists())
    assert len(of_trial("demo-0", tmp_path)) > 1
    process.stdin.write(word)
    process.stdin.close()
    process.stdin = None
    assert not [line for line in told(process) if "state" in line]
    until(lambda: not of_trial("demo-0", tmp_path))
    assert not folder.exists()
    assert experiments(project) == {}


def test_a_pruned_trial_is_no_experiment(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "demo-0-abc"
    process = started(project, folder, spec(project), NAP="60")
    until(lambda: (folder / "project/metrics/history").exists())
    process.stdin.write(b"prune\n")
    process.stdin.flush()
    lines = [json.loads(line) for line in process.stdout]
    process.communicate()
    assert lines[-1]["state"] == "pruned"
    assert experiments(project) == {}
    assert not folder.exists()


def made(folder: Path, content: str, **given: object) -> Trial:
    """A trial whose project has a metrics file."""
    (folder / "project/metrics").mkdir(parents=True)
    (folder / "project/metrics/train.json").write_text(content)
    return Trial({"file": "metrics/train.json", "key": "a.b", **given}, folder)


def test_a_metric_within_a_metric(tmp_path: Path) -> None:
    assert made(tmp_path, '{"a": {"b": 2}}')._outcome()["value"] == 2


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"a": 1}', '{"a": {"b": NaN}}', '{"a": {"b": true}}', '{"a": {"b": "1"}}'],
)
def test_a_metric_that_is_none(tmp_path: Path, content: str) -> None:
    with pytest.raises(Failed, match=r"metrics/train\.json.* a\.b"):
        made(tmp_path, content)._outcome()


def test_half_a_line_is_no_epoch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = made(tmp_path, "{}", history="history.tsv")
    history = tmp_path / "project/history.tsv"
    one._tell_epochs()
    for text in ("step\taccuracy\n1\t0.5\n2\t0.", "step\taccuracy\n1\t0.5\n2\t0.75\n"):
        history.write_text(text)
        one._tell_epochs()
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == [
        {"step": 1, "value": 0.5},
        {"step": 2, "value": 0.75},
    ]


def test_what_fails_for_a_while_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    answers = [OSError("away")] * 8 + ["there"]

    def attempt() -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert trial.persist("git push", attempt) == "there"
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines == [{"waiting": "git push: away"}] * 8


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"])
def test_a_trial_depends_on_nothing_of_its_worker(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "2")
    one = Trial({}, tmp_path)
    script = f"import os, shutil; print(os.environ.get({name!r}), shutil.which('python'))"
    output = one._checked([sys.executable, "-c", script], at=".")
    expected = os.path.join(os.path.dirname(sys.executable), "python")  # noqa: PTH118, PTH120
    assert output.split() == ["None", expected]
