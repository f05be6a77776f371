"""A run as dvc.lock and the metrics tell it, and what makes it doubtful."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Project
from convline import revisions
from convline.evaluation import results
from convline.evaluation.figures import FIGURES
from convline.params import validate
from convline.problems import Problem


def a_run(**stages: dict[str, Any]) -> results.Run:
    return results.Run("any", {"stages": stages})


def deps(*paths: str, **other: str) -> list[dict[str, str]]:
    """Entries of dvc.lock; `other` has those with a digest that is no md5."""
    return [{"path": path, "md5": path} for path in paths] + [
        {"path": path, "etag": etag} for path, etag in other.items()
    ]


def test_a_path_comes_from_the_stage_that_writes_it() -> None:
    run = a_run(
        folder={"outs": [{"path": "data/made"}]},
        file={"outs": [{"path": "data/one/a.txt"}, {"path": "data/one/b.txt"}]},
        nothing={"cmd": "true"},
    )
    assert run.sources("data/made") == {"folder"}
    assert run.sources("data/made/deep/x.txt") == {"folder"}
    assert run.sources("data/one/a.txt") == {"file"}
    assert run.sources("data/one") == {"file"}
    assert run.sources("data") == {"folder", "file"}
    for path in ("data/mad", "data/made.txt", "other", "data/one/a"):
        assert run.sources(path) == set()


def test_project_files_are_those_that_no_stage_writes() -> None:
    run = a_run(
        nothing={"cmd": "true", "outs": [{"path": "nothing.txt"}]},
        other={"deps": deps("nothing.txt", "code.py", url="version-1")},
    )
    assert run.project_files == {("code.py", "code.py"), ("url", "version-1")}


def test_test_data_is_what_evaluate_reads_beside_model_code_and_names() -> None:
    run = a_run(
        preprocess={"outs": [{"path": "data/processed"}]},
        train={"outs": [{"path": "model.keras"}]},
        evaluate={
            "deps": deps(
                "data/processed/test.npy",
                "data/processed/test_names.json",
                "model.keras",
                "evaluate.py",
            )
        },
    )
    assert run.test_data == {"data/processed/test.npy": "data/processed/test.npy"}


@pytest.mark.parametrize(
    ("change", "repeats"),
    [
        ({}, True),
        ({"outs": [{"path": "out", "md5": "another"}]}, True),
        ({"cmd": ["one", "another"]}, False),
        ({"params": {"params.yaml": {"lr": 2}}}, False),
        ({"deps": deps("code.py", url="version-2")}, False),
    ],
)
def test_a_run_repeats_another_whatever_its_outs(change: dict[str, Any], repeats: bool) -> None:
    stage = {
        "cmd": ["one", "two"],
        "params": {"params.yaml": {"lr": 1}},
        "deps": deps("code.py", url="version-1"),
        "outs": [{"path": "out", "md5": "one"}],
    }
    assert a_run(stage=stage | change).repeats(a_run(stage=stage)) == repeats


FIGURE = {"class": "ant", "images": 1, "precision": 1, "recall": 1, "f1": 1}
SCORES = {
    "accuracy": 0.9,
    "accuracy_interval_95": [0.8, 1],
    "errors": 9,
    "images": 90,
    "per_class": [FIGURE],
}


def test_scores_have_the_figures_of_their_file() -> None:
    old = validate(results.Scores, SCORES | {"of_tomorrow": 1}, "here")
    assert old.figures == {"accuracy": 0.9, "errors": 9}
    values = {figure.key: 0.5 for figure in FIGURES} | {"errors": 9}
    new = validate(results.Scores, SCORES | values, "here")
    assert new.figures == values
    assert list(new.figures) == [figure.key for figure in FIGURES]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "here: brier_score is empty; it should be a valid number"),
        ("x", "here: brier_score is 'x'; it should be a valid number, unable to parse string"),
    ],
)
def test_a_wrong_figure_is_named_as_in_its_file(value: object, message: str) -> None:
    with pytest.raises(Problem) as caught:
        validate(results.Scores, SCORES | {"brier_score": value}, "here")
    assert str(caught.value).startswith(message)


def test_the_weakest_class_is_one_with_images() -> None:
    rows = [
        FIGURE | {"class": name, "images": images, "recall": recall}
        for name, images, recall in (("ant", 5, 0.5), ("bee", 0, 0), ("cat", 5, 0.2))
    ]
    scores = validate(results.Scores, SCORES | {"per_class": rows}, "here")
    assert scores.weakest.name == "cat"


def test_classes_that_are_never_predicted() -> None:
    assert validate(results.Scores, SCORES, "here").never_predicted == ()  # of an older run
    new = validate(results.Scores, SCORES | {"never_predicted": ["ant"]}, "here")
    assert new.never_predicted == ("ant",)


def test_scores_of_a_class_by_its_name() -> None:
    scores = validate(results.Scores, SCORES, "here")
    assert scores.of("ant") == scores.per_class[0]
    assert scores.of("bee") is None


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that loads a run of the given files, of which no stage is out of date."""

    def load(lock: object, **metrics: object) -> results.Run:
        files = {"dvc.lock": lock} | {f"metrics/{name}.json": of for name, of in metrics.items()}

        def read(path: str, revision: str) -> str:
            if path not in files:
                raise revisions.MissingFile(f"{revision}: no {path}")
            return json.dumps(files[path])

        monkeypatch.setattr(revisions, "read", read)
        monkeypatch.setattr(revisions, "outdated", lambda *_: [])
        return results.load("any")

    return load


MD5 = "0123456789abcdef" * 2
EVALUATE = {
    "cmd": "python src/evaluate.py",
    "deps": [{"path": "test.npy", "md5": MD5}],
    "params": {"params.yaml": {"dataset": "tiny"}},
}
LOCK = {"stages": {"preprocess": {"outs": [{"path": "test.npy"}]}, "evaluate": EVALUATE}}


@pytest.mark.parametrize(
    "lock",
    [
        {},
        [],
        {"stages": {}},
        {"stages": {"evaluate": {"cmd": "true"}}},
        {"stages": {"evaluate": EVALUATE}},  # its data comes from nowhere
        {"stages": {"evaluate": EVALUATE | {"params": {}}}},
    ],
)
def test_what_holds_no_finished_run(loaded: Any, lock: object) -> None:
    with pytest.raises(Problem, match=r"^any: dvc\.lock holds no finished run; `dvc repro` there$"):
        loaded(lock)


def test_a_run_without_records_is_doubtful(loaded: Any) -> None:
    run = loaded(LOCK)
    assert run.dataset == "tiny"
    (remark,) = run.remarks
    assert remark.startswith("any does not say what its model and figures were made from")


def test_a_record_that_contradicts_the_lock_is_false(loaded: Any) -> None:
    record = {
        "stage": "evaluate",
        "params": {"params.yaml": {"dataset": "other"}},
        "deps": {"test.npy": MD5},
    }
    with pytest.raises(results.FalseRun) as caught:
        loaded(LOCK, evaluate={"made_from": [record]})
    assert "evaluate ran with dataset other, and not tiny" in str(caught.value)


def test_a_damaged_record_is_false(loaded: Any) -> None:
    with pytest.raises(results.FalseRun, match="made_from: "):
        loaded(LOCK, evaluate={"made_from": [{"stage": 1}]})


def test_this_machine_computed_other_bytes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    assert not results.computed_here()
    md5 = project.objects()["models/model.keras"]
    project.rewrite_run(md5, md5[::-1])
    assert results.computed_here()
    lock = Path("dvc.lock")
    lock.write_text(lock.read_text().replace("epochs: 2", "epochs: 3"))
    assert not results.computed_here()
