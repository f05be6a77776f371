"""Write into dvc.yaml the code and the parameters that each stage depends on.

Of each stage whose command is `python src/NAME.py`, these are the files that NAME.py imports,
directly or not, and the fields of its class `Params`. Everything else in dvc.yaml stays.
"""

import argparse
import ast
import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dvc.utils.serialize import modify_yaml

from convline import pipeline
from convline.paths import PIPELINE

SRC = Path("src")
NETWORK = SRC / "convline/network.py"  # imports the network that params.yaml names
IN_USE = "src/networks/${network}.py"


def main() -> None:
    """Read the code of each stage and rewrite dvc.yaml in DVC's own style."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with modify_yaml(PIPELINE) as content:
        for entry in content.get("stages", {}).values():
            stage = entry.get("do", entry)  # of a stage with foreach
            command = stage.get("cmd")
            script = re.match(
                r"python (src/(\w+)\.py)\b", command if isinstance(command, str) else ""
            )
            if script and Path(script[1]).exists():
                stage["deps"] = deps(stage.get("deps", []), Path(script[1]))
                if fields := fields_of(Path(script[1])):
                    stage["params"] = with_fields(stage.get("params", []), fields)


def deps(listed: Iterable[str], script: Path) -> list[str]:
    """`listed`, with the Python files of src/ replaced by those that `script` depends on."""
    files = closure({script})
    code = {str(file) for file in files}
    if NETWORK in files:
        networks = {SRC / f"networks/{name}.py" for name in pipeline.networks()}
        code |= {str(file) for file in closure(networks) - networks} | {IN_USE}
    others = [dep for dep in listed if not (dep.startswith("src/") and dep.endswith(".py"))]
    return [*others, str(script), *sorted(code - {str(script)})]


def fields_of(script: Path) -> set[str]:
    """The fields of the class `Params` that `script` defines; none where it defines none.

    Only such a script is imported: another may do its work on import.
    """
    statements = ast.parse(script.read_text()).body
    if not any(isinstance(one, ast.ClassDef) and one.name == "Params" for one in statements):
        return set()
    return set(importlib.import_module(script.stem).Params.model_fields)


def with_fields(listed: Iterable[Any], fields: set[str]) -> list[Any]:
    """The params `listed`, with `fields` among its keys, in their order."""
    listed = list(listed)
    keys = {key for key in listed if isinstance(key, str)} | fields
    return [*sorted(keys), *(entry for entry in listed if not isinstance(entry, str))]


def closure(files: set[Path]) -> set[Path]:
    """`files` and every file of src/ that they import, directly or not."""
    found: set[Path] = set()
    waiting = set(files)
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= imported(file) - found
    return found


def imported(file: Path) -> set[Path]:
    """The files of src/ that running `file` imports, wherever in it the import stands.

    That includes the __init__.py of each package.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    modules = {SRC / name.replace(".", "/") for name in names}
    packages = {parent for module in modules for parent in module.parents}
    candidates = {module.with_suffix(".py") for module in modules}
    candidates |= {folder / "__init__.py" for folder in modules | packages}
    return {candidate for candidate in candidates if candidate.exists()}
