"""Check that the DVC remote has the data of some commits, and that their dvc.lock is true.

Each is a branch, tag or commit. The remote is today's default one, also for a commit from before it
was configured, and it is asked for what it holds now, whatever DVC's index says. Exit codes: 0 if
all data is there or nothing is to be checked; 4 if data is missing, or outputs contradict dvc.lock;
1 if the check is not possible.

With --repair, also read every object in the remote and remove damaged ones, so that `dvc push`,
which asks for names alone, sends them again.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash import hash_file

from convline import revisions
from convline.evaluation import results
from convline.objects import checked_name
from convline.problems import Problem

LACKING = 4

Objects = dict[str, str]  # by path in the workspace, the name of its object in cache and remote


def main() -> None:
    """Check each revision and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revisions", nargs="*", default=["HEAD"], metavar="revision")
    parser.add_argument("--repair", action="store_true", help="remove damaged objects from it")
    arguments = parser.parse_args()

    with Repo() as repo:
        if not (name := repo.config["core"].get("remote")):
            print("pushed: no default remote is configured, so nothing was checked")
            return
        failed = False
        for revision in arguments.revisions:
            with asking(name, revision):
                failed |= not (check(repo, name, revision, arguments.repair) and vouch(revision))
    sys.exit(LACKING * failed)


def check(repo: Repo, name: str, revision: str, repair: bool) -> bool:
    """Whether the remote `name` has the data of `revision`. Prints what is missing and what to do.

    With `repair`, damaged and incomplete data is removed and counts as missing.
    """
    outputs = pushable(repo, revision)
    if not outputs:
        print(f"pushed: there is nothing to check in {short(revision)}: it names no data")
        return True

    remote = repo.cloud.get_remote_odb(name)

    def unusable(objects: Objects) -> Objects:
        lost = absent(remote, objects)
        return lost | remove_damaged(remote, objects, lost) if repair else lost

    lost = unusable(outputs)
    incomplete: Objects = {}  # directories whose list of files is there, but not each of the files
    for path, oid in outputs.items():
        if oid.endswith(".dir") and path not in lost:
            files = json.loads(remote.fs.cat_file(remote.oid_to_path(oid)))
            named = {f"{path}/{file['relpath']}": file["md5"] for file in files}
            gone = unusable({name: checked_name(md5, name) for name, md5 in named.items()})
            if gone:
                lost |= gone
                incomplete[path] = oid
    if not lost:
        print(f"pushed: the remote {name!r} has all {len(outputs)} outputs of {short(revision)}")
        return True

    wanted = {path: oid for path, oid in outputs.items() if path in lost | incomplete}
    cached = all(repo.cache.local.exists(oid) for oid in lost.values())
    advice = way_out(repo, revision, wanted, cached=cached)
    # `dvc push` takes a directory for complete where its list is there
    lists = [remote.oid_to_path(oid) for oid in incomplete.values()]
    if repair:
        for path in lists:
            remote.fs.rm_file(path)
    elif lists:
        command = f"convline pushed --repair {shlex.quote(short(revision))}"
        advice = f"run `{command}`, and then {advice}"
    print(
        f"pushed: FAILED: the remote {name!r} lacks {', '.join(lost)} of {short(revision)}: "
        f"{advice}",
        file=sys.stderr,
    )
    return False


def has_data(revision: str) -> bool:
    """Whether the default remote has the data of `revision`. Prints what is missing.

    Raises `Problem` where it cannot be asked.
    """
    with Repo() as repo:
        name = repo.config["core"]["remote"]
        with asking(name, revision):
            return check(repo, name, revision, repair=False)


@contextmanager
def asking(name: str, revision: str) -> Iterator[None]:
    """Turn what a remote raises into a `Problem`."""
    try:
        yield
    except RevError as error:
        raise revisions.unknown(revision) from error
    except Exception as error:  # each kind of remote raises its own
        raise Problem(
            f"cannot tell whether the remote {name!r} has the data of {short(revision)}: {error}"
        ) from error


def vouch(revision: str) -> bool:
    """Whether the outputs of `revision` agree with its dvc.lock. Prints a line if not.

    A revision without a finished run passes.
    """
    try:
        remarks = results.load(revision).remarks
    except results.FalseRun as problem:
        print(f"pushed: FAILED: {short(str(problem))}", file=sys.stderr)
        return False
    except Problem:
        return True
    for remark in remarks:
        print(f"pushed: {short(remark)}", file=sys.stderr)
    return True


def way_out(repo: Repo, revision: str, wanted: Objects, *, cached: bool) -> str:
    """How to get `wanted`, some of the outputs of `revision`, into the remote."""
    commands = ["dvc push"] if cached else ["dvc repro", "dvc push"]
    if not wanted.items() <= pushable(repo, revisions.WORKSPACE).items():
        if resolve_rev(repo.scm, revision) == repo.scm.get_rev():
            commands = ["git stash", *commands, "git stash pop"]
        else:
            commands = [f"git checkout {shlex.quote(short(revision))}", *commands]
    run = f"`{' && '.join(commands)}`"
    if cached:
        return f"run {run}"
    return f"the cache here lacks them too: run `dvc push` where they were made, or {run}"


def short(revision: str) -> str:
    """The name of a branch or tag without the prefix that git adds in a hook."""
    return revision.removeprefix("refs/heads/").removeprefix("refs/tags/")


def pushable(repo: Repo, revision: str) -> Objects:
    """What `dvc push` would upload for `revision`: outputs in its dvc.lock that are not in git.

    Raises `RevError` where the revision does not exist, and `Problem` where a name is not an md5.
    """
    if not revision:  # which DVC would take for HEAD
        raise RevError("empty")
    with repo.switch(revision):
        return {
            str(out): checked_name(out.hash_info.value, str(out))
            for out in repo.index.outs
            if out.hash_info and out.use_cache and out.can_push and not out.stage.is_repo_import
        }


def absent(remote: HashFileDB, objects: Objects) -> Objects:
    """The `objects` that are missing from the remote. Raises the remote's own errors.

    `dvc status --cloud` would check neither the files of a directory nor what DVC's index of the
    remote lists.
    """
    oids = list(objects.values())
    # One alone first: after an error, the requests that are cancelled would add warnings
    there = {*remote.list_oids_exists(oids[:1]), *remote.list_oids_exists(oids[1:])}
    lost = {path: oid for path, oid in objects.items() if oid not in there}
    for oid in list(lost.values())[:1]:
        # Over HTTP, an object also counts as missing if no server answers; reading it raises why
        with suppress(FileNotFoundError):
            remote.fs.cat_file(remote.oid_to_path(oid))
    return lost


def remove_damaged(remote: HashFileDB, objects: Objects, lost: Objects) -> Objects:
    """Remove and return the `objects`, except `lost`, whose bytes in the remote are damaged.

    Nobody could use them: with `verify = true`, `dvc pull` rejects them.
    """
    damaged = set()
    for oid in {*objects.values()} - {*lost.values()}:
        place = remote.oid_to_path(oid)
        # Not with the remote's own check, which trusts read-only local files
        if hash_file(place, remote.fs, remote.hash_name)[1].value != oid.removesuffix(".dir"):
            # One by one: servers differ in what they require for several
            remote.fs.rm_file(place)
            damaged.add(oid)
    return {path: oid for path, oid in objects.items() if oid in damaged}
