"""Check that the DVC remote has the data of some commits, and that dvc.lock is true of them.

Each is a branch, a tag or a commit. What counts is today's default remote, also for a commit from
before it was configured, and what lies there now, not what DVC remembers of it. Exit codes: 0 where
all is there, or nothing is to be checked; 4 where something is not, or outputs were not made by
what dvc.lock says; 1 where that cannot be told.

With --repair it also reads every object there and removes what is damaged, so that `dvc push`,
which asks for names alone, sends it again.
"""

import argparse
import json
import shlex
import sys
from contextlib import suppress

from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash import hash_file

from convline import runs, stage
from convline.objects import checked_name

LACKING = 4

Objects = dict[str, str]  # by path in the workspace, the name of its object in cache and remote


def main() -> None:
    """Check each revision, print each result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revisions", nargs="*", default=["HEAD"], metavar="revision")
    parser.add_argument("--repair", action="store_true", help="remove what is damaged there")
    arguments = parser.parse_args()

    with Repo() as repo:
        if not (name := repo.config["core"].get("remote")):
            print("pushed: no default remote is configured, so nothing was checked")
            return
        failed = False
        for revision in arguments.revisions:
            try:
                failed |= not (check(repo, name, revision, arguments.repair) and vouch(revision))
            except RevError as error:
                raise runs.unknown(revision) from error
            except Exception as error:  # each kind of remote raises its own
                raise stage.Problem(
                    f"cannot tell whether the remote {name!r} has the data of {short(revision)}: "
                    f"{error}"
                ) from error
    sys.exit(LACKING * failed)


def check(repo: Repo, name: str, revision: str, repair: bool) -> bool:
    """Whether the remote `name` has the data of `revision`. Prints what it lacks and a way out.

    With `repair`, it lacks from then on what was damaged or incomplete.
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
        command = f"python src/pushed.py --repair {shlex.quote(short(revision))}"
        advice = f"run `{command}`, and then {advice}"
    print(
        f"pushed: FAILED: the remote {name!r} lacks {', '.join(lost)} of {short(revision)}: "
        f"{advice}",
        file=sys.stderr,
    )
    return False


def vouch(revision: str) -> bool:
    """Whether the outputs of `revision` were made by what its dvc.lock says. Prints if not.

    A revision without a finished run claims nothing.
    """
    try:
        remarks = runs.load(revision).remarks
    except runs.FalseRun as problem:
        print(f"pushed: FAILED: {short(str(problem))}", file=sys.stderr)
        return False
    except stage.Problem:
        return True
    for remark in remarks:
        print(f"pushed: {short(remark)}", file=sys.stderr)
    return True


def way_out(repo: Repo, revision: str, wanted: Objects, *, cached: bool) -> str:
    """What to do for `wanted`, some of the outputs of `revision`, to get to the remote."""
    commands = ["dvc push"] if cached else ["dvc repro", "dvc push"]
    if not wanted.items() <= pushable(repo, runs.WORKSPACE).items():
        if resolve_rev(repo.scm, revision) == repo.scm.get_rev():
            commands = ["git stash", *commands, "git stash pop"]
        else:
            commands = [f"git checkout {shlex.quote(short(revision))}", *commands]
    run = f"`{' && '.join(commands)}`"
    if cached:
        return f"run {run}"
    return f"the cache here lacks them too: run `dvc push` where they were made, or {run}"


def short(revision: str) -> str:
    """The name of a branch or tag without the prefix that git gives it in a hook."""
    return revision.removeprefix("refs/heads/").removeprefix("refs/tags/")


def pushable(repo: Repo, revision: str) -> Objects:
    """What `dvc push` would store of `revision`: the outputs in its dvc.lock that git has not.

    Raises `RevError` where there is no such revision, and `Problem` where a name is no md5.
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
    """Those of `objects` that the remote has not. Raises an error of its kind if it cannot tell.

    DVC's own `dvc status --cloud` does not ask for the files of a directory, nor for what its index
    of the remote holds.
    """
    oids = list(objects.values())
    # One alone first: what is not asked any more after an error would add warnings to it
    there = {*remote.list_oids_exists(oids[:1]), *remote.list_oids_exists(oids[1:])}
    lost = {path: oid for path, oid in objects.items() if oid not in there}
    for oid in list(lost.values())[:1]:
        # Over HTTP, what nobody answers does not exist either; reading it tells why
        with suppress(FileNotFoundError):
            remote.fs.cat_file(remote.oid_to_path(oid))
    return lost


def remove_damaged(remote: HashFileDB, objects: Objects, lost: Objects) -> Objects:
    """Those of `objects`, and not of `lost`, whose bytes there are not those of their name.

    They are removed. Nobody could use them: with `verify = true`, `dvc pull` refuses them.
    """
    damaged = set()
    for oid in {*objects.values()} - {*lost.values()}:
        place = remote.oid_to_path(oid)
        # Not by the remote's own check, which believes a local file that is read-only
        if hash_file(place, remote.fs, remote.hash_name)[1].value != oid.removesuffix(".dir"):
            # One by one: for several, servers differ in what they ask
            remote.fs.rm_file(place)
            damaged.add(oid)
    return {path: oid for path, oid in objects.items() if oid in damaged}


if __name__ == "__main__":
    stage.run(main)
