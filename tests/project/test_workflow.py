"""The GitHub Actions workflow: linters accept it, and its commands do what a pull request needs."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import REPOSITORY, STAGES, Project, ran
from convline import markdown

WORKFLOW = REPOSITORY / ".github/workflows/pull-request.yml"
LINTERS = [
    ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
    ["zizmor", "--offline", "--no-progress"],
]
RUN = "Run what changed, and what no cache has"
CHECK = "Check that the remote has the data"

slow = pytest.mark.slow
shared = pytest.mark.xdist_group("workflow")


def complaints(*files: Path) -> str:
    """What the linters say of `files`, nothing where they accept them."""
    said = ""
    for linter, *options in LINTERS:
        command = [str(Path(sys.executable).with_name(linter)), *options, *map(str, files)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        said += result.stdout + result.stderr if result.returncode else ""
    return said


def test_the_linters_accept_the_workflows() -> None:
    assert complaints(*WORKFLOW.parent.iterdir()) == ""


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        ("timeout-minutes", "timeout-minute", "'timeout-minute' was unexpected"),
        ('REV="[^"]+"', 'REV="${{ github.head_ref }}"', "template-injection"),
        ("pull_request:", "pull_request_target:", "dangerous-triggers"),
        ("@[0-9a-f]{40}", "@main", "unpinned-uses"),
    ],
)
def test_the_linters_refuse_a_broken_workflow(
    tmp_path: Path, pattern: str, replacement: str, complaint: str
) -> None:
    file = tmp_path / "broken.yml"
    file.write_text(re.sub(pattern, replacement, WORKFLOW.read_text()))
    assert complaint in complaints(file)


@dataclass
class Outcome:
    """What a job showed and kept."""

    failed_step: str | None = None
    output: dict[str, str] = field(default_factory=dict)  # by the name of the step
    summary: str = ""
    artifacts: list[str] = field(default_factory=list)

    @property
    def ran(self) -> list[str]:
        """The stages that were executed, in order."""
        return ran(self.output[RUN])


@dataclass
class GitHub:
    """A repository, and GitHub's part of a job in it: the checkout, the actions, the steps."""

    repository: Project
    folder: Path

    def git(self, *arguments: str) -> None:
        """Run git in the repository."""
        self.repository.run("git", *arguments)

    def push(self) -> Outcome:
        """Run the job on main, as after a push."""
        return self.run("push", "refs/heads/main", "refs/remotes/origin/main")

    def pull_request(self, *, base: str = "main", fork: bool = True, **params: object) -> Outcome:
        """Run the job for a pull request to `base`, which changes the README and `params`."""
        self.git("checkout", "--quiet", "-b", "requested")
        self.repository.set_params(**params)
        (self.repository.path / "README.md").write_text("Changed\n")
        self.repository.commit()
        self.git("checkout", "--quiet", "--detach", "main")
        self.git("merge", "--quiet", "--no-ff", "requested")
        self.git("update-ref", "refs/pull/1/merge", "HEAD")
        self.git("checkout", "--quiet", "main")
        self.git("branch", "--quiet", "-D", "requested")
        return self.run(
            "pull_request", "refs/pull/1/merge", "refs/remotes/pull/1/merge", base=base, fork=fork
        )

    def run(
        self, event: str, ref: str, local_ref: str, base: str = "", fork: bool = False
    ) -> Outcome:
        """Check out `ref` as `local_ref` and run the steps of the job, as far as a failure lets."""
        clone = Project(self.folder / "checkout", self.repository.mirror)
        shutil.rmtree(clone.path, ignore_errors=True)
        clone.path.mkdir()
        clone.run("git", "init", "--quiet")
        clone.run("git", "remote", "add", "origin", str(self.repository.path))
        branches = "+refs/heads/*:refs/remotes/origin/*"
        clone.run("git", "fetch", "--quiet", "origin", branches, f"+{ref}:{local_ref}")
        branch = ["-B", ref.removeprefix("refs/heads/")] if event == "push" else []
        clone.run("git", "checkout", "--quiet", *branch, local_ref)
        clone.install()

        workflow = yaml.safe_load(WORKFLOW.read_text())
        assert workflow["defaults"] == {"run": {"shell": "bash"}}
        script, path, summary = (self.folder / name for name in ("script", "path", "summary"))
        environment = {
            "GITHUB_BASE_REF": base,
            "GITHUB_PATH": str(path),
            "GITHUB_SHA": clone.run("git", "rev-parse", "HEAD").stdout.strip(),
            "GITHUB_STEP_SUMMARY": str(summary),
            "HOME": str(self.folder),  # without the name that git knows here
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        requested = event == "pull_request"
        outcome = Outcome()
        for step in workflow["jobs"]["pipeline"]["steps"]:
            succeeded = outcome.failed_step is None
            condition = {
                None: succeeded,
                "github.event_name == 'pull_request'": succeeded and requested,
                "${{ !cancelled() }}": True,
            }[step.pop("if", None)]
            tolerated = {
                None: False,
                "${{ github.event_name == 'pull_request' && "
                "github.event.pull_request.head.repo.full_name != github.repository }}": fork,
            }[step.pop("continue-on-error", None)]
            if not condition:
                continue
            if "uses" in step:
                self.use(step["uses"].split("@")[0], step["with"], clone.path, outcome)
                continue
            assert step.keys() == {"name", "run"}  # nothing else is imitated here
            script.write_text(step["run"])
            path.write_text("")
            summary.write_text("")
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
            result = clone.run(*shell, ok=False, **environment)
            environment["PATH"] = ":".join([*path.read_text().split(), environment["PATH"]])
            outcome.output[step["name"]] = result.stdout + result.stderr
            outcome.summary += summary.read_text()
            if result.returncode and not tolerated:
                outcome.failed_step = outcome.failed_step or step["name"]
        if event == "push" and not outcome.failed_step:  # a pull request keeps it for itself
            shutil.copytree(clone.path / ".dvc/cache", self.folder / "actions-cache")
        return outcome

    def use(self, action: str, options: dict[str, Any], checkout: Path, outcome: Outcome) -> None:
        """Do the part of an action that the other steps build on."""
        match action:
            case "actions/checkout" | "actions/setup-python":
                pass
            case "actions/cache":
                if (self.folder / "actions-cache").exists():
                    shutil.copytree(self.folder / "actions-cache", checkout / options["path"])
            case "actions/upload-artifact":
                assert (checkout / options["path"]).is_file()
                outcome.artifacts.append(options["path"])
            case _:
                pytest.fail(f"{action} is not imitated")


@pytest.fixture
def stored(project: Project, tmp_path: Path) -> GitHub:
    """A repository with a remote that lacks the model. The gate has a baseline of its own."""
    project.set_params(gate={"least_accuracy": 0.9, "baseline": "release", "largest_fall": 0.0})
    project.add_remote(str(tmp_path / "storage"))
    project.dvc("push")
    model = project.dvc("get", ".", "models/model.keras", "--show-url").strip()
    Path(model).unlink()
    project.commit("Add a remote")
    project.run("git", "branch", "release")
    return GitHub(project, tmp_path)


@slow
def test_an_unchanged_pipeline_runs_nothing(stored: GitHub, tmp_path: Path) -> None:
    """Nor does it pull anything but the predictions. A fork does not answer for the remote.

    The base branch has a name that a shell would run, and Markdown change.
    """
    odd = "x`touch>y`|<b>"
    stored.git("branch", odd)
    outcome = stored.pull_request(base=odd)
    assert outcome.failed_step is None, outcome.output
    assert not (tmp_path / "checkout/y").exists()
    assert (
        "    pushed: FAILED: the remote 'storage' lacks models/model.keras of " in outcome.summary
    )
    assert outcome.ran == []
    assert f"between `workspace` and {markdown.code(odd)} on" in outcome.summary
    assert re.search("    gate: passed largest_fall: .* release ", outcome.summary)
    assert "gives other results here" not in outcome.summary
    assert outcome.artifacts == ["report.html"]
    assert {file.name for file in (tmp_path / "checkout/data").glob("*/*")} == {".gitignore"}
    assert not (tmp_path / "checkout/models/model.keras").exists()


@slow
def test_data_that_were_not_pushed_fail_the_job(stored: GitHub) -> None:
    outcome = stored.pull_request(fork=False)
    assert outcome.failed_step == CHECK, outcome.output
    assert re.search(
        "    pushed: FAILED: .* lacks models/model.keras of [0-9a-f]{40}: the cache here lacks",
        outcome.summary,
    )
    assert "gate: passed largest_fall" in outcome.summary

    stored.repository.dvc("push")
    outcome = stored.push()
    assert outcome.failed_step is None, outcome.output
    count = len(stored.repository.objects())
    assert f"    pushed: the remote 'storage' has all {count} outputs of " in outcome.summary


@pytest.fixture(scope="module")
def github(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> GitHub:
    """A repository with no remote, whose committed run is that of another processor."""
    folder = tmp_path_factory.mktemp("github")
    repository = reproduced.copy(folder / "repository")
    lock = repository.path / "dvc.lock"
    text = lock.read_text()
    for stage in ("train", "evaluate", "export"):
        for out in yaml.safe_load(text)["stages"][stage]["outs"]:
            if not re.fullmatch(r"metrics/.*\.json", out["path"]):  # those are in git
                md5 = out["md5"].removesuffix(".dir")
                text = text.replace(md5, md5[::-1])
    lock.write_text(text)
    repository.commit("Reproduce on another processor")
    return GitHub(repository, folder)


@pytest.fixture(scope="module")
def pushed(github: GitHub) -> Outcome:
    """The job on main, with an empty cache."""
    return github.push()


@pytest.fixture(scope="module")
def requested(github: GitHub, pushed: Outcome) -> Outcome:
    """The job of a pull request that trains less, with the cache that the job on main left."""
    return github.pull_request(epochs=1)


@slow
@shared
def test_what_no_cache_has_is_computed(pushed: Outcome) -> None:
    assert pushed.failed_step is None, pushed.output
    assert pushed.ran == STAGES
    assert "### The run of this change gives other results here" in pushed.summary
    assert " dvc.lock | " in pushed.summary
    assert "    pushed: no default remote is configured" in pushed.summary


@slow
@shared
def test_what_the_job_on_main_computed_is_not_computed_again(
    github: GitHub, pushed: Outcome
) -> None:
    outcome = github.pull_request()
    assert outcome.failed_step is None, outcome.output
    assert outcome.ran == []
    assert "**No evidence of a difference between `workspace` and `main`" in outcome.summary


@slow
@shared
def test_a_changed_parameter_reruns_only_what_it_affects(requested: Outcome) -> None:
    """The run of main comes from the cache, although its dvc.lock names another one."""
    assert requested.ran == ["train", "evaluate", "export"]
    assert "### The run of the base branch gives other results here" in requested.summary
    assert "### The run of this change gives other results here" in requested.summary
    assert "**`workspace` is worse than `main` on the 90 test images of tiny**" in requested.summary


@slow
@shared
def test_a_failing_gate_fails_the_job_and_hides_nothing(requested: Outcome) -> None:
    assert requested.failed_step == "Gate", requested.output
    assert "    gate: FAILED least_accuracy" in requested.summary
    assert "    gate: FAILED largest_fall" in requested.summary
    assert "    pushed: no default remote is configured" in requested.summary
    assert requested.artifacts == ["report.html"]
