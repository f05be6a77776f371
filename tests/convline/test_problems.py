"""How a stage ends: exit codes and one line on stderr."""

import signal
import subprocess
import sys

import pytest

from convline import problems
from convline.problems import Problem


class ResourceExhaustedError(Exception):
    """What TensorFlow raises, by name."""


def failing(error: BaseException) -> int:
    """Run a stage that raises `error`, and return its exit code."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        problems.run(main)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Problem("epochs is 0"), 1, "epochs is 0"),
        (Problem("first\n  second\r\nthird"), 1, "first second third"),
        (FileNotFoundError(2, "No such file", "data/x"), 1, "data/x: No such file"),
        (PermissionError(13, "Permission denied", b"data/x"), 1, "b'data/x': Permission denied"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (OSError(9, "Bad file descriptor", 3), 1, "3: Bad file descriptor"),
        (OSError(2, "No such file", "data/a\nb"), 1, "data/a b: No such file"),
        (OSError("truncated\nfile"), 1, "truncated file"),
        (Problem("a\x1b[31m\u200db\0"), 1, "a\\x1b[31m\u200db\\x00"),
        (TimeoutError(), 1, "TimeoutError"),
        (MemoryError(), 1, "not enough memory"),
        (MemoryError("Unable to allocate 8 GiB"), 1, "not enough memory: Unable to allocate 8 GiB"),
        (
            ImportError("Traceback:\n  x\nImportError: libx.so: failed to map segment from shared"),
            1,
            "not enough memory: ImportError: libx.so: failed to map segment from shared",
        ),
        (ResourceExhaustedError("OOM\n" + "x" * 500), 1, "not enough memory: OOM"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out"), 1, "not enough memory: RESOURCE_EXHAUSTED: Out"),
        (RuntimeError("can't start new thread"), 1, "not enough memory: can't start new thread"),
    ],
    ids=repr,
)
def test_a_problem_ends_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["src/fetch.py"])
    assert failing(error) == code
    assert capsys.readouterr() == ("", f"fetch: {line}\n")


@pytest.mark.parametrize(
    ("before", "code", "line"),
    [
        ("signal.signal(signal.SIGINT, signal.default_int_handler)", 130, "-c: interrupted\n"),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN)", 0, ""),
    ],
    ids=["Ctrl-C", "Ctrl-C ignored"],
)
def test_an_interruption_ends_at_once(before: str, code: int, line: str) -> None:
    """Whatever the stage would catch on the way."""
    script = f"""
import signal, time
from convline import problems
def main():
    try:
        print("begun", flush=True)
        time.sleep(2)
    except BaseException:
        print("caught", flush=True)
{before}
problems.run(main)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": "src"},
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", line)
    assert process.returncode == code


@pytest.mark.parametrize("error", [ValueError("a bug"), ImportError("x"), SystemExit(3)], ids=repr)
def test_other_errors_stay_as_they_are(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        problems.run(main)
    assert raised.value is error
    assert capsys.readouterr() == ("", "")


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    problems.run(lambda: None)
    assert capsys.readouterr() == ("", "")
