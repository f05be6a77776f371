"""Print the model card of a run in Markdown: its model, data, recipe, figures and limits.

The run is that of a branch, a tag, a commit or an experiment.
"""

import argparse
import json
from typing import Any

from convline import runs, stage
from convline.markdown import code, table, text

MODEL = "models/model.keras"


def main() -> None:
    """Read the run, print its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD")
    print(card(runs.load(parser.parse_args().revision)))


def card(run: runs.Run) -> str:
    """The card of `run` in Markdown. Raises `Problem` where its figures are nowhere to be had."""
    scores = run.scores
    low, high = scores.accuracy_interval_95
    dataset = text(run.dataset)
    classes = [text(of_class.name) for of_class in scores.per_class]
    weakest = min(scores.per_class, key=lambda of_class: of_class.recall)
    height, width = run.params("preprocess", "datasets.yaml")[f"{run.dataset}.shape"]
    held_out = run.params("preprocess")["validation_size"]
    (md5,) = (out["md5"] for out in run.lock["stages"]["train"]["outs"] if out["path"] == MODEL)
    recipe = table(
        ("parameter", "value"),
        ((text(key), shown(value)) for key, value in run.params("train").items()),
    )
    test = table(
        ("figure", "value"),
        (
            ("accuracy", f"{scores.accuracy:.2%}"),
            ("its 95 % interval (Wilson)", f"{low:.2%} to {high:.2%}"),
            ("errors", f"{scores.errors:,} of {scores.images:,}"),
            ("negative log-likelihood", scores.negative_log_likelihood),
            ("Brier score, 0 to 2", scores.brier_score),
            ("expected calibration error, 15 bins", scores.expected_calibration_error),
        ),
    )
    by_class = table(
        ("class", "images", "precision", "recall", "F1"),
        (
            (text(row.name), row.images, row.precision, row.recall, row.f1)
            for row in scores.per_class
        ),
    )
    remarks = "".join(f"> **Warning**: {text(remark)}.\n\n" for remark in run.remarks)
    return f"""\
# Model card: classifier of {dataset}

{remarks}A convolutional network that tells apart {len(classes)} classes of greyscale
images: {", ".join(classes)}.

- File: `{MODEL}` at revision {code(run.revision)}, md5 {code(md5)}
- Input: raw images `(n, {height}, {width}, 1)` with values from 0 to 255
- Output: the probability of each class, `(n, {len(classes)})`
- Use: `keras.models.load_model("{MODEL}").predict(images)`
- Reproduce: `dvc repro` at this revision makes the same bytes, on one kind of machine

## Data

The dataset is {dataset}, identified by the checksums in `dvc.lock`. Of its training images,
{held_out:,}, stratified by class, were held out to choose the epoch whose weights are kept; the
network was trained on the others. The {scores.images:,} test images chose nothing.

## Recipe

{recipe}

## Figures on the test images

{test}

{by_class}

## Limits

- It names one of its {len(classes)} classes for every image, also for one that shows none of them.
- It knows images like those of {dataset}: greyscale, {height} x {width} pixels, the object
  placed, lit and scaled as there. Nothing is measured on others.
- It is weakest on class {text(weakest.name)}, of which it finds {weakest.recall:.2%}.
- The interval is that of the sampling of test images. Another seed gives another model, whose
  accuracy can differ by more than rounding: compare runs with `python src/compare.py`.
- A confidence is a probability to the extent that the calibration error is small, and for images
  like the test images only.
"""


def shown(value: Any) -> str:
    """The value of a parameter, as params.yaml writes it."""
    return code(value if isinstance(value, str) else json.dumps(value, default=str))


if __name__ == "__main__":
    stage.run(main)
