"""The benchmarks run, on a dataset that is always at hand, and write their tables."""

import pytest

import servers
from conftest import Project

MISSING = servers.missing(*servers.WRITABLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "option", "rows"),
    [
        ("accuracy", "--seeds=2", ["0", "1", "mean", "standard deviation"]),
        ("verdicts", "--seeds=2", ["two seeds, both 5 epochs", "1 epoch against 5, the same seed"]),
        pytest.param(
            *("remotes", "--repeats=1"),
            ["fetch", "everything", "push, remote empty", "pull, all there"],
            marks=pytest.mark.skipif(bool(MISSING), reason=MISSING),
        ),
        ("cost", "--repeats=1", ["fetch", "preprocess", "train", "evaluate", "train : bare"]),
    ],
)
def test_a_benchmark_writes_its_table(
    clone: Project, name: str, option: str, rows: list[str]
) -> None:
    clone.set_params(dataset="digits", validation_size=180, epochs=1)
    report = clone.path / f"benchmarks/{name}.md"
    report.unlink(missing_ok=True)
    clone.run("python", f"benchmarks/{name}.py", option)
    for row in rows:
        assert f"\n| {row} " in report.read_text()
