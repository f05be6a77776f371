"""Teams: people with clones, an origin and a DVC remote on a real server."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import servers
from conftest import Project
from servers import Storage


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run a test on each of these kinds of storage."""
    # All of one kind in one process, so that one server is enough
    params = [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in kinds]
    return pytest.mark.parametrize("storage", params, indirect=True)


def skip_without(*kinds: str) -> None:
    """Skip the test, by name, where the servers of these kinds are not installed."""
    if reason := servers.missing(*kinds):
        pytest.skip(reason)


@dataclass
class Team:
    """A repository, its remote, and the clone of the first of its people, who ran the pipeline."""

    folder: Path
    storage: Storage
    first: Project

    def clone(self, name: str) -> Project:
        """The clone of one more, on whose machine is nothing of the others."""
        clone = Project(self.folder / name / "project", Path("/nowhere"), self.storage.environment)
        clone.path.parent.mkdir()
        self.first.run("git", "clone", "--quiet", str(self.folder / "origin"), str(clone.path))
        introduce(clone, name)
        return clone


def introduce(project: Project, name: str) -> None:
    """Do what one does once in a clone."""
    project.install()
    project.run("git", "config", "user.name", name)
    project.run("git", "config", "user.email", f"{name}@example.com")
    project.run("make", "hooks")


def found(folder: Path, storage: Storage, reproduced: Project) -> Team:
    """A team that shares its code, and has not pushed its data yet."""
    storage = storage.at(folder.name)
    first = reproduced.copy(folder / "first/project")
    first.shell = storage.environment
    first.run("git", "clone", "--quiet", "--bare", ".", str(folder / "origin"))
    first.run("git", "remote", "add", "origin", str(folder / "origin"))
    first.add_remote(storage.url, **storage.options)
    first.commit("Add the remote")
    first.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    introduce(first, "first")
    return Team(folder, storage, first)
