"""What trials have to know of the project, and what stops a search before it begins."""

import pytest

from conftest import Project
from convline.problems import Problem
from convline.search import project as search_project


@pytest.fixture
def project(clone: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the test's own, in which it works."""
    monkeypatch.chdir(clone.path)
    return clone


def test_the_section_search_may_differ_from_the_commit(project: Project) -> None:
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert search_project.commit() == head
    project.set_params(search={"trials": 7})
    (project.path / "untracked").touch()
    assert search_project.commit() == head
    project.set_params(epochs=9)
    with pytest.raises(Problem, match=r"params\.yaml differs from the last commit"):
        search_project.commit()
    (project.path / "README.md").write_text("")
    with pytest.raises(Problem, match=r"README\.md, params\.yaml differ from the last commit"):
        search_project.commit()


def test_an_identity_is_needed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search_project.identity() == {"name": "Test", "email": "test@example.com"}
    project.run("git", "config", "--unset", "user.email")
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, "/dev/null")
    with pytest.raises(Problem, match=r"git config user\.email"):
        search_project.identity()


def test_alone_a_project_shares_with_itself(project: Project) -> None:
    place = search_project.destination(elsewhere=False)
    assert place.origin == str(project.path)
    assert place.remote is None
    assert place.cache == str(project.path / ".dvc/cache")
    with pytest.raises(Problem, match="git remote add origin"):
        search_project.destination(elsewhere=True)
    project.run("git", "clone", "--quiet", "--bare", ".", "../origin")
    project.run("git", "remote", "add", "origin", "../origin")
    with pytest.raises(Problem, match="dvc remote add"):
        search_project.destination(elsewhere=True)


def test_keys_stay_on_this_machine(project: Project) -> None:
    project.run("git", "clone", "--quiet", "--bare", ".", "../origin")
    project.run("git", "remote", "add", "origin", "../origin")
    project.add_remote("s3://bucket/store", endpointurl="http://127.0.0.1:9")
    project.dvc("remote", "modify", "--local", "storage", "secret_access_key", "hidden")
    here = search_project.destination(elsewhere=False)
    assert here.remote
    assert here.remote["secret_access_key"] == "hidden"  # noqa: S105
    away = search_project.destination(elsewhere=True)
    assert away.remote == {
        "name": "storage",
        "url": "s3://bucket/store",
        "endpointurl": "http://127.0.0.1:9",
    }
    assert away.cache is None
    assert away.origin == str(project.path.parent / "origin")


def test_a_folder_is_named_from_the_root(project: Project) -> None:
    project.run("git", "clone", "--quiet", "--bare", ".", "../origin")
    project.run("git", "remote", "add", "origin", "../origin")
    project.add_remote("../store")
    place = search_project.destination(elsewhere=True)
    assert place.remote
    assert place.remote["url"] == str(project.path.parent / "store")


def test_names_that_are_taken(project: Project) -> None:
    place = search_project.destination(elsewhere=False)
    head = search_project.git("rev-parse", "HEAD")
    for name in ("demo-0", "demo-1-seed2", "demo-x", "other-0", "demonstration-0"):
        search_project.git("update-ref", search_project.reference(head, name), head)
    assert sorted(search_project.taken("demo", place)) == ["demo-0", "demo-1-seed2"]


def test_origin_has_to_have_the_commit(project: Project) -> None:
    project.run("git", "clone", "--quiet", "--bare", ".", "../origin")
    project.run("git", "remote", "add", "origin", "../origin")
    project.add_remote("../store")
    place = search_project.destination(elsewhere=True)
    search_project.check_shared(search_project.git("rev-parse", "HEAD"), "demo-0", place)
    project.commit("Not pushed")
    head = search_project.git("rev-parse", "HEAD")
    with pytest.raises(Problem, match="origin lacks the commit"):
        search_project.check_shared(head, "demo-0", place)
    project.run("git", "push", "--quiet", "origin", "main")
    search_project.check_shared(head, "demo-0", place)
    (project.path.parent / "origin/HEAD").unlink()  # no repository any more
    with pytest.raises(Problem, match=r"git push .* failed"):
        search_project.check_shared(head, "demo-0", place)
