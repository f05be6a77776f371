"""dvc.yaml says exactly what each of Convline's stages imports, reads and writes."""

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import evaluate
import export
import fetch
import preprocess
import train
from conftest import REPOSITORY, Project
from convline import pipeline
from convline.commands.gate import Gate
from convline.search.space import Search
from networks import convnet, resnet

RECORDER = REPOSITORY / "tests/recorder.py"
PARAMS = Path("params.yaml").read_text()
DEFINITIONS = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
STAGES = {name: DEFINITIONS[name] for name in pipeline.STAGES}
SCHEMAS: dict[str, type[BaseModel]] = {
    "fetch": fetch.Params,
    "preprocess": preprocess.Params,
    "train": train.Params,
    "evaluate": evaluate.Params,
    "export": export.Params,
    "convnet": convnet.Params,
    "resnet": resnet.Params,
    "gate": Gate,
    "search": Search,
}
WHOLE = ("preprocess", "export")  # depend on all of a dataset's entry
COMPUTING = ("train", "evaluate", "export")  # with Keras

Records = dict[str, dict[str, list[str]]]


def deps(stage: str) -> set[str]:
    """The dependencies of a stage that dvc.yaml lists."""
    return {dep.replace("${network}", "convnet") for dep in STAGES[stage]["deps"]}


def keys(stage: str, file: str) -> set[str]:
    """The keys of params.yaml, or of a dataset's entry in another file, that dvc.yaml lists."""
    listed: list[str] = []
    for param in STAGES[stage]["params"]:
        if isinstance(param, dict):
            listed += [key.removeprefix("${dataset}.") for key in param.get(file, [])]
        elif file == "params.yaml":
            listed.append(param)
    return set(listed)


def outputs(stage: str) -> dict[str, bool]:
    """The outputs of a stage, and whether DVC caches each."""
    found = {}
    for kind in ("outs", "metrics", "plots"):
        for out in STAGES[stage].get(kind, []):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            found[path] = options.get("cache", True)
    return found


def owner(file: str, outputs: Iterable[str]) -> str:
    """The folder among `outputs` that `file` is in; `file` itself where there is none."""
    return next((out for out in outputs if file.startswith(f"{out}/")), file)


ALL_OUTPUTS = {path: cached for stage in STAGES for path, cached in outputs(stage).items()}


@pytest.fixture(scope="module")
def records(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """What each stage's script read and wrote. Train runs where there are no test arrays."""
    folder = tmp_path_factory.mktemp("recorded")
    project = fresh.copy(folder / "project")
    processed, hidden = project.path / "data/processed", folder / "hidden"
    hidden.mkdir()
    found = {}
    for stage in STAGES:
        if stage == "train":
            for file in processed.glob("test_*"):
                file.rename(hidden / file.name)
        project.run("python", str(RECORDER), stage, str(folder / stage))
        found[stage] = json.loads((folder / stage).read_text())
        for file in hidden.iterdir():
            file.rename(processed / file.name)
    return found


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_keys_that_the_stage_reads(records: Records, stage: str) -> None:
    ours = {key for schema in SCHEMAS.values() for key in schema.model_fields}
    assert keys(stage, "params.yaml") & ours == set(records[stage]["params"])


@pytest.mark.xdist_group("records")
def test_a_network_reads_its_section(records: Records) -> None:
    assert "${network}" in STAGES["train"]["params"]
    assert set(records["train"]["section"]) == set(convnet.Params.model_fields)
    for stage in set(STAGES) - {"train"}:
        assert not records[stage]["section"]


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_dataset_keys_are_those_that_the_stage_reads(records: Records, stage: str) -> None:
    """Some keys are there for one kind of dataset: who reads them depends on the whole entry."""
    # Where the bytes come from is no parameter: their checksum decides
    read = set(records[stage]["datasets"]) - {"mirrors"}
    assert keys(stage, "datasets.yaml") == ({"${dataset}"} if stage in WHOLE else read)


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_files_that_the_stage_reads(records: Records, stage: str) -> None:
    read = {owner(file, ALL_OUTPUTS) for file in records[stage]["read"]}
    assert deps(stage) & set(ALL_OUTPUTS) == read


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_deps_have_all_code_that_the_stage_runs(records: Records, stage: str) -> None:
    """`make deps` looks at import statements; this looks at what was imported."""
    assert set(records[stage]["code"]) <= deps(stage)


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_outs_are_the_files_that_the_stage_writes(records: Records, stage: str) -> None:
    declared = outputs(stage)
    assert set(declared) == {owner(file, declared) for file in records[stage]["written"]}


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_keras_is_imported_where_it_computes(records: Records, stage: str) -> None:
    imported = {"keras", "tensorflow"} & set(records[stage]["imported"])
    assert imported == ({"keras", "tensorflow"} if stage in COMPUTING else set())


@pytest.mark.xdist_group("records")
@pytest.mark.parametrize("stage", STAGES)
def test_nothing_slow_is_imported_for_nothing(records: Records, stage: str) -> None:
    """Keras and DVCLive would import both, wherever they are installed."""
    imported = {"pandas", "sklearn"} & set(records[stage]["imported"])
    assert imported == ({"pandas", "sklearn"} if stage == "evaluate" else set())


@pytest.mark.parametrize("stage", STAGES)
def test_commands_hold_no_template(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python src/{stage}.py"


@pytest.mark.parametrize("path", ALL_OUTPUTS)
def test_git_ignores_what_dvc_caches_and_nothing_else(path: str) -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", path], cwd=REPOSITORY, check=False
    ).returncode
    assert ignored == (0 if ALL_OUTPUTS[path] else 1)


def test_gitignores_are_what_dvc_would_write() -> None:
    for path in map(Path, [path for path, cached in ALL_OUTPUTS.items() if cached]):
        assert f"/{path.name}" in (path.parent / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("key", sorted({k for s in SCHEMAS.values() for k in s.model_fields}))
def test_every_parameter_of_convline_has_a_comment(key: str) -> None:
    assert re.search(rf"^ *{key}: .*# \w", PARAMS, re.MULTILINE)


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (key, field)
        for schema in SCHEMAS.values()
        for key, field in schema.model_fields.items()
        if get_origin(field.annotation) is Literal
    ],
)
def test_comments_name_the_values_of_an_enumeration(key: str, field: FieldInfo) -> None:
    allowed = {str(value).lower() for value in get_args(field.annotation)}
    line = re.search(rf"^ *{key}: (\w+) *# (.*)$", PARAMS, re.MULTILINE)
    assert line
    default, comment = line.groups()
    assert allowed <= {default, *re.findall(r"\w+", comment)}
    listed = re.split(r"[;:,]|\bor\b", comment)
    assert {item.strip() for item in listed if re.fullmatch(r"\w+", item.strip())} <= allowed
