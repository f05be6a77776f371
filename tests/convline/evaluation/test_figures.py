"""The list of figures, and how each is rounded and written."""

import pytest

from convline.evaluation.figures import BY_KEY, FIGURES, MINUS, SPACE, Figure, rounded

SHARE = Figure("share", "share", "share", better="high", digits=4)
COUNT = Figure("count", "count", "count", better="low", digits=0)
NATS = Figure("nats", "nats", "nats", better="low", digits=5)
BARE = Figure("bare", "bare", "", better="low", digits=3)


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        (SHARE, 0.99085, "99.09%"),
        (SHARE, 0, "0.00%"),
        (COUNT, 1234, "1,234"),
        (NATS, 0.029961, "0.02996 nats"),
        (BARE, 2, "2.000"),
    ],
)
def test_a_value_is_written_with_its_unit(figure: Figure, value: float, text: str) -> None:
    assert figure.text(value) == text


@pytest.mark.parametrize(
    ("figure", "difference", "text"),
    [
        (SHARE, 0.0007, f"+0.07{SPACE}points"),
        (SHARE, -0.0123, f"{MINUS}1.23{SPACE}points"),
        (COUNT, 1234, "+1,234"),
        (COUNT, -2, f"{MINUS}2"),
        (NATS, 0.00031, "+0.00031 nats"),
        (BARE, -0.5, f"{MINUS}0.500"),
    ],
)
def test_a_difference_is_written_with_its_sign(
    figure: Figure, difference: float, text: str
) -> None:
    assert figure.change(difference) == text


def test_values_are_rounded_in_the_order_of_the_list() -> None:
    values = {figure.key: 0.123456789 for figure in reversed(FIGURES)} | {"other": 1.0}
    found = rounded(values)
    assert list(found) == [figure.key for figure in FIGURES]
    for key, value in found.items():
        assert value == round(0.123456789, BY_KEY[key].digits)


def test_a_count_is_an_integer() -> None:
    values = dict.fromkeys(BY_KEY, 7.0)
    assert type(rounded(values)["errors"]) is int
    assert type(rounded(values)["accuracy"]) is float


def test_keys_are_unique() -> None:
    assert len(BY_KEY) == len(FIGURES)
