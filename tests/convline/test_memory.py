"""Memory: errors that show that there is too little."""

import pytest

from convline import memory


class ResourceExhaustedError(Exception):
    """What TensorFlow raises, by name."""


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (MemoryError(), True),
        (ResourceExhaustedError("no sign in its text"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("can't start new thread"), True),
        (ValueError("memory"), False),
        (OSError(28, "No space left on device"), False),
    ],
    ids=repr,
)
def test_an_error_shows_that_memory_is_exhausted(error: Exception, exhausted: bool) -> None:
    assert memory.exhausted(error) == exhausted


def test_without_glibc_freed_memory_is_left_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    memory.keep_freed()
