"""What a search may vary, and what it may not."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from conftest import Project
from convline.problems import Problem
from convline.search import space


@pytest.fixture
def project(clone: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the test's own, in which it works."""
    monkeypatch.chdir(clone.path)
    return clone


def set_search(project: Project, **changes: object) -> None:
    """Change keys of the section `search`, whole."""
    path = project.path / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["search"] |= changes
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def draws(varied: space.Space, trials: int) -> list[dict[str, Any]]:
    """The parameters of some trials, drawn at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [varied.draw(study.ask()) for _ in range(trials)]


def test_values_are_drawn_from_what_is_given(project: Project) -> None:
    vary = {
        "learning_rate": {"low": "1e-4", "high": "1e-1", "log": True},  # as YAML 1.1 reads 1e-4
        "epochs": {"low": 2, "high": 10, "step": 4},
        "batch_size": [16, 32],
        "flip": [True, False],
        "convnet.dropout": {"low": 0, "high": 0.5},
        "convnet.dense_units": [8, 16],
        "resnet.filters": [[4], [4, 8]],
        "network": ["convnet", "resnet"],
    }
    set_search(project, vary=vary)
    settings, varied = space.load()
    assert settings.trials == 20
    drawn = draws(varied, 60)
    rates = [one["learning_rate"] for one in drawn]
    assert all(1e-4 <= rate <= 0.1 for rate in rates)
    # Evenly in the logarithm: half below the geometric mean
    assert 15 <= sum(rate < 10**-2.5 for rate in rates) <= 45
    assert {one["epochs"] for one in drawn} == {2, 6, 10}
    assert {type(one["epochs"]) for one in drawn} == {int}
    assert {one["batch_size"] for one in drawn} == {16, 32}
    assert {one["flip"] for one in drawn} == {True, False}
    for one in drawn:
        own = {name for name in one if "." in name}
        if one["network"] == "convnet":
            assert own == {"convnet.dropout", "convnet.dense_units"}
            assert 0 <= one["convnet.dropout"] <= 0.5
        else:
            assert own == {"resnet.filters"}
            assert one["resnet.filters"] in ([4], [4, 8])
    assert {one["network"] for one in drawn} == {"convnet", "resnet"}


def test_another_network_s_parameters_are_left_alone(project: Project) -> None:
    set_search(project, vary={"resnet.depth": [0, 1], "batch_size": [16, 32]})
    _, varied = space.load()
    assert all(set(one) == {"batch_size"} for one in draws(varied, 5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vary": {}}, "search: vary is {}"),
        (
            {"vary": {"learning_rat": [1]}},
            "no stage uses a key learning_rat; did you mean learn",
        ),
        ({"vary": {"learning_rate": 0.1}}, "should be a list of values, or a range"),
        ({"vary": {"learning_rate": []}}, "should be a list of values, or a range"),
        ({"vary": {"learning_rate": {"low": 1}}}, "search.vary.learning_rate: high: "),
        ({"vary": {"learning_rate": {"low": 2, "high": 1}}}, "low is 2; it should be less than"),
        (
            {"vary": {"learning_rate": {"low": 0, "high": 1, "log": True}}},
            "with log it should be",
        ),
        (
            {"vary": {"learning_rate": {"low": -1, "high": 1}}},
            "learning_rate is -1.0; it should",
        ),
        ({"vary": {"learning_rate": [0.1, 0.1]}}, "has a value twice"),
        ({"vary": {"learning_rate": [{"a": 1}]}}, "has {'a': 1}; a value should be a number"),
        ({"vary": {"optimizer": ["sgd", "sdg"]}}, "search.vary.optimizer: optimizer is 'sdg'"),
        ({"vary": {"convnet": {"dropout": [0.1]}}}, "is a section; name one of its keys"),
        ({"vary": {"convnet": [1]}}, "is a section; name one of its keys"),
        ({"vary": {"convnet.dropuot": [0.1]}}, "params.yaml has no key convnet.dropuot"),
        ({"vary": {"convnet.dropout": [0.1, 1.5]}}, "convnet: dropout is 1.5"),
        ({"vary": {"network": ["vgg"]}}, "network is 'vgg', but src/networks/vgg.py is missing"),
        ({"vary": {"seed": [1, 2]}}, "seed decides which images validate"),
        ({"vary": {"dataset": ["mnist", "tiny"]}}, "dataset decides which images validate"),
        ({"vary": {"gate.baseline": ["main"]}}, "no stage uses a key gate"),
        ({"metric": "accuracy"}, "it should be FILE:KEY"),
        (
            {"metric": "metrics/other.json:accuracy"},
            "metrics of dvc.yaml: metrics/evaluate",
        ),
        ({"metric": "metrics/evaluate.json:accuracy"}, "which depends on test images"),
        ({"metric": "metrics/export.json:x", "pruner": "median"}, "needs a figure of each epoch"),
        ({"trials": 0}, "search: trials is 0; it should be greater than or equal to 1"),
        ({"sampler": "tpc"}, "search: sampler is 'tpc'"),
        ({"trails": 3}, "search: trails: Extra inputs are not permitted; did you mean trials?"),
    ],
)
def test_what_no_trial_could_have_is_refused(
    project: Project, changes: dict[str, object], words: str
) -> None:
    set_search(project, **changes)
    with pytest.raises(Problem) as problem:
        space.load()
    assert words in str(problem.value)
    assert str(problem.value).startswith("params.yaml: ")


def test_figures_made_of_those_of_test_images_are_refused(project: Project) -> None:
    path = project.path / "dvc.yaml"
    content = yaml.safe_load(path.read_text())
    content["stages"]["mine"] = {
        "cmd": "python mine.py",
        "deps": ["metrics/predictions.csv"],
        "metrics": [{"metrics/mine.json": {"cache": False}}],
    }
    content["stages"]["other"] = {
        "cmd": "python other.py",
        "deps": ["models/model.keras"],
        "metrics": [{"metrics/other.json": {"cache": False}}],
    }
    path.write_text(yaml.safe_dump(content))
    set_search(project, metric="metrics/mine.json:x")
    with pytest.raises(Problem, match="which depends on test images"):
        space.load()
    set_search(project, metric="metrics/other.json:x")
    assert space.load()[0].key == "x"


def test_a_stage_s_own_parameters_can_be_varied(project: Project) -> None:
    path = project.path / "dvc.yaml"
    content = yaml.safe_load(path.read_text())
    content["stages"]["mine"] = {
        "cmd": "python mine.py",
        "params": ["mine.size"],
        "metrics": [{"metrics/mine.json": {"cache": False}}],
    }
    path.write_text(yaml.safe_dump(content))
    project.set_params(mine={"size": 1})
    set_search(project, vary={"mine.size": {"low": 0.5, "high": 1.5}}, metric="metrics/mine.json:x")
    _, varied = space.load()
    assert all(type(one["mine.size"]) is float for one in draws(varied, 3))


def test_values_that_dvc_could_misread_arrive(clone: Project, tmp_path: Path) -> None:
    values: dict[str, space.Value] = {
        "a": "it's, [odd]: {x}=y",
        "b": 1e-05,
        "c": True,
        "d": None,
        "e": ["x y", 2],
        "f": "3",
        "g.h": -1,
    }
    clone.set_params(a="", b=0, c=False, d=1, e=[], f="", g={"h": 0})
    (clone.path / "dvc.yaml").write_text(
        yaml.safe_dump(
            {"stages": {"one": {"cmd": "true", "params": ["a", "b", "c", "d", "e", "f", "g"]}}}
        )
    )
    clone.commit("Odd parameters")
    words = [word for one in space.overrides(values) for word in ("--set-param", one)]
    clone.dvc("exp", "run", "--name", "odd", *words)
    found = yaml.safe_load((clone.path / "params.yaml").read_text())
    found["b"] = float(found["b"])  # DVC writes 1e-05, which YAML 1.1 reads as a string
    assert [found[key] for key in "abcdef"] == list(values.values())[:6]
    assert found["g"]["h"] == -1
