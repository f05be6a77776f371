"""A search's memory survives the process that writes it."""

from pathlib import Path

import pytest

from convline.problems import Problem
from convline.search import study
from convline.search.space import Choices, Search, Space
from convline.search.study import Study, drawn

SETTINGS = Search(
    vary={"batch_size": [16, 32, 64]},
    metric="metrics/train.json:loss",
    direction="minimize",
    trials=4,
    sampler="random",
    pruner="median",
)
SPACE = Space({"batch_size": Choices([16, 32, 64])}, "convnet")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def opened() -> Study:
    """The study, as a process that starts finds it."""
    return Study("demo", SETTINGS, SPACE, seed=0)


def test_trials_are_there_again() -> None:
    first = opened()
    trials = [first.ask() for _ in range(4)]
    first.tell(trials[0], {"state": "complete", "value": 0.5, "rev": "abc"}, 1.25)
    first.tell(trials[1], {"state": "failed", "reason": "diverged"}, 1)
    first.tell(trials[2], {"state": "complete", "value": 0.25, "rev": "def"}, 1)
    again = opened()
    assert [one.number for one in again.trials] == [0, 1, 2, 3]
    # The smaller loss is the better one
    assert [one.number for one in again.complete] == [2, 0]
    assert again.trials[1].user_attrs["reason"] == "diverged"
    assert again.trials[0].user_attrs["seconds"] == 1.2
    (left,) = again.unfinished()
    assert left.number == 3
    assert drawn(left) == drawn(trials[3])
    again.tell(left, {"state": "complete", "value": 0.125}, 1)
    assert opened().complete[0].number == 3
    assert opened().unfinished() == []


def test_a_reopened_study_still_prunes() -> None:
    first = opened()
    for _ in range(5):
        trial = first.ask()
        for step in (1, 2):
            trial.report(0.1, step)
        first.tell(trial, {"state": "complete", "value": 0.1}, 1)
    trial = opened().ask()
    trial.report(0.9, 1)
    assert trial.should_prune()


def test_what_began_stays() -> None:
    assert study.fixed("demo") == {}
    opened().fix({"commit": "abc"})
    opened().fix({"commit": "def"})
    assert study.fixed("demo") == {"commit": "abc"}
    assert study.fixed("other") == {}


def test_a_trial_whose_parameters_were_never_kept_begins_again() -> None:
    opened().optuna.ask()  # killed before it drew
    assert opened().trials == []
    assert opened().unfinished() == []
    assert [opened().ask().number for _ in range(2)] == [0, 1]
    assert [one.number for one in opened().trials] == [0, 1]


def test_other_seeds_are_kept() -> None:
    opened().confirm("demo-0-seed1", {"state": "complete", "value": 1.0, "of": 0})
    opened().confirm("demo-0-seed2", {"state": "complete", "value": 2.0, "of": 0})
    assert list(opened().confirmed) == ["demo-0-seed1", "demo-0-seed2"]


def test_one_search_of_a_name_at_a_time() -> None:
    with study.alone("demo"):
        with study.alone("other"):
            pass
        with pytest.raises(Problem, match="demo runs already"), study.alone("demo"):
            pass
    with study.alone("demo"):
        pass
