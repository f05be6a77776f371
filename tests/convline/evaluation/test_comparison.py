"""The comparison of two runs: which images, which p-value, which verdict."""

import html
import json
import math
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from conftest import NAMES
from convline.evaluation import comparison
from convline.evaluation.results import CorruptionScore, Run, Scores
from convline.problems import Problem
from convline.text import one_line, printable


def run(
    name: str,
    predicted: str,
    actual: str = "",
    dataset: str = "mnist",
    md5: str = "a",
    files: list[str] | None = None,
) -> Run:
    """A run that gave the images the one-letter classes `predicted`; `actual` is a, a, ..."""
    made = Run(
        name,
        {
            "stages": {
                "preprocess": {"outs": [{"path": "test_images.npy"}, {"path": "test_labels.npy"}]},
                "train": {"outs": [{"path": "model.keras"}]},
                "evaluate": {
                    "deps": [
                        {"path": "test_images.npy", "md5": md5},
                        {"path": "test_labels.npy", "md5": "b"},
                        {"path": "model.keras", "md5": name},
                        {"path": "evaluate.py", "md5": name},
                    ],
                    "params": {"params.yaml": {"dataset": dataset}},
                },
            }
        },
    )
    table = pd.DataFrame(
        {"actual": list(actual or "a" * len(predicted)), "predicted": list(predicted)}
    )
    if files:
        table["file_name"] = files
    scores = Scores.model_construct(accuracy=0.5, errors=1, brier_score=0.5)
    made.__dict__.update(predictions=table, scores=scores)  # where cached_property keeps them
    return made


def of_counts(only_baseline: int, only_candidate: int, both: int = 3) -> comparison.Comparison:
    """The comparison of two runs that classify so many images correctly that the other does not."""
    return comparison.compare(
        run("main", "a" * only_baseline + "b" * only_candidate + "a" * both),
        run("new", "b" * only_baseline + "a" * only_candidate + "a" * both),
    )


def test_images_that_one_gets_right_are_named() -> None:
    result = comparison.compare(run("main", "aabba"), run("new", "abaab"))
    assert result.baseline.only_correct == [1, 4]
    assert result.candidate.only_correct == [2, 3]
    assert (result.baseline.errors, result.candidate.errors) == (2, 2)
    assert (result.baseline.accuracy, result.candidate.accuracy) == (0.6, 0.6)


@pytest.mark.parametrize(
    ("only_baseline", "only_candidate", "p_value", "verdict"),
    [
        (0, 0, 1.0, "no evidence of a difference"),
        (0, 5, 2 / 2**5, "no evidence of a difference"),
        (0, 6, 2 / 2**6, "better"),
        (6, 0, 2 / 2**6, "worse"),
        (1, 8, 2 * (1 + 9) / 2**9, "better"),
        (2, 8, 2 * (1 + 10 + 45) / 2**10, "no evidence of a difference"),
        (4, 4, 1.0, "no evidence of a difference"),
    ],
)
def test_the_verdict_is_that_of_the_exact_test(
    only_baseline: int, only_candidate: int, p_value: float, verdict: str
) -> None:
    result = of_counts(only_baseline, only_candidate)
    assert result.p_value == pytest.approx(p_value)
    assert result.verdict == verdict


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_p_value_is_the_sum_of_binomial_tails(one: int, other: int) -> None:
    tail = sum(math.comb(one + other, k) for k in range(min(one, other) + 1))
    assert of_counts(one, other).p_value == pytest.approx(min(1.0, 2 * tail / 2 ** (one + other)))


def test_images_that_both_get_right_or_wrong_do_not_count() -> None:
    assert of_counts(2, 9, both=0).p_value == of_counts(2, 9, both=500).p_value


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (run("new", "aab", dataset="digits"), "main used the dataset mnist, new digits"),
        (run("new", "aab", md5="c"), "different versions of mnist"),
        (run("new", "aab", actual="aba"), "different versions of mnist"),
        (run("new", "aaba"), "different versions of mnist"),
    ],
)
def test_other_test_images_are_not_compared(other: Run, reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        comparison.compare(run("main", "aab"), other)


def test_text_names_a_few_images_and_json_all() -> None:
    result = of_counts(0, 25)
    text = comparison.to_text(result)
    assert "Correct only in new: images 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 15 more" in text
    assert "Correct only in main" not in text
    assert text.endswith("new is better than main on the 28 test images of mnist")
    assert comparison.to_json(result)["candidate"]["only_correct"] == list(range(25))


def test_a_run_that_is_older_than_corruptions() -> None:
    """The other one's accuracies stand alone."""
    old, new = run("main", "ab"), run("new", "ab")
    rows = [
        {"corruption": "fog", "strength": 1, "accuracy": 0.5},
        {"corruption": "fog", "strength": 2, "accuracy": 0.25},
    ]
    corrupted = tuple(CorruptionScore.model_validate(row) for row in rows)
    new.__dict__["scores"] = new.scores.model_copy(update={"per_corruption": corrupted})
    found = comparison.compare(old, new)
    assert "- fog - 37.50% high" in " ".join(comparison.to_text(found).split())
    written = comparison.to_json(found)
    assert written["baseline"]["accuracy_by_corruption"] == {}
    assert written["candidate"]["accuracy_by_corruption"] == {"fog": 0.375}


def test_markdown_is_a_table_and_a_verdict() -> None:
    lines = comparison.to_markdown(of_counts(1, 1)).splitlines()
    assert lines[0].split() == ["|", "|", "`main`", "|", "`new`", "|", "better", "|"]
    (brier,) = (line.split("|")[2:5] for line in lines if "Brier score" in line)
    assert [cell.strip() for cell in brier] == ["0.50000", "0.50000", "low"]
    assert lines[-1] == (
        "**No evidence of a difference between `new` and `main` on the 5 test images of mnist**"
    )


def test_markdown_shows_names_as_they_are() -> None:
    name, dataset = "a`b|<i>*c*", "<b>_t_|"
    result = comparison.compare(
        run(name, "a" * 9, dataset=dataset), run("new", "b" * 9, dataset=dataset)
    )
    page = MarkdownIt("commonmark").enable("table").render(comparison.to_markdown(result))
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())
    assert shown.startswith(f"{name} new better accuracy 100.00% 0.00% high ")
    assert f"Correct only in {name}: images 0, 1" in shown
    assert shown.endswith(f"new is worse than {name} on the 9 test images of {dataset}")


def of_files(files: list[str]) -> comparison.Comparison:
    """The comparison of a run that is correct on all of `files` with one that is on none."""
    return comparison.compare(
        run("main", "a" * len(files), files=files), run("new", "b" * len(files), files=files)
    )


def test_text_names_a_few_files_and_json_all() -> None:
    files = [f"cat/{number}.jpg" for number in range(12)]
    text = comparison.to_text(of_files(files))
    assert f"Correct only in main: {', '.join(files[:10])} and 2 more\n" in text
    side = comparison.to_json(of_files(files))["baseline"]
    assert (side["only_correct"], side["only_correct_files"]) == (list(range(12)), files)
    assert "only_correct_files" not in comparison.to_json(of_counts(1, 1))["baseline"]


def test_odd_names_of_files_are_escaped() -> None:
    for files in (NAMES[:10], NAMES[10:]):  # as many as are shown
        result = of_files(files)
        shown = ", ".join(map(one_line, files))
        assert f"\nCorrect only in main: {shown}\n" in comparison.to_text(result)
        assert printable(comparison.to_text(result).replace("\n", ""))
        page = MarkdownIt("commonmark").enable("table").render(comparison.to_markdown(result))
        literal = [f"<code>{html.escape(one_line(file) or ' ')}</code>" for file in files]
        assert f"<p>Correct only in <code>main</code>: {', '.join(literal)}</p>" in page
        json.dumps(comparison.to_json(result)).encode("ascii")
