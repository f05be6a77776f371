"""Two people, two clones, one remote: on real servers, and whatever happens on the way."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import servers
from conftest import REPOSITORY, Project, ran
from drawings import draw_pets
from servers import Storage
from teams import Team, found, on, skip_without

slow = pytest.mark.slow
CLEAN = "Data and pipelines are up to date.\n"
MODEL = "models/model.keras"
SHARING = (REPOSITORY / "docs/sharing.md").read_text()
IMPATIENT = {"AWS_MAX_ATTEMPTS": "1"}  # where a server will not answer


@pytest.fixture
def team(storage: Storage, reproduced: Project, tmp_path: Path) -> Team:
    """A team of the test's own."""
    return found(tmp_path, storage, reproduced)


def share(project: Project, message: str) -> None:
    """Commit and push, code and data."""
    project.commit(message)
    project.dvc("push")
    project.run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD")


@contextmanager
def led_to(port: int, person: Project, storage: Storage) -> Iterator[int]:
    """Let the remote be at another port for a person, as long as this lasts."""
    s3 = ("endpointurl", f"http://{servers.LOOPBACK}:{port}")
    option, value = s3 if storage.options else ("port", str(port))
    person.dvc("remote", "modify", "--local", "storage", option, value)
    yield port
    person.dvc("remote", "modify", "--local", "storage", option, "--unset")


@slow
@on(*servers.WRITABLE)
def test_the_whole_story(team: Team) -> None:
    a, b = team.first, team.clone("b")
    a.dvc("push")

    # Whoever clones gets data, models and metrics, and runs nothing
    b.dvc("pull")
    assert b.hashes() == a.hashes()
    assert ran(b.dvc("repro")) == []
    assert b.dvc("status") == CLEAN
    assert b.hashes() == a.hashes()

    # An experiment of one goes to main through the other
    b.dvc("exp", "run", "--name", "longer", "-S", "epochs=3")
    b.dvc("exp", "push", "origin", "longer")
    a.dvc("exp", "pull", "origin", "longer")
    compared = a.convline("compare", "main", "longer").stdout
    assert "test images of tiny" in compared
    a.dvc("exp", "apply", "longer")
    assert a.hashes() == b.hashes()
    a.run("git", "switch", "--quiet", "--create", "longer")
    a.commit("Train longer")
    a.run("git", "switch", "--quiet", "main")
    a.run("git", "merge", "--quiet", "longer")
    a.dvc("checkout")
    assert a.dvc("status") == CLEAN
    a.dvc("push")
    a.run("git", "push", "--quiet")
    b.run("git", "checkout", "--quiet", "HEAD", "--", ".")
    b.run("git", "pull", "--quiet")
    b.dvc("pull")
    assert b.dvc("status") == CLEAN
    assert b.hashes() == a.hashes()

    # Whoever comes next has it all
    c = team.clone("c")
    c.dvc("pull")
    assert c.dvc("status") == CLEAN
    assert c.hashes() == a.hashes()


@slow
@on("folder")
def test_two_who_change_a_parameter_each_share_what_both_trained(team: Team) -> None:
    """Each on a branch. No kind of storage knows of branches, so one kind will do."""
    a, b = team.first, team.clone("b")
    a.dvc("push")
    b.dvc("pull")
    for person, name, change in (
        (a, "wider", {"convnet": {"dense_units": 12}}),
        (b, "shorter", {"epochs": 1}),
    ):
        person.run("git", "switch", "--quiet", "--create", name)
        person.set_params(**change)
        assert ran(person.dvc("repro")) == ["train", "evaluate", "export"]
        share(person, f"Train {name}")
    b.run("git", "fetch", "--quiet")
    merged = b.run("git", "merge", "origin/wider", ok=False)
    assert merged.returncode == 1
    assert "both sides changed train, evaluate, export" in merged.stderr
    finish = "dvc repro && git add dvc.lock metrics && git commit --no-edit"
    assert finish.removesuffix(" --no-edit") in merged.stderr
    assert ran(b.run("bash", "-c", finish).stdout) == ["train", "evaluate", "export"]
    assert b.dvc("status") == CLEAN
    assert b.run("git", "status", "--porcelain").stdout == ""
    params = yaml.safe_load((b.path / "params.yaml").read_text())
    assert (params["convnet"]["dense_units"], params["epochs"]) == (12, 1)
    b.dvc("push")
    b.run("git", "push", "--quiet")

    # Each commit is still to be had
    c = team.clone("c")
    for branch, person in (("shorter", b), ("wider", a)):
        c.run("git", "switch", "--quiet", branch)
        c.dvc("pull")
        assert c.dvc("status") == CLEAN
        assert c.hashes() == person.hashes()


@slow
@on("folder")
def test_the_public_reads_over_https(team: Team, tmp_path: Path) -> None:
    """Those who write have the folder behind the web server as the URL of the same remote."""
    skip_without("https")
    writer = team.first
    with servers.https(tmp_path, Path(team.storage.root)) as public:
        writer.dvc("remote", "modify", "storage", "url", public.url)
        writer.dvc("remote", "modify", "--local", "storage", "url", team.storage.url)
        share(writer, "Publish")
        reader = team.clone("reader")
        reader.shell = public.environment
        reader.dvc("pull")
        assert reader.hashes() == writer.hashes()
        assert ran(reader.dvc("repro")) == []

        # DVC's run-cache does not pass, and DVC does not say so
        writer.dvc("push", "--run-cache")
        reader.dvc("pull", "--run-cache")
        assert not (reader.path / ".dvc/cache/runs").exists()

        reader.set_params(seed=1)
        reader.dvc("repro", "preprocess")
        before = reader.hashes()
        assert "failed to push data" in reader.dvc("push", ok=False)
        assert reader.hashes() == before


@slow
@on("folder")
def test_only_what_is_needed_is_pulled(team: Team) -> None:
    """For a changed parameter of training, and for a changed evaluation."""
    team.first.dvc("push")
    objects = team.first.objects()

    def pulled(project: Project) -> set[str]:
        files = (project.path / ".dvc/cache/files/md5").rglob("*")
        cached = {f"{file.parent.name}{file.name}" for file in files if file.is_file()}
        return {path for path, md5 in objects.items() if md5 in cached}

    trains, evaluates = team.clone("trains"), team.clone("evaluates")
    shorter = ("exp", "run", "--pull", "--allow-missing", "-S", "epochs=1")
    assert ran(trains.dvc(*shorter)) == ["train", "evaluate", "export"]
    assert pulled(trains) == {path for path in objects if path.startswith("data/processed/")}
    with (evaluates.path / "src/evaluate.py").open("a") as file:
        file.write("# changed\n")
    assert ran(evaluates.dvc("repro", "--pull", "--allow-missing")) == ["evaluate"]
    of_tests = {path for path in objects if path.startswith("data/processed/test_")}
    assert pulled(evaluates) - {path for path in objects if path.startswith("metrics/")} == {
        *of_tests,
        MODEL,
    }


@on("ssh", "s3")
def test_a_push_cut_off_half_way_is_repeated(team: Team) -> None:
    """The machine dies when 30 KB of about 150 are sent."""
    a, b = team.first, team.clone("b")
    with (
        servers.narrow(team.storage.port, 30_000) as (port, ended),
        led_to(port, a, team.storage),
        a.start("dvc", "push") as push,
    ):
        assert ended.wait(60)
        assert push.poll() is None
        push.kill()
    assert "failed to pull" in b.dvc("pull", ok=False)
    arrived = {path: content for path, content in b.hashes().items() if path != "dvc.lock"}
    assert arrived.items() < a.hashes().items()

    assert "pushed" in a.dvc("push")
    b.dvc("pull")
    assert b.hashes() == a.hashes()


@slow
@on(*servers.WRITABLE)
def test_two_push_at_once(team: Team) -> None:
    """Much of it the same, some of each one's own."""
    people = [team.first, team.first.copy(team.folder / "second/project")]
    for seed, person in enumerate(people):
        person.run("git", "switch", "--quiet", "--create", f"seed-{seed + 1}")
        person.set_params(seed=seed + 1)
        person.dvc("repro", "preprocess")
        person.commit("Change the seed")
    for push in [person.start("dvc", "push") for person in people]:
        output, _ = push.communicate(timeout=120)
        assert push.returncode == 0, output
    for person in people:
        person.run("git", "push", "--quiet", "origin", "HEAD")
    c = team.clone("c")
    for seed, person in enumerate(people):
        c.run("git", "switch", "--quiet", f"seed-{seed + 1}")
        c.dvc("pull")
        assert c.hashes() == person.hashes()


@on(*servers.WRITABLE)
def test_a_remote_that_was_emptied_is_filled_again(team: Team) -> None:
    """By whoever has the data; and who asks meanwhile is told what is missing."""
    a = team.first
    a.dvc("push")
    for path in team.storage.fs.find(team.storage.root):
        team.storage.fs.rm_file(path)
    b = team.clone("b")
    refusal = b.dvc("pull", ok=False)
    assert "failed to pull" in refusal
    assert MODEL in refusal

    a.dvc("push", "--all-commits")
    b.dvc("pull")
    assert b.hashes() == a.hashes()


@on("ssh", "s3")
def test_a_remote_out_of_reach_loses_nothing(team: Team) -> None:
    a, b = team.first, team.clone("b")
    for person, command in ((a, "push"), (b, "pull")):
        before = person.hashes()
        with led_to(servers.free_port(), person, team.storage) as port:
            refusal = person.run("dvc", command, ok=False, **IMPATIENT).stderr
        assert "onnect" in refusal
        assert str(port) in refusal
        assert "Traceback" not in refusal
        assert person.hashes() == before

    a.dvc("push")
    b.dvc("pull")
    assert b.hashes() == a.hashes()


@slow
@pytest.mark.xdist_group("s3")
def test_a_full_remote_loses_nothing(
    reproduced: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    skip_without("s3")
    place = tmp_path_factory.mktemp("full")
    with servers.s3(place, full=True) as full:
        team = found(tmp_path, full, reproduced)
        a = team.first
        a.shell = a.shell | IMPATIENT
        before = a.hashes()
        refusal = a.dvc("push", ok=False)
        assert re.search("failed to transfer '[0-9a-f]{32}", refusal)
        assert a.hashes() == before
    with servers.s3(place) as roomy:
        a.dvc("remote", "modify", "storage", "endpointurl", roomy.options["endpointurl"])
        share(a, "Move the remote")
        b = team.clone("b")
        b.dvc("pull")
        assert b.hashes() == a.hashes()


@on("folder", "s3")
def test_a_read_only_remote_loses_nothing(team: Team) -> None:
    a = team.first
    command, environment = ["dvc", "push"], {}
    if team.storage.options:
        environment = servers.S3_READER
    else:
        store = Path(team.storage.root)
        store.mkdir(parents=True)
        store.chmod(0o555)
        if os.geteuid() == 0:  # to whom modes mean nothing unless this is taken away
            command = ["setpriv", "--bounding-set=-dac_override", *command]
    before = a.hashes()
    result = a.run(*command, ok=False, **environment)
    assert result.returncode
    assert re.search("denied", result.stderr, re.IGNORECASE)
    assert "Traceback" not in result.stderr
    assert a.hashes() == before
    assert team.storage.fs.find(team.storage.root) == []

    if not environment:
        store.chmod(0o755)
    a.dvc("push")
    b = team.clone("b")
    b.shell = b.shell | environment
    b.dvc("pull")
    assert b.hashes() == a.hashes()


@on(*servers.WRITABLE)
def test_a_tampered_object_is_refused_named_and_repaired(team: Team) -> None:
    a, b = team.first, team.clone("b")
    a.dvc("push")
    fs, model = team.storage.fs, team.storage.object(a.objects()[MODEL])
    tampered = fs.cat_file(model)[:-1] + b"!"
    fs.rm_file(model)
    fs.pipe_file(model, tampered)

    refusal = b.dvc("pull", ok=False)
    assert f"Checkout failed for following targets:\n{MODEL}\n" in refusal
    assert not (b.path / MODEL).exists()

    repaired = a.convline("pushed", "--repair", ok=False)
    assert repaired.returncode == 4, repaired.stderr
    a.dvc("push")
    b.dvc("pull")
    assert b.hashes() == a.hashes()


@on("folder")
def test_a_damaged_cache_is_repaired_from_the_remote(team: Team) -> None:
    a = team.first
    a.dvc("push")
    before = a.hashes()
    md5 = a.objects()[MODEL]
    cached = a.path / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    cached.chmod(0o644)
    cached.write_bytes(cached.read_bytes()[:-1] + b"!")
    cached.chmod(0o444)
    (a.path / MODEL).unlink()
    a.dvc("checkout")
    assert a.hashes() != before  # DVC takes what is read-only for checked

    a.run(
        "bash",
        "-c",
        "chmod -R u+w .dvc/cache/files && git clean -fdX data models metrics && dvc pull",
    )
    assert a.hashes() == before


@on("ssh")
def test_dvc_takes_any_host_key_and_openssh_before_it_does_not(team: Team) -> None:
    """With the ProxyCommand of docs/sharing.md, once for the right key and once for another."""
    a = team.first
    settings = Path(a.shell["HOME"]) / ".ssh"
    config, known_hosts = settings / "config", settings / "known_hosts"
    plain, right_key = config.read_text(), known_hosts.read_text()
    host, _ = right_key.split(" ", 1)
    another_key = f"{host} {(settings.parent.parent / 'user.pub').read_text()}"
    (command,) = re.findall(r"^ *ProxyCommand .*", SHARING, re.MULTILINE)
    # ssh asks the system, not $HOME, for its user's settings; port 22 is not the tests' to have
    command = command.replace(" ssh ", f" ssh -F {config} ").replace(":22", f":{team.storage.port}")
    try:
        known_hosts.write_text(another_key)
        assert "pushed" in a.dvc("push")
        config.write_text(f"{plain}{command}\n")
        assert "Connection lost" in a.dvc("status", "--cloud", ok=False)
        known_hosts.write_text(right_key)
        assert "in sync" in a.dvc("status", "--cloud")
    finally:
        config.write_text(plain)
        known_hosts.write_text(right_key)


@on("ssh")
def test_dvc_forwards_the_agent_unless_it_sees_none(team: Team) -> None:
    a = team.first
    log = Path(a.shell["HOME"]).parent / "sshd.log"
    with subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(team.folder / "agent")], stdout=subprocess.DEVNULL
    ) as agent:
        try:
            while not (team.folder / "agent").exists():
                time.sleep(0.01)
            for command, forwarded in (("", True), ("env -u SSH_AUTH_SOCK ", False)):
                start = log.stat().st_size
                push = f"{command}dvc push"
                assert push.removeprefix("dvc push") in SHARING
                a.run("bash", "-c", push, SSH_AUTH_SOCK=str(team.folder / "agent"))
                assert (b"auth-agent-req" in log.read_bytes()[start:]) == forwarded
        finally:
            agent.terminate()


def test_a_pull_can_run_code_of_the_repository(project: Project) -> None:
    (project.path / "aws").write_text("[default]\ncredential_process = touch ran\n")
    (project.path / ".dvc/config").write_text(
        "[core]\nremote = storage\n['remote \"storage\"']\nurl = s3://bucket/store\n"
        f"endpointurl = http://{servers.LOOPBACK}:9\nconfigpath = ../aws\n"
    )
    project.dvc("pull", ok=False)
    assert (project.path / "ran").exists()


@on("folder")
def test_run_cache_entries_travel_without_their_objects(team: Team) -> None:
    """Those of a run that the workspace has left again."""
    a, storage = team.first, team.storage
    a.set_params(seed=1)
    a.dvc("repro", "preprocess")
    left = a.objects()["data/processed/train_images.npy"]
    a.run("git", "checkout", "--quiet", "HEAD", "--", ".")
    a.dvc("checkout")
    a.dvc("push", "--run-cache")
    assert any(left in storage.fs.cat_file(entry).decode() for entry in runs(storage))
    assert not storage.fs.exists(storage.object(left))


def runs(storage: Storage) -> list[str]:
    """The paths of the entries of the run-cache."""
    return list(storage.fs.find(f"{storage.root}/runs"))


@slow
@on("ssh", "s3")
def test_pictures_are_imported_from_there(storage: Storage, fresh: Project, tmp_path: Path) -> None:
    """A folder and an archive of the same pictures become the same dataset."""
    there = storage.at("pictures")
    drawn = draw_pets(tmp_path / "pets")
    shutil.make_archive(str(drawn), "zip", drawn)
    storage.fs.put(f"{drawn}/", f"{there.root}/pets", recursive=True)
    storage.fs.put(f"{drawn}.zip", f"{there.root}/pets.zip")
    project = fresh.copy(tmp_path / "project")
    project.shell = storage.environment | {
        "AWS_ENDPOINT_URL": storage.options.get("endpointurl", "")
    }
    project.convline("import", "pets", f"{there.url}/pets")
    project.commit("Import pets")
    assert (project.path / "data/sets/pets/pictures.csv").read_text().count(".png,") == 36
    project.convline("import", "pets", f"{there.url}/pets.zip")
    assert project.run("git", "status", "--porcelain").stdout == ""
