"""The history of a training, as DVC plots it."""

import json
import subprocess
from pathlib import Path

import pytest

import inprocess
from convline.problems import Problem


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen."""
    inprocess.configure()


def test_each_epoch_is_a_row_of_each_figure_and_the_last_one_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convline.training.history import History

    monkeypatch.chdir(tmp_path)
    history = History(Path("history"))
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    history.on_epoch_end(1, {"loss": 0.5, "val_loss": 3.0})
    history.on_train_end()
    rows = (tmp_path / "history/plots/metrics/validation/loss.tsv").read_text().splitlines()
    assert rows == ["step\tloss", "1\t2.0", "2\t3.0"]
    assert json.loads((tmp_path / "history/metrics.json").read_text()) == {
        "train": {"loss": 0.5},
        "validation": {"loss": 3.0},
        "step": 2,
    }
    assert {path.name for path in tmp_path.iterdir()} == {"history"}


def test_a_history_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convline.training.history import History

    monkeypatch.chdir(tmp_path)
    history = History(Path("history"))
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    file = tmp_path / "history/plots/metrics/validation/loss.tsv"
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(Problem, match="history cannot be written: No space left on device"):
        history.on_epoch_end(1, {"loss": 1.0, "val_loss": 2.0})


def test_a_repository_without_a_commit_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convline.training.history import History

    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    with pytest.raises(Problem, match="DVCLive needs a first git commit; make one"):
        History(Path("history"))
