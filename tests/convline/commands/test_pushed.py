"""The check of the remote, and git's hook: data that nobody else could get blocks a push."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY, STAGES, Project, outputs

pytestmark = pytest.mark.xdist_group("pushed")

PIPELINE = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
COUNT = sum(sum(outputs(PIPELINE[stage]).values()) for stage in STAGES)  # of what DVC caches
ALL = f"the remote 'storage' has all {COUNT} outputs of "
LACKS = (
    "FAILED: the remote 'storage' lacks data/processed/train_images.npy, "
    "data/processed/train_labels.npy, data/processed/validation_images.npy, "
    "data/processed/validation_labels.npy of "
)


@pytest.fixture(scope="module")
def stored(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with hooks, pushed to a folder and a bare repository; branch `other` is not.

    `other` holds out fewer images, which changes four outputs of preprocess.
    """
    project = reproduced.copy(tmp_path_factory.mktemp("stored") / "project")
    project.add_remote("../storage")
    project.commit("Add a remote")
    project.install()
    project.run("make", "hooks")
    project.dvc("push")
    project.run("git", "init", "--quiet", "--bare", "../origin.git")
    project.run("git", "remote", "add", "origin", "../origin.git")
    project.run("git", "push", "--quiet", "origin", "main")
    project.run("git", "checkout", "--quiet", "-b", "other")
    project.set_params(validation_size=30)
    project.dvc("repro", "preprocess")
    project.commit("Hold out less")
    project.run("git", "checkout", "--quiet", "main")
    return project


@pytest.fixture
def project(stored: Project, tmp_path: Path) -> Project:
    """A project of the test's own, with a remote and an origin of its own."""
    shutil.copytree(stored.path.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Project(tmp_path / "project", stored.mirror)


def objects(project: Project, *paths: str, folder: str = "../storage") -> list[Path]:
    """The files in which the remote keeps outputs of dvc.lock, a directory's list included."""
    md5 = project.objects()
    top = project.path / folder / "files/md5"
    return [top / md5[path][:2] / md5[path][2:] for path in paths]


def forget(project: Project, *paths: str) -> None:
    """Take the objects of some outputs away from the remote, as though never pushed."""
    for file in objects(project, *paths):
        file.unlink()


def pushed(project: Project, *revisions: str, code: int = 0) -> str:
    """The one line of the command about data, with its exit code as expected.

    Another line may say that the stages have not run since.
    """
    result = project.convline("pushed", *revisions, ok=False)
    errors = [line for line in result.stderr.splitlines() if "after its last run" not in line]
    lines = result.stdout.splitlines() + errors
    assert result.returncode == code, result
    assert len(lines) == 1, lines
    assert bool(errors) == bool(code)
    return lines[0].removeprefix("pushed: ")


def git_push(project: Project, *arguments: str) -> str:
    """Push to the origin, and return what the check says where that is refused, else nothing.

    A refused push leaves the origin as it is.
    """
    before = project.run("git", "ls-remote", "origin").stdout
    result = project.run("git", "push", "--quiet", "origin", *arguments, ok=False)
    assert "Traceback" not in result.stderr
    if not result.returncode:
        return ""
    assert project.run("git", "ls-remote", "origin").stdout == before
    return result.stderr.splitlines()[0]


def test_a_forgotten_push_is_refused_until_it_is_made_up_for(project: Project) -> None:
    project.run("git", "checkout", "--quiet", "other")
    assert git_push(project, "other") == f"pushed: {LACKS}other: run `dvc push`"
    project.dvc("push")
    assert git_push(project, "other") == ""


def test_git_has_a_way_past_it(project: Project) -> None:
    assert git_push(project, "--no-verify", "other") == ""


def test_what_is_pushed_counts_and_not_what_is_checked_out(project: Project) -> None:
    """All is well with main. The others are a branch, an annotated tag and a bare commit."""
    project.run("git", "tag", "--annotate", "v1", "other", "--message", "Version 1")
    commit = project.run("git", "rev-parse", "other").stdout.strip()
    third = "other^{/Hold out}:refs/heads/third"
    assert git_push(project, "main:copy") == ""
    assert git_push(project, "v1") == f"pushed: {LACKS}v1: run `git checkout v1 && dvc push`"
    advice = f"run `git checkout {commit} && dvc push`"
    assert git_push(project, third) == f"pushed: {LACKS}{commit}: {advice}"

    odd = 'x";touch${IFS}y;"'  # a name that a shell would run
    project.run("git", "branch", odd, "other")
    advice = git_push(project, "main:copy", odd)
    assert advice == f"pushed: {LACKS}{odd}: run `git checkout '{odd}' && dvc push`"
    obey(project, advice)
    project.run("git", "checkout", "--quiet", "main")
    assert not (project.path / "y").exists()
    assert git_push(project, "main:copy", "other", "v1", third) == ""


def test_deleting_a_branch_needs_no_data(project: Project) -> None:
    project.run("git", "push", "--quiet", "origin", "main:gone")
    shutil.rmtree(project.path / "../storage")
    assert git_push(project, ":gone") == ""


def obey(project: Project, advice: str) -> None:
    """Run the commands that the check gives in the last backticks, and see that they helped."""
    project.run("bash", "-ec", advice.split("`")[-2])
    assert pushed(project) == f"{ALL}HEAD"


def test_a_workspace_that_went_on_is_put_aside(project: Project) -> None:
    """There, `dvc push` would push what the workspace has, and the check would refuse again."""
    project.run("git", "checkout", "--quiet", "other")
    project.run("git", "checkout", "--quiet", "main", "--", "params.yaml", "dvc.lock")
    advice = pushed(project, code=4)
    assert advice == f"{LACKS}HEAD: run `git stash && dvc push && git stash pop`"
    obey(project, advice)
    assert "validation_size: 60" in (project.path / "params.yaml").read_text()


def test_a_wiped_remote_is_noticed_after_a_good_check(project: Project) -> None:
    project.dvc("push")  # has nothing to send, and takes down what is there
    assert pushed(project, "main") == f"{ALL}main"
    shutil.rmtree(project.path / "../storage")
    advice = pushed(project, code=4)
    assert advice.startswith(
        "FAILED: the remote 'storage' lacks data/raw, data/processed/train_images.npy"
    )
    assert "metrics/history, models/model.keras, metrics/predictions.csv" in advice
    assert "metrics/evaluate.json" not in advice  # it is in git
    obey(project, advice)


def test_a_directory_has_all_its_files(project: Project) -> None:
    """`dvc push` and `dvc status --cloud` are content with its list."""
    (listing,) = objects(project, "metrics/history")
    md5 = next(file["md5"] for file in json.loads(listing.read_text()) if "loss" in file["relpath"])
    (project.path / "../storage/files/md5" / md5[:2] / md5[2:]).unlink()
    assert "Everything is up to date" in project.dvc("push")
    advice = pushed(project, code=4)
    assert (
        "lacks metrics/history/plots/metrics/train/loss.tsv of HEAD: run `convline pushed" in advice
    )
    project.run("bash", "-c", advice.split("`")[1], ok=False)
    obey(project, advice)


@pytest.mark.parametrize("path", ["models/model.keras", "metrics/history"])
def test_what_is_damaged_is_removed_and_sent_again(project: Project, path: str) -> None:
    (damaged,) = objects(project, path)
    before = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(before[:-1] + b"!")
    damaged.chmod(0o444)  # which DVC takes for checked
    advice = pushed(project, "--repair", code=4)
    assert advice == f"FAILED: the remote 'storage' lacks {path} of HEAD: run `dvc push`"
    assert not damaged.exists()
    obey(project, advice)
    assert damaged.read_bytes() == before
    assert pushed(project, "--repair") == f"{ALL}HEAD"


def test_damaged_bytes_that_two_files_share_are_removed_once(project: Project) -> None:
    for name in ("one", "another"):
        (project.path / name).write_text("the same")
    project.dvc("add", "one", "another")
    project.dvc("push")
    project.commit("Add two files")
    damaged = Path(project.dvc("get", ".", "one", "--show-url").strip())
    damaged.unlink()
    damaged.write_text("tampered")
    advice = pushed(project, "--repair", code=4)
    assert re.search("lacks (one, another|another, one) of HEAD: run `dvc push`", advice)
    project.dvc("push")
    assert (
        pushed(project, "--repair") == f"the remote 'storage' has all {COUNT + 2} outputs of HEAD"
    )


@pytest.mark.parametrize("revision", ["hostile", "hostile~1"])
def test_nothing_outside_the_remote_is_touched(project: Project, revision: str) -> None:
    """An md5 of dvc.lock, or of the list of a directory, that leads out of the remote."""
    victim = project.path.parent / "victim.txt"
    victim.write_text("precious")
    out = "../../../../victim.txt"  # from storage/files/md5/..
    lock = project.path / "dvc.lock"
    history = project.objects()["metrics/history"]
    (listed,) = objects(project, "metrics/history")
    files = json.loads(listed.read_text())
    files[0]["md5"] = out
    content = json.dumps(files)
    hostile = f"{hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()}.dir"
    (listed.parents[1] / hostile[:2]).mkdir(exist_ok=True)
    (listed.parents[1] / hostile[:2] / hostile[2:]).write_text(content)
    project.run("git", "checkout", "--quiet", "-b", "hostile")
    for before, after in ((history, hostile), (project.objects()["models/model.keras"], out)):
        lock.write_text(lock.read_text().replace(before, after))
        project.run("git", "commit", "--quiet", "--message", "Name another file", "dvc.lock")
    project.run("git", "checkout", "--quiet", "main")

    for options in ((), ("--repair",)):
        refusal = pushed(project, *options, revision, code=1)
        assert "has '../../../../victim.txt' for its md5" in refusal
        assert victim.read_text() == "precious"
    for command in (("compare", "main", "hostile"), ("gate", "hostile"), ("card", "hostile")):
        result = project.convline(*command, ok=False)
        assert result.returncode == 1
        assert "models/model.keras has '../../../../victim.txt' for its md5" in result.stderr


def test_what_is_not_in_the_cache_either_is_made_again(project: Project) -> None:
    forget(project, "data/processed/test_labels.npy")
    for file in objects(project, "data/processed/test_labels.npy", folder=".dvc/cache"):
        file.unlink()
    advice = pushed(project, code=4)
    assert advice == (
        "FAILED: the remote 'storage' lacks data/processed/test_labels.npy of HEAD: the cache here "
        "lacks them too: run `dvc push` where they were made, or `dvc repro && dvc push`"
    )
    obey(project, advice)


def test_what_dvc_never_pushes_is_not_missed(project: Project, stored: Project) -> None:
    pipeline = project.path / "dvc.yaml"
    text = pipeline.read_text()
    output = "    - models/model.keras\n    metrics"
    assert output in text
    kept_here = "    - models/model.keras:\n        push: false\n    metrics"
    pipeline.write_text(text.replace(output, kept_here))
    project.dvc("import", str(stored.path), "models/model.keras", "--out", "imported.keras")
    project.commit("Keep the model here, import another")
    forget(project, "models/model.keras")
    assert pushed(project) == f"the remote 'storage' has all {COUNT - 1} outputs of HEAD"


def test_a_commit_from_before_the_remote_counts(project: Project) -> None:
    assert pushed(project, "HEAD~1") == f"{ALL}HEAD~1"
    forget(project, "models/model.keras")
    assert "lacks models/model.keras of HEAD~1: run `dvc push`" in pushed(project, "HEAD~1", code=4)


def test_without_a_run_there_is_nothing_to_check(project: Project) -> None:
    assert pushed(project, "HEAD~2") == "there is nothing to check in HEAD~2: it names no data"


def test_without_a_remote_there_is_nothing_to_check(reproduced: Project) -> None:
    assert pushed(reproduced) == "no default remote is configured, so nothing was checked"


@pytest.mark.parametrize("revision", ["mian", ""])
def test_an_unknown_revision(project: Project, revision: str) -> None:
    line = f"there is no branch, tag, commit or experiment {revision!r}"
    assert pushed(project, revision, code=1) == line


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/", "Cannot connect to host 127.0.0.1:9"),
        ("ssh://127.0.0.1:9/storage", "Connect call failed ('127.0.0.1', 9)"),
        ("s3://convline/storage", "Unable to locate credentials"),
    ],
)
def test_a_remote_that_cannot_be_asked(project: Project, url: str, reason: str) -> None:
    """Nothing is said to be missing."""
    project.dvc("remote", "modify", "storage", "url", url)
    nobody = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(project.path.parent)}
    line = project.problem("pushed", **nobody)
    assert line.startswith(
        "pushed: cannot tell whether the remote 'storage' has the data of HEAD: "
    )
    assert reason in line
