"""What a search found, in words and on a page."""

import math
from pathlib import Path

import pytest

from convline.search import summary
from convline.search.space import Choices, Numbers, Range, Search, Space
from convline.search.study import Study

TRIALS = 30
SETTINGS = Search(
    vary={"learning_rate": {"low": 0.001, "high": 1, "log": True}, "network": ["a<b", "c"]},
    metric="metrics/train.json:accuracy",
    direction="maximize",
    trials=TRIALS,
    sampler="random",
    pruner="none",
)
SPACE = Space(
    {
        "learning_rate": Numbers(Range(low=0.001, high=1, log=True), whole=False),
        "network": Choices(["a<b", "c"]),
    },
    "c",
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study in which only the learning rate matters: the larger, the better."""
    monkeypatch.chdir(tmp_path)
    study = Study("demo", SETTINGS, SPACE, seed=0)
    for _ in range(TRIALS):
        trial = study.ask()
        value = 1 + math.log10(trial.params["learning_rate"]) / 10
        study.tell(trial, {"state": "complete", "value": value, "rev": "abc"}, 1)
    failed = study.ask()
    study.tell(failed, {"state": "failed", "reason": "diverged"}, 1)
    return study


def test_the_parameter_that_matters_comes_first(study: Study) -> None:
    weights = summary.importances(study)
    assert list(weights) == ["learning_rate", "network"]
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["learning_rate"] > 0.9


def test_the_text(study: Study) -> None:
    text = summary.text(study, SETTINGS)
    assert f"demo: of {TRIALS + 1} trials, {TRIALS} became experiments, 1 failed" in text
    best = max(study.complete, key=lambda trial: trial.params["learning_rate"])
    first = text.splitlines()[5]
    assert first.split() == [
        f"demo-{best.number}",
        f"{best.value:.6g}",
        best.params["network"],
        f"{best.params['learning_rate']:.6g}",
    ]
    assert f"dvc exp apply demo-{best.number}" in text
    assert f"The best of {TRIALS} on one set of validation images is flattered by luck" in text


def test_other_seeds_decide(study: Study) -> None:
    first, second = study.complete[:2]
    for number, values in ((first.number, (0.5, 0.7)), (second.number, (0.8, 0.8, 0.8))):
        for seed, value in enumerate(values, 1):
            outcome = {"state": "complete", "value": value, "of": number}
            study.confirm(f"demo-{number}-seed{seed}", outcome)
    better, worse = summary.confirmed(study)
    assert better.name == f"demo-{second.number}"
    assert better.interval == pytest.approx((0.8, 0.8))
    assert worse.mean == pytest.approx(0.6)
    # Student's t of one degree of freedom: 12.7062; the standard error is 0.1
    assert worse.interval == pytest.approx((0.6 - 1.27062, 0.6 + 1.27062), abs=1e-5)
    assert f"dvc exp apply demo-{second.number}" in summary.text(study, SETTINGS)


def test_the_page(study: Study) -> None:
    summary.write_page(study, SETTINGS)
    page = Path("searches/demo.html").read_text()
    assert page.count("<svg") == 4
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert "://" not in page.replace("http://www.w3.org", "")  # it loads nothing
    assert ">failed<" in page
