"""Where a model is from: what dvc.lock, now or in any commit, says of its outputs."""

from typing import Any

from dvc.utils.serialize import parse_yaml

from convline.paths import LOCK
from convline.problems import Problem
from convline.text import one_line


def parsed(lock: str, source: object = LOCK) -> dict[str, Any]:
    """The stages in the text of a dvc.lock. Raises `Problem` where it is none."""
    try:
        # By DVC's parser: PyYAML takes 1e-05 for a string
        return dict(parse_yaml(lock, str(source))["stages"])
    except Exception as error:  # whatever damaged YAML leads to
        raise Problem(f"{source} is no {LOCK}: {one_line(error)}") from error


def outputs(lock: str) -> dict[str, str]:
    """The md5 of each output in the text of a dvc.lock, by path."""
    return {
        out["path"]: out["md5"]
        for stage in parsed(lock).values()
        for out in stage.get("outs", [])
        if "md5" in out
    }
