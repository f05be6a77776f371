"""The cluster of this machine, and one that is not there."""

import os
from importlib import metadata
from pathlib import Path

import pytest

from conftest import REPOSITORY
from convline.problems import Problem
from convline.search import cluster


def test_the_packages_of_the_lock_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    versions = cluster._versions()
    for name in ("dvc", "keras", "numpy", "optuna", "distributed"):
        assert versions[name] == metadata.version(name)


def test_the_cores_that_this_process_may_use() -> None:
    assert 1 <= cluster.cores_here() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://no.invalid:1"])
def test_no_scheduler(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT", 1)
    with (
        pytest.raises(Problem, match=f"no Dask scheduler answers at {address}"),
        cluster.connected(address, "topic", 1),
    ):
        pass
