"""Runs a stage's script and writes down what it read: python tests/recorder.py STAGE REPORT."""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock


class Recorded:
    """Stands for `values` and notes in `names` which of its attributes are read."""

    def __init__(self, values: object, names: set[str]) -> None:
        self._values = values
        self._names = names

    def __getattr__(self, name: str) -> Any:
        self._names.add(name)
        return getattr(self._values, name)


def _has_file(module: object) -> bool:
    return bool(getattr(module, "__file__", None))


def main() -> None:
    """Run the stage, record parameters, files under data, models and metrics, and imports."""
    stage, report = sys.argv[1:]
    script = Path("src", f"{stage}.py").resolve()
    sys.path[0] = str(script.parent)
    sys.argv = [str(script)]
    from convline import params, provenance
    from convline.data import datasets

    record: dict[str, set[str]] = {
        name: set()
        for name in ("params", "section", "datasets", "read", "written", "imported", "code")
    }
    make_record = provenance.record
    load_params, load_section, load_dataset = params.load, params.load_section, datasets.load

    root = Path.cwd().resolve()

    hashing = False

    def hashed(stage: str) -> Any:
        """What a stage depends on, read to hash it and for nothing else."""
        nonlocal hashing
        hashing = True
        try:
            return make_record(stage)
        finally:
            hashing = False

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not hashing and isinstance(arguments[0], str | os.PathLike):
            path = Path(arguments[0]).resolve()
            if path.is_relative_to(root) and path.name != ".gitignore":  # which DVC reads
                relative = path.relative_to(root)
                if relative.parts and relative.parts[0] in ("data", "models", "metrics"):
                    writing = arguments[2] & (os.O_WRONLY | os.O_RDWR)
                    name = str(relative).removesuffix(".part")
                    record["written" if writing else "read"].add(name)

    sys.addaudithook(note)
    with (
        mock.patch.object(params, "load", lambda *a: Recorded(load_params(*a), record["params"])),
        mock.patch.object(provenance, "record", hashed),
        mock.patch.object(
            params, "load_section", lambda *a: Recorded(load_section(*a), record["section"])
        ),
        mock.patch.object(
            datasets, "load", lambda *a: Recorded(load_dataset(*a), record["datasets"])
        ),
    ):
        runpy.run_path(str(script), run_name="__main__")
    record["imported"] = {name for name in sys.modules if "." not in name}
    files = {Path(str(module.__file__)) for module in sys.modules.values() if _has_file(module)}
    code = {str(f.relative_to(root)) for f in files if f.is_relative_to(root / "src")}
    # Less what is imported above
    record["code"] = code - {"src/convline/data/datasets.py", "src/convline/provenance.py"}
    record["read"] -= record["written"]
    Path(report).write_text(json.dumps({key: sorted(names) for key, names in record.items()}))


if __name__ == "__main__":
    main()
