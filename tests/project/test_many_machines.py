"""`convline search` on many machines: Dask's workers, Slurm, real remotes, whatever dies."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY, Project
from searching import Dask, dask, experiments, of_trial, pretend, until, workers_environment
from servers import LOOPBACK, Storage, s3, slurm
from teams import Team, found, on, skip_without

slow = pytest.mark.slow
TRIALS = 6
SEARCHING = (REPOSITORY / "docs/search.md").read_text()


@pytest.fixture
def cluster(tmp_path: Path, team: Team) -> Iterator[Dask]:
    """A scheduler; what its workers leave is looked for at the end."""
    folder = tmp_path / "dask"
    folder.mkdir()
    with dask(folder, team.first) as one:
        yield one


@pytest.fixture
def team(storage: Storage, reproduced: Project, tmp_path: Path) -> Team:
    """A team whose project pretends to train."""
    team = found(tmp_path, storage, reproduced)
    pretend(team.first, trials=TRIALS)
    team.first.run("git", "push", "--quiet", "origin", "main")
    return team


def hold_refs(team: Team) -> tuple[Path, Path]:
    """Let origin wait before it takes an experiment: as long as one file is there, with another."""
    held, arrived = team.folder / "held", team.folder / "arrived"
    hook = team.folder / "origin/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nwhile [ -f {held} ]; do touch {arrived}; sleep 0.1; done\n")
    hook.chmod(0o755)
    held.touch()
    return held, arrived


@slow
@on("folder", "ssh", "s3")
def test_whatever_dies(team: Team, cluster: Dask) -> None:
    a = team.first
    command = ("python", "-u", "src", "search", "demo", "--scheduler", cluster.address)
    held, arrived = hold_refs(team)
    search = a.start(*command)
    for name in ("one", "two"):
        cluster.start(name, NAP="0.2")

    # Between data and name: kill -9 of the worker whose trial waits at origin
    until(arrived.exists)
    (name,) = {re.sub(r"-\w+$", "", Path(path).parent.name) for path in cluster.left()[:1]}
    owner = next(path for path in cluster.left() if f"/{name}-" in path)
    worker = Path(owner).relative_to(cluster.folder).parts[0]
    cluster.kill(worker)
    until(lambda: not Path(owner).exists())
    held.unlink()
    cluster.start(worker, NAP="0.2")

    # In the middle of a training
    until(lambda: cluster.left() and (Path(cluster.left()[0]) / "metrics/history").exists())
    worker = Path(cluster.left()[0]).relative_to(cluster.folder).parts[0]
    cluster.kill(worker)

    # Origin away, and the search killed meanwhile; then both come back
    origin, away = team.folder / "origin", team.folder / "away"
    origin.rename(away)
    search.kill()
    search.communicate()
    cluster.start(worker, NAP="0.2")
    away.rename(origin)
    search = a.start(*command)
    output, _ = search.communicate(timeout=500)
    assert search.returncode == 0, output

    # Each name once, with its data, which another clone gets
    settings = yaml.safe_load((a.path / "params.yaml").read_text())["search"]
    names = {f"demo-{number}" for number in range(settings["trials"])}
    assert set(experiments(a, "origin")) == names, output
    assert experiments(a) == experiments(a, "origin")
    b = team.clone("b")
    b.dvc("exp", "pull", "origin", *sorted(names))
    assert experiments(b).items() >= experiments(a, "origin").items()
    for name, rev in experiments(b).items():
        b.run("git", "checkout", "--quiet", "--force", rev)
        b.dvc("checkout")
        rate = yaml.safe_load((b.path / "params.yaml").read_text())["learning_rate"]
        assert (b.path / "models/model.keras").read_text().startswith(f"{rate} "), name
    assert cluster.left() == []
    assert [pid for name in names for pid in of_trial(name, cluster.folder)] == []


@slow
@pytest.mark.xdist_group("s3")
def test_a_full_remote(reproduced: Project, tmp_path: Path) -> None:
    skip_without("s3")
    place = tmp_path / "store"
    place.mkdir()
    with s3(place):
        pass
    with s3(place, full=True) as storage:
        team = found(tmp_path, storage, reproduced)
        a = pretend(team.first, trials=2)
        a.shell = a.shell | {"AWS_MAX_ATTEMPTS": "1"}
        a.run("git", "push", "--quiet", "origin", "main")
        search = a.start("python", "-u", "src", "search", "demo")
        assert search.stdout
        for line in search.stdout:
            if "waits and tries again: dvc push" in line:
                break
        else:
            pytest.fail("no trial waited")
        assert experiments(a, "origin") == {}
        search.kill()
        search.communicate()
    port = storage.port
    with s3(place) as storage:
        option = ("endpointurl", storage.options["endpointurl"])
        assert storage.port != port
        a.dvc("remote", "modify", "--local", "storage", *option)
        a.convline("search", "demo")
        assert sorted(experiments(a, "origin")) == ["demo-0", "demo-1"]
        assert "has all" in a.convline("pushed", *experiments(a).values()).stdout


@slow
@on("folder")
def test_workers_that_cannot_take_part(team: Team, cluster: Dask, tmp_path: Path) -> None:
    a = team.first
    fake = tmp_path / "fake/dvc-99.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: dvc\nVersion: 99\n")
    cluster.start("other", PYTHONPATH=str(fake.parent))
    search = a.start("python", "-u", "src", "search", "demo", "--scheduler", cluster.address)
    assert search.stdout
    line = next(line for line in search.stdout if "no trials for the worker" in line)
    assert re.search(r"tcp://127.0.0.1:\d+ has dvc 99, not 3\.", line)
    search.kill()
    search.communicate()
    assert experiments(a, "origin") == {}

    # What trials need and cannot have is said before any begins
    wrong = a.convline("search", "demo", "--scheduler", "tcp://127.0.0.1:1", ok=False)
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in wrong.stderr
    a.run("git", "commit", "--allow-empty", "--quiet", "--message", "Not pushed")
    result = a.convline("search", "new", ok=False)
    assert "origin lacks the commit" in result.stderr
    a.run("git", "remote", "remove", "origin")
    result = a.convline("search", "new", "--scheduler", cluster.address, ok=False)
    assert "git remote add origin" in result.stderr


@slow
@on("folder")
def test_with_tls(team: Team, tmp_path: Path) -> None:
    skip_without("https")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ("-subj", "/CN=test", "-addext", f"subjectAltName=IP:{LOOPBACK}")
    files = ("-keyout", str(key), "-out", str(certificate))
    team.first.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files)
    comm = "DASK_DISTRIBUTED__COMM__"
    secure = {f"{comm}REQUIRE_ENCRYPTION": "True", f"{comm}TLS__CA_FILE": str(certificate)}
    for role in ("CLIENT", "SCHEDULER", "WORKER"):
        secure |= {
            f"{comm}TLS__{role}__CERT": str(certificate),
            f"{comm}TLS__{role}__KEY": str(key),
        }
    a = team.first
    a.shell = a.shell | secure
    folder = tmp_path / "secure"
    folder.mkdir()
    a.set_params(search={"trials": 1})
    with dask(folder, a, "--protocol", "tls") as one:
        assert one.address.startswith("tls://")
        one.start("one")
        a.convline("search", "demo", "--scheduler", one.address)
        plain = a.convline(
            "search", "demo", "--scheduler", one.address.replace("tls", "tcp"), ok=False
        )
        assert "no Dask scheduler answers" in plain.stderr
    assert set(experiments(a, "origin")) == {"demo-0"}


def jobs_script(local: Path) -> str:
    """The script of docs/search.md, for the nodes of the test."""
    (script,) = re.findall("```python\n(.*?)```", SEARCHING, re.DOTALL)
    for shown, here in (
        ("cores=4", 'cores=1, interface="lo", scheduler_options={"dashboard": False}'),
        ('"8GB"', '"2GB"'),
        ("/tmp/convline", str(local)),  # noqa: S108
        ("jobs=10", "jobs=2"),
    ):
        assert shown in script
        script = script.replace(shown, here)
    return str(script)


@slow
@on("folder")
def test_on_slurm(team: Team, tmp_path: Path) -> None:
    skip_without("slurm")
    a = team.first
    place, local = tmp_path / "slurm", tmp_path / "local"
    place.mkdir()
    local.mkdir()
    with slurm(place, nodes=2) as environment:
        jobs = subprocess.Popen(
            [sys.executable, "-c", jobs_script(local)],
            cwd=local,  # where jobs write what they print
            env=workers_environment(a) | environment | {"NAP": "0.2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert jobs.stdout
        try:
            address = jobs.stdout.readline().strip()
            search = a.start("python", "-u", "src", "search", "demo", "--scheduler", address)
            # Two trials at once; then a job is cancelled
            until(lambda: len(list(local.glob("dask-scratch-space/worker-*/demo-*"))) == 2)
            a.shell = a.shell | environment
            listed = a.run("squeue", "--noheader", "--format=%i %N").stdout.split()
            assert set(listed[1::2]) == {"n1", "n2"}
            a.run("scancel", listed[0])
            output, _ = search.communicate(timeout=400)
            assert search.returncode == 0, output
        finally:
            jobs.kill()
            jobs.communicate()
    assert len(experiments(a, "origin")) == TRIALS
    assert not list(local.glob("dask-scratch-space/worker-*/demo-*"))
