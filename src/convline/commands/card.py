"""Print the model card of a run in Markdown: its model, data, recipe, figures and limits.

The run is the last one of a branch, tag, commit or experiment.
"""

import argparse
import json
from typing import Any

from convline.evaluation import results
from convline.evaluation.figures import FIGURES
from convline.markdown import code, table, text
from convline.paths import MODEL


def main() -> None:
    """Read the run, print its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD")
    print(card(results.load(parser.parse_args().revision)))


def card(run: results.Run) -> str:
    """The card of `run` in Markdown. Raises `Problem` where its figures are missing."""
    scores = run.scores
    low, high = scores.accuracy_interval_95
    dataset = text(run.dataset)
    classes = [text(of_class.name) for of_class in scores.per_class]
    weakest = scores.weakest
    height, width, *channels = shape(run)
    colour = channels == [3]
    kind = "colour" if colour else "greyscale"
    held_out = run.params("preprocess")["validation_size"]
    share = f"{100 * held_out:.3g} %" if held_out < 1 else f"{held_out:,}"
    # Only the pictures of a folder have channels in their shape
    chosen = "chosen by content" if channels else "stratified by class"
    outs = run.lock["stages"]["train"]["outs"]
    (md5,) = (out["md5"] for out in outs if out["path"] == str(MODEL))
    network = run.params("train").get("network", "convnet")  # runs older than that key
    recipe = table(
        ("parameter", "value"),
        ((text(key), shown(value)) for key, value in flat(run.params("train")).items()),
    )
    test = table(
        ("figure", "value", "better"),
        (
            (figure.label, figure.text(scores.figures[figure.key]), figure.better)
            for figure in FIGURES
            if figure.key in scores.figures
        ),
    )
    by_class = table(
        ("class", "images", "precision", "recall", "F1"),
        (
            (text(row.name), row.images, row.precision, row.recall, row.f1)
            for row in scores.per_class
        ),
    )
    strengths = sorted({row.strength for row in scores.per_corruption})
    by_corruption = table(
        ("corruption", *(f"strength {strength}" for strength in strengths)),
        (
            (text(kind), *(f"{of_kind[s]:.2%}" if s in of_kind else "" for s in strengths))
            for kind, of_kind in scores.by_corruption.items()
        ),
    )
    on_corrupted = (
        f"\n## Accuracy on corrupted test images\n\n{by_corruption}\n\n"
        "All are measured on the same sample of at most 300 test images.\n"
        if strengths
        else ""
    )
    but_corrupted = " but corrupted copies of them" if strengths else ""
    never = [text(name) for name in scores.never_predicted]
    never_predicted = (
        f"\n- Never predicted for a test image: {', '.join(never)} "
        f"({len(never)} of {len(classes)} classes)."
        if never
        else ""
    )
    remarks = "".join(f"> **Warning**: {text(remark)}.\n\n" for remark in run.remarks)
    return f"""\
# Model card: classifier of {dataset}

{remarks}An image classifier, with the network {code(network)}, for {len(classes)} classes of
{kind} images: {", ".join(classes)}.

- File: `{MODEL}` at revision {code(run.revision)}, md5 {code(md5)}
- Input: raw images `(n, {height}, {width}, {3 if colour else 1})` with values from 0 to 255
- Output: the probability of each class, `(n, {len(classes)})`
- Use: `keras.models.load_model("{MODEL}").predict(images)`
- Reproduce: `dvc repro` at this revision makes the same bytes, on one kind of machine

## Data

The dataset is {dataset}, identified by the checksums in `dvc.lock`. Of its training images,
{share}, {chosen}, were held out to choose the epoch whose weights are kept; the
network was trained on the others. No choice depends on the {scores.images:,} test images.

## Recipe

{recipe}

## Figures on the test images

{test}

The 95 % Wilson interval of the accuracy is {low:.2%} to {high:.2%}.

{by_class}
{on_corrupted}
## Limits

- It assigns one of its {len(classes)} classes to every image, also to one that shows none of them.
- It was trained on images like those of {dataset}: {kind}, {height} x {width} pixels, the
  object placed, lit and scaled as there. It was not tested on any others{but_corrupted}.
- Its recall is lowest for class {text(weakest.name)}: {weakest.recall:.2%}.{never_predicted}
- The interval covers the sampling of test images only. Another seed gives another model, whose
  accuracy can differ by more: compare runs with `convline compare`.
- Confidence is close to a probability if the calibration error is small, and only for images like
  the test images.
"""


def shape(run: results.Run) -> list[int]:
    """The shape of the images of `run`'s dataset: height, width and, of pictures, channels.

    Runs from before Convline read pictures depend on the key of the shape alone.
    """
    params = run.params("preprocess", "datasets.yaml")
    if run.dataset in params:
        return list(params[run.dataset]["shape"])
    return list(params[f"{run.dataset}.shape"])


def flat(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters, with the keys of a section as "section.key"."""
    rows: dict[str, Any] = {}
    for key, value in params.items():
        rows |= (
            {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        )
    return rows


def shown(value: Any) -> str:
    """The value of a parameter, as params.yaml writes it."""
    return code(value if isinstance(value, str) else json.dumps(value, default=str))
