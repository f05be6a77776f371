"""Print which commits a model is from, with its data, parameters and figures.

It is named by the md5 of models/model.keras, model.onnx or model.tflite, or by the first digits of
it: `md5sum` prints it, and so does a server at /model. All branches, tags and experiments are
searched. Exit code 1 where none has the model.
"""

import argparse
import json
import re
import subprocess
from typing import Any

from convline import lineage
from convline.commands.card import flat
from convline.evaluation import results
from convline.evaluation.figures import BY_KEY
from convline.lineage import Origin
from convline.params import read_yaml
from convline.paths import LOCK, PROJECT
from convline.problems import Problem
from convline.text import few, one_line, shortened

DEFAULTS = PROJECT / "recipes/tutorial.yaml"
FEWEST = 8  # digits
ALWAYS = ("network", "epochs", "seed")  # parameters that are shown though they have their defaults


def main() -> None:
    """Search the history, print what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("md5")
    prefix = parser.parse_args().md5.lower()
    if not re.fullmatch(f"[0-9a-f]{{{FEWEST},32}}", prefix):
        raise Problem(f"{shortened(prefix)} is no md5: {FEWEST} to 32 hexadecimal digits")
    found = lineage.origins(prefix)
    if not found:
        raise Problem(
            f"no branch, tag or experiment here has a {LOCK} with a model whose md5 begins with "
            f"{prefix}; `git fetch --all --tags` gets what others have pushed"
        )
    print("\n\n".join(described(origin) for origin in found))


def described(origin: Origin) -> str:
    """What is known of a model's origin, a fact a line."""
    lines = [f"{origin.path}  {origin.md5}", *commits(origin.commits)]
    for kind, names in origin.names.items():
        lines.append(f"{kind}: {few(names, one_line)}")
    lines += [f"{key}: {value}" for key, value in parameters(origin.lock).items()]
    return "\n".join([*lines, f"figures: {figures(origin.revision)}"])


def commits(shas: list[str]) -> list[str]:
    """A line for each commit: its id, date and subject."""
    if not shas:
        return []
    command = ["git", "log", "--no-walk", "--format=commit: %h %cs %s", *shas[:10], "--"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [one_line(line) for line in result.stdout.splitlines()]


def parameters(lock: dict[str, Any]) -> dict[str, str]:
    """The dataset, and the parameters of training that are not the tutorial's."""
    stages = lock["stages"]
    trained = flat(stages.get("train", {}).get("params", {}).get("params.yaml", {}))
    defaults = flat(read_yaml(DEFAULTS)) if DEFAULTS.exists() else {}
    data = stages.get("preprocess", {}).get("params", {}).get("params.yaml", {})
    chosen = {
        key: value
        for key, value in trained.items()
        if key in ALWAYS or (key != "dataset" and value != defaults.get(key))
    }
    rows = {"dataset": one_line(data.get("dataset", "unknown"))}
    rows["parameters"] = ", ".join(f"{key}={plain(value)}" for key, value in chosen.items())
    return rows


def figures(revision: str) -> str:
    """The figures of a revision's run on the test images, or why there are none."""
    try:
        run = results.load(revision)
        values = run.scores.figures
    except Problem as problem:
        return f"none: {one_line(problem)}"
    labelled = ((BY_KEY[key], value) for key, value in values.items())
    return "; ".join(f"{figure.label}: {figure.text(value)}" for figure, value in labelled)


def plain(value: Any) -> str:
    """The value of a parameter as `-S key=value` takes it."""
    return one_line(value if isinstance(value, str) else json.dumps(value, default=str))
