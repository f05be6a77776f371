"""`convline search` on one machine: trials are experiments, and it goes on after whatever end."""

import json
import re
import signal
import sqlite3
from pathlib import Path

import pytest
import yaml

import fork_server
from conftest import Project
from searching import experiments, of_trial, pretend, until

slow = pytest.mark.slow


@pytest.fixture
def alone(fresh: Project, tmp_path: Path) -> Project:
    """A project that shares nothing, and pretends to train."""
    project = pretend(fresh.copy(tmp_path / "project"), trials=3)
    project.shell["TMPDIR"] = str(tmp_path)  # where trials are
    return project


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
    alone.shell |= {"NAP": "3", **fork_server.NEW}
    search = alone.start("python", "-u", "src", "search", "demo")
    until(lambda: of_trial("demo-0", alone.path.parent))
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
    until(lambda: of_trial(running, alone.path.parent))
    search.send_signal(signal.SIGINT)
    assert search.stdout
    next(line for line in search.stdout if f"no new trials; waits for {running}" in line)
    search.send_signal(signal.SIGINT)
    output, _ = search.communicate(timeout=240)
    assert search.returncode == 130, output
    assert f"search: ends {running}" in output
    assert running not in experiments(alone)
    until(lambda: not of_trial(running, alone.path.parent))
    alone.convline("search", "demo")
    assert sorted(experiments(alone)) == ["demo-0", "demo-1", "demo-2"]
    assert first.items() <= experiments(alone).items()


@slow
def test_a_killed_search_goes_on(alone: Project) -> None:
    alone.shell |= {"NAP": "1.5", **fork_server.NEW}
    search = alone.start("python", "-u", "src", "search", "demo")
    until(lambda: of_trial("demo-0", alone.path.parent))
    search.kill()
    search.communicate()
    until(lambda: not of_trial("demo-0", alone.path.parent))
    assert experiments(alone) == {}
    result = alone.convline("search", "demo")
    assert lines(result.stdout, "demo")[0].startswith("search: demo-")
    assert sorted(experiments(alone)) == ["demo-0", "demo-1", "demo-2"]


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
