"""The benchmarks run, on a dataset that is always at hand, and write their tables."""

import re

import pytest

import exports
import servers
from conftest import STAGES, Project
from fork_server import NEW

MISSING = servers.missing(*servers.WRITABLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("recipes", "--seeds=2", ["bare", "tutorial", "fast", "accurate"]),
        ("choices", "fast --seeds=2 --only=crop", ["as it is", "crop: 0"]),
        (
            "sturdiness",
            "--recipes fast --seeds=2 --images=20",
            ["as they are", "corrupted", "furthest below", "fog"],
        ),
        ("verdicts", "--seeds=2", ["two seeds, both 5 epochs", "1 epoch against 5, the same seed"]),
        pytest.param(
            *("remotes", "--repeats=1"),
            ["fetch", "everything", "push, remote empty", "pull, all there"],
            marks=pytest.mark.skipif(bool(MISSING), reason=MISSING),
        ),
        ("cost", "--repeats=1", [*STAGES, "train : bare"]),
        (
            *("floor", "--rounds=1 --recipes tutorial"),
            ["tutorial", "computing", "validation", "probabilities"],
        ),
        ("growth", "--multiples 1 2", ["stage      | 1 times", "fetch", "train", "evaluate"]),
        (
            *("serve", "--rounds=1 --seconds=0.1"),
            ["onnxruntime", "PNG files", "binary tensor", "JSON tensor"],
        ),
        (
            "formats",
            "--repeats=1",
            ["Keras", "ONNX, onnxruntime, none", "LiteRT, its interpreter, int8"],
        ),
        ("predict", "--repeats=1 --pictures=20", ["`convline predict`", "Keras"]),
        ("ink", "--images=20", ["resized only", "threshold, box, centre", "`convline predict`"]),
        pytest.param(
            *("pictures", "--pictures 100 --repeats=1"),
            ["import", "push, s3", "100 of 48 x 48"],
            marks=pytest.mark.skipif(bool(MISSING), reason=MISSING),
        ),
        ("search", "--seconds=0.1 --workers 1 --rounds=1", ["1 "]),
        (
            *("samplers", "--repeats=1 --trials=2 --images=50 --epochs=1"),
            ["TPE ", "random", "grid", "TPE, pruned by the median"],
        ),
        (
            *("backends", "--recipes fast"),
            ["fast   |          TensorFlow", "fast   | JAX, from its cache"],
        ),
        (
            *("scaling", "--rounds=1"),
            [
                "a step of the tutorial's network, 64 images",
                "an exchange of the gradients of ResNet-50, 102.4 MB",
            ],
        ),
        ("startup", "--repeats=1", ["fetch", "train", "`dvc repro`, nothing to do"]),
    ],
)
def test_a_benchmark_writes_its_table(
    clone: Project, name: str, options: str, rows: list[str]
) -> None:
    clone.set_params(dataset="digits", validation_size=0.125, epochs=1)
    for recipe in (clone.path / "recipes").glob("*.yaml"):
        recipe.write_text(re.sub("^epochs: .*", "epochs: 1", recipe.read_text(), flags=re.M))
    exports.write(clone.path / "models/model.onnx")  # which the server's asks for
    reports = clone.path / "benchmarks"
    for report in reports.glob("*.md"):
        report.unlink()
    if name in ("predict", "ink"):  # which take a model that there is
        clone.dvc("repro")
    if name in ("backends", "scaling"):
        clone.shell |= NEW  # forks are on TensorFlow
    clone.run("python", f"benchmarks/{name}.py", *options.split())
    (report,) = reports.glob("*.md")
    for row in rows:
        assert f"\n| {row} " in report.read_text()
