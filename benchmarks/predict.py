"""Measure `convline predict` beside Keras: from process start to the last answer, and memory.

Takes models/model.keras and models/model.onnx of the project, of MNIST or another dataset of its
kind. Writes benchmarks/predict.md.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from side_by_side import REPOSITORY, Child, report, run, table

sys.path.append(str(REPOSITORY / "src"))
from convline.paths import MODEL, ONNX

# The shortest script that does the same: open each file, classify them all
KERAS = """
import sys
from pathlib import Path
import keras, numpy as np
from PIL import Image
paths = sorted(Path(sys.argv[2]).iterdir())
images = np.stack([np.asarray(Image.open(path))[..., None] for path in paths])
probabilities = keras.models.load_model(sys.argv[1]).predict(images, verbose=0)
for path, label in zip(paths, probabilities.argmax(axis=1)):
    print(path, label)
"""
IMPORTS = {"`convline predict`": "import convline.commands.predict", "Keras": "import keras"}


def main() -> None:
    """Draw the pictures, classify one and many with each, report the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000, help="default 10000")
    parser.add_argument("--repeats", type=int, default=5, help="of each, default 5")
    options = parser.parse_args()
    if min(options.pictures, options.repeats) < 1:
        parser.error("--pictures and --repeats should be 1 or more")
    few, many = "1 picture", f"{options.pictures:,} pictures"
    children: dict[tuple[str, str], list[Child]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            few: draw(Path(folder, "few"), 1),
            many: draw(Path(folder, "many"), options.pictures),
        }
        for _ in range(options.repeats):
            for way, code in IMPORTS.items():
                environment = {"PYTHONPATH": str(REPOSITORY / "src")}
                children[way, "import"].append(run(["-c", code], REPOSITORY, environment))
            for name, pictures in sets.items():
                ours = ["src", "predict", "--model", str(ONNX), str(pictures)]
                children["`convline predict`", name].append(run(ours, REPOSITORY, {}))
                keras = ["-c", KERAS, str(MODEL), str(pictures)]
                children["Keras", name].append(run(keras, REPOSITORY, {}))

    columns = ("import", few, many)

    def rows(measure: str, scale: float, digits: int) -> list[list[str]]:
        return [
            [
                way,
                *(
                    f"{median(getattr(c, measure) for c in children[way, name]) / scale:.{digits}f}"
                    for name in columns
                ),
            ]
            for way in IMPORTS
        ]

    report(
        "predict",
        "`convline predict` beside Keras",
        f"Medians of {options.repeats} runs in turn, process start included, on PNGs of "
        "28 x 28 pixels. Keras: a script that opens the files, loads the model and predicts.",
        "Seconds:",
        table(["", *columns], rows("seconds", 1, 2)),
        "Peak memory, MB:",
        table(["", *columns], rows("peak_bytes", 1e6, 0)),
    )


def draw(folder: Path, count: int) -> Path:
    """Draw `count` images of MNIST's form: noise in the middle, black around it."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        image = np.pad(random.integers(0, 256, (20, 20), np.uint8), 4)
        Image.fromarray(image).save(folder / f"{number:06}.png")
    return folder


if __name__ == "__main__":
    main()
