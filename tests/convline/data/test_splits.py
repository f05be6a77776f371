"""The validation split."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from convline.data import splits
from convline.problems import Problem


def labels(*counts: int) -> splits.Bytes:
    """`counts[0]` labels 0, `counts[1]` labels 1, ..., in a mixed order."""
    ordered = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    return np.random.default_rng(0).permutation(ordered)


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(20, 200), min_size=2, max_size=6),
    share=st.floats(0.2, 0.8),
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
    size = round(len(counts) + share * (len(of) - 2 * len(counts)))
    _, chosen = train_test_split(np.arange(len(of)), test_size=size, stratify=of, random_state=seed)
    assume(set(of[chosen]) == set(np.delete(of, chosen)) == set(of))
    assert np.flatnonzero(splits.validation_mask(of, size, seed)).tolist() == sorted(chosen)


def test_the_seed_decides() -> None:
    of = labels(100, 100)
    first, again, other = (splits.validation_mask(of, 50, seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", [3, 297])
def test_a_single_image_of_each_class_on_one_side(size: int) -> None:
    of = labels(100, 100, 100)
    mask = splits.validation_mask(of, size, 0)
    few = of[mask] if size == 3 else of[~mask]
    assert sorted(few) == [0, 1, 2]


def test_a_class_without_training_images_does_no_harm() -> None:
    of = labels(50, 0, 50)
    assert np.bincount(of[splits.validation_mask(of, 10, 0)]).tolist() == [5, 0, 5]


@pytest.mark.parametrize("size", [-1, 0, 2, 298, 300, 301, 10**12])
def test_a_size_that_cannot_be_split(size: int) -> None:
    with pytest.raises(Problem) as caught:
        splits.validation_mask(labels(100, 100, 100), size, 0)
    assert str(caught.value) == (
        f"params.yaml: validation_size is {size}; with 300 training images of 3 classes it "
        "should be from 3 to 297"
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [(100, "no validation image of class 1: make it larger"), (2990, "no training image of")],
)
def test_a_size_that_leaves_a_rare_class_out(size: int, words: str) -> None:
    with pytest.raises(Problem, match=f"validation_size is {size}, which leaves {words}"):
        splits.validation_mask(labels(3000, 3), size, 0)


def test_a_class_with_a_single_image() -> None:
    with pytest.raises(Problem, match="class 1 has a single training image"):
        splits.validation_mask(labels(100, 1), 10, 0)
