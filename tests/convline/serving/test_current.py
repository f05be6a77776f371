"""Which model is served, and how it is replaced: by a file, and by the registry."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import exports
import registry
from conftest import CLASSES
from convline.problems import Problem
from convline.serving.current import Current, File, Revision, Served, Stage
from served import Running, command, images, picture

pytestmark = pytest.mark.xdist_group("current")


class Heard(list[Served | Problem]):
    """What a `Current` reports."""

    def __call__(self, news: Served | Problem) -> None:
        """Note it."""
        self.append(news)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def best(served: Served) -> int:
    """The class of a picture of the first band."""
    return int(served(images(0)).argmax())


def test_a_file_is_replaced(tmp_path: Path, heard: Heard) -> None:
    path = exports.write(tmp_path / "model.onnx")
    current = Current(File(path), heard)
    old = current.model
    current.refresh()
    assert current.model is old
    exports.write(path, 1)
    current.refresh()
    assert best(old) == 0
    assert best(current.model) == 1
    assert heard == [old, current.model]


def test_a_file_that_goes_and_comes_back(tmp_path: Path, heard: Heard) -> None:
    """As a stage does, which removes its outputs before it writes them."""
    path = exports.write(tmp_path / "model.onnx")
    current = Current(File(path), heard)
    path.unlink()
    current.refresh()
    assert best(current.model) == 0
    exports.write(path, 1)
    current.refresh()
    assert best(current.model) == 1
    assert not [news for news in heard if isinstance(news, Problem)]


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without_metadata(path: Path) -> None:
    model = onnx.load_from_string(exports.content(1))
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())


def other_metadata(**changes: object) -> Callable[[Path], None]:
    """Write a model that says something else of itself than it is."""

    def write(path: Path) -> None:
        says = exports.about().model_dump() | changes
        model = onnx.load_from_string(exports.content(1))
        onnx.helper.set_model_props(model, {"convline": json.dumps(says)})
        path.write_bytes(model.SerializeToString())

    return write


def not_finite(path: Path) -> None:
    model = onnx.load_from_string(exports.content(1))
    (weights,) = model.graph.initializer
    broken = np.full(onnx.numpy_helper.to_array(weights).shape, np.nan, np.float32)
    weights.CopyFrom(onnx.numpy_helper.from_array(broken, "weights"))
    path.write_bytes(model.SerializeToString())


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is not an exported model"),
    "text": (lambda path: path.write_text("no model"), "is not an exported model"),
    "half": (lambda path: path.write_bytes(exports.content(1)[:500]), "is not an exported model"),
    "folder": (replaced_by_folder, "cannot be read: Is a directory"),
    "plain": (without_metadata, "was not exported by Convline"),
    "classes": (other_metadata(classes=[*CLASSES, "dog"]), "probabilities of the 4 classes"),
    "shape": (other_metadata(shape=[5, 5, 1]), "does not take images of the shape"),
    "huge": (other_metadata(shape=[10**9, 10**9, 3]), "shape.0"),
    "colour": (other_metadata(background="nocolour"), "background"),
    "md5": (other_metadata(model_md5="x"), "model_md5"),
    "not finite": (not_finite, "does not return the probabilities"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_an_unfit_file_is_refused_and_the_old_model_stays(
    tmp_path: Path, heard: Heard, kind: str
) -> None:
    path = exports.write(tmp_path / "model.onnx")
    current = Current(File(path), heard)
    spoil, reason = UNFIT[kind]
    spoil(path)
    current.refresh()
    current.refresh()
    assert best(current.model) == 0
    _, problem = heard  # once
    assert isinstance(problem, Problem)
    assert reason in str(problem)
    shutil.rmtree(path, ignore_errors=True)
    exports.write(path, 2)
    current.refresh()
    assert best(current.model) == 2


@pytest.mark.parametrize("kind", UNFIT)
def test_a_server_does_not_begin_with_an_unfit_file(
    tmp_path: Path, heard: Heard, kind: str
) -> None:
    path = exports.write(tmp_path / "model.onnx")
    UNFIT[kind][0](path)
    with pytest.raises(Problem):
        Current(File(path), heard)


def test_many_images_are_answered_in_batches(tmp_path: Path) -> None:
    model = File(exports.write(tmp_path / "model.onnx")).read()
    bands = np.arange(5000) % 3
    answers = model(images(0, 1, 2)[bands])
    assert answers.argmax(axis=1).tolist() == bands.tolist()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs whose models disagree, registered; the third's export is damaged."""
    folder = registry.begin(tmp_path_factory.mktemp("registry") / "project")
    for shift in range(3):
        registry.commit(folder, shift, damaged=shift == 2)
        registry.gto(folder, "register", "classifier", "--version", f"v{shift}.0.0")
    return folder


def assign(project: Path, version: str) -> None:
    """Put a version into production; again, if it has been there."""
    arguments = ("--version", version, "--stage", "prod", "--force")
    registry.gto(project, "assign", "classifier", *arguments)


def test_a_revision_is_served(project: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    current = Current(Revision("classifier@v1.0.0"), heard)
    assert best(current.model) == 1
    assert current.model.named["revision"] == "classifier@v1.0.0"
    assert current.model.version == "v1.0.0"


@pytest.mark.parametrize(
    ("revision", "reason"),
    [
        ("nothing", "there is no branch, tag, commit or experiment 'nothing'"),
        ("", "there is no branch, tag, commit or experiment ''"),
        ("main~3", "main~3 has no dvc.lock"),
        ("classifier@v2.0.0", "is not an exported model|is damaged"),
    ],
)
def test_a_revision_that_cannot_be_served(
    project: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch, revision: str, reason: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(Problem, match=reason):
        Current(Revision(revision), heard)


def test_an_export_of_another_model_is_refused(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = registry.begin(tmp_path / "project")
    registry.commit(folder, 0, model_md5="1" * 32)
    monkeypatch.chdir(folder)
    with pytest.raises(Problem, match=r"was exported from another models/model\.keras"):
        Current(Revision("main"), heard)


def test_a_stage_without_a_version(
    project: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(Problem, match="no version of classifier is in the stage staging; `gto as"):
        Current(Stage("staging"), heard)


def test_the_registry_decides_under_load(project: Path) -> None:
    """Assigned, rolled back, and a damaged version: no answer is lost, wrong or mixed."""
    assign(project, "v0.0.0")
    md5s = {registry.md5(f"model {shift}".encode()): shift for shift in range(3)}
    answers: list[tuple[int, str | None, int]] = []
    failures: list[object] = []
    over = threading.Event()

    def ask(server: Running, band: int) -> None:
        while not over.is_set():
            try:
                status, answer = server.predict(*[("x.png", picture(band))] * 2)
                classes = {CLASSES.index(p["class"]) for p in answer["predictions"]}
                shift = md5s[answer["model"]["md5"]]
                if (status, classes) != (200, {(band + shift) % 3}):
                    failures.append(answer)
                answers.append((time.monotonic_ns(), answer["model"]["revision"], shift))
            except Exception as error:
                failures.append(error)
                return

    def wait_for(revision: str) -> None:
        end = time.monotonic() + 30
        while not answers or answers[-1][1] != f"classifier@{revision}":
            assert time.monotonic() < end, answers[-1:]
            assert not failures
            time.sleep(0.05)

    with command(project, "--stage", "prod") as server:
        asking = [threading.Thread(target=ask, args=(server, band)) for band in (0, 1, 2)]
        for thread in asking:
            thread.start()
        try:
            wait_for("v0.0.0")
            assign(project, "v1.0.0")
            wait_for("v1.0.0")
            assign(project, "v2.0.0")  # damaged
            end = time.monotonic() + 30
            while not registry.events(project, "model refused"):
                assert time.monotonic() < end
                time.sleep(0.05)
            assign(project, "v0.0.0")  # the way back
            wait_for("v0.0.0")
            assign(project, "v1.0.0")
            wait_for("v1.0.0")
            registry.gto(project, "deprecate", "classifier", "v1.0.0", "prod")  # leaves the stage
            wait_for("v0.0.0")
        finally:
            over.set()
            for thread in asking:
                thread.join()
        metrics = server.get("/metrics")[2].decode()
    assert not failures
    order = [revision for _, revision, _ in sorted(answers)]
    changes = [b for a, b in zip([None, *order], order) if a != b]
    assert "classifier@v2.0.0" not in changes
    assert 'convline_model{md5="' in metrics
    assert "convline_models_refused_total 1.0" in metrics
    (refused,) = registry.events(project, "model refused")
    assert "models/model.onnx" in str(refused["reason"])
    used = [event["revision"] for event in registry.events(project, "model in use")]
    assert used == [f"classifier@v{number}.0.0" for number in (0, 1, 0, 1, 0)]
