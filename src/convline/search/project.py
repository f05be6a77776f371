"""What trials have to know of the project: its commit, and where their results go."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from convline import params, pipeline
from convline.paths import PARAMS
from convline.problems import Problem
from convline.search.space import SECTION
from convline.text import few, one_line

ADDRESS = {"url", "endpointurl", "port"}  # what DVC's options say of the place of a remote


@dataclass(frozen=True)
class Destination:
    """Where experiments go: a git repository for their names and a DVC remote for their data.

    `remote` has the name and options of the DVC remote. Without one, names go to this project and
    data to its cache. `cache` is this project's cache, for trials that run on this machine only.
    """

    origin: str
    remote: dict[str, str] | None
    cache: str | None


def git(*arguments: str) -> str:
    """What a git command prints. Raises `Problem` where it fails."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if result.returncode:
        raise Problem(f"`git {' '.join(arguments)}` failed: {one_line(result.stderr)}")
    return result.stdout.strip()


def commit() -> str:
    """The commit that a new search is about.

    Raises `Problem` where tracked files differ from it, the section `search` of params.yaml aside.
    """
    head = git("rev-parse", "HEAD")
    changed = git("diff", "--name-only", "HEAD").splitlines()
    if str(PARAMS) in changed and _without_search(params.read_yaml(PARAMS)) == _without_search(
        yaml.safe_load(git("show", f"HEAD:{PARAMS}"))
    ):
        changed.remove(str(PARAMS))
    if changed:
        raise Problem(
            f"{few(changed)} differ{'s' if len(changed) == 1 else ''} from the last commit, which "
            "is what trials run: commit or restore first"
        )
    return head


def _without_search(values: Any) -> dict[Any, Any]:
    return {key: value for key, value in dict(values).items() if key != SECTION}


def identity() -> dict[str, str]:
    """The name and address that git gives to experiments. Raises `Problem` where they are unset."""
    who = {}
    for key in ("name", "email"):
        found = subprocess.run(
            ["git", "config", f"user.{key}"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not found:
            raise Problem(f"experiments are git commits: `git config user.{key} ...` first")
        who[key] = found
    return who


def destination(elsewhere: bool) -> Destination:
    """Where experiments go, if trials run `elsewhere` or on this machine.

    Raises `Problem` where they run elsewhere and no place is shared.
    """
    with pipeline.opened() as repo:
        cache = None if elsewhere else repo.cache.local_cache_dir
        remote = None
        if name := repo.config["core"].get("remote"):
            place = repo.cloud.get_remote(name)
            options = dict(repo.config["remote"][name])
            if place.fs.protocol == "local":  # relative to this project, it leads elsewhere
                options["url"] = place.path
            # Keys and passwords stay on this machine: others have their own
            sent = options.keys() & ADDRESS if elsewhere else options.keys()
            remote = {"name": name} | {key: str(options[key]) for key in sent}
    origin = _origin()
    if origin and remote:
        return Destination(origin, remote, cache)
    if elsewhere:
        missing = "`git remote add origin URL`" if not origin else "`dvc remote add --default ...`"
        raise Problem(f"other machines need a place to share experiments: {missing} first")
    return Destination(str(Path.cwd()), None, cache)


def _origin() -> str | None:
    found = subprocess.run(
        ["git", "remote", "get-url", "origin"], capture_output=True, text=True, check=False
    )
    url = found.stdout.strip()
    return str(Path(url).resolve()) if url and Path(url).exists() else url or None


def reference(commit: str, name: str) -> str:
    """The git ref of the experiment `name` of a commit, as DVC names it."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def check_shared(commit: str, name: str, place: Destination) -> None:
    """Raise `Problem` where origin lacks the commit, or takes no experiment."""
    contained = ("for-each-ref", "--contains", commit, "refs/remotes/origin")
    if place.remote and not git(*contained):
        git("fetch", "--quiet", "origin")
        if not git(*contained):
            raise Problem(f"origin lacks the commit {commit[:7]}, which trials clone: `git push`")
    git("push", "--quiet", "--dry-run", place.origin, f"{commit}:{reference(commit, name)}")


def taken(name: str, place: Destination) -> list[str]:
    """The experiments of any commit that origin has under a name of the search `name`."""
    refs = git("ls-remote", place.origin, f"refs/exps/*/*/{name}-*").splitlines()
    names = [line.rpartition("/")[2] for line in refs]
    return [one for one in names if one.removeprefix(f"{name}-").split("-")[0].isdecimal()]


def bring(commit: str, name: str, place: Destination) -> None:
    """Bring the names of a search's experiments into this project, for `dvc exp show`."""
    if place.remote:
        refs = reference(commit, f"{name}-*")
        git("fetch", "--quiet", place.origin, f"{refs}:{refs}")
