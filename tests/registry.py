"""A small project with a model registry: git, DVC's cache, GTO's tags, and no training."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import yaml

import exports

DVC_YAML = """
stages:
  train:
    cmd: "true"
    outs: [models/model.keras]
  export:
    cmd: "true"
    deps: [models/model.keras]
    outs: [models/model.onnx]
artifacts:
  classifier:
    path: models/model.keras
    type: model
"""


def gto(folder: Path, *arguments: str) -> None:
    """Run GTO."""
    _run(folder, str(Path(sys.executable).with_name("gto")), *arguments)


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    return _run(folder, "git", *arguments)


def _run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def begin(folder: Path) -> Path:
    """An empty project in `folder`, which is returned."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").touch()
    (folder / ".gitignore").write_text("/models\n/log\n/.dvc/cache\n/.dvc/tmp\n")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.com")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    return folder


def commit(folder: Path, shift: int, damaged: bool = False, **changes: object) -> str:
    """Commit a run whose model has this shift: the md5 of its models/model.keras.

    `damaged`: DVC's cache holds something else under the name of the exported model. `changes` are
    of what the export says of itself.
    """
    keras = f"model {shift}".encode()
    outs = {
        "models/model.keras": keras,
        "models/model.onnx": exports.content(shift, **{"model_md5": md5(keras)} | changes),
    }
    for path, content in outs.items():
        name = md5(content)
        stored = folder / ".dvc/cache/files/md5" / name[:2] / name[2:]
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(b"damaged" if damaged else content)
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        target.with_suffix(".part").write_bytes(content)
        target.with_suffix(".part").replace(target)
    entries = {path: [{"path": path, **entry(content)}] for path, content in outs.items()}
    train, export = entries.values()
    params = {"dataset": "tiny", "epochs": 5 + shift, "seed": 0, "network": "convnet"}
    lock = {
        "schema": "2.0",
        "stages": {
            "preprocess": {"cmd": "true", "params": {"params.yaml": {"dataset": "tiny"}}},
            "train": {"cmd": "true", "params": {"params.yaml": params}, "outs": train},
            "export": {"cmd": "true", "deps": train, "outs": export},
        },
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    git(folder, "add", "dvc.lock")
    git(folder, "commit", "--quiet", "--message", f"Run {shift}")
    return md5(keras)


def entry(content: bytes) -> dict[str, object]:
    """What dvc.lock has of a file."""
    return {"hash": "md5", "md5": md5(content), "size": len(content)}


def md5(content: bytes) -> str:
    """Its md5."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def events(folder: Path, name: str) -> list[dict[str, object]]:
    """The events of that name in the server's log."""
    lines = map(json.loads, (folder / "log").read_text().splitlines())
    return [line for line in lines if line["event"] == name]
