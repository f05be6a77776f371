"""`convline search`: trials that are experiments, here and on Dask's workers, whatever dies."""

import json
import re
import signal
import sqlite3
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
SEARCHING = (REPOSITORY / "docs/search.md").read_text()


@pytest.fixture
def alone(fresh: Project, tmp_path: Path) -> Project:
    """A project that shares nothing, and pretends to train."""
    return pretend(fresh.copy(tmp_path / "project"), trials=3)


def lines(output: str, name: str) -> list[str]:
    """The progress lines about trials of a search."""
    return re.findall(rf"^search: {name}-\d+: .*$", output, re.MULTILINE)


@slow
def test_trials_are_experiments(alone: Project) -> None:
    output = alone.convline("search", "demo").stdout
    assert len(lines(output, "demo")) == 3
    assert "3 of 3" in lines(output, "demo")[-1]
    names = [f"demo-{number}" for number in range(3)]
    assert sorted(experiments(alone)) == names

    # DVC shows what the search printed, and applies it
    table = json.loads(alone.dvc("exp", "show", "--json"))
    shown = {
        one["name"]: one["revs"][0]["data"]
        for revision in table
        for one in revision["experiments"] or []
    }
    for name in names:
        values = shown[name]["params"]["params.yaml"]["data"]
        accuracy = shown[name]["metrics"]["metrics/train.json"]["data"]["accuracy"]
        (line,) = [line for line in lines(output, "demo") if f" {name}:" in line]
        assert f"accuracy {accuracy:.6g} (learning_rate={values['learning_rate']:.6g}" in line
        assert f"batch_size={values['batch_size']};" in line
    best = max(
        names, key=lambda name: shown[name]["metrics"]["metrics/train.json"]["data"]["accuracy"]
    )
    assert f"Apply      dvc exp apply {best}" in output
    alone.dvc("exp", "apply", best)
    model = (alone.path / "models/model.keras").read_text()
    learned = shown[best]["params"]["params.yaml"]["data"]["learning_rate"]
    assert model.startswith(f"{learned} ")

    # All is over: nothing runs again
    alone.run("git", "checkout", "--quiet", "--force", "HEAD")
    before = experiments(alone)
    assert lines(alone.convline("search", "demo").stdout, "demo") == []
    assert experiments(alone) == before

    # More trials go on from there; the page has them all and loads nothing
    path = alone.path / "params.yaml"
    path.write_text(path.read_text().replace("trials: 3", "trials: 4"))
    assert lines(alone.convline("search", "demo").stdout, "demo")[0].startswith("search: demo-3: ")
    assert before.items() < experiments(alone).items()
    page = (alone.path / "searches/demo.html").read_text()
    assert all(f'<th scope="row"> {name}' in page or f">{name}</th>" in page for name in names)
    assert "<script" not in page
    assert not re.search(r'(src|href)="', page)
    # Optuna's own storage, for its dashboard
    with sqlite3.connect(alone.path / "searches/demo.db") as storage:
        assert storage.execute("select count(*) from trials").fetchone() == (4,)


@slow
def test_the_best_again_with_other_seeds(alone: Project) -> None:
    alone.set_params(search={"trials": 2})
    output = alone.convline("search", "demo", "--confirm", "2").stdout
    again = [f"demo-{number}-seed{seed}" for number in range(2) for seed in (1, 2)]
    assert sorted(set(experiments(alone)) - {"demo-0", "demo-1"}) == again
    # The stage adds a thousandth for each seed: a mean of 0.0015 more
    for value, mean, low, high in re.findall(
        r"demo-\d had (\S+); with 2 other seeds its mean is (\S+), 95 % interval (\S+) to (\S+)",
        output,
    ):
        assert float(mean) == pytest.approx(float(value) + 0.0015, abs=2e-6)
        # Student's t for one degree of freedom is 12.706, and the standard error 0.0005
        assert float(high) - float(mean) == pytest.approx(0.006353, abs=3e-6)
        assert float(mean) - float(low) == pytest.approx(0.006353, abs=3e-6)
    assert output.count("with 2 other seeds") == 2
    assert not lines(alone.convline("search", "demo", "--confirm", "2").stdout, "demo")


@slow
def test_pruned_trials_are_no_experiments(alone: Project) -> None:
    path = alone.path / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["epochs"] = 30
    # The first five are never pruned; then 1e-9 falls behind
    content["search"] |= {"pruner": "median", "trials": 7, "vary": {"learning_rate": [0.01, 1e-9]}}
    path.write_text(yaml.safe_dump(content))
    alone.commit("Prune")
    output = alone.convline("search", "demo", NAP="0.1").stdout
    pruned = re.findall(r"^search: (demo-\d): pruned after \d+ epochs", output, re.MULTILINE)
    completed = re.findall(r"^search: (demo-\d): accuracy", output, re.MULTILINE)
    assert pruned
    assert len(pruned + completed) == 7
    assert sorted(experiments(alone)) == sorted(completed)
    assert f"{len(pruned)} pruned" in output


@slow
def test_a_trial_that_fails_is_told_and_the_search_goes_on(alone: Project) -> None:
    alone.set_params(search={"vary": {"learning_rate": [0.9, 0.01]}, "trials": 6})
    alone.commit("Diverge at times")
    output = alone.convline("search", "demo").stdout
    assert re.search(r"demo-\d: failed: .*train: diverged.* \(learning_rate=0.9", output)
    assert 0 < len(experiments(alone)) < 6


@slow
def test_where_every_trial_fails_the_search_ends(alone: Project) -> None:
    (alone.path / "pretend.py").write_text("raise SystemExit('train: no such thing')\n")
    alone.commit("Break")
    line = alone.convline("search", "demo", ok=False)
    assert line.returncode == 1
    assert "the first 3 trials failed" in line.stderr
    assert "train: no such thing" in line.stderr
    assert experiments(alone) == {}


@slow
def test_changes_that_trials_would_not_have(alone: Project) -> None:
    (alone.path / "pretend.py").write_text("# edited\n")
    result = alone.convline("search", "demo", ok=False)
    assert "pretend.py differs from the last commit" in result.stderr
    alone.run("git", "checkout", "--quiet", "pretend.py")
    # A name that earlier experiments have
    alone.dvc("exp", "run", "--name", "demo-0", "-S", "seed=5")
    alone.run("git", "checkout", "--quiet", "--force", "HEAD")
    result = alone.convline("search", "demo", ok=False)
    assert "experiments of an earlier search, such as demo-0" in result.stderr
    # Another search under a name that began
    alone.convline("search", "other")
    path = alone.path / "params.yaml"
    path.write_text(path.read_text().replace("batch_size:\n    - 16", "batch_size:\n    - 8"))
    result = alone.convline("search", "other", ok=False)
    assert "search.vary is not what the search other began with" in result.stderr


@slow
def test_ctrl_c_and_again(alone: Project) -> None:
    alone.shell["NAP"] = "1.5"
    search = alone.start("python", "-u", "src", "search", "demo")
    until(lambda: of_trial("demo-0"))
    search.send_signal(signal.SIGINT)
    output, _ = search.communicate(timeout=240)
    assert search.returncode == 130, output
    assert "no new trials; waits for demo-0" in output
    assert "to go on: convline search demo" in output
    first = experiments(alone)
    assert set(first) < {"demo-0", "demo-1", "demo-2"}
    assert first

    search = alone.start("python", "-u", "src", "search", "demo")
    running = f"demo-{len(first)}"
    until(lambda: of_trial(running))
    for _ in range(2):
        search.send_signal(signal.SIGINT)
        until(lambda: True)
    output, _ = search.communicate(timeout=240)
    assert search.returncode == 130, output
    until(lambda: not of_trial(running))
    alone.convline("search", "demo")
    assert sorted(experiments(alone)) == ["demo-0", "demo-1", "demo-2"]
    assert first.items() <= experiments(alone).items()


@slow
def test_a_killed_search_goes_on(alone: Project) -> None:
    alone.shell["NAP"] = "1.5"
    search = alone.start("python", "-u", "src", "search", "demo")
    until(lambda: of_trial("demo-0"))
    search.kill()
    search.communicate()
    until(lambda: not of_trial("demo-0"))
    assert experiments(alone) == {}
    result = alone.convline("search", "demo")
    assert lines(result.stdout, "demo")[0].startswith("search: demo-")
    assert sorted(experiments(alone)) == ["demo-0", "demo-1", "demo-2"]


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
    pretend(team.first, trials=12 if storage.port == 0 else 6)  # 0: a folder, which is fast
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
    assert [pid for name in names for pid in of_trial(name)] == []


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
    path = a.path / "params.yaml"
    path.write_text(path.read_text().replace("trials: 12", "trials: 1"))
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
    assert len(experiments(a, "origin")) == 12
    assert not list(local.glob("dask-scratch-space/worker-*/demo-*"))


@slow
def test_trials_at_once_are_those_run_alone(reproduced: Project, tmp_path: Path) -> None:
    project = reproduced.copy(tmp_path / "project")
    vary = {"learning_rate": [0.002, 0.01], "network": ["convnet", "resnet"]}
    vary["resnet.filters"] = [[4], [4, 8]]
    project.set_params(threads=1)
    path = project.path / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["search"] |= {"vary": vary, "trials": 2}
    path.write_text(yaml.safe_dump(content))
    project.commit("One thread")
    output = project.convline("search", "demo").stdout
    assert len(lines(output, "demo")) == 2
    for name, rev in experiments(project).items():
        project.run("git", "checkout", "--quiet", "--force", rev)
        project.dvc("checkout")
        made = project.hashes()
        project.dvc("repro", "--force")
        assert project.hashes() == made, name
