"""What `convline which` prints."""

import json
import sys
from pathlib import Path

import pytest

import registry
from conftest import Project
from convline.commands import which
from convline.problems import Problem


def printed(
    argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What the command prints for `argument`."""
    monkeypatch.setattr(sys, "argv", ["convline which", argument])
    which.main()
    return capsys.readouterr().out


def test_a_run_is_found_with_its_data_parameters_and_figures(
    experimented: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experimented.path)
    md5 = experimented.objects()["models/model.keras"]
    figures = json.loads((experimented.path / "metrics/evaluate.json").read_text())
    found = printed(md5[:8].upper(), monkeypatch, capsys)
    assert found.startswith(f"models/model.keras  {md5}\ncommit: ")
    assert " Reproduce\n" in found
    assert "\nbranch: main\n" in found
    assert "\ndataset: tiny\n" in found
    assert "epochs=2" in found
    assert "learning_rate=0.01" in found
    assert "weight_decay" not in found
    assert f"accuracy: {figures['accuracy']:.2%}; errors: {figures['errors']}" in found


def test_an_experiment_is_found(
    experimented: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experimented.path)
    lock = experimented.run("git", "show", f"{experiment(experimented)}:dvc.lock").stdout
    (line, *_) = [n for n, x in enumerate(lock.splitlines()) if "path: models/model.keras" in x]
    md5 = lock.splitlines()[line + 2].split()[1]
    found = printed(md5, monkeypatch, capsys)
    assert "\nexperiment: worse\n" in found
    assert "epochs=1" in found


def experiment(project: Project) -> str:
    """The ref of the experiment "worse"."""
    listed = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
    (found,) = [name for name in listed.splitlines() if name.endswith("/worse")]
    return found


def test_a_run_without_figures_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = registry.begin(tmp_path / "project")
    md5 = registry.commit(folder, 1)
    monkeypatch.chdir(folder)
    lines = printed(md5, monkeypatch, capsys).splitlines()
    assert lines[-1].startswith("figures: none: ")
    assert lines[-2] == "parameters: epochs=6, seed=0, network=convnet"


@pytest.mark.parametrize("argument", ["", "abc", "0123456", "g" * 32, "0" * 33, "HEAD", "../../x"])
def test_what_is_no_md5_is_refused(
    argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Problem, match="is no md5: 8 to 32 hexadecimal digits"):
        printed(argument, monkeypatch, capsys)


def test_a_model_from_elsewhere_ends_in_one_line(experimented: Project) -> None:
    result = experimented.convline("which", "0123456789", ok=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "which: no branch, tag or experiment here has a dvc.lock with a model whose md5 begins "
        "with 0123456789; `git fetch --all --tags` gets what others have pushed\n"
    )
