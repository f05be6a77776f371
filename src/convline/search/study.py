"""A search's memory: an Optuna study in searches/NAME.db, which survives whatever happens."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from convline.problems import Problem
from convline.search.space import Search, Space, Value

FOLDER = Path("searches")
# The user attribute of a trial in which its parameters are, as `dvc exp run` gets them
DRAWN = "drawn"
# Of the study: what must not change while it goes on, and the results of --confirm
FIXED = "fixed"
CONFIRMED = "confirmed"


class Study:
    """The trials of a search, asked for and told one by one."""

    def __init__(self, name: str, settings: Search, space: Space, seed: int) -> None:
        self.path = _path(name)
        self.name = name
        self.space = space
        storage = _storage(name)
        self.optuna = optuna.create_study(
            study_name=name,
            storage=storage,
            direction=settings.direction,
            load_if_exists=True,  # a loaded study has no sampler and no pruner: these are today's
        )
        # Another seed than before a restart, or the same values would be drawn again
        seed += len(self.trials)
        self.optuna.sampler = (
            optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            if settings.sampler == "tpe"
            else optuna.samplers.RandomSampler(seed=seed)
        )
        self.optuna.pruner = {
            "none": optuna.pruners.NopPruner,
            "median": optuna.pruners.MedianPruner,
            "hyperband": optuna.pruners.HyperbandPruner,
        }[settings.pruner]()

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that began, in their order."""
        return [one for one in self.optuna.get_trials(deepcopy=False) if DRAWN in one.user_attrs]

    @property
    def complete(self) -> list[FrozenTrial]:
        """The trials that became experiments, the best first; of equals, the earlier."""
        sign = -1 if self.optuna.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        there = [one for one in self.trials if one.state == TrialState.COMPLETE]
        return sorted(there, key=lambda one: (sign * (one.value or 0.0), one.number))

    def fix(self, facts: dict[str, Any]) -> None:
        """Keep `facts`, unless they are kept already."""
        if FIXED not in self.optuna.user_attrs:
            self.optuna.set_user_attr(FIXED, facts)

    def reports(self, trial: optuna.trial.Trial) -> dict[int, float]:
        """The figures of a trial's epochs."""
        return dict(self.optuna.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def ask(self) -> optuna.trial.Trial:
        """A new trial, its parameters drawn and kept; or one that was killed before they were."""
        killed = self._running(with_parameters=False)
        trial = killed[0] if killed else self.optuna.ask()
        trial.set_user_attr(DRAWN, json.dumps(self.space.draw(trial)))
        return trial

    def unfinished(self) -> list[optuna.trial.Trial]:
        """The trials that began and did not end, because the search was stopped."""
        return self._running(with_parameters=True)

    def _running(self, with_parameters: bool) -> list[optuna.trial.Trial]:
        return [
            optuna.trial.Trial(self.optuna, one._trial_id)
            for one in self.optuna.get_trials(deepcopy=False, states=[TrialState.RUNNING])
            if (DRAWN in one.user_attrs) == with_parameters
        ]

    def tell(self, trial: optuna.trial.Trial, outcome: dict[str, Any], seconds: float) -> None:
        """Keep how a trial ended."""
        for key in ("rev", "reason"):
            if key in outcome:
                trial.set_user_attr(key, outcome[key])
        trial.set_user_attr("seconds", round(seconds, 1))
        if outcome["state"] == "complete":
            self.optuna.tell(trial, outcome["value"])
        else:
            states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
            self.optuna.tell(trial, state=states[outcome["state"]])

    def confirm(self, name: str, outcome: dict[str, Any]) -> None:
        """Keep the outcome of a trial that ran again with another seed."""
        self.optuna.set_user_attr(CONFIRMED, self.confirmed | {name: outcome})

    @property
    def confirmed(self) -> dict[str, dict[str, Any]]:
        """The outcomes of trials that ran again with other seeds, by name of the experiment."""
        return dict(self.optuna.user_attrs.get(CONFIRMED, {}))


def fixed(name: str) -> dict[str, Any]:
    """What the study of a search keeps from its beginning; nothing where it has not begun."""
    if not _path(name).exists():
        return {}
    storage = _storage(name)
    if name not in optuna.get_all_study_names(storage):
        return {}
    return dict(optuna.load_study(study_name=name, storage=storage).user_attrs.get(FIXED, {}))


def _path(name: str) -> Path:
    return FOLDER / f"{name}.db"


def _storage(name: str) -> optuna.storages.RDBStorage:
    FOLDER.mkdir(exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    return optuna.storages.RDBStorage(f"sqlite:///{_path(name)}")


def drawn(trial: optuna.trial.Trial | FrozenTrial) -> dict[str, Value]:
    """The parameters of a trial, as `dvc exp run` gets them."""
    return dict(json.loads(trial.user_attrs[DRAWN]))


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Keep every other search of this name out. Raises `Problem` where one runs."""
    FOLDER.mkdir(exist_ok=True)
    try:
        with FileLock(FOLDER / f"{name}.lock", timeout=0):
            yield
    except Timeout as error:
        raise Problem(f"the search {name} runs already, in another process") from error
