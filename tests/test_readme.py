"""What the README shows is so. Its commands are run by test_first_hour."""

import re

import pytest
import yaml

import run
from conftest import REPOSITORY, Project

README = (REPOSITORY / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
# Other tests run these; this one is itself part of `make test`
ELSEWHERE = {
    "make run",
    "make tutorial",
    "make fast",
    "make accurate",
    "make test",
    "make lock",
    "make install GPU=1",
    "python benchmarks/recipes.py",
    "python benchmarks/cost.py",
    "python benchmarks/startup.py --repeats 3",
    "python benchmarks/growth.py",
    "python benchmarks/floor.py --rounds 5",
}


def test_the_commands_are_found() -> None:
    assert set(COMMANDS) > ELSEWHERE
    assert "dvc repro" in COMMANDS


def test_the_python_code_runs(reproduced: Project) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    given = "import numpy\nimages = numpy.zeros((2, 12, 12, 1), numpy.uint8)\n"
    result = reproduced.run("python", "-c", f"{given}{code}print(probabilities.shape)")
    assert result.stdout.splitlines()[-1] == "(2, 3)"


def test_the_result_is_that_of_the_committed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert run.result().strip() in README


def test_the_parameters_are_those_of_params_yaml() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", README, re.MULTILINE))
    shown = {key: yaml.safe_load(value) for key, value in rows.items()}
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    gate = params.pop("gate")
    assert shown == params | {f"gate.{key}": value for key, value in gate.items()}


def test_the_picture_is_the_pipeline(clone: Project) -> None:
    assert clone.run("dvc", "dag", "--md").stdout.strip() in README


def test_the_named_files_are_there() -> None:
    table = README.split("## Where things are")[1].split("###")[0]
    for names in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`(.*?)`", names):
            assert (REPOSITORY / name).exists(), name
    for link in re.findall(r"\]\((?!http)(.*?)\)", README):
        assert (REPOSITORY / link).exists(), link


@pytest.mark.parametrize(
    ("name", "shown"), [("recipes", 2), ("cost", 2), ("startup", 2), ("growth", 2), ("floor", 1)]
)
def test_the_figures_are_those_of_the_benchmarks(name: str, shown: int) -> None:
    """The first tables of each, which `shown` counts, and the command that they are from."""
    report = (REPOSITORY / f"benchmarks/{name}.md").read_text()
    assert re.findall(r"^From `(.*?)`", report, re.MULTILINE)[0] in COMMANDS
    tables = re.findall(r"^\|.*?(?=\n\n)", report, re.DOTALL | re.MULTILINE)
    assert len(tables) >= shown
    for table in tables[:shown]:
        assert table in README
