"""What `convline deps` writes into dvc.yaml, and what it leaves."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import REPOSITORY, Project
from convline.commands import deps

DVC_YAML = (REPOSITORY / "dvc.yaml").read_text()

# As somebody might write them into dvc.yaml, of all kinds
FOREIGN = """\
  nothing:
    cmd: date > date.txt
    outs:
    - date.txt
  several:
    cmd:
    - echo one
    - echo two
    deps:
    - src/train.py
    - data/raw
  each:
    foreach:
    - a
    - b
    do:
      cmd: python src/each.py ${item}
      deps:
      - data/${item}
      outs:
      - out/${item}
  grid:
    matrix:
      size:
      - 1
      - 2
    cmd: python -m grid ${item.size}
    params:
    - grid.${item.size}
"""


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The top of a project that has src/ and dvc.yaml, as they are here, and is the folder."""
    shutil.copytree(
        REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(top: Path) -> str:
    """The dvc.yaml that the command leaves. A process of its own imports the scripts of `top`."""
    command = [sys.executable, "src", "deps"]
    result = subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return (top / "dvc.yaml").read_text()


def added(text: str, base: str = DVC_YAML) -> list[str]:
    """The lines that `text` has and `base` has not, in order; `base` may lack no others."""
    lines, rest = [], iter(base.splitlines())
    expected = next(rest, None)
    for line in text.splitlines():
        if line == expected:
            expected = next(rest, None)
        else:
            lines.append(line)
    assert expected is None, f"{expected!r} is gone"
    return lines


def stage(name: str) -> Any:
    return yaml.safe_load(Path("dvc.yaml").read_text())["stages"][name]


def test_nothing_is_left_to_write(top: Path) -> None:
    assert written(top) == DVC_YAML, "run `make deps`"


def test_an_import_is_added_to_the_stages_that_it_concerns(top: Path) -> None:
    (top / "src/convline/data/more.py").touch()
    source = top / "src/convline/data/splits.py"
    with source.open("a") as file:
        file.write("\n\ndef late():\n    from convline.data import more\n")
    assert added(written(top)) == ["    - src/convline/data/more.py"]
    assert "src/convline/data/more.py" in stage("preprocess")["deps"]


def test_an_import_that_is_gone_is_removed(top: Path) -> None:
    dvc_yaml = top / "dvc.yaml"
    line = "    - src/convline/text.py\n"
    superfluous = DVC_YAML.replace(line, "    - src/convline/models.py\n" + line, 1)
    dvc_yaml.write_text(superfluous)
    assert written(top) == DVC_YAML


def test_a_parameter_is_added_where_it_is_read(top: Path) -> None:
    source = top / "src/preprocess.py"
    source.write_text(
        source.read_text().replace("    dataset: str\n", "    dataset: str\n    margin: int\n", 1)
    )
    assert added(written(top)) == ["    - margin"]
    assert "margin" in stage("preprocess")["params"]


def test_what_was_added_by_hand_stays(top: Path) -> None:
    """Other data, and parameters that the class does not have."""
    entry = yaml.safe_load(DVC_YAML)
    entry["stages"]["train"]["deps"].insert(0, "data/extra")
    entry["stages"]["train"]["params"].insert(0, "own.key")
    entry["stages"]["train"]["params"].append({"own.yaml": None})
    (top / "dvc.yaml").write_text(yaml.safe_dump(entry, sort_keys=False))
    written(top)
    assert stage("train")["deps"] == entry["stages"]["train"]["deps"]
    assert set(map(str, stage("train")["params"])) == {
        *map(str, entry["stages"]["train"]["params"])
    }


def test_a_script_of_the_user_gets_its_code_and_parameters(top: Path) -> None:
    (top / "src/sample.py").write_text(
        "from convline import params\n\n\nclass Params(params.Schema):\n    lr: float\n"
    )
    text = DVC_YAML.replace(
        "stages:\n",
        "stages:\n  sample:\n    cmd: python src/sample.py --now\n    outs:\n    - my.txt\n",
    )
    (top / "dvc.yaml").write_text(text)
    lines = added(written(top), text)
    assert lines[:2] == ["    deps:", "    - src/sample.py"]
    assert lines[-2:] == ["    params:", "    - lr"]
    assert "    - src/convline/params.py" in lines
    assert not any("data/" in line for line in lines)


def test_a_script_without_parameters_is_not_run(top: Path) -> None:
    """It may do its work on import. What its stage lists stays in its order."""
    (top / "src/sample.py").write_text("print(1)\n")
    text = DVC_YAML.replace(
        "stages:\n",
        "stages:\n  sample:\n    cmd: python src/sample.py\n    params:\n    - b\n    - a\n",
    )
    (top / "dvc.yaml").write_text(text)
    assert added(written(top), text) == ["    deps:", "    - src/sample.py"]


def test_foreign_stages_stay(top: Path) -> None:
    (top / "src/each.py").write_text("import sys\n")
    text = DVC_YAML.replace("\nplots:\n", f"\n{FOREIGN}\nplots:\n", 1)
    (top / "dvc.yaml").write_text(text)
    once = written(top)
    assert added(once, text) == ["      - src/each.py"]
    assert stage("each")["do"]["deps"] == ["data/${item}", "src/each.py"]
    assert written(top) == once


def test_a_network_concerns_a_stage_only_while_it_is_in_use(top: Path) -> None:
    """What it imports concerns the stages that load a network in any case."""
    (top / "src/networks/sample.py").write_text("from convline.training import blocks\n")
    (top / "src/convline/training/blocks.py").touch()
    added_lines = added(written(top))
    assert set(added_lines) == {
        "    - src/convline/training/blocks.py",
        "    - src/convline/training/__init__.py",  # of evaluate
    }
    for name in ("train", "evaluate"):
        assert "src/convline/training/blocks.py" in stage(name)["deps"]
        assert "src/networks/sample.py" not in stage(name)["deps"]
        assert deps.IN_USE in stage(name)["deps"]


def test_dvc_adds_a_stage_in_the_same_style(clone: Project) -> None:
    """Before the command and after."""
    dvc_yaml = clone.path / "dvc.yaml"
    before = dvc_yaml.read_text()
    clone.dvc("stage", "add", "-n", "sample", "-p", "seed", "-o", "my.txt", "echo 1 > my.txt")
    lines = added(dvc_yaml.read_text(), before)
    assert lines[:2] == ["  sample:", "    cmd: echo 1 > my.txt"]
    numbers = clone.run("git", "diff", "HEAD", "--numstat", "dvc.yaml").stdout.split()
    assert numbers == [str(len(lines)), "0", "dvc.yaml"]
    after = dvc_yaml.read_text()
    clone.convline("deps")
    assert dvc_yaml.read_text() == after
