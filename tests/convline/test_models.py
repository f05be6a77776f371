"""Model files: the same bytes from any process, opened by Keras alone, damage noticed."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inprocess
from convline.problems import Problem
from inprocess import NETWORKS, build

pytestmark = pytest.mark.xdist_group("models")
HERE = Path(__file__).parent
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 1), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def keras() -> None:
    """Keras, with its backend chosen, and a user's networks imported."""
    inprocess.configure()
    for name in NETWORKS:
        build(name)


def write(folder: str, *, predictions: bool) -> None:
    """Train each of `NETWORKS` for one step; save it, and perhaps what it predicts, in `folder`."""
    inprocess.configure()
    from convline import models

    for name in NETWORKS:
        model = build(name)
        model.compile("adam", "categorical_crossentropy", jit_compile=False)
        model.fit(IMAGES, np.eye(3)[[0, 1, 2, 0, 1, 2]], verbose=0)
        models.save(model, Path(folder) / f"{name}.keras", inprocess.MADE_FROM)
        if predictions:
            np.save(Path(folder) / f"{name}.npy", model.predict(IMAGES, verbose=0))


def run(code: str, hash_seed: int = 0) -> str:
    """The output of Python code in a new process."""
    return inprocess.run(code, HERE, hash_seed=hash_seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model files that one process wrote."""
    folder = tmp_path_factory.mktemp("models")
    run(f"import test_models; test_models.write({str(folder)!r}, predictions=True)", hash_seed=1)
    return folder


def test_another_process_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run(f"import test_models; test_models.write({str(tmp_path)!r}, predictions=False)", hash_seed=2)
    first, second = (
        {
            name: hashlib.sha256((place / f"{name}.keras").read_bytes()).hexdigest()
            for name in NETWORKS
        }
        for place in (folder, tmp_path)
    )
    assert first == second
    assert len(set(first.values())) == len(NETWORKS)


def test_keras_alone_opens_it(folder: Path) -> None:
    code = f"""
import sys, keras, numpy as np
model = keras.models.load_model({str(folder / "with_everything.keras")!r})
images = np.arange(2 * 144, dtype=np.uint8).reshape(2, 12, 12, 1)
print(model.predict(images, verbose=0).sum(axis=1).tolist(), "convline" in sys.modules)
"""
    sums, ours = run(code).splitlines()[-1].rsplit(" ", 1)
    assert json.loads(sums) == pytest.approx([1, 1], abs=1e-5)
    assert ours == "False"


@pytest.mark.parametrize("name", NETWORKS)
def test_it_takes_raw_images_of_any_type(folder: Path, name: str) -> None:
    from convline import models

    model = models.load(folder / f"{name}.keras")
    probabilities = model.predict(IMAGES, verbose=0)
    assert probabilities.shape == (6, 3)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert len(np.unique(probabilities)) > 3
    assert np.array_equal(model.predict(IMAGES.astype(np.float32), verbose=0), probabilities)


@pytest.mark.parametrize("name", NETWORKS)
def test_loading_gives_back_the_same_model(folder: Path, name: str) -> None:
    from convline import models

    assert models.made_from(folder / f"{name}.keras") == inprocess.MADE_FROM
    again = models.load(folder / f"{name}.keras")
    assert np.array_equal(again.predict(IMAGES, verbose=0), np.load(folder / f"{name}.npy"))


def test_saving_changes_nothing_of_the_model(tmp_path: Path) -> None:
    from convline import models

    model = build("subclassed")
    model.compile("adam", "categorical_crossentropy", jit_compile=False)
    before = model.predict(IMAGES, verbose=0)
    models.save(model, tmp_path / "model.keras", inprocess.MADE_FROM)
    assert type(model.optimizer).__name__ == "Adam"
    assert np.array_equal(model.predict(IMAGES, verbose=0), before)


def test_the_shape_of_outputs_depends_on_the_images() -> None:
    import keras

    from convline import models

    for name in ("branches", "subclassed"):
        assert models.output_shape(build(name), (12, 12, 1)) == (None, 3)
    for images in ((12, 10, 1), (12, 12, 3)):  # Keras itself lets the second pass
        with pytest.raises(ValueError, match="takes images of"):
            models.output_shape(build("branches"), images)
    pooled = [keras.Input((None, None, 1)), keras.layers.GlobalMaxPooling2D()]
    assert models.output_shape(keras.Sequential(pooled), (12, 12, 1)) == (None, 1)


def test_a_file_cannot_bring_code(tmp_path: Path) -> None:
    """Keras's safe mode: a Lambda layer would run whatever the file says."""
    import keras

    from convline import models

    path = tmp_path / "model.keras"
    layers = [keras.Input((12, 12, 1)), keras.layers.Lambda(lambda x: x)]
    keras.Sequential(layers).save(path)
    with pytest.raises(Problem, match=r"is not a Keras model: .*`dvc repro train` creates it"):
        models.load(path)


def test_a_layer_that_nobody_registered_is_a_problem(folder: Path, tmp_path: Path) -> None:
    from convline import models

    raw = (folder / "custom_layer.keras").read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        config = archive.read("config.json").replace(b"own>Gain", b"own>Loss")
        config = config.replace(b'"Gain"', b'"Loss"').replace(b"custom_layer", b"nowhere")
    path = tmp_path / "model.keras"
    path.write_bytes(edited(raw, config=config))
    with pytest.raises(
        Problem, match=r"is not a Keras model: Could not locate class 'Loss'\. Make"
    ):
        models.load(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_holds_no_optimizer_and_no_time(folder: Path, name: str) -> None:
    import h5py  # type: ignore[import-untyped]

    with zipfile.ZipFile(folder / f"{name}.keras") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())
        config = json.loads(archive.read("config.json"))
        weights = io.BytesIO(archive.read("model.weights.h5"))
    assert not config.get("compile_config")
    with h5py.File(weights) as content:
        assert "optimizer" not in content
        assert "layers" in content


@pytest.mark.parametrize("full", ["missing", "full"])
def test_a_temporary_folder_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """Keras writes there first: what was at the model's path stays."""
    from convline import models

    def save(self: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    model = inprocess.convnet((12, 12, 1), 3, filters=[2], kernels=[3])
    path = tmp_path / "model.keras"
    path.write_bytes(b"as it was")
    folder = tmp_path / "nowhere" if full == "missing" else tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    if full == "full":
        monkeypatch.setattr(type(model), "save", save)
    reason = "No space left on device" if full == "full" else f"{folder}.*: No such file"
    with pytest.raises(
        Problem,
        match=f"^the temporary folder {folder} cannot be used: {reason}.*; free space there or set "
        "TMPDIR to another$",
    ):
        models.save(model, path, inprocess.MADE_FROM)
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_shared_objects_are_numbered_by_appearance() -> None:
    from convline import models

    config = {
        "a": [{"shared_object_id": 140511}, {"shared_object_id": 99}],
        "b": {"shared_object_id": 140511, "c": 99},
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("config.json", json.dumps(config))
    canonical = models.canonical(archive.getvalue(), inprocess.MADE_FROM)
    with zipfile.ZipFile(io.BytesIO(canonical)) as file:
        assert json.loads(file.read("config.json")) == {
            "a": [{"shared_object_id": 0}, {"shared_object_id": 1}],
            "b": {"shared_object_id": 0, "c": 99},
        }


def edited(archive: bytes, **changes: bytes | None) -> bytes:
    """`archive` with entries replaced, or left out where the change is None."""
    result = io.BytesIO()
    names = {"config": "config.json", "weights": "model.weights.h5"}
    replaced = {names[key]: content for key, content in changes.items()}
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(result, "w") as target,
    ):
        for name in source.namelist():
            content = replaced.get(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return result.getvalue()


def layer() -> bytes:
    """The configuration of what Keras can load, but is no model."""
    import keras

    return json.dumps(keras.saving.serialize_keras_object(keras.layers.Flatten())).encode()


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda archive, n=n: archive[: len(archive) * n // 100] for n in (0, 1, 10, 50, 90, 99)),
        lambda archive: archive[:-1],
        lambda archive: b"junk" * 1000,
        lambda archive: bytes([0]) * len(archive),
        lambda archive: b"PK\5\6" + bytes(18),
        lambda archive: edited(archive, config=None),
        lambda archive: edited(archive, weights=None),
        lambda archive: edited(archive, config=b"{"),
        lambda archive: edited(archive, config=b"{}"),
        lambda archive: edited(archive, config=b"[1]"),
        lambda archive: edited(archive, config=b"null"),
        lambda archive: edited(archive, config=b"\xff\xfe"),
        lambda archive: edited(archive, config=layer()),
        lambda archive: edited(archive, weights=b"junk"),
        lambda archive: edited(archive, weights=b"\x89HDF\r\n\x1a\n" + bytes(500)),
        lambda archive: archive[:2000] + bytes([archive[2000] ^ 1]) + archive[2001:],
    ],
)
def test_damage_is_a_problem(
    folder: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder, damage: Any
) -> None:
    from convline import models

    path = tmp_path / "model.keras"
    path.write_bytes(damage((folder / "plain.keras").read_bytes()))
    with pytest.raises(Problem, match=r"model\.keras is not a Keras model: .*`dvc repro train`"):
        models.load(path)
    assert not recwarn


def bomb(folder: Path, path: Path, kind: str) -> None:
    """Write a small file that Keras would unpack to 512 MiB."""
    import h5py

    name, size = "model.weights.h5", 2**29
    with zipfile.ZipFile(folder / "plain.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    if kind in ("shape", "chunk"):
        weights = io.BytesIO(content[name])
        with h5py.File(weights, "r+") as file:
            variables = file["layers/dense/vars"]
            kernel = variables["0"][:]
            del variables["0"]
            columns = kernel.shape[1]
            chunks = (size // 4 // columns if kind == "chunk" else 2**16, columns)
            dataset = variables.create_dataset(
                "0", kernel.shape, "f4", maxshape=(None, None), chunks=chunks, compression="gzip"
            )
            dataset[:] = kernel
            if kind == "shape":
                dataset.resize(size // 4 // columns, axis=0)
        content[name] = weights.getvalue()
    if kind == "layers":
        config = json.loads(content["config.json"])
        for entry in config["config"]["layers"]:
            if entry["class_name"] == "Dense":
                entry["config"]["units"] = size // 100
        content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry, data in content.items():
            if (entry, kind) in ((name, "weights"), ("config.json", "config")):
                with target.open(entry, "w", force_zip64=True) as file:
                    for _ in range(size >> 20):
                        file.write(b" " * 2**20)
            else:
                target.writestr(entry, data)


@pytest.mark.parametrize("kind", ["weights", "config", "shape", "chunk", "layers"])
def test_a_small_file_takes_little_memory(folder: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.keras"
    bomb(folder, path, kind)
    assert path.stat().st_size < 4e6
    code = f"""
import resource, sys
import inprocess
inprocess.configure()
from convline import models, problems
from pathlib import Path
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = most()
try:
    models.load(Path({str(path)!r}))
except problems.Problem as problem:
    print(problem)
print((most() - before) * (1 if sys.platform == "darwin" else 1024))
"""
    line, memory = run(code).splitlines()
    assert re.search(r"model\.keras is not a Keras model: .*; `dvc repro train` creates it$", line)
    assert int(memory) < 200e6


def test_what_is_no_file_is_a_problem(tmp_path: Path) -> None:
    from convline import models

    with pytest.raises(Problem, match=r"model\.keras is missing; `dvc repro train` creates it"):
        models.load(tmp_path / "model.keras")
    with pytest.raises(Problem, match="is not a Keras model: "):
        models.load(tmp_path)
