"""Parameters: whatever params.yaml holds is taken, or refused in one line that says why."""

import contextlib
import math
import textwrap
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import evaluate
import export
import fetch
import preprocess
import train
from conftest import REPOSITORY, Project
from convline import params
from convline.params import Schema
from convline.problems import Problem
from convline.text import one_line
from networks import convnet, resnet

SCHEMAS: dict[str, type[Schema]] = {
    "fetch": fetch.Params,
    "preprocess": preprocess.Params,
    "train": train.Params,
    "evaluate": evaluate.Params,
    "export": export.Params,
}
STAGES_AND_KEYS = [(stage, key) for stage in SCHEMAS for key in SCHEMAS[stage].model_fields]
SECTIONS: dict[str, type[Schema]] = {"convnet": convnet.Params, "resnet": resnet.Params}
DEFAULTS = yaml.safe_load((REPOSITORY / "params.yaml").read_text())

generated = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**18)
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.floats().map(str)
    | st.integers().map(str)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=10,
)

# Values as they stand in the file: what PyYAML and Python's numbers stumble over
ODD = [
    "0x" + "f" * 5000,
    "9" * 5000,
    "[0x" + "f" * 5000 + "]",
    "[" * 3000,
    "&a [*a]",
    "&a {x: *a}",
    "*unknown",
    "!!timestamp never",
    "!!bool perhaps",
    "!!int ''",
    "!!int x",
    "!!float x",
    "!!set {3, 4}",
    "!!python/name:os.system",
    "{[1]: 2}",
    "2001-99-99",
    "2001-12-14t21:59:43.10-99:99",
    "60:" * 400 + "1.5",
    '"\\ud800"',
    '"\\0"',
    '"a\\nb"',
    "@",
    "5\n---\n6",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project with dvc.yaml, to which each test adds its params.yaml."""
    folder = tmp_path_factory.mktemp("params")
    for name in ("dvc.yaml", "datasets.yaml"):
        (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    with Repo.init(str(folder), no_scm=True):
        return folder


def read(folder: Path, stage: str, content: str | bytes) -> Schema:
    """Read the parameters of `stage`, or of a network, from `content`."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / "params.yaml").write_bytes(raw)
    with contextlib.chdir(folder):
        if stage in SECTIONS:
            return params.load_section(stage, SECTIONS[stage])
        return params.read(SCHEMAS[stage])


def load(folder: Path, stage: str, content: str) -> Schema:
    """Read the parameters of `stage`, and compare the keys with those that DVC knows."""
    (folder / "params.yaml").write_text(content)
    with contextlib.chdir(folder):
        return params.load(stage, SCHEMAS[stage])


def refusal(folder: Path, stage: str, content: str | bytes) -> str:
    """The line with which `content` is refused."""
    with pytest.raises(Problem) as refused:
        read(folder, stage, content)
    line = str(refused.value)
    assert line == one_line(line)
    assert line.startswith("params.yaml")
    assert len(line) < 700
    return line


def written(key: str, value: str, section: str = "") -> str:
    """The default params.yaml, with `value` written at `key`, of `section` or the top, as it is."""
    before = {name: default for name, default in DEFAULTS.items() if name != (section or key)}
    if not section:
        return f"{yaml.safe_dump(before)}{key}: {value}\n"
    others = {name: default for name, default in DEFAULTS[section].items() if name != key}
    inner = textwrap.indent(yaml.safe_dump(others), "  ")
    return f"{yaml.safe_dump(before)}{section}:\n{inner}  {key}: {value}\n"


def stage_of(key: str) -> tuple[str, str]:
    """The stage or network that reads `key`, and its section in params.yaml, if any."""
    if key in DEFAULTS:
        return "train" if key in train.Params.model_fields else "preprocess", ""
    section = next(name for name in SECTIONS if key in SECTIONS[name].model_fields)
    return section, section


def taken_or_refused(folder: Path, stage: str, key: str, content: str) -> None:
    """Load `content`: what comes out is of the key's type, or the key is named."""
    try:
        loaded = read(folder, stage, content)
    except Problem as problem:
        line = str(problem)
        assert line == one_line(line)
        assert line.startswith("params.yaml")
        assert key in line or "no valid YAML" in line
    else:
        value = getattr(loaded, key)
        assert type(value) is type(DEFAULTS.get(stage, DEFAULTS)[key])
        assert not isinstance(value, float) or math.isfinite(value)
        assert type(loaded).model_validate(loaded.model_dump()) == loaded


@pytest.mark.parametrize("stage", SCHEMAS)
def test_the_defaults_are_valid(folder: Path, stage: str) -> None:
    loaded = load(folder, stage, (REPOSITORY / "params.yaml").read_text())
    assert loaded.model_dump() == {key: DEFAULTS[key] for key in SCHEMAS[stage].model_fields}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_defaults_of_a_network_are_valid(folder: Path, section: str) -> None:
    loaded = read(folder, section, (REPOSITORY / "params.yaml").read_text())
    assert loaded.model_dump() == DEFAULTS[section]


@generated
@given(st.sampled_from(STAGES_AND_KEYS), values)
def test_any_value_is_taken_or_refused(
    folder: Path, stage_and_key: tuple[str, str], value: object
) -> None:
    stage, key = stage_and_key
    taken_or_refused(folder, stage, key, yaml.safe_dump(DEFAULTS | {key: value}))


@pytest.mark.parametrize(
    "key", ["epochs", "learning_rate", "filters", "optimizer", "batch_normalization", "dataset"]
)
def test_any_writing_is_taken_or_refused(folder: Path, key: str) -> None:
    stage, section = stage_of(key)
    for value in ODD:
        taken_or_refused(folder, stage, key, written(key, value, section))


@generated
@given(st.binary(max_size=300), st.integers(0, 600))
@example(b"\xff\xfe\xfa", 0)
@example("naïve: 1".encode("latin-1"), 0)
@example(b"\x00", 20)
@example(b"\t", 0)
@example("\u058b".encode(), 0)  # in front of a key: a hint that names it
def test_junk_in_the_file_is_taken_or_refused(folder: Path, junk: bytes, at: int) -> None:
    content = yaml.safe_dump(DEFAULTS).encode()
    for raw in (junk, content[:at] + junk + content[at:]):
        try:
            read(folder, "train", raw)
        except Problem as problem:
            assert str(problem) == one_line(problem)
            assert str(problem).startswith("params.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "should hold one `key: value` a line"),
        (b"5", "should hold one `key: value` a line"),
        (b"- epochs\n", "should hold one `key: value` a line"),
        (b"epochs: [", "is no valid YAML"),
        (b"\x00\x01\x02", "is no valid YAML"),
        (b"\xff\xfe\xfa", "is no valid YAML"),
        ("# naïve\n".encode("latin-1"), "is no valid YAML"),
        (b"epochs: " + b"[" * 3000, "is no valid YAML"),
        (b"epochs: !!bool perhaps", "is no valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(folder: Path, content: bytes, expected: str) -> None:
    assert expected in refusal(folder, "train", content)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "params.yaml").unlink(missing_ok=True)
    with contextlib.chdir(folder), pytest.raises(Problem, match=r"params\.yaml is missing; `git"):
        params.load("fetch", fetch.Params)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("epochs", "", "epochs is empty; it should be a valid integer"),
        ("epochs", "''", "epochs is ''; it should be a valid integer"),
        ("epochs", "abc", "epochs is 'abc'; it should be a valid integer"),
        ("epochs", "2.5", "epochs is 2.5; it should be a valid integer"),
        ("epochs", "true", "epochs is True: a number is expected, not true or false"),
        ("epochs", "[5]", "epochs is [5]; it should be a valid integer"),
        ("epochs", "{a: 5}", "epochs is {'a': 5}; it should be a valid integer"),
        ("epochs", "0", "epochs is 0; it should be greater than or equal to 1"),
        ("epochs", "-3", "epochs is -3; it should be greater than or equal to 1"),
        ("epochs", ".nan", "epochs is nan; it should be a finite number"),
        ("epochs", "1" + "0" * 30, "it should be less than or equal to 100000"),
        ("epochs", "0x" + "f" * 5000, "epochs is too long to print; it should be less"),
        ("learning_rate", "fast", "learning_rate is 'fast'; it should be a valid number"),
        ("learning_rate", "no", "learning_rate is False: a number is expected"),
        ("learning_rate", "0", "learning_rate is 0; it should be greater than 0"),
        ("learning_rate", ".inf", "learning_rate is inf; it should be a finite number"),
        ("learning_rate", "nan", "learning_rate is 'nan'; it should be a finite number"),
        ("learning_rate", "0x" + "f" * 5000, "learning_rate is too long to print; it should"),
        ("dropout", "1", "dropout is 1; it should be less than 1"),
        ("seed", "-1", "seed is -1; it should be greater than or equal to 0"),
        ("seed", str(2**32), f"seed is {2**32}; it should be less than {2**32}"),
        ("threads", "0", "threads is 0; it should be greater than or equal to 1"),
        ("filters", "32", "filters is 32; it should be a valid list"),
        ("filters", "[]", "filters is []: List should have at least 1 item"),
        ("filters", "[32, x, 64]", "filters.1 is 'x'; it should be a valid integer"),
        ("filters", "[32, true, 64]", "filters.1 is True: a number is expected"),
        ("filters", "[32]", "convnet: kernels has 3 numbers and filters 1: each"),
        ("optimizer", "adamm", "optimizer is 'adamm'; it should be 'adam', 'adamw', 'nadam', "),
        ("optimizer", "[adam]", "optimizer is ['adam']; it should be 'adam', "),
        ("downsampling", "", "downsampling is empty; it should be 'pool' or 'stride'"),
        ("batch_normalization", "1", "batch_normalization is 1: true, false or last is expected"),
        (
            "batch_normalization",
            "all",
            "batch_normalization is 'all'; it should be False, True or ",
        ),
        ("bias", "0", "bias is 0; it should be a valid boolean"),
        ("rotation", "190", "rotation is 190; it should be less than or equal to 180"),
        ("zoom", "1", "zoom is 1; it should be less than or equal to 0.9"),
        ("shift", "-1", "shift is -1; it should be greater than or equal to 0"),
        ("distortion", "x", "distortion is 'x'; it should be a valid number"),
        ("label_smoothing", "1", "label_smoothing is 1; it should be less than 1"),
        ("crop", "0.5", "crop is 0.5; it should be a valid integer"),
        ("halve_every", "0", "halve_every is 0; it should be greater than or equal to 1"),
        ("dataset", "5", "dataset is 5; it should be a valid string"),
        ("dataset", "[mnist]", "dataset is ['mnist']; it should be a valid string"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    folder: Path, key: str, value: str, expected: str
) -> None:
    stage, section = stage_of(key)
    assert expected in refusal(folder, stage, written(key, value, section))


def test_every_wrong_value_is_named(folder: Path) -> None:
    line = refusal(folder, "train", yaml.safe_dump(DEFAULTS | {"epochs": 0, "zoom": 2}))
    assert "epochs is 0; " in line
    assert "zoom is 2; " in line


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("learning_rate", "1e-05", 1e-05),  # as `dvc exp run -S learning_rate=1e-5` writes it
        ("learning_rate", "1e-5", 1e-05),
        ("learning_rate", "'0.5'", 0.5),
        ("dropout", "0", 0.0),
        ("epochs", "'7'", 7),
        ("epochs", "10.0", 10),
        ("filters", "['1', 2.0, 3]", [1, 2, 3]),
    ],
)
def test_numbers_are_read_however_they_are_written(
    folder: Path, key: str, value: str, expected: object
) -> None:
    stage, section = stage_of(key)
    assert getattr(read(folder, stage, written(key, value, section)), key) == expected


OURS = sorted({key for _, key in STAGES_AND_KEYS} | {"gate"})


@pytest.mark.parametrize("key", OURS)
def test_a_misspelt_key_is_refused_with_the_right_one(folder: Path, key: str) -> None:
    """It may stand beside the right one, as after `dvc exp run -S +epohcs=3`, or in its place."""
    at = len(key) // 2
    misspelt = key[:at] + ("" if len(key) % 2 else 2 * key[at]) + key[at + 1 :]
    with pytest.raises(Problem) as refused:
        load(folder, "fetch", yaml.safe_dump(DEFAULTS | {misspelt: 1}))
    assert str(refused.value) == (
        f"params.yaml: no stage uses the key {misspelt!r}; did you mean {key}?"
    )
    content = yaml.safe_dump(
        {misspelt if name == key else name: value for name, value in DEFAULTS.items()}
    )
    if key != "gate":
        stage = next(stage for stage, read_key in STAGES_AND_KEYS if read_key == key)
        assert refusal(folder, stage, content) == (
            f"params.yaml: the key {key} is missing; did you misspell it as {misspelt}?"
        )


@pytest.mark.parametrize(
    ("key", "right"),
    [("filters", "filters"), ("conv_filters", "filters"), ("conv_bias", "bias"), ("crop", "crop")],
)
def test_a_key_of_the_network_at_the_top_is_refused(folder: Path, key: str, right: str) -> None:
    """As all of them stood there once."""
    with pytest.raises(Problem, match=rf"'{key}'; did you mean convnet\.{right}\?$"):
        load(folder, "fetch", yaml.safe_dump(DEFAULTS | {key: 1}))


def test_a_misspelt_key_of_a_network_is_refused_with_the_right_one(folder: Path) -> None:
    content = written("filtres", "[1]", "convnet")
    assert "convnet: filtres: " in refusal(folder, "convnet", content)
    assert "; did you mean filters?" in refusal(folder, "convnet", content)


@pytest.mark.parametrize("key", ["zzz", "5", "null", "true", "1.5", "0x" + "f" * 5000, "z" * 5000])
def test_a_key_that_is_not_ours_is_nobody_elses_business(folder: Path, key: str) -> None:
    content = f"{yaml.safe_dump(DEFAULTS)}? {key}\n: 1\n"
    assert load(folder, "train", content)


@pytest.mark.parametrize(("stage", "key"), STAGES_AND_KEYS)
def test_a_missing_key_is_refused(folder: Path, stage: str, key: str) -> None:
    content = yaml.safe_dump({name: DEFAULTS[name] for name in DEFAULTS if name != key})
    assert f"the key {key} is missing" in refusal(folder, stage, content)


@pytest.mark.parametrize("key", ["epochs", "network"])
def test_a_key_that_dvc_would_not_watch_is_refused(tmp_path: Path, key: str) -> None:
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    pipeline["stages"]["train"]["params"].remove(key)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    with (
        Repo.init(str(tmp_path), no_scm=True),
        pytest.raises(
            Problem, match=rf"dvc\.yaml lacks the params {key} of the stage train; `make"
        ),
    ):
        load(tmp_path, "train", yaml.safe_dump(DEFAULTS))


@pytest.mark.parametrize("listed", ["params.yaml:", f"params.yaml: {[*train.Params.model_fields]}"])
def test_keys_may_be_declared_in_any_form(tmp_path: Path, listed: str) -> None:
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    pipeline["stages"]["train"]["params"] = [yaml.safe_load(listed)]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    with Repo.init(str(tmp_path), no_scm=True):
        assert load(tmp_path, "train", yaml.safe_dump(DEFAULTS))


def test_a_pipeline_that_dvc_cannot_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:\n  fetch: {cmd: [}\n")
    with Repo.init(str(tmp_path), no_scm=True), pytest.raises(Problem) as refused:
        load(tmp_path, "fetch", yaml.safe_dump(DEFAULTS))
    assert str(refused.value).startswith("DVC cannot read the pipeline: ")
    assert str(refused.value) == one_line(refused.value)


def test_a_pipeline_without_the_stage_is_named(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:\n  fetch: {cmd: 'true'}\n")
    with (
        Repo.init(str(tmp_path), no_scm=True),
        pytest.raises(Problem, match=r"^dvc\.yaml lacks the stage train; git has it$"),
    ):
        load(tmp_path, "train", yaml.safe_dump(DEFAULTS))


@pytest.fixture
def without_keras(tmp_path: Path) -> dict[str, str]:
    """Variables with which Python refuses to import Keras or a backend."""
    (tmp_path / "sitecustomize.py").write_text(
        """
import importlib.util
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax"):
            return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        raise ImportError(f"{spec.name} was to be imported too early")

sys.meta_path.insert(0, Refuse())
"""
    )
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("stage", "key", "value", "expected"),
    [
        ("fetch", "dataset", None, "dataset is empty; it should be a valid string"),
        ("preprocess", "validation_size", 0, "validation_size is 0; it should be greater"),
        ("train", "learning_rate", "fast", "learning_rate is 'fast'; it should be a valid number"),
        ("train", "epoch", 5, "no stage uses the key 'epoch'; did you mean epochs?"),
        ("train", "convnet", {}, "convnet: crop: Field required"),
        ("train", "network", "convnext", "network is 'convnext', but src/networks/convnext.py is"),
        ("train", "loss", "mse", "loss is 'mse'; it should be 'categorical_crossentropy', "),
        ("evaluate", "threads", 0, "threads is 0; it should be greater"),
    ],
)
def test_a_stage_refuses_before_it_imports_keras(
    clone: Project,
    without_keras: dict[str, str],
    stage: str,
    key: str,
    value: object,
    expected: str,
) -> None:
    path = clone.path / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))
    line = clone.problem(stage, **without_keras)
    assert line.startswith(f"{stage}: params.yaml: {expected}")


@pytest.mark.parametrize("content", [b"epochs: [", b"\xff\xfe\xfa"])
def test_a_stage_refuses_a_broken_file(
    clone: Project, without_keras: dict[str, str], content: bytes
) -> None:
    (clone.path / "params.yaml").write_bytes(content)
    line = clone.problem("train", **without_keras)
    assert line.startswith("train: params.yaml is no valid YAML: ")


def test_dvc_shows_the_refusal(project: Project) -> None:
    refused = "train: params.yaml: epochs is {}; it should be a valid integer"
    shown = project.dvc("exp", "run", "-S", "epochs=abc", ok=False)
    assert refused.format("'abc'") in shown
    assert "Traceback" not in shown
    project.run("git", "checkout", "--quiet", "params.yaml")
    project.set_params(epochs=None)
    shown = project.dvc("repro", ok=False)
    assert refused.format("empty") in shown
    assert "Traceback" not in shown
