"""Stages and parameters that a user adds, in each form that DVC knows.

They run in the clone, in a temporary copy and in a queue.
"""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from conftest import Project, ran
from convline import pipeline

# Most resemble a key of ours, which is nobody's business where a stage uses them
PARAMETERS = {
    "epoch": 1,
    "mine": {"lr": 1},
    "learning_rates": 2,
    "shifts": [3, 4],
    "zooms": {"near": 5, "far": 6},
    "optimizers": ["a", "b"],
    "seeds": 7,
    "rotations": 8,
}
STAGES = """
dictionary:
  cmd: python read.py learning_rates > dictionary.txt
  params:
  - params.yaml:
    - learning_rates
  outs:
  - dictionary.txt
whole:
  cmd: python read.py epoch > whole.txt
  params:
  - params.yaml:
  outs:
  - whole.txt
each:
  foreach: ${shifts}
  do:
    cmd: python read.py mine.lr > each-${item}.txt
    params:
    - mine.lr
    outs:
    - each-${item}.txt
keyed:
  foreach: ${zooms}
  do:
    cmd: echo ${key} > keyed-${key}.txt
    outs:
    - keyed-${key}.txt
grid:
  matrix:
    x: [1, 2]
    y: ${optimizers}
  cmd: echo ${item.x} ${item.y} > grid-${item.x}-${item.y}.txt
  params:
  - epoch
  outs:
  - grid-${item.x}-${item.y}.txt
template:
  cmd: echo ${seeds} > template.txt
  outs:
  - template.txt
elsewhere:
  cmd: cp mine.yaml elsewhere.txt
  params:
  - mine.yaml:
    - threads
  outs:
  - elsewhere.txt
"""
SUBFOLDER = """
stages:
  below:
    cmd: python ../read.py rotations ../params.yaml > below.txt
    params:
    - ../params.yaml:
      - rotations
    outs:
    - below.txt
"""
READ = """
import functools, sys, yaml
from pathlib import Path
values = yaml.safe_load(Path((sys.argv[2:] or ["params.yaml"])[0]).read_text())
print(functools.reduce(dict.get, sys.argv[1].split("."), values))
"""
# What each writes, and in which file
OWN = {
    "flat": ("flat.txt", "1"),
    "nested": ("nested.txt", "1"),
    "dictionary": ("dictionary.txt", "2"),
    "whole": ("whole.txt", "1"),
    "each@3": ("each-3.txt", "1"),
    "each@4": ("each-4.txt", "1"),
    "keyed@far": ("keyed-far.txt", "far"),
    "grid@2-b": ("grid-2-b.txt", "2 b"),
    "template": ("template.txt", "7"),
    "elsewhere": ("elsewhere.txt", "threads: 9"),
    "sub/dvc.yaml:below": ("sub/below.txt", "8"),
}

together = pytest.mark.xdist_group("own_stages")


@pytest.fixture(scope="module")
def extended(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with stages of every form, which have run. Tests leave it as it is."""
    project = reproduced.copy(tmp_path_factory.mktemp("extended") / "project")
    project.set_params(**PARAMETERS)
    (project.path / "read.py").write_text(READ)
    (project.path / "mine.yaml").write_text("threads: 9\n")
    for name, key in (("flat", "epoch"), ("nested", "mine.lr")):
        command = f"python read.py {key} > {name}.txt"
        project.dvc("stage", "add", "--name", name, "-p", key, "--outs", f"{name}.txt", command)
    path = project.path / "dvc.yaml"
    content = YAML().load(path)
    content["stages"].update(YAML().load(STAGES))
    YAML().dump(content, path)
    (project.path / "sub").mkdir()
    (project.path / "sub/dvc.yaml").write_text(SUBFOLDER)
    project.dvc("repro", "--all-pipelines")
    project.commit("Add stages and run them")
    return project


@together
@pytest.mark.parametrize("stage", OWN)
def test_each_form_runs(extended: Project, stage: str) -> None:
    file, content = OWN[stage]
    assert (extended.path / file).read_text() == f"{content}\n"


@together
@pytest.mark.parametrize("stage", pipeline.STAGES)
def test_our_stages_read_their_parameters_beside_them(extended: Project, stage: str) -> None:
    """Whatever the new keys look like: each is used."""
    load = f"import {stage}; from convline import params; params.load('{stage}', {stage}.Params)"
    extended.run("python", "-c", f"import sys; sys.path.insert(0, 'src'); {load}")


@together
def test_each_form_runs_again_when_its_parameter_changes(extended: Project, tmp_path: Path) -> None:
    project = extended.copy(tmp_path / "project")
    project.set_params(mine={"lr": 5}, learning_rates=5, seeds=5, rotations=5)
    (project.path / "mine.yaml").write_text("threads: 5\n")
    changed = {"nested", "dictionary", "whole", "each@3", "each@4", "template", "elsewhere"}
    assert set(ran(project.dvc("repro", "--dry", "--all-pipelines"))) == {
        *changed,
        "sub/dvc.yaml:below",
    }


@together
@pytest.mark.slow
@pytest.mark.parametrize("way", ["--temp", "--queue"])
def test_each_form_runs_in_a_copy(extended: Project, tmp_path: Path, way: str) -> None:
    project = extended.copy(tmp_path / "project")
    targets = ("preprocess", "nested", "whole", "each", "grid", "keyed", "template", "elsewhere")
    changes = ("-S", "mine.lr=6", "-S", "epoch=6", "-S", "validation_size=30")
    output = project.dvc("exp", "run", way, "--name", "copied", *changes, *targets)
    if way == "--queue":
        output = project.dvc("exp", "run", "--run-all")
    assert "270 training, 30 validation" in output
    project.dvc("exp", "apply", "copied")
    for file in ("nested.txt", "whole.txt", "each-3.txt"):
        assert (project.path / file).read_text() == "6\n"


@pytest.mark.slow
def test_dependencies_of_ours_may_be_added_and_renamed(project: Project) -> None:
    """A directory among them, and paths that come from `vars`."""
    path = project.path / "dvc.yaml"
    content = YAML().load(path)
    content["vars"] = [{"processed": "data/processed", "extra": "extra"}]
    train = content["stages"]["train"]
    train["deps"] = [
        str(dep).replace("data/processed", "${processed}") for dep in [*train["deps"], "${extra}"]
    ]
    YAML().dump(content, path)
    (project.path / "extra").mkdir()
    (project.path / "extra/words.txt").write_text("a")
    project.convline("deps")
    project.commit("Add a directory")
    assert ran(project.dvc("repro")) == ["train", "evaluate", "export"]
    project.commit("Run with it")
    (project.path / "extra/words.txt").write_text("b")
    assert "train" in ran(project.dvc("repro", "--dry"))
    project.run("git", "checkout", "extra")

    assert "No evidence of a difference" in project.convline("compare", "HEAD").stdout
    assert "passed" in project.convline("gate", "workspace").stdout
    assert project.convline("report", "HEAD").stdout.startswith("report: report.html")
    project.convline("deps")
    assert project.run("git", "status", "--porcelain").stdout == ""
