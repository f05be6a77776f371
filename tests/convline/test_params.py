"""Parameters: whatever params.yaml holds is taken, or refused in one line that says why."""

import contextlib
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import evaluate
import fetch
import preprocess
from conftest import REPOSITORY, Project
from convline import params
from convline.params import Schema
from convline.recipe import Recipe
from convline.stage import Problem, one_line

SCHEMAS: dict[str, type[Schema]] = {
    "fetch": fetch.Params,
    "preprocess": preprocess.Params,
    "train": Recipe,
    "evaluate": evaluate.Params,
}
STAGES_AND_KEYS = [(stage, key) for stage in SCHEMAS for key in SCHEMAS[stage].model_fields]
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
    """A folder with dvc.yaml, to which each test adds its params.yaml."""
    folder = tmp_path_factory.mktemp("params")
    (folder / "dvc.yaml").write_bytes((REPOSITORY / "dvc.yaml").read_bytes())
    return folder


def load(folder: Path, stage: str, content: str | bytes) -> Schema:
    """Load the parameters of `stage` from `content`."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / "params.yaml").write_bytes(raw)
    with contextlib.chdir(folder):
        return params.load(stage, SCHEMAS[stage])


def refusal(folder: Path, stage: str, content: str | bytes) -> str:
    """The line with which `content` is refused."""
    with pytest.raises(Problem) as refused:
        load(folder, stage, content)
    line = str(refused.value)
    assert line == one_line(line)
    assert line.startswith("params.yaml")
    assert len(line) < 700
    return line


def written(key: str, value: str) -> str:
    """The default params.yaml, with `value` written at `key` as it is."""
    others = {name: default for name, default in DEFAULTS.items() if name != key}
    return f"{yaml.safe_dump(others)}{key}: {value}\n"


def taken_or_refused(folder: Path, stage: str, key: str, content: str) -> None:
    """Load `content`: what comes out is of the key's type, or the key is named."""
    try:
        loaded = load(folder, stage, content)
    except Problem as problem:
        line = str(problem)
        assert line == one_line(line)
        assert line.startswith("params.yaml")
        assert key in line or "no valid YAML" in line
    else:
        value = getattr(loaded, key)
        assert type(value) is type(DEFAULTS[key])
        assert not isinstance(value, float) or math.isfinite(value)
        assert type(loaded).model_validate(loaded.model_dump()) == loaded


@pytest.mark.parametrize("stage", SCHEMAS)
def test_the_defaults_are_valid(folder: Path, stage: str) -> None:
    loaded = load(folder, stage, (REPOSITORY / "params.yaml").read_bytes())
    assert loaded.model_dump() == {key: DEFAULTS[key] for key in SCHEMAS[stage].model_fields}


@generated
@given(st.sampled_from(STAGES_AND_KEYS), values)
def test_any_value_is_taken_or_refused(
    folder: Path, stage_and_key: tuple[str, str], value: object
) -> None:
    stage, key = stage_and_key
    taken_or_refused(folder, stage, key, yaml.safe_dump(DEFAULTS | {key: value}))


@pytest.mark.parametrize(
    "key",
    ["epochs", "learning_rate", "conv_filters", "optimizer", "batch_normalization", "dataset"],
)
def test_any_writing_is_taken_or_refused(folder: Path, key: str) -> None:
    for value in ODD:
        taken_or_refused(folder, "train", key, written(key, value))


@generated
@given(st.binary(max_size=300), st.integers(0, 600))
@example(b"\xff\xfe\xfa", 0)
@example("naïve: 1".encode("latin-1"), 0)
@example(b"\x00", 20)
@example(b"\t", 0)
def test_junk_in_the_file_is_taken_or_refused(folder: Path, junk: bytes, at: int) -> None:
    content = yaml.safe_dump(DEFAULTS).encode()
    for raw in (junk, content[:at] + junk + content[at:]):
        try:
            load(folder, "train", raw)
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
        ("conv_filters", "32", "conv_filters is 32; it should be a valid list"),
        ("conv_filters", "[]", "conv_filters is []: List should have at least 1 item"),
        ("conv_filters", "[32, x, 64]", "conv_filters.1 is 'x'; it should be a valid integer"),
        ("conv_filters", "[32, true, 64]", "conv_filters.1 is True: a number is expected"),
        ("conv_filters", "[32]", "yaml: conv_kernels has 3 numbers and conv_filters 1: each"),
        ("optimizer", "adamm", "optimizer is 'adamm'; it should be 'adam', 'adamw', 'nadam', "),
        ("optimizer", "[adam]", "optimizer is ['adam']; it should be 'adam', "),
        ("downsampling", "", "downsampling is empty; it should be 'pool' or 'stride'"),
        ("batch_normalization", "1", "batch_normalization is 1: true, false or last is expected"),
        (
            "batch_normalization",
            "all",
            "batch_normalization is 'all'; it should be False, True or ",
        ),
        ("conv_bias", "0", "conv_bias is 0; it should be a valid boolean"),
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
    assert expected in refusal(folder, "train", written(key, value))


def test_every_wrong_value_is_named(folder: Path) -> None:
    line = refusal(folder, "train", yaml.safe_dump(DEFAULTS | {"epochs": 0, "dropout": 2}))
    assert "epochs is 0; " in line
    assert "dropout is 2; " in line


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("learning_rate", "1e-05", 1e-05),  # as `dvc exp run -S learning_rate=1e-5` writes it
        ("learning_rate", "1e-5", 1e-05),
        ("learning_rate", "'0.5'", 0.5),
        ("dropout", "0", 0.0),
        ("epochs", "'7'", 7),
        ("epochs", "10.0", 10),
        ("conv_filters", "['1', 2.0, 3]", [1, 2, 3]),
    ],
)
def test_numbers_are_read_however_they_are_written(
    folder: Path, key: str, value: str, expected: object
) -> None:
    assert getattr(load(folder, "train", written(key, value)), key) == expected


@generated
@given(st.sampled_from(sorted(DEFAULTS)), st.integers(0, 30), st.sampled_from(["drop", "double"]))
def test_a_misspelt_key_is_refused_with_the_right_one(
    folder: Path, key: str, at: int, slip: str
) -> None:
    at %= len(key)
    misspelt = key[:at] + (2 * key[at] if slip == "double" else "") + key[at + 1 :]
    content = yaml.safe_dump(
        {misspelt if name == key else name: value for name, value in DEFAULTS.items()}
    )
    assert refusal(folder, "fetch", content) == (
        f"params.yaml: no stage reads the key {misspelt!r}; did you mean {key}?"
    )


@pytest.mark.parametrize("key", ["zzz", "5", "null", "true", "1.5", "0x" + "f" * 5000, "z" * 5000])
def test_an_unlike_key_is_refused_with_all_the_right_ones(folder: Path, key: str) -> None:
    content = f"{yaml.safe_dump(DEFAULTS)}? {key}\n: 1\n"
    assert f"; the keys are {', '.join(sorted(DEFAULTS))}" in refusal(folder, "train", content)


@pytest.mark.parametrize(("stage", "key"), STAGES_AND_KEYS)
def test_a_missing_key_is_refused(folder: Path, stage: str, key: str) -> None:
    content = yaml.safe_dump({name: DEFAULTS[name] for name in DEFAULTS if name != key})
    assert f"the key {key} is missing" in refusal(folder, stage, content)


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_schema_that_dvc_yaml_does_not_list_is_refused(tmp_path: Path, change: str) -> None:
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    listed = pipeline["stages"]["train"]["params"]
    listed.append("validation_size") if change == "added" else listed.remove("epochs")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(DEFAULTS))
    with contextlib.chdir(tmp_path), pytest.raises(Problem, match=r"dvc\.yaml lists .* train"):
        params.load("train", Recipe)


@pytest.fixture
def without_keras(tmp_path: Path) -> dict[str, str]:
    """Variables with which Python refuses to import Keras or a backend."""
    (tmp_path / "sitecustomize.py").write_text(
        """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax"):
            raise ImportError(f"{name} was to be imported too early")

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
        ("train", "epoch", 5, "no stage reads the key 'epoch'; did you mean epochs?"),
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
