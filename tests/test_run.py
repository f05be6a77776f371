"""What `make run` does to params.yaml."""

from pathlib import Path

import pytest

import run
from convline.stage import Problem


def test_a_full_disk_leaves_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = Path("params.yaml")
    params.write_text("epochs: 5  # passes\nseed: 0\n")
    Path("params.yaml.part").symlink_to("/dev/full")
    with pytest.raises(Problem, match=r"^params\.yaml cannot be written: No space left on device"):
        run.change_params({"epochs": 30})
    assert params.read_text() == "epochs: 5  # passes\nseed: 0\n"
    run.change_params({"epochs": 30})
    assert params.read_text() == "epochs: 30 # passes\nseed: 0\n"
