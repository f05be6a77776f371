"""Predict: every way to give pictures, what is printed, and what is said of bad ones."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exports
from conftest import REPOSITORY, Project, tiny_images
from convline.commands import predict
from convline.data import idx
from convline.data.datasets import TEST_IMAGES
from convline.problems import Problem
from drawings import draw_pets

HEADER = "file_name,class,probability"
Run = Callable[..., tuple[list[str], list[str], int]]


def png(image: np.ndarray) -> bytes:
    """The bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


PICTURES = [png(image) for image in tiny_images(3, 5)[0]]  # of an ant, a bee and a cat


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: the model in its place, and three pictures."""
    monkeypatch.chdir(tmp_path)
    exports.write(tmp_path / "models/model.onnx")
    for name, content in zip(("a.png", "b.png", "c.png"), PICTURES):
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The lines on stdout and stderr and the exit code of the command, within this process."""

    def run(*arguments: str) -> tuple[list[str], list[str], int]:
        monkeypatch.setattr(sys, "argv", ["convline predict", *arguments])
        with open(here / "out", "w") as out, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", out)
            try:
                predict.main()
                code = 0
            except SystemExit as error:
                code = int(str(error.code))
        lines = (here / "out").read_bytes().decode().split("\n")[:-1]
        return lines, capfd.readouterr().err.splitlines(), code

    return run


def names(lines: list[str]) -> list[str]:
    """The first column of CSV."""
    return [row[0] for row in csv.reader(io.StringIO("\n".join(lines[1:]), newline=""))]


def test_pictures_are_classified_in_the_order_given(run: Run) -> None:
    lines, errors, code = run("c.png", "a.png", "b.png")
    assert (errors, code) == ([], 0)
    assert lines[0] == HEADER
    assert [line[:9] for line in lines[1:]] == ["c.png,cat", "a.png,ant", "b.png,bee"]
    assert all(0.9 < float(line.rpartition(",")[2]) <= 1 for line in lines[1:])


def test_the_next_classes_follow(run: Run) -> None:
    lines, _, _ = run("a.png", "--top", "3")
    assert lines[0] == f"{HEADER},class_2,probability_2,class_3,probability_3"
    row = lines[1].split(",")
    assert {row[1], row[3], row[5]} == {"ant", "bee", "cat"}
    assert float(row[2]) > float(row[4]) >= float(row[6])


@pytest.mark.parametrize("top", ["0", "-1", "4"])
def test_there_are_not_more_classes_than_the_model_has(run: Run, top: str) -> None:
    with pytest.raises(Problem, match=f"--top is {top}; the model has 3 classes"):
        run("a.png", "--top", top)


def test_json_has_every_class(run: Run) -> None:
    lines, _, _ = run("--json", "b.png", "c.png")
    answers = [json.loads(line) for line in lines]
    assert [answer["class"] for answer in answers] == ["bee", "cat"]
    assert list(answers[0]["probabilities"]) == ["ant", "bee", "cat"]
    assert answers[0]["probabilities"]["bee"] == answers[0]["probability"]
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tgz"])
def test_folders_and_archives_are_looked_through(run: Run, here: Path, kind: str) -> None:
    """Hidden files, tables and texts are left out; a damaged picture and an empty one are not."""
    files = {
        "b/2.png": PICTURES[1],
        "a/1.png": PICTURES[0],
        ".hidden/3.png": PICTURES[2],
        "labels.csv": b"file_name,label\n",
        "empty": b"",
        "b/empty.png": b"",
        "b/damaged.png": PICTURES[2][:-60],
        "b/text.JPG": b"text",
    }
    source = here / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
    elif kind == "folder":
        for name, content in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content)
    else:
        with tarfile.open(source, "w:gz" if kind == "tgz" else "w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    lines, errors, code = run(f"set.{kind}", "a.png")
    assert names(lines) == [f"set.{kind}/a/1.png", f"set.{kind}/b/2.png", "a.png"]
    of_files = (
        f"predict: set.{kind}/b/{name} " for name in ("damaged.png", "empty.png", "text.JPG")
    )
    assert [error.startswith(start) for error, start in zip(errors, of_files, strict=True)] == [
        True
    ] * 3
    assert code == 1


def test_a_bad_file_costs_its_line_and_the_rest_goes_on(run: Run, here: Path) -> None:
    (here / "text.txt").write_text("text")
    (here / "damaged.zip").write_bytes(b"PK\x03\x04 and no more")
    (here / "void").mkdir()
    os.mkfifo(here / "pipe")
    bad = ["missing.png", "text.txt", "damaged.zip", "void", "pipe", "", "no\nline.png"]
    lines, errors, code = run("a.png", *bad, "b.png")
    assert names(lines) == ["a.png", "b.png"]
    assert code == 1
    assert sorted(errors) == [
        "predict: damaged.zip is a damaged zip: File is not a zip file",
        "predict: missing.png cannot be read: No such file or directory",
        "predict: no line.png cannot be read: No such file or directory",
        "predict: pipe is not a regular file",
        "predict: text.txt is not a picture in a supported format, or its header is damaged",
        "predict: the source is empty; give a folder, a zip or a tar",
        "predict: void holds no pictures",
    ]


def test_a_folder_without_pictures_is_a_problem(run: Run, here: Path) -> None:
    (here / "texts").mkdir()
    (here / "texts/read.me").write_text("text")
    with pytest.raises(Problem, match="no pictures"):
        run("texts")


def test_any_name_stays_one_field(run: Run, here: Path) -> None:
    odd = ["a, b.png", 'the "rex".png', "line\nend.png", "carriage\rreturn.png", "é 🐈.png"]
    for name in odd:
        (here / name).write_bytes(PICTURES[0])
    lines, errors, code = run(*odd)
    assert (errors, code) == ([], 0)
    assert names(lines) == odd


@pytest.mark.parametrize("start", ["=1+1", "+1", "@SUM(1)", "\t=1"])
def test_no_spreadsheet_calculates_a_name(run: Run, here: Path, start: str) -> None:
    """It is written as another name of the same file."""
    (here / f"{start}.png").write_bytes(PICTURES[0])
    lines, _, _ = run(f"{start}.png")
    assert names(lines) == [f"./{start}.png"]
    assert (here / names(lines)[0]).exists()


def test_a_name_that_is_not_unicode_is_escaped(run: Run, here: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    (here / name).write_bytes(PICTURES[0])
    assert names(run(name)[0]) == ["\\udcff.png"]
    assert json.loads(run("--json", name)[0][0])["file_name"] == name


def test_another_model_is_asked(run: Run, here: Path) -> None:
    exports.write(here / "other.onnx", shift=1)
    assert run("--model", "other.onnx", "a.png")[0][1].startswith("a.png,bee,")
    with pytest.raises(Problem, match=r"none\.onnx is missing$"):
        run("--model", "none.onnx", "a.png")


def test_batches_change_no_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run("a.png", "b.png", "c.png")
    monkeypatch.setattr(predict, "BATCH_BYTES", 1)
    assert run("a.png", "b.png", "c.png") == expected


def started(folder: Path, *arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    """The command in a process of its own, which `python -X importtime` makes tell its imports."""
    return subprocess.Popen(
        [sys.executable, "-X", "importtime", str(REPOSITORY / "src"), "predict", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=stdin,
    )


def test_standard_input_is_a_picture_and_nothing_heavy_is_imported(here: Path) -> None:
    (here / "dvc.yaml").write_text("stages: {}\n")
    process = started(here, "-", stdin=subprocess.PIPE)
    out, errors = process.communicate(PICTURES[2])
    assert process.returncode == 0, errors.decode()
    assert out.decode().splitlines()[1].startswith("-,cat,")
    imported = {line.rpartition("|")[2].strip() for line in errors.decode().splitlines()}
    assert "onnxruntime" in imported
    heavy = {
        "aiohttp",
        "dvc",
        "fsspec",
        "keras",
        "onnx",
        "pandas",
        "scipy",
        "sklearn",
        "tensorflow",
    }
    assert not imported & heavy


def test_a_reader_that_stops_ends_it_quietly(here: Path) -> None:
    (here / "dvc.yaml").write_text("stages: {}\n")
    with started(here, *["a.png"] * 3000) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == f"{HEADER}\n".encode()
        process.stdout.close()
        lines = process.stderr.read().decode().splitlines()
    assert [line for line in lines if not line.startswith("import time:")] == []
    assert process.returncode == 0


def test_ctrl_c_ends_it_with_130(here: Path) -> None:
    (here / "dvc.yaml").write_text("stages: {}\n")
    with started(here, "-", stdin=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == f"{HEADER}\n".encode()  # then it awaits the picture
        # Python notices a Ctrl-C just before the read only when the read ends: press it again
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.stderr.read().decode().splitlines()[-1] == "predict: interrupted"
    assert process.returncode == 130


def answered(project: Project, *arguments: str) -> dict[str, tuple[str, float]]:
    """The class and probability of each file name."""
    out = project.convline("predict", *arguments).stdout
    rows = csv.DictReader(io.StringIO(out, newline=""))
    return {row["file_name"]: (row["class"], float(row["probability"])) for row in rows}


def evaluated(project: Project, key: str) -> dict[str, tuple[str, float]]:
    """The same from metrics/predictions.csv, by the column `key`."""
    with open(project.path / "metrics/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row[key]: (row["predicted"], float(row["confidence"])) for row in rows}


@pytest.mark.slow
def test_answers_about_the_test_images_are_those_of_evaluate(project: Project) -> None:
    """Of an IDX dataset, as PNGs: from the workspace, and from a tag, through the remote."""
    (images,) = idx.blocks(project.mirror / TEST_IMAGES, 3)
    (project.path / "pngs").mkdir()
    for number, image in enumerate(images):
        (project.path / f"pngs/{number}.png").write_bytes(png(image))
    expected = evaluated(project, "index")
    found = answered(project, "pngs")
    assert {Path(name).stem: answer for name, answer in found.items()} == expected

    project.run("git", "tag", "v1.0.0")
    project.add_remote(str(project.path.parent / "store"))
    project.dvc("push")
    for path in ("models/model.onnx", ".dvc/cache"):
        project.run("rm", "-r", path)
    assert answered(project, "--rev", "v1.0.0", "pngs") == found
    result = project.convline("predict", "--rev", "v2.0.0", "pngs", ok=False)
    assert result.returncode == 1
    assert "there is no branch, tag, commit or experiment 'v2.0.0'" in result.stderr
    result = project.convline("predict", "pngs", ok=False)
    missing = "predict: models/model.onnx is missing; `dvc repro export` creates it\n"
    assert (result.returncode, result.stderr) == (1, missing)


@pytest.mark.slow
def test_answers_about_pictures_are_those_of_evaluate(clone: Project) -> None:
    clone.set_params(epochs=1, validation_size=0.2)
    draw_pets(clone.path.parent / "pets")
    clone.convline("import", "pets", "../pets")
    clone.set_params(dataset="pets")
    clone.dvc("repro")
    found = answered(clone, "../pets")
    for name, answer in evaluated(clone, "file_name").items():
        assert found[f"../pets/{name}"] == answer
