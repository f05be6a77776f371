"""What a search found: its best trials, which parameters matter, and a page with plots."""

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy import stats
from tabulate import tabulate

from convline import files, pages
from convline.evaluation.plots import svg
from convline.search.space import Numbers, Search, Value
from convline.search.study import FOLDER, Study, drawn

BEST = 3  # trials that --confirm runs again
SHOWN = 10
TEMPLATE = "search.html"
POINT = {"type": "point", "filled": True}
WORDS = {
    TrialState.COMPLETE: "became experiments",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}

Spec = dict[str, Any]  # of Vega-Lite


@dataclass(frozen=True)
class Confirmed:
    """One of the best trials, and the same parameters with other seeds."""

    name: str
    value: float  # of the trial itself, which was chosen by it
    values: list[float]

    @property
    def mean(self) -> float:
        """The mean over the other seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the mean, by Student's t; NaN for a single seed."""
        if len(self.values) < 2:
            return math.nan, math.nan
        error = statistics.stdev(self.values) / math.sqrt(len(self.values))
        reach = error * float(stats.t.ppf(0.975, len(self.values) - 1))
        return self.mean - reach, self.mean + reach


def experiment(study: Study, trial: FrozenTrial) -> str:
    """The name of a trial's experiment."""
    return f"{study.name}-{trial.number}"


def confirmed(study: Study) -> list[Confirmed]:
    """The trials that ran with other seeds, in the order of their means, the best first."""
    values: dict[int, list[float]] = {}
    for outcome in study.confirmed.values():
        if outcome["state"] == "complete":
            values.setdefault(outcome["of"], []).append(outcome["value"])
    there = [
        Confirmed(experiment(study, trial), trial.value or 0.0, values[trial.number])
        for trial in study.complete
        if trial.number in values
    ]
    maximize = study.optuna.direction == optuna.study.StudyDirection.MAXIMIZE
    return sorted(there, key=lambda one: one.mean, reverse=maximize)


def importances(study: Study) -> dict[str, float]:
    """The share of each parameter in the variance of the metric, by fANOVA; none where unknown.

    After F. Hutter, H. Hoos and K. Leyton-Brown, "An efficient approach for assessing
    hyperparameter importance", 2014. Parameters that only some trials have are left out.
    """
    values = {trial.value for trial in study.complete}
    if len(values) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study.optuna, evaluator=evaluator))


def shown(value: float) -> str:
    """A figure as it is printed."""
    return f"{value:.6g}"


def value_text(value: Value) -> str:
    """A parameter as it is printed."""
    return shown(value) if isinstance(value, float) else str(value)


def result(trial: FrozenTrial) -> str:
    """The figure of a trial, or why it has none."""
    if trial.state == TrialState.COMPLETE:
        return shown(trial.value or 0.0)
    return WORDS.get(trial.state, "not ended")


def described(values: dict[str, Value]) -> str:
    """Parameters on one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())


def text(study: Study, settings: Search) -> str:
    """The summary that a search prints at its end."""
    best = study.complete[:SHOWN]
    counts = Counter(trial.state for trial in study.trials)
    parts = [f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state]]
    lines = [f"\n{study.name}: of {counts.total()} trials, {', '.join(parts)}"]
    if not best:
        return lines[0]
    names = list(dict.fromkeys(name for trial in best for name in drawn(trial)))
    rows = [
        [experiment(study, trial), result(trial)]
        + [value_text(drawn(trial).get(name, "")) for name in names]
        for trial in best
    ]
    lines += ["", tabulate(rows, ["experiment", settings.key, *names], disable_numparse=True)]
    if weights := importances(study):
        parts = [f"{name} {weight:.0%}" for name, weight in weights.items()]
        lines += ["", f"Importance: {', '.join(parts)}"]
    if again := confirmed(study):
        lines += ["", *(_seeds(one) for one in again)]
        first = again[0].name
    else:
        first = experiment(study, best[0])
        lines += [
            "",
            f"The best of {counts[TrialState.COMPLETE]} on one set of validation images is "
            "flattered by luck. Run the best again with other seeds:",
            f"  convline search {study.name} --confirm 5",
        ]
    lines += [
        "",
        f"Plots      {page_path(study)}",
        f"Dashboard  optuna-dashboard sqlite:///{study.path}   (pip install optuna-dashboard)",
        f"Compare    convline compare HEAD {first}",
        f"Apply      dvc exp apply {first}",
    ]
    return "\n".join(lines)


def _seeds(one: Confirmed) -> str:
    low, high = one.interval
    reach = "" if math.isnan(low) else f", 95 % interval {shown(low)} to {shown(high)}"
    return (
        f"{one.name} had {shown(one.value)}; with {len(one.values)} other seeds its mean is "
        f"{shown(one.mean)}{reach}"
    )


def page_path(study: Study) -> Path:
    """Where the page of a search is."""
    return FOLDER / f"{study.name}.html"


def write_page(study: Study, settings: Search) -> None:
    """Draw the plots and write the page, which needs no network."""
    names = list(dict.fromkeys(name for trial in study.trials for name in drawn(trial)))
    facts = {
        "name": study.name,
        "settings": settings,
        "names": names,
        "trials": [(experiment(study, one), one, drawn(one)) for one in study.trials],
        "best": experiment(study, study.complete[0]) if study.complete else "",
        "confirmed": confirmed(study),
        "plots": plots(study, settings, names),
    }
    page = pages.render(
        TEMPLATE, {"shown": shown, "value_text": value_text, "result": result}, facts
    )
    with files.written(page_path(study)) as file:
        file.write(page.encode())


def plots(study: Study, settings: Search, names: list[str]) -> list[tuple[str, str]]:
    """Titles and SVG elements: the best by number of trials, importance, and each parameter."""
    done = sorted(study.complete, key=lambda trial: trial.number)
    if not done:
        return []
    figure: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": settings.key,
        "scale": {"zero": False},
    }
    drawings = [("Best by number of trials", _progress(done, figure, settings.direction))]
    if weights := importances(study):
        drawings.append(("Importance of each parameter", _bars(weights)))
    for name in names:
        values = [(drawn(trial)[name], trial.value) for trial in done if name in drawn(trial)]
        log = isinstance(dimension := study.space.dimensions.get(name), Numbers) and (
            dimension.range.log
        )
        drawings.append((f"{settings.key} by {name}", _points(name, values, figure, log)))
    schema = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "width": 400}
    return [(title, svg(title, schema | spec)) for title, spec in drawings]


def _progress(done: list[FrozenTrial], figure: Spec, direction: str) -> Spec:
    better = max if direction == "maximize" else min
    rows: list[Spec] = []
    for trial in done:
        best = better([trial.value, *(row["best"] for row in rows[-1:])])
        rows.append({"trial": trial.number, "value": trial.value, "best": best})
    return {
        "data": {"values": rows},
        "encoding": {"x": {"field": "trial", "type": "quantitative"}},
        "layer": [
            {"mark": POINT, "encoding": {"y": figure}},
            {
                "mark": {"type": "line", "interpolate": "step-after"},
                "encoding": {"y": figure | {"field": "best"}},
            },
        ],
    }


def _bars(weights: dict[str, float]) -> Spec:
    return {
        "data": {"values": [{"name": name, "share": share} for name, share in weights.items()]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "share", "type": "quantitative", "axis": {"format": "%"}},
            "y": {"field": "name", "type": "nominal", "sort": "-x", "title": None},
        },
    }


def _points(name: str, values: list[tuple[Value, Any]], figure: Spec, log: bool) -> Spec:
    axis: Spec = {"field": "parameter", "title": name, "type": "nominal"}
    numbers = all(type(value) in (int, float) for value, _ in values)
    if numbers:
        axis |= {"type": "quantitative", "scale": {"type": "log"} if log else {"zero": False}}
    return {
        "data": {
            "values": [
                {"parameter": value if numbers else str(value), "value": result}
                for value, result in values
            ]
        },
        "mark": POINT,
        "encoding": {"x": axis, "y": figure},
    }
