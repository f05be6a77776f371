"""The model card of a run."""

import hashlib
import json

from conftest import Project


def card(project: Project, *revision: str) -> str:
    """What card.py prints."""
    return project.run("python", "src/card.py", *revision).stdout


def test_it_is_that_of_the_run(experimented: Project) -> None:
    text = card(experimented)
    figures = json.loads((experimented.path / "metrics/evaluate.json").read_text())
    model = (experimented.path / "models/model.keras").read_bytes()
    low, high = figures["accuracy_interval_95"]
    assert hashlib.md5(model, usedforsecurity=False).hexdigest() in text
    assert text.startswith("# Model card: classifier of tiny\n")
    assert "ant, bee, cat" in text
    assert "`(n, 12, 12, 1)`" in text
    assert f"| {figures['accuracy']:.2%} " in text
    assert f"{low:.2%} to {high:.2%}" in text
    assert str(figures["brier_score"]) in text
    assert "60, stratified by class, were held out" in text
    assert "| learning_rate          | 0.01 " in text
    assert "## Limits" in text


def test_of_an_experiment(experimented: Project) -> None:
    text = card(experimented, "worse")
    assert "| learning_rate          | 1e-05 " in text
    assert "at revision `worse`" in text
    assert "| 100.00%" not in text


def test_of_a_run_that_lacks_figures(experimented: Project) -> None:
    result = experimented.run("python", "src/card.py", "main~1", ok=False)
    assert result.returncode == 1
    assert result.stderr == "card: main~1 has no dvc.lock: `dvc repro` there\n"
