"""The model in the registry: registered with GTO, fetched with DVC, described by its card."""

from pathlib import Path

import pytest

from conftest import Project

pytestmark = pytest.mark.xdist_group("registry")


@pytest.fixture(scope="module")
def registered(experimented: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose model is registered as v1.0.0, in production, and on a remote."""
    project = experimented.copy(tmp_path_factory.mktemp("registered") / "project")
    project.add_remote(str(project.path.parent / "storage"))
    project.commit("Add a remote")
    project.run("gto", "register", "classifier", "--version", "v1.0.0")
    project.run("gto", "assign", "classifier", "--version", "v1.0.0", "--stage", "prod")
    project.dvc("push")
    return project


@pytest.mark.parametrize("wanted", [("--rev", "v1.0.0"), ("--stage", "prod")])
def test_a_version_is_fetched_by_number_or_stage(
    registered: Project, tmp_path: Path, wanted: tuple[str, str]
) -> None:
    """Elsewhere, from the repository's address and the remote alone."""
    shared = tmp_path / "shared"
    registered.run("git", "clone", "--quiet", "--bare", ".", str(shared))
    elsewhere = Project(tmp_path / "elsewhere", registered.mirror)
    elsewhere.path.mkdir()
    elsewhere.dvc("artifacts", "get", str(shared), "classifier", *wanted)
    model = elsewhere.path / "model.keras"
    assert model.read_bytes() == (registered.path / "models/model.keras").read_bytes()


def test_gto_shows_what_is_registered(registered: Project) -> None:
    shown = registered.run("gto", "show").stdout
    assert "classifier" in shown
    assert "v1.0.0" in shown
    assert "#prod" in shown


def test_a_registered_version_is_a_revision(registered: Project) -> None:
    compared = registered.convline("compare", "classifier@v1.0.0", "worse").stdout
    assert "worse is worse than classifier@v1.0.0" in compared
    registered.set_params(
        gate={"baseline": "classifier@v1.0.0", "least_accuracy": 0.9, "largest_fall": 0}
    )
    refusal = registered.convline("gate", "worse", ok=False).stderr
    assert "below classifier@v1.0.0" in refusal
    registered.run("git", "checkout", "HEAD", "--", "params.yaml")
