"""What the README shows is so. Its commands are run by test_first_hour."""

import re

import pytest

from conftest import REPOSITORY, Project
from convline.commands import run

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
    "convline search first",
    "convline serve",
    "convline import shapes ~/pictures/shapes",
    "dvc exp run -S dataset=shapes -S validation_size=0.2",
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


def test_the_picture_is_the_pipeline(clone: Project) -> None:
    assert clone.run("dvc", "dag", "--md").stdout.strip() in README


def test_the_named_files_are_there() -> None:
    table = README.split("## Where things are")[1].split("###")[0]
    for names in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`(.*?)`", names):
            assert (REPOSITORY / name).exists(), name
    for link in re.findall(r"\]\((?!http)(.*?)\)", README):
        assert (REPOSITORY / link).exists(), link


def test_it_begins_with_the_results_of_the_benchmark() -> None:
    """Accuracy with its standard deviation, weights and seconds of training of each recipe."""
    report = (REPOSITORY / "benchmarks/recipes.md").read_text()
    measured = {
        name: [cell.strip() for cell in cells.split("|")]
        for name, cells in re.findall(r"^\| (\w+) +\|(.*%.*)\|$", report, re.MULTILINE)
    }
    costs = dict(re.findall(r"^\| (\w+) +\| +([\d.]+) \| +[\d.]+ \|", report, re.MULTILINE))
    rows = re.findall(r"^\| [\[`].*", README, re.MULTILINE)[:4]
    for name, row in zip(("bare", "tutorial", "fast", "accurate"), rows, strict=True):
        parameters, _, accuracy, deviation, *_ = measured[name]
        assert f" {parameters} |" in row
        assert f" {accuracy} ± {deviation} |" in row
        assert f" {costs[name]} s |" in row
