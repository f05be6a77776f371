"""The Makefile and what `make run` does, through the real make."""

import hashlib
import json
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from conftest import REPOSITORY, Project

slow = pytest.mark.slow


@pytest.fixture
def installed(clone: Project) -> Project:
    """A clone with this environment."""
    clone.install()
    return clone


@pytest.fixture
def offline(installed: Project, tmp_path: Path) -> Project:
    """A clone whose dataset no source has whole: nothing listens at its mirror."""
    installed.set_dataset("tiny", mirrors=["http://127.0.0.1:9/"])
    half = tmp_path / "half"
    shutil.copytree(installed.mirror, half, ignore=shutil.ignore_patterns("train-*"))
    installed.mirror = half
    installed.commit("Go offline")
    return installed


def test_make_alone_lists_the_targets(installed: Project) -> None:
    listed = installed.run("make").stdout
    for target in ("run", "deps", "test", "lint", "install", "lock", "hooks"):
        assert f"make {target} " in listed
    assert "fresh-install" not in listed


def test_an_installed_environment_is_not_installed_again(installed: Project) -> None:
    assert installed.run("make", "install").stdout == ""
    with (installed.path / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    result = installed.run("make", "install", "GPU=", "PYTHON=nowhere", ok=False)
    assert "nowhere is not one" in result.stderr


def test_the_gpu_switch_takes_its_lock(installed: Project) -> None:
    commands = installed.run("make", "install", "--dry-run", "GPU=1").stdout
    assert "environment/install.sh requirements-gpu.txt" in commands
    assert "\ntensorflow-cpu" not in (REPOSITORY / "requirements-gpu.txt").read_text()
    assert "\nnvidia-cudnn" in (REPOSITORY / "requirements-gpu.txt").read_text()


def test_without_a_fitting_python_it_says_so(clone: Project, tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make
    result = clone.run(make, "install", ok=False, PATH=str(tmp_path))
    assert result.returncode == 2
    assert "make: Python 3.11, 3.12 or 3.13 is needed; if it is" in result.stderr


HOSTILE = '"; touch a; "$(shell touch b)`touch c`$(touch d)'


def run_with(project: Project, given: str, target: str, name: str, value: str) -> str:
    """What `make target` says, where it has to fail, of a variable from the place `given`."""
    if given == "environment":
        result = project.run("make", target, ok=False, **{name: value})
    else:
        result = project.run("make", target, f"{name}={value}", ok=False)
    assert result.returncode == 2
    assert project.run("git", "status", "--porcelain").stdout == ""
    return result.stderr


@pytest.mark.parametrize("given", ["environment", "command line"])
def test_a_value_is_never_run(installed: Project, given: str) -> None:
    said = run_with(installed, given, "report", "REV", HOSTILE)
    assert f"report: there is no branch, tag, commit or experiment {HOSTILE!r}" in said
    run_with(installed, given, "nothing", "GPU", "$(shell touch a)")
    (installed.path / ".venv").unlink()
    assert f"{HOSTILE} is not one" in run_with(installed, given, "install", "PYTHON", HOSTILE)


@pytest.mark.parametrize("branch", ['x";touch${IFS}y;"', "--help"])
def test_a_branch_of_any_name_is_reported_on(installed: Project, branch: str) -> None:
    installed.run("git", "update-ref", f"refs/heads/{branch}", "HEAD")
    said = run_with(installed, "command line", "report", "REV", branch)
    assert "report: workspace has no dvc.lock" in said


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-gpu.txt"])
def test_the_lock_is_hashed_and_names_no_index(lock: str) -> None:
    entries = (REPOSITORY / lock).read_text().replace("\\\n", "").splitlines()
    packages = [entry for entry in entries if entry and not entry.lstrip().startswith("#")]
    assert len(packages) > 100
    for package in packages:
        assert "==" in package
        assert "--hash=sha256:" in package
        assert "://" not in package
    assert not any(entry.startswith("-") for entry in packages)


@slow
def test_the_locks_agree_with_pyproject(installed: Project) -> None:
    before = {lock: lock.read_text() for lock in installed.path.glob("requirements*.txt")}
    installed.run("make", "lock")
    assert {lock: lock.read_text() for lock in installed.path.glob("requirements*.txt")} == before


def test_stages_use_the_environment_without_activation(project: Project) -> None:
    project.set_params(seed=1)
    dvc = Path(sys.prefix) / "bin/dvc"
    result = project.run(str(dvc), "repro", "preprocess", PATH="/usr/bin:/bin")
    assert "preprocess: tiny: 240 training, 60 validation, 90 test images" in result.stdout


@slow
def test_make_run_shows_the_result(installed: Project) -> None:
    output = installed.run("make", "run").stdout
    figures = json.loads((installed.path / "metrics/evaluate.json").read_text())
    assert output.rstrip().splitlines()[-4:] == [
        "Dataset        tiny",
        f"Test accuracy  {figures['accuracy']:.2%} ({figures['accuracy_interval_95'][0]:.2%} "
        f"to {figures['accuracy_interval_95'][1]:.2%} with 95 % confidence)",
        f"Errors         {figures['errors']} of 90 test images, the worst in metrics/mistakes.png",
        "Model          models/model.keras",
    ]
    assert (installed.path / "models/model.keras").exists()


def test_make_run_knows_stages_without_dependencies(project: Project) -> None:
    project.install()
    project.dvc("stage", "add", "--name", "mine", "--outs", "mine.txt", "echo 1 > mine.txt")
    project.dvc("repro")
    md5 = project.objects()["models/model.keras"]
    project.rewrite_run(md5, md5[::-1])
    project.commit("Add a stage, on another processor")
    project.rewrite_run(md5[::-1], md5)
    assert (
        "To compare\nwith this machine's run, commit it once" in project.run("make", "run").stdout
    )


@slow
def test_make_run_without_a_network_says_so_and_uses_digits(offline: Project) -> None:
    result = offline.run("make", "run")
    assert "No source delivers tiny. The same pipeline now runs on digits" in result.stdout
    assert "Dataset        digits" in result.stdout
    assert json.loads((offline.path / "metrics/evaluate.json").read_text())["dataset"] == "digits"
    assert json.loads((offline.path / "metrics/train.json").read_text())["dataset"] == "digits"
    difference = offline.run("git", "diff", "HEAD", "--numstat", "params.yaml").stdout
    assert difference.split()[:2] == ["3", "3"]


def test_dvc_repro_never_substitutes_a_dataset(offline: Project) -> None:
    assert "no source delivered" in offline.dvc("repro", ok=False)
    assert offline.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("dataset", "tinny", "did you mean tiny?"),
        ("seed", "abc", "seed is 'abc'"),
        ("epoch", 5, "did you mean epochs?"),
    ],
)
def test_make_run_does_not_take_bad_input_for_a_missing_network(
    installed: Project, key: str, value: object, line: str
) -> None:
    installed.set_params(**{key: value})
    before = (installed.path / "params.yaml").read_text()
    result = installed.run("make", "run", ok=False)
    assert result.returncode == 2
    assert line in result.stderr
    assert "Traceback" not in result.stderr
    assert (installed.path / "params.yaml").read_text() == before


def test_a_new_environment_leaves_one_that_is_linked_alone(clone: Project, tmp_path: Path) -> None:
    """The set-up stops at its first package: the lock has none that exists."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/kept").touch()
    (clone.path / ".venv").symlink_to(tmp_path / "shared")
    (clone.path / "requirements.txt").write_text("./nowhere\n")
    python = str(Path(sys.base_prefix) / "bin/python3")
    assert clone.run("make", "install", f"PYTHON={python}", ok=False).returncode == 2
    assert (tmp_path / "shared/kept").exists()
    assert not (clone.path / ".venv").is_symlink()


@pytest.fixture
def tiny(clone: Project, tmp_path: Path) -> Project:
    """A clone whose lock lists one empty package, which pip finds in a folder."""
    wheel = tmp_path / "links/tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with ZipFile(wheel, "w") as archive:
        for name, text in {
            "tiny.py": "",
            "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
            "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
            "tiny-1.0.dist-info/RECORD": "",
        }.items():
            archive.writestr(name, text)
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (clone.path / "requirements.txt").write_text(f"tiny==1.0 --hash=sha256:{checksum}\n")
    clone.shell = {"GPU": "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
    return clone


def test_the_environment_is_installed_nowhere_else(tiny: Project, tmp_path: Path) -> None:
    """Whatever pip is told by variables, and whatever the path of Python."""
    python = tmp_path / "a python/python3"
    python.parent.mkdir()
    python.symlink_to(Path(sys.base_prefix) / "bin/python3")
    tiny.shell |= {"PYTHON": str(python), "PIP_PYTHON": sys.executable, "PIP_USER": "1"}
    for name in ("PIP_PREFIX", "PIP_ROOT", "PIP_TARGET"):
        tiny.shell[name] = str(tmp_path / "elsewhere")
    tiny.run("make", "install")
    home = (tiny.path / ".venv/pyvenv.cfg").read_text().splitlines()[0]
    assert home == f"home = {python.parent}"
    tiny.run(".venv/bin/python", "-c", "import tiny")
    assert not (tmp_path / "elsewhere").exists()


def test_an_environment_that_pip_put_elsewhere_does_not_count(
    tiny: Project, tmp_path: Path
) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(f"[install]\ntarget = {tmp_path}/elsewhere\n")
    result = tiny.run("make", "install", ok=False, PIP_CONFIG_FILE=str(configuration))
    assert result.returncode == 2
    assert "make: pip did not put tiny into .venv: `" in result.stderr
    assert not (tiny.path / ".venv/bin/installed.txt").exists()


def test_two_installations_take_turns(tiny: Project) -> None:
    makes = [tiny.start("make", "install") for _ in range(2)]
    outputs = sorted(make.communicate(timeout=100)[0] for make in makes)
    assert [make.returncode for make in makes] == [0, 0], outputs
    installing, waiting = outputs
    assert installing.startswith("Installing requirements.txt into .venv")
    assert waiting == "Waiting for another `make`, which is installing into .venv\n"
    tiny.run(".venv/bin/python", "-c", "import tiny")


@pytest.fixture
def older(clone: Project) -> Project:
    """A clone with an environment from before it had a startup file, and this one's packages."""
    clone.run(f"{sys.base_prefix}/bin/python3", "-m", "venv", "--without-pip", ".venv")
    shutil.copy(clone.path / "requirements.txt", clone.path / ".venv/bin/installed.txt")
    (packages,) = (clone.path / ".venv/lib").glob("python3*/site-packages")
    (packages / "path_first.pth").write_text("import nothing\n")
    (packages / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    clone.shell = {"GPU": ""}
    return clone


def test_an_older_environment_gets_the_startup_file(older: Project) -> None:
    for _ in range(2):
        assert older.run("make", "install").stdout == ""
        show = "import os; print(os.environ['PATH'].split(os.pathsep)[0])"
        first = older.run(".venv/bin/python", "-c", show)
        assert first.stdout == f"{older.path}/.venv/bin\n"
        assert first.stderr == ""  # where a line of a .pth file fails, Python says so


def test_a_safe_path_keeps_no_script_from_its_modules(older: Project, tmp_path: Path) -> None:
    """A script's own: that of a copy of the project has the copy's."""
    older.run("make", "install")
    older.shell["PYTHONSAFEPATH"] = "1"
    older.run(".venv/bin/python", "-m", "dvc", "repro", "fetch")
    copy = older.copy(tmp_path / "copy")
    with (copy.path / "src/convline/__init__.py").open("a") as module:
        module.write('print("the copy")\n')
    for script, modules in (("src", ""), (f"{copy.path}/src", "the copy\n")):
        result = older.run(".venv/bin/python", script, "compare", ok=False)
        assert result.stdout == modules
        assert result.stderr == "compare: main has no dvc.lock: `dvc repro` there\n"


PROGRAMS = ("python", "ruff", "mypy", "uv", "codespell")


@pytest.fixture
def noted(clone: Project) -> Project:
    """A clone whose environment has programs that only note in `ran` what they should have run."""
    programs = clone.path / ".venv/bin"
    packages = clone.path / ".venv/lib/python3.11/site-packages"
    for folder in (programs, packages):
        folder.mkdir(parents=True)
    shutil.copy(clone.path / "requirements.txt", programs / "installed.txt")
    shutil.copy(clone.path / "environment/convline_startup.py", packages)
    shutil.copy(clone.path / "environment/convline", programs)
    for name in PROGRAMS:
        program = programs / name
        program.write_text('#!/bin/sh\n[ "$2" != run ] || sleep 0.5\necho "$0 $1 $2" >> ran\n')
        program.chmod(0o755)
    clone.shell = {"GPU": ""}
    return clone


def test_make_runs_the_programs_of_the_environment(noted: Project, tmp_path: Path) -> None:
    """By their paths: GNU make 3.81 starts some by a PATH of its own."""
    for name in PROGRAMS:
        (tmp_path / name).write_text("#!/bin/sh\necho not that of the environment >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    path = f"PATH={tmp_path}:{noted.environment['PATH']}"
    targets = ("run", "tutorial", "report", "gate", "test", "lock", "hooks")
    assert noted.run("make", path, *targets).stderr == ""
    assert len((noted.path / "ran").read_text().splitlines()) == 12


def test_targets_take_turns(noted: Project) -> None:
    noted.run("make", "-j8", "run", "report", "gate")
    ran = (noted.path / "ran").read_text()
    assert re.findall(r"src (\w+)", ran) == ["run", "report", "gate"]


def test_a_colon_in_the_path_is_refused(clone: Project, tmp_path: Path) -> None:
    result = clone.copy(tmp_path / "a:b").run("make", ok=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "a:b has a colon, which PATH cannot hold: move this clone" in line


def git_settings(project: Project) -> str:
    """What git is set to do in the project, its hook before a push included."""
    hook = project.path / ".git/hooks/pre-push"
    content = hook.read_text() if hook.exists() else ""
    return project.run("git", "config", "--local", "--list").stdout + content


NOT_CHECKED = "pushed: no default remote is configured, so nothing was checked\n"


def push(project: Project, ok: bool = True) -> tuple[str, str]:
    """What git prints of a push to ../origin.git, on stdout and stderr."""
    shutil.rmtree(project.path / "../origin.git", ignore_errors=True)
    project.run("git", "init", "--quiet", "--bare", "../origin.git")
    result = project.run("git", "push", "--quiet", "../origin.git", "HEAD:refs/heads/main", ok=ok)
    assert bool(result.returncode) != ok
    return result.stdout, result.stderr


@pytest.mark.parametrize("link", [None, "../../hooks/pre-push", "/nowhere/hooks/pre-push"])
def test_hooks_once_and_again(installed: Project, link: str | None) -> None:
    """Where there is a link, an older `make hooks` made it. It may lead nowhere."""
    if link:
        (installed.path / ".git/hooks/pre-push").symlink_to(link)
    before = (installed.path / "hooks/pre-push").read_text()
    installed.run("make", "hooks")
    settings = git_settings(installed)
    assert "|| echo .venv/bin/python) src/merge_lock.py %O %A %B\n" in settings
    assert "merge.ours.driver=true" in settings
    assert not (installed.path / ".git/hooks/pre-push").is_symlink()
    assert (installed.path / "hooks/pre-push").read_text() == before
    installed.run("make", "hooks")
    assert git_settings(installed) == settings
    assert push(installed) == (NOT_CHECKED, "")


CHECKOUTS = {
    "a worktree": "git worktree add --quiet ../super/tree",
    "a separate git directory": "git clone --quiet --separate-git-dir ../git . ../super/tree",
    "a submodule": """git init --quiet ../super; project=$PWD; cd ../super
        git -c protocol.file.allow=always submodule --quiet add "$project" tree""",
}


@pytest.mark.parametrize("checkout", CHECKOUTS)
def test_the_hook_serves(checkout: str, installed: Project, tmp_path: Path) -> None:
    installed.run("bash", "-ec", CHECKOUTS[checkout])
    tree = Project(tmp_path / "super/tree", installed.mirror)
    tree.install()
    tree.run("make", "hooks")
    assert push(tree) == (NOT_CHECKED, "")
    if checkout == "a worktree":
        assert push(installed) == (NOT_CHECKED, "")
        (tree.path / ".venv").unlink()
        assert push(tree, ok=False)[1].splitlines()[0] == (
            f"pushed: {tree.path} has no environment: run `make install` there, then push again"
        )


# What `make hooks` wrote when the check was a script of its own
OLD_HOOK = """#!/bin/sh
# From `make hooks`. Git runs it at the top of each worktree.
[ ! -e src/pushed.py ] || exec hooks/pre-push "$@"
"""


def test_a_hook_from_before_the_commands_serves(installed: Project) -> None:
    """Before `make hooks` is run again, and after."""
    hook = installed.path / ".git/hooks/pre-push"
    hook.write_text(OLD_HOOK)
    hook.chmod(0o755)
    assert push(installed) == (NOT_CHECKED, "")
    installed.run("make", "hooks")
    assert hook.read_text() == OLD_HOOK
    assert push(installed) == (NOT_CHECKED, "")


def test_a_branch_from_before_the_commands_is_checked(installed: Project) -> None:
    """By today's hook file: the branch has a script for the check, and its own hooks/pre-push."""
    installed.run("make", "hooks")
    hook = installed.path / "hooks/pre-push"
    hook.write_text(hook.read_text().replace("src pushed", "src/pushed.py"))
    installed.run("git", "rm", "--quiet", "src/__main__.py")
    installed.commit("Go back")
    assert push(installed) == (NOT_CHECKED, "")


def test_a_commit_without_the_check_is_pushed(installed: Project) -> None:
    installed.run("make", "hooks")
    installed.run("git", "rm", "-r", "--quiet", "hooks", "src")
    installed.commit("Remove all")
    assert push(installed) == ("", "")


def test_a_hook_of_somebody_else_stays(installed: Project) -> None:
    hook = installed.path / ".git/hooks/pre-push"
    hook.write_text("#!/bin/sh\nexec dvc git-hook pre-push $@\n")
    settings = git_settings(installed)
    result = installed.run("make", "hooks", ok=False)
    assert result.returncode == 2
    assert "make: .git/hooks/pre-push is not ours to change: let it run hooks/" in result.stderr
    assert git_settings(installed) == settings

    hook.write_text("#!/bin/sh\nhooks/pre-push && dvc git-hook pre-push $@\n")
    theirs = hook.read_text()
    installed.run("make", "hooks")
    assert hook.read_text() == theirs


def test_hooks_that_git_shares_between_repositories_stay(installed: Project) -> None:
    shared = installed.path.parent / "hooks-of-all"
    installed.run("git", "config", "core.hooksPath", str(shared))
    settings = git_settings(installed)
    assert installed.run("make", "hooks", ok=False).returncode == 2
    assert git_settings(installed) == settings
    assert not shared.exists()
