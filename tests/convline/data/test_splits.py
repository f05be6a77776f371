"""The splits: of labels in their proportion, and of pictures by their content."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn.model_selection import train_test_split

from convline import params
from convline.data import splits
from convline.data.archives import Row
from convline.data.splits import Rule
from convline.problems import Problem


class Sized(params.Schema):
    """What has a size."""

    size: splits.Size


def labels(*counts: int) -> splits.Bytes:
    """`counts[0]` labels 0, `counts[1]` labels 1, ..., in a mixed order."""
    ordered = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    return np.random.default_rng(0).permutation(ordered)


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(20, 200), min_size=2, max_size=6),
    share=st.floats(0.2, 0.45),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_class_has_its_share(counts: list[int], share: float, seed: int) -> None:
    of = labels(*counts)
    size = round(share * len(of))
    mask = splits.validation_mask(of, size, seed)
    assert mask.shape == of.shape
    assert mask.dtype == bool
    assert mask.sum() == size
    assert np.abs(np.bincount(of[mask]) - np.array(counts) * size / len(of)).max() <= 1


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=8),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_split_is_that_of_scikit_learn(counts: list[int], share: float, seed: int) -> None:
    of = labels(*counts)
    size = round(len(counts) + share * (len(of) // 2 - len(counts)))
    _, chosen = train_test_split(np.arange(len(of)), test_size=size, stratify=of, random_state=seed)
    assume(set(of[chosen]) == set(np.delete(of, chosen)) == set(of))
    assert np.flatnonzero(splits.validation_mask(of, size, seed)).tolist() == sorted(chosen)


def test_the_seed_decides() -> None:
    of = labels(100, 100)
    first, again, other = (splits.validation_mask(of, 50, seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_single_validation_image_of_each_class() -> None:
    of = labels(100, 100, 100)
    assert sorted(of[splits.validation_mask(of, 3, 0)]) == [0, 1, 2]


@pytest.mark.parametrize(("share", "size"), [(0.25, 75), (0.0833, 25), (0.5, 150), (0.01, 3)])
def test_a_share_is_as_good_as_its_number(share: float, size: int) -> None:
    of = labels(100, 100, 100)
    assert np.array_equal(splits.validation_mask(of, share, 0), splits.validation_mask(of, size, 0))


@pytest.mark.parametrize("value", [1, 12000, 5.0, "60", 0.3, 1e-3])
def test_a_size_is_a_number_or_a_share(value: object) -> None:
    assert TypeAdapter(splits.Size).validate_python(value) == float(str(value))


@pytest.mark.parametrize("value", [0, -1, -0.1, 1.5, True, "many", float("nan"), float("inf")])
def test_another_size_is_refused(value: object) -> None:
    with pytest.raises(Problem, match="params: size"):
        params.validate(Sized, {"size": value}, "params")


def test_a_class_without_training_images_does_no_harm() -> None:
    of = labels(50, 0, 50)
    assert np.bincount(of[splits.validation_mask(of, 10, 0)]).tolist() == [5, 0, 5]


@pytest.mark.parametrize("size", [-1, 0, 2, 151, 300, 301, 10**12])
def test_a_size_that_cannot_be_split(size: int) -> None:
    with pytest.raises(Problem) as caught:
        splits.validation_mask(labels(100, 100, 100), size, 0)
    assert str(caught.value) == (
        f"params.yaml: validation_size is {size:g}; with 300 training images of 3 classes it "
        "should be from 3 to 150"
    )


def test_a_size_that_leaves_a_rare_class_out() -> None:
    words = "validation_size is 100, which leaves no validation image of class 1: make it larger"
    with pytest.raises(Problem, match=words):
        splits.validation_mask(labels(3000, 3), 100, 0)


def test_a_class_with_a_single_image() -> None:
    with pytest.raises(Problem, match="class 1 has a single training image"):
        splits.validation_mask(labels(100, 1), 10, 0)


RULE = Rule("datasets.yaml: pets", 0.2, 0)


def pictures(*counts: int, split: str = "", group: str = "") -> list[Row]:
    """`counts[0]` different pictures of class 0, `counts[1]` of class 1, ..."""
    return [
        Row(
            "",
            f"{label}/{split}{i}",
            str(label),
            split,
            group and f"{group}{i % 9}",
            f"{label} {i}",
        )
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def sides(rows: list[Row], rule: Rule = RULE, size: float = 0.1) -> dict[str, str]:
    """The split of each picture by its file name."""
    return {row.file_name: side for row, side in zip(rows, splits.by_content(rows, rule, size))}


def test_shares_are_met_on_average() -> None:
    counts = Counter(sides(pictures(1000, 1000)).values())
    assert counts["test"] == pytest.approx(400, rel=0.1)
    assert counts["validation"] == pytest.approx(160, rel=0.2)


def test_what_comes_and_goes_moves_no_other_picture() -> None:
    few, many = sides(pictures(80, 80)), sides(pictures(90, 200, 70))
    assert few.items() <= many.items()
    assert sides(pictures(80, 80)[::-1]) == few


def test_a_larger_share_only_adds_pictures_to_it() -> None:
    rows = pictures(200, 200)
    before = sides(rows)
    after = sides(rows, Rule("", 0.4, 0))
    assert {name for name in before if before[name] == "test"} < {
        name for name in after if after[name] == "test"
    }


def test_the_split_seed_of_pictures_decides() -> None:
    assert sides(pictures(80, 80)) != sides(pictures(80, 80), Rule("", 0.2, 1))


def test_copies_and_groups_stay_on_one_side() -> None:
    rows = pictures(80, 80)
    copies = [row._replace(file_name=f"copy of {row.file_name}", label="1") for row in rows]
    found = sides([*rows, *copies])
    assert all(found[f"copy of {row.file_name}"] == found[row.file_name] for row in rows)
    grouped = pictures(80, 80, group="g")
    by_group = {(row.group, side) for row, side in zip(grouped, sides(grouped).values())}
    assert len(by_group) == 9


def test_the_splits_of_the_source_stay() -> None:
    rows = [*pictures(50, 50, split="train"), *pictures(5, 5, split="test")]
    found = sides(rows, Rule("", None, 0))
    assert {side for name, side in found.items() if "test" in name} == {"test"}
    assert {side for name, side in found.items() if "train" in name} == {"train", "validation"}
    rows += pictures(5, 5, split="validation")
    assert all(side in name for name, side in sides(rows, Rule("", None, 0)).items())
    rows = [*pictures(50, 50, split="train"), *pictures(5, 5, split="validation")]
    assert {side for name, side in sides(rows).items() if "train" in name} == {"train", "test"}


def test_a_number_is_taken_as_a_share() -> None:
    rows = pictures(100, 100)
    training = Counter(sides(rows).values())
    size = 0.1 * (training["train"] + training["validation"])
    assert sides(rows, size=max(2, size)) == sides(rows)


@pytest.mark.parametrize(
    ("rows", "rule", "size", "words"),
    [
        (pictures(9, 9), Rule("d", None, 0), 0.1, "d: no picture is in a split test, so"),
        (pictures(50, 1), RULE, 0.1, "class 1 to test on: make it larger, or add pictures"),
        (pictures(50, 50), RULE, 0.6, "validation_size is 0.6, which holds out"),
        (pictures(50, 50), RULE, 70, "validation_size is 70, which holds out"),
        (pictures(50, 50), RULE, 1e-6, "which holds out 0 of"),
        (pictures(50, 50), RULE, 1e9, "is left to train on: "),
        (
            [*pictures(9, 9, split="train"), *pictures(3, 3, 1, split="test")],
            Rule("d", None, 0),
            0.3,
            "no picture of the class 2 is left to train on: 0 to validate, 1 to test",
        ),
    ],
)
def test_splits_that_cannot_be(rows: list[Row], rule: Rule, size: float, words: str) -> None:
    with pytest.raises(Problem) as caught:
        splits.by_content(rows, rule, size)
    assert words in str(caught.value)


@settings(deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(3, 12), min_size=2, max_size=5),
    split=st.sampled_from(["", "validation", "test"]),
    size=st.sampled_from([0.05, 0.2, 3.0, 1e9]),
)
def test_a_rule_that_covers_leaves_pictures_for_all(
    counts: list[int], split: str, size: float
) -> None:
    """If only the validation set is not larger than it may be."""
    rows = pictures(*counts, split="train" if split else "")
    if split:
        rows += pictures(*(1 for _ in counts), split=split)
    share = None if split == "test" else 0.3
    rules = [Rule("", share, seed) for seed in range(300)]
    rule = splits.covering(rows, rules, size)
    assert rule
    if size < 1:
        try:
            splits.by_content(rows, rule, size)
        except Problem as problem:
            assert "which holds out" in str(problem)


def test_no_rule_covers_a_single_picture() -> None:
    assert splits.covering(pictures(9, 1), [RULE], 0.1) is None
