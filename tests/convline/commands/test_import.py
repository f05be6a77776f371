"""The import of pictures, as its command: what it writes, keeps, refuses and survives."""

import csv
import hashlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Project, with_pets
from convline.commands import import_
from convline.data import archives, splits
from convline.problems import Problem
from drawings import PETS, draw, draw_pets, picture

TRACKED = ("datasets.yaml", "data/sets/pets.dvc")  # by git

pytestmark = pytest.mark.xdist_group("import")

# A command that sends itself a signal as it is about to rename a file to a name with this end
STRUCK = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
end, number = sys.argv[1], int(sys.argv[2])
def strike(event, arguments):
    if event == "os.rename" and os.fspath(arguments[1]).endswith(end):
        os.kill(os.getpid(), number)
sys.addaudithook(strike)
sys.argv = ["src", *sys.argv[3:]]
runpy.run_path("src", run_name="__main__")
"""

# A command that runs a statement after the census
MEDDLED = """
import runpy, sys
from pathlib import Path
statement, sys.argv = sys.argv[1], ["src", *sys.argv[2:]]
sys.path.insert(0, "src")
from convline.data import census
take = census.take
def meddle(found):
    taken = take(found)
    exec(statement)
    return taken
census.take = meddle
runpy.run_path("src", run_name="__main__")
"""


@pytest.fixture(scope="module")
def first(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after the import of ../pets, committed. Tests leave it as it is."""
    return with_pets(fresh, tmp_path_factory.mktemp("first"), validation_size=0.2)


@pytest.fixture
def imported(first: Project, tmp_path: Path) -> Project:
    """The same, with pictures of its own, for a test to change."""
    shutil.copytree(first.path.parent / "pets", tmp_path / "pets")
    return first.copy(tmp_path / "project")


def pets(project: Project) -> Path:
    """Where the pictures come from."""
    return project.path.parent / "pets"


def changes(project: Project) -> list[str]:
    """What `git status` lists."""
    return project.run("git", "status", "--porcelain").stdout.splitlines()


def packed(project: Project, name: str = "pets") -> dict[str, bytes]:
    """The files in which the pictures are."""
    return {path.name: path.read_bytes() for path in (project.path / "data/sets" / name).iterdir()}


def state(project: Project) -> dict[str, bytes]:
    """All that an import changes."""
    return packed(project) | {path: (project.path / path).read_bytes() for path in TRACKED}


def entry(project: Project, name: str = "pets") -> dict[str, Any]:
    entries: dict[str, dict[str, Any]] = yaml.safe_load(
        (project.path / "datasets.yaml").read_text()
    )
    return entries[name]


def sides(project: Project) -> dict[str, str]:
    """The split of each picture in the next run, by its file name."""
    rows = archives.rows(project.path / "data/sets/pets")
    values = entry(project)
    rule = splits.Rule("", values.get("test_share"), values["split_seed"])
    return {row.file_name: side for row, side in zip(rows, splits.by_content(rows, rule, 0.3))}


def refused(project: Project, *arguments: str) -> list[str]:
    """The lines of an import that ends as bad input does, and leaves everything as it was."""
    before = state(project)
    result = project.convline("import", *(arguments or ("pets", "../pets")), ok=False)
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert state(project) == before
    assert changes(project) == []
    assert not list(project.path.rglob("*.part"))
    lines = result.stderr.splitlines()
    assert all(line.startswith("import: ") for line in lines)
    return [line.removeprefix("import: ") for line in lines]


def test_what_git_and_dvc_get(first: Project) -> None:
    shown = first.run("git", "show", "--stat", "--format=", "HEAD").stdout
    assert [line.split()[0] for line in shown.splitlines()[:-1]] == [
        "data/sets/.gitignore",
        "data/sets/pets.dvc",
        "datasets.yaml",
    ]
    values = entry(first)
    files = values.pop("files")
    assert values == {
        "shape": [16, 16, 3],
        "fit": "pad",
        "background": "white",
        "classes": list(PETS),
        "test_share": 0.2,
        "split_seed": values["split_seed"],
    }
    assert files == {
        name: {
            "bytes": len(content),
            "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
        }
        for name, content in packed(first).items()
    }
    assert len(files) <= 17
    assert "-pets" not in first.run("git", "show", "HEAD", "--", "datasets.yaml").stdout


def test_the_same_pictures_again_change_nothing(imported: Project, tmp_path: Path) -> None:
    """Whatever their dates, their rights, and the order in which they came onto the disk."""
    copy = tmp_path / "copy"
    for path in sorted(pets(imported).rglob("*.png"), reverse=True):
        target = copy / path.relative_to(pets(imported))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o600)
        os.utime(target, (0, 10**9))
    result = imported.convline("import", "pets", "../copy")
    assert changes(imported) == []
    header, _, *lines = result.stdout.splitlines()
    assert header.split()[:4] == ["class", "train", "validation", "test"]
    assert [line.split()[0] for line in lines[:4]] == [*PETS, "all"]
    assert lines[-1] == "  dvc exp run -S dataset=pets"


def test_new_pictures_move_no_other(imported: Project) -> None:
    before, of_files = sides(imported), packed(imported)
    (pets(imported) / "ant/a new one.png").write_bytes(picture(500))
    imported.convline("import", "pets", "../pets")
    changed = {name for name, content in packed(imported).items() if of_files[name] != content}
    assert changed == {"pictures.csv", archives.archive_of(picture(500))}
    assert before.items() < sides(imported).items()
    assert changes(imported) == ["M  data/sets/pets.dvc", "M  datasets.yaml"]


def test_pictures_and_classes_that_are_gone(imported: Project) -> None:
    before = sides(imported)
    shutil.rmtree(pets(imported) / "bee")
    keep = archives.archive_of((pets(imported) / "ant/00.png").read_bytes())
    for path in pets(imported).rglob("*.png"):
        if archives.archive_of(path.read_bytes()) == keep and path.name > "05.png":
            path.unlink()
    imported.convline("import", "pets", "../pets")
    assert entry(imported)["classes"] == ["ant", "cat"]
    assert set(entry(imported)["files"]) == set(packed(imported))
    assert sides(imported).items() < before.items()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *[
            (name, "cannot name a dataset; a letter, then")
            for name in ("a.b", "../x", "-x", "", " ")
        ],
        *[
            (name, "cannot name a dataset; a letter, then")
            for name in ("true", "no", "null", "123")
        ],
        ("mnist", "datasets.yaml: mnist is a dataset of other files; choose another name"),
        ("digits", "datasets.yaml: digits is a dataset of other files; choose another name"),
        ("mine", "data/sets/mine holds other files; move them, or choose another name"),
    ],
)
def test_a_name_that_cannot_be_used(
    clone: Project, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(clone.path)
    draw(clone.path / "data/sets/mine", ["cat/1.png"])
    with pytest.raises(Problem) as caught:
        import_.described(name)
    assert words in str(caught.value)


def test_a_name_that_looks_like_an_option(imported: Project) -> None:
    (line,) = refused(imported, "--", "-x", "../pets")
    assert line == "'-x' cannot name a dataset; a letter, then letters, digits, - and _ can"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("background", "whiteish", "background is whiteish; it should be a colour"),
        ("fit", "squash", "fit is 'squash'; it should be 'pad', 'crop' or 'stretch'"),
        ("shape", [0, 16, 3], "shape.0 is 0; it should be greater than or equal to 1"),
        ("shape", [16, 16, 4], "shape.2 is 4; it should be 1 or 3"),
    ],
)
def test_a_wrong_entry_is_refused_before_a_picture_is_read(
    first: Project,
    clone: Project,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: object,
    words: str,
) -> None:
    monkeypatch.chdir(clone.path)
    clone.set_dataset("pets", **{**entry(first), key: value})
    with pytest.raises(Problem) as caught:
        import_.described("pets")
    assert str(caught.value).startswith(f"datasets.yaml: pets: {words}")


def test_outside_of_a_project(fresh: Project, tmp_path: Path) -> None:
    outside = Project(tmp_path, fresh.mirror)
    result = outside.run(
        "python", str(fresh.path / "src"), "import", "pets", str(tmp_path), ok=False
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"import: there is no dvc.yaml in this folder; run it in {fresh.path}\n"
    )


def test_a_source_that_is_missing(imported: Project) -> None:
    assert refused(imported, "pets", "../nowhere") == [
        "../nowhere does not exist; give a folder, a zip or a tar"
    ]


def test_all_that_is_wrong_is_said_at_once(imported: Project) -> None:
    (pets(imported) / "ant/00.png").write_bytes(b"no picture")
    (pets(imported) / "loose.png").write_bytes(picture(99))
    *lines, last = refused(imported)
    assert [line.split()[0] for line in lines] == ["ant/00.png", "loose.png"]
    assert last == (
        "nothing is imported; files with problems: 2. Repair or remove them, or leave "
        "them out with --skip-damaged"
    )
    (pets(imported) / "dog").mkdir()
    *lines, last = refused(imported)
    assert lines[-1] == "the class dog has no pictures"
    assert last == "nothing is imported: put right what is said above in ../pets"


def test_damage_is_skipped_if_that_is_asked_for(imported: Project) -> None:
    before = state(imported)
    (pets(imported) / 'ant/a "b", c.png').write_bytes(b"no picture")
    (pets(imported) / "loose.png").write_bytes(picture(99))
    result = imported.convline("import", "pets", "../pets", "--skip-damaged")
    assert "- files skipped because of problems: 2, listed in skipped.csv:" in result.stdout
    assert "\n  loose.png is in no class: pictures belong in CLASS/\n" in result.stdout
    with open(imported.path / "data/sets/pets/skipped.csv", newline="") as file:
        header, one, two = csv.reader(file)
    assert header == ["file_name", "reason"]
    assert one[0] == 'ant/a "b", c.png'
    assert two == ["loose.png", "is in no class: pictures belong in CLASS/"]
    assert "skipped.csv" in entry(imported)["files"]
    (pets(imported) / 'ant/a "b", c.png').unlink()
    (pets(imported) / "loose.png").unlink()
    imported.convline("import", "pets", "../pets")
    assert state(imported) == before


def test_a_class_whose_pictures_are_all_skipped(imported: Project) -> None:
    (pets(imported) / "dog").mkdir()
    (pets(imported) / "dog/1.png").write_bytes(b"no picture")
    lines = refused(imported, "pets", "../pets", "--skip-damaged")
    assert lines[0] == "the class dog has no pictures"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("Path('../pets/bee/05.png').unlink()", "bee/05.png cannot be read: No such file"),
        ("Path('../pets/bee/05.png').write_bytes(b'other')", "bee/05.png changed while it was"),
    ],
)
def test_a_picture_that_changes_between_census_and_packing(
    imported: Project, statement: str, words: str
) -> None:
    before = state(imported)
    arguments = ("python", "-c", MEDDLED, statement, "import", "pets", "../pets")
    result = imported.run(*arguments, ok=False)
    assert result.returncode == 1, result
    (line,) = result.stderr.splitlines()
    assert words in line
    assert state(imported) == before


LABELS = ["no", "1e3", "a: b", "x, y", "#1", 'say "hi"', "あ", "it's"]


def test_names_of_all_kinds_reach_the_arrays(imported: Project) -> None:
    """Those that YAML reads as something else too."""
    source = pets(imported).parent / "awkward"
    names = ["a b.png", "a,b.png", 'a"b.png', "a\nb.png", "a\rb.png", "e\u0301.png", "\xe9.png"]
    draw(source, [f"{label}/{name}" for label in LABELS for name in names])
    imported.convline("import", "awkward", "../awkward")
    assert entry(imported, "awkward")["classes"] == sorted(LABELS)
    imported.set_params(dataset="awkward", validation_size=0.2)
    imported.run("python", "src/fetch.py")
    result = imported.run("python", "src/preprocess.py")
    assert result.stderr == ""
    assert imported.dvc("status", "data/sets/awkward.dvc").endswith("up to date.\n")


def test_a_table_with_splits_needs_no_rule(imported: Project) -> None:
    source = draw_pets(imported.path.parent / "listed", 4)
    rows = [
        f"{label}/{i:02}.png;{i % 2};{split}"
        for label in PETS
        for i, split in enumerate(("train", "test", "val", "train"))
    ]
    rows = [row.replace(";0;test", ";1;test") for row in rows]
    for i, label in enumerate(PETS):
        rows[4 * i + 3] = f"{label}/03.png;{i % 2};train"
        rows[4 * i + 2] = f"{label}/02.png;{i % 2};val"
    (source / "labels.csv").write_text("\r\n".join(["file_name;label;split", *rows]))
    imported.convline("import", "listed", "../listed")
    values = entry(imported, "listed")
    assert values["classes"] == ["0", "1"]
    assert not {"test_share", "split_seed"} & set(values)


def test_a_small_set_comes_with_the_size_that_it_takes(imported: Project) -> None:
    draw_pets(imported.path.parent / "few", 3)
    imported.set_params(validation_size=5000)
    result = imported.convline("import", "few", "../few")
    assert result.stdout.splitlines()[-1].startswith("  dvc exp run -S dataset=few -S validation_s")
    assert entry(imported, "few")["test_share"] < 0.5


def test_grey_and_large_pictures(imported: Project) -> None:
    """Another size than all others have, or a large one, is scaled to 64 x 64."""
    source = pets(imported).parent / "grey"
    for i in range(12):
        path = source / f"{i % 2}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i, (200, 30), "L"))
    imported.convline("import", "grey", "../grey")
    assert entry(imported, "grey")["shape"] == [64, 64, 1]


@pytest.mark.parametrize("link", ["symlink", "hardlink"])
def test_a_set_that_links_into_the_cache(imported: Project, link: str) -> None:
    """What is in the cache is never written to."""
    imported.dvc("config", "cache.type", link)
    imported.dvc("checkout", "--relink", "data/sets/pets.dvc")
    objects = {
        path: path.read_bytes()
        for path in (imported.path / ".dvc/cache").rglob("*")
        if path.is_file()
    }
    (pets(imported) / "ant/new.png").write_bytes(picture(500))
    imported.convline("import", "pets", "../pets")
    assert all(path.read_bytes() == content for path, content in objects.items())
    imported.run("git", "checkout", "HEAD", "--", ".")
    imported.dvc("checkout", "data/sets/pets.dvc")
    assert "new" not in (imported.path / "data/sets/pets/pictures.csv").read_text()


@pytest.fixture(scope="module")
def grown(first: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The state after an import of more pictures that nothing disturbed."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(first.path.parent / "pets", folder / "pets")
    project = first.copy(folder / "project")
    grow(project)
    project.convline("import", "pets", "../pets")
    return state(project)


def grow(project: Project) -> None:
    """Add pictures to most of the zips, and a class."""
    draw(pets(project), [f"dog/{i}.png" for i in range(20)], first=700)


@pytest.mark.parametrize(
    "end",
    [
        "pictures-5.zip",  # as it is packed
        "pets.old.part",  # before the old set makes room
        "/sets/pets",  # while the set is missing
        "datasets.yaml",  # before the last file
    ],
)
def test_kill_9_leaves_all_as_before_or_complete(
    imported: Project, grown: dict[str, bytes], end: str
) -> None:
    """And the same command finishes."""
    before = state(imported)
    grow(imported)
    command = ("python", "-c", STRUCK, end, str(int(signal.SIGKILL)), "import", "pets", "../pets")
    result = imported.run(*command, ok=False)
    assert result.returncode == -signal.SIGKILL, result
    for path in TRACKED:
        assert (imported.path / path).read_bytes() in (before[path], grown[path])
    if end != "/sets/pets":
        sets = [{name: one[name] for name in one if name not in TRACKED} for one in (before, grown)]
        assert packed(imported) in sets
    else:  # the one moment at which both are there under other names
        assert not (imported.path / "data/sets/pets").exists()
    imported.convline("import", "pets", "../pets")
    assert state(imported) == grown
    assert not list(imported.path.rglob("*.part"))
    assert imported.dvc("status", "data/sets/pets.dvc").endswith("up to date.\n")


def test_an_import_that_was_killed_between_two_renames_is_undone(
    imported: Project, grown: dict[str, bytes]
) -> None:
    """By the next import of any set, even if that one finds fault."""
    before = state(imported)
    os.replace(imported.path / "data/sets/pets", imported.path / "data/sets/pets.old.part")
    draw(imported.path / "data/sets/pets.part", ["pictures-0.zip"])
    result = imported.convline("import", "other", "../nowhere", ok=False)
    assert "../nowhere does not exist" in result.stderr
    assert state(imported) == before
    assert not list(imported.path.rglob("*.part"))


def test_ctrl_c(imported: Project) -> None:
    before = state(imported)
    grow(imported)
    arguments = ("pictures-5.zip", str(int(signal.SIGINT)), "import", "pets", "../pets")
    result = imported.run("python", "-c", STRUCK, *arguments, ok=False)
    assert result.returncode == 130
    assert result.stderr.splitlines()[-1] == "import: interrupted"
    assert state(imported) == before
    assert changes(imported) == []


@pytest.mark.parametrize("where", ["pack", "cache", "datasets.yaml"])
def test_a_disk_that_is_full(imported: Project, where: str) -> None:
    """A limit on the size of a file stands for it, and a file where a folder should be."""
    grow(imported)
    command = "exec python src import pets ../pets"
    if where == "pack":
        command = f"ulimit -f 2; {command}"
    elif where == "cache":
        shutil.move(imported.path / ".dvc/cache/files", imported.path / ".dvc/cache/kept")
        (imported.path / ".dvc/cache/files").touch()
    else:
        (imported.path / "datasets.yaml.part").symlink_to("/dev/full")
    before = state(imported)
    result = imported.run("bash", "-c", command, ok=False)
    assert result.returncode == 1, result
    (line,) = result.stderr.splitlines()
    expected = {
        "pack": "import: data/sets/pets.part/pictures.csv cannot be written: File too large",
        "cache": "import: DVC cannot add data/sets/pets: ",
        "datasets.yaml": "import: datasets.yaml cannot be written: No space left on device",
    }
    assert line.startswith(expected[where])
    assert state(imported) == before
    assert not list(imported.path.rglob("*.part"))


def test_a_git_that_is_busy(imported: Project) -> None:
    before = state(imported)
    grow(imported)
    (imported.path / ".git/index.lock").touch()
    result = imported.convline("import", "pets", "../pets", ok=False)
    (line,) = result.stderr.splitlines()
    assert line == (
        "import: DVC cannot add data/sets/pets: another git command runs, or was killed and left "
        ".git/index.lock; then remove it; import again"
    )
    assert state(imported) == before


def test_imports_at_once(imported: Project, grown: dict[str, bytes]) -> None:
    """Of the same name, and of another."""
    grow(imported)
    draw_pets(imported.path.parent / "few", 5)
    sets = [("pets", "../pets"), ("few", "../few"), ("pets", "../pets")]
    processes = [imported.start("python", "src", "import", *arguments) for arguments in sets]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert entry(imported, "few")["classes"] == list(PETS)
    assert packed(imported, "few")
    few = state(imported)
    del few["datasets.yaml"]
    assert few.items() < grown.items()
    assert entry(imported)["classes"] == [*PETS, "dog"]
