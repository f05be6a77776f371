"""The stage export: two files that answer as Keras does, and what it refuses."""

import hashlib
import json
import sys
import zipfile
from typing import Any

import numpy as np
import pytest
import yaml

import export
import inprocess
from conftest import CLASSES, Project
from convline import exported, problems
from convline.data import arrays
from convline.paths import EXPORT, LITERT, MODEL, ONNX, PROCESSED

FILES = (ONNX, LITERT)


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    """Keras, with its backend chosen."""
    inprocess.configure()
    import keras

    return keras


def in_process(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run the stage, which has to end as bad input does, and return its one line."""
    before = project.hashes()
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sys, "argv", ["src/export.py"])
    with pytest.raises(SystemExit) as ended:
        problems.run(export.main)
    assert ended.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith("export: ")
    assert line.count("\n") == 1
    assert project.hashes() == before
    return line.strip()


def put(model: Any, project: Project) -> None:
    """Put `model` in the place of the project's."""
    from convline import models

    models.save(model, project.path / MODEL, inprocess.MADE_FROM)


def figures(project: Project) -> dict[str, Any]:
    """What metrics/export.json has."""
    return dict(json.loads((project.path / EXPORT).read_text()))


def test_both_files_answer_as_the_model_does(
    reproduced: Project, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """On images that no stage compared."""
    from convline import models
    from convline.export import litert

    monkeypatch.chdir(reproduced.path)
    test = arrays.load_split(PROCESSED, "test")
    images = test.images[np.arange(90)]
    expected = models.load(MODEL).predict(images, verbose=0)
    assert exported.read(ONNX)(images) == pytest.approx(expected, abs=1e-5)
    assert litert.classifier(LITERT.read_bytes(), 1)(images) == pytest.approx(expected, abs=1e-5)
    assert {str(warning.message)[:5] for warning in recwarn} <= {"    W"}  # of TensorFlow


def test_both_files_say_what_they_are(reproduced: Project) -> None:
    lock = yaml.safe_load((reproduced.path / "dvc.lock").read_text())
    (model,) = [o for o in lock["stages"]["train"]["outs"] if o["path"] == str(MODEL)]
    about = exported.read(reproduced.path / ONNX).about
    assert about.model_dump(mode="json") == {
        "dataset": "tiny",
        "classes": CLASSES,
        "shape": [12, 12, 1],
        "fit": "pad",
        "background": "black",
        "ink": 0.0,
        "quantization": "none",
        "model_md5": model["md5"],
    }
    with zipfile.ZipFile(reproduced.path / LITERT) as archive:
        assert archive.read("convline.json").decode() == about.model_dump_json()


def test_the_figures(reproduced: Project) -> None:
    found = figures(reproduced)
    made_from = found.pop("made_from")
    trained = json.loads((reproduced.path / "metrics/train.json").read_text())
    assert found.pop("accuracy") == trained["accuracy"]
    assert found.pop("dataset") == "tiny"
    assert found.pop("quantization") == "none"
    assert found.pop("images") == 60
    for name, path in (("onnx", ONNX), ("litert", LITERT)):
        of_file = found.pop(name)
        assert of_file.pop("bytes") == (reproduced.path / path).stat().st_size
        assert of_file.pop("largest_difference") < 1e-5
        assert of_file == {"changed_predictions": 0, "accuracy": trained["accuracy"]}
    assert found == {}

    assert [record["stage"] for record in made_from] == ["train", "export"]
    assert made_from[1]["outs"] == {
        str(path): hashlib.md5((reproduced.path / path).read_bytes()).hexdigest()  # noqa: S324
        for path in FILES
    }


@pytest.mark.parametrize("quantization", ["float16", "int8"])
def test_quantization_applies_to_both_files(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quantization: str,
) -> None:
    project.set_params(quantization=quantization, quantization_loss=0.1)
    project.set_dataset("tiny", ink=0.714)
    before = figures(project)
    monkeypatch.chdir(project.path)
    export.main()
    after = figures(project)
    about = exported.read(ONNX).about
    assert after["quantization"] == about.quantization == quantization
    assert about.ink == 0.714
    shown = capsys.readouterr().out
    for name, path in (("onnx", ONNX), ("litert", LITERT)):
        assert after[name]["largest_difference"] > 1e-5
        assert after[name]["accuracy"] >= before["accuracy"] - 0.1
        assert f"export: tiny: {path}: {after[name]['bytes']:,} bytes, validation " in shown


def test_another_backend_makes_no_difference(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow converts what JAX has trained."""
    before = (project.path / ONNX).read_bytes()
    project.set_params(backend="jax")
    monkeypatch.chdir(project.path)
    export.main()
    assert ONNX.read_bytes() == before


def test_pictures_are_fitted_as_their_dataset_says(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.path / "datasets.yaml"
    entries = yaml.safe_load(path.read_text())
    entries["tiny"] = {
        "shape": [12, 12, 1],
        "classes": CLASSES,
        "fit": "crop",
        "background": "white",
        "files": {"pictures.csv": {"bytes": 1, "checksum": f"md5:{'0' * 32}"}},
    }
    path.write_text(yaml.safe_dump(entries))
    monkeypatch.chdir(project.path)
    export.main()
    about = exported.read(ONNX).about
    assert (about.fit, about.background, about.ink) == ("crop", "white", 0)


@pytest.mark.parametrize("format", ["litert", "onnx_file"])
def test_a_changed_prediction_stops_the_stage(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    format: str,
) -> None:
    """With a conversion that mixes up the classes."""
    from convline.export import litert, onnx_file

    target: Any = {"litert": litert, "onnx_file": onnx_file}[format]
    right = target.classifier

    def wrong(content: bytes, threads: int) -> Any:
        return lambda images: np.roll(right(content, threads)(images), 1, axis=1)

    monkeypatch.setattr(target, "classifier", wrong)
    line = in_process(project, monkeypatch, capsys)
    assert " would predict 60 of 60 validation images differently than Keras, " in line

    project.set_params(quantization="float16")
    line = in_process(project, monkeypatch, capsys)
    assert ": quantization float16 would lower the validation accuracy from " in line
    assert line.endswith("; quantization_loss in params.yaml allows 0.50%")


def test_a_layer_that_cannot_be_converted(
    project: Project,
    keras: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Reshape((12, 12)),
            keras.layers.LSTM(2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    put(model, project)
    assert in_process(project, monkeypatch, capsys) == (
        "export: models/model.keras cannot be converted to models/model.tflite: "
        "'tf.TensorListReserve' op requires element_shape to be static during TF Lite "
        "transformation pass"
    )


def test_models_that_do_not_fit(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(inprocess.convnet((12, 12, 1), 4, filters=[2], kernels=[3]), project)
    assert "models/model.keras does not turn images" in in_process(project, monkeypatch, capsys)
    diverged = inprocess.convnet((12, 12, 1), 3, filters=[2], kernels=[3])
    diverged.set_weights([np.full_like(weight, np.nan) for weight in diverged.get_weights()])
    put(diverged, project)
    assert "numbers that are not probabilities" in in_process(project, monkeypatch, capsys)
    (project.path / MODEL).unlink()
    assert "models/model.keras is missing" in in_process(project, monkeypatch, capsys)


def test_images_of_another_dataset(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set_dataset("tiny", classes=[*CLASSES, "dog"])
    assert in_process(project, monkeypatch, capsys) == (
        "export: data/processed/ has images of (12, 12, 1) in 3 classes, tiny has (12, 12, 1) in "
        "4; `dvc repro preprocess` regenerates it"
    )
