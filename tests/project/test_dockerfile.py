"""The Dockerfile of the server: its rules, and that what it copies is enough to serve."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import exports
from conftest import REPOSITORY
from served import command, picture

TEXT = (REPOSITORY / "Dockerfile").read_text()
JOINED = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
LINES = [tuple(line.split(maxsplit=1)) for line in JOINED.splitlines() if line.strip()]
COPIED = [argument.split() for name, argument in LINES if name == "COPY"]


def arguments(name: str) -> list[str]:
    """What follows each instruction of that name."""
    return [argument for instruction, argument in LINES if instruction == name]


def test_its_base_has_a_version() -> None:
    (base,) = arguments("FROM")
    name, _, tag = base.partition(":")
    assert name == "python"
    assert re.fullmatch(r"3\.\d+-slim-[a-z]+", tag)


def test_it_installs_what_was_locked_and_leaves_no_cache() -> None:
    (install,) = arguments("RUN")
    for option in ("--require-hashes", "--no-cache-dir", "--requirement requirements-serve.txt"):
        assert option in install


def test_it_does_not_run_as_root() -> None:
    order = [name for name, _ in LINES]
    (user,) = arguments("USER")
    assert all(int(number) > 1000 for number in user.split(":"))
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "RUN" not in order[order.index("USER") :]


def test_its_programs_are_run_without_a_shell() -> None:
    (start,) = arguments("ENTRYPOINT")
    assert json.loads(start)[:3] == ["python", "src", "serve"]
    (check,) = arguments("HEALTHCHECK")
    assert json.loads(check.removeprefix("CMD "))[0] == "python"
    assert "ADD" not in [name for name, _ in LINES]


def test_the_context_has_what_it_copies() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for *sources, _ in COPIED:
        for source in sources:
            assert f"!{source}" in ignored
            assert (REPOSITORY / source).exists() or source == "models/model.onnx"


def test_what_it_copies_is_enough_to_serve(tmp_path: Path) -> None:
    for *sources, target in COPIED:
        for source in sources:
            if (REPOSITORY / source).is_dir():
                unwanted = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / source, tmp_path / target, ignore=unwanted)
            elif source != "models/model.onnx":
                shutil.copy(REPOSITORY / source, tmp_path / target)
    exports.write(tmp_path / "models/model.onnx")
    with command(tmp_path, source=tmp_path / "src") as server:
        _, answer = server.predict(("a", picture(1)))
        assert answer["predictions"][0]["class"] == "bee"


IMPORTED = """
import sys
sys.path.insert(0, sys.argv[1])
import convline.commands.serve, convline.commands.which, gto.api
print(*sys.modules)
"""


def test_the_lock_has_all_that_the_server_imports() -> None:
    """And nothing that trains."""
    code = [sys.executable, "-c", IMPORTED, str(REPOSITORY / "src")]
    modules = set(subprocess.run(code, capture_output=True, text=True, check=True).stdout.split())
    assert not modules & {"tensorflow", "keras", "jax", "pandas", "sklearn", "matplotlib"}
    owners = packages_distributions()
    tops = {name.partition(".")[0] for name in modules}
    needed = {normal(owners[top][0]) for top in tops if top in owners}
    lock = (REPOSITORY / "requirements-serve.txt").read_text()
    locked = {normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    assert needed - locked <= {"sniffio"}  # for which anyio looks, and does without


def normal(name: str) -> str:
    """The name of a package as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()
