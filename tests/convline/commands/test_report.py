"""The report, as a reader's browser shows it."""

import html
import json
import math
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import yaml

from browsers import Browser, browser_is_here, chromium, evaluated, show
from conftest import NAMES, Project
from convline import revisions
from convline.commands.report import (
    NOTHING,
    Revision,
    changed_files,
    differences,
    pipeline,
    render,
)
from convline.evaluation import comparison, results
from convline.evaluation.figures import MINUS, SPACE
from convline.text import one_line, printable

EVALUATION = "metrics/evaluate.json"
PREDICTIONS = "metrics/predictions.csv"
together = pytest.mark.xdist_group("report")


def text(project: Project) -> str:
    """What a reader sees of the report but the plots, white space as single spaces."""
    page = (project.path / "report.html").read_text()
    body = re.sub(r"<svg.*?</svg>", "", page[page.index("<main>") :], flags=re.DOTALL)
    within_words = re.sub(r"<wbr>|</?(code|strong)>", "", body)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", within_words)).split())


def report(project: Project, baseline: str) -> str:
    """The text of the report against `baseline`."""
    project.convline("report", baseline)
    return text(project)


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


@pytest.fixture(scope="module")
def reported(experimented: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with its report against the experiment "worse". Tests leave it as it is."""
    project = experimented.copy(tmp_path_factory.mktemp("reported") / "project")
    shown = project.convline("report", "worse").stdout
    assert shown == (
        "report: report.html: workspace is better than worse on the 90 test images of tiny\n"
    )
    return project


@pytest.fixture
def project(experimented: Project, tmp_path: Path) -> Project:
    """A project of the test's own, with the experiment "worse"."""
    return experimented.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def address(project: Project) -> str:
    """Where the project's report is."""
    return (project.path / "report.html").as_uri()


@together
@browser_is_here
def test_every_plot_is_drawn(browser: Browser, reported: Project) -> None:
    show(browser, address(reported))
    figures = evaluated(
        browser,
        """[...document.querySelectorAll("figure")].map(figure => {
            const svg = figure.querySelector("svg"), img = figure.querySelector("img")
            const box = (svg || img).getBoundingClientRect()
            return {
                title: figure.querySelector("h3").innerText,
                area: box.width * box.height,
                marks: svg ? svg.querySelectorAll(
                    ".role-mark path, .role-mark rect, .role-mark line").length : img.naturalWidth,
            }
        })""",
    )
    plots = yaml.safe_load((reported.path / "dvc.yaml").read_text())["plots"]
    expected = []
    for plot in plots:
        if isinstance(plot, str):
            name = Path(plot).stem.capitalize()
            expected += [f"{name} of workspace", f"{name} of worse"]
        else:
            expected += [definition["title"] for definition in plot.values()]
    assert [figure["title"] for figure in figures] == expected
    for figure in figures:
        assert figure["area"] > 100 * 100, figure
        assert figure["marks"] > 1, figure
    # The drawings of one page share its names
    names = evaluated(browser, "[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(names) == len(set(names))


@together
@browser_is_here
def test_curves_have_a_point_for_each_epoch(browser: Browser, reported: Project) -> None:
    """A run of one epoch too, of which a line alone would show nothing."""
    show(browser, address(reported))
    points = evaluated(
        browser,
        """[...document.querySelectorAll("figure")].slice(0, 2).map(
            figure => figure.querySelectorAll(".mark-symbol.role-mark path").length)""",
    )
    splits, epochs = 2, 2 + 1  # of the workspace and of "worse"
    assert points == [splits * epochs] * 2


@together
@browser_is_here
def test_the_page_loads_nothing_and_runs_nothing(browser: Browser, reported: Project) -> None:
    show(browser, address(reported))
    assert evaluated(browser, "performance.getEntriesByType('resource').length") == 0
    assert evaluated(browser, "document.scripts.length") == 0
    assert browser.get_log("browser") == []
    # The page forbids both, too
    browser.execute_script(
        """const image = new Image(), script = document.createElement("script")
        image.src = "x.png"
        script.textContent = "document.title = 'changed'"
        document.body.append(image, script)"""
    )
    refused = str(browser.get_log("browser"))
    assert "x.png" in refused
    assert "inline script" in refused
    assert browser.title == "tiny: workspace and worse"


@together
@browser_is_here
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_the_window(browser: Browser, reported: Project, width: int, scheme: str) -> None:
    show(browser, address(reported), width, scheme)
    assert (
        evaluated(
            browser, "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        == 0
    )
    colours = evaluated(
        browser,
        """["body", "figure .scroll"].map(
            name => getComputedStyle(document.querySelector(name)).backgroundColor)""",
    )
    # The drawings are black on white, whatever surrounds them
    assert colours[1] == "rgb(255, 255, 255)"
    assert (colours[0] == "rgb(19, 19, 23)") == (scheme == "dark")


@together
@browser_is_here
def test_its_structure_can_be_read_aloud(browser: Browser, reported: Project) -> None:
    show(browser, address(reported))
    levels = evaluated(
        browser, "[...document.querySelectorAll('h1, h2, h3')].map(node => +node.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert evaluated(browser, "document.querySelectorAll('table').length") == 4
    assert evaluated(browser, "document.querySelectorAll('th:not([scope])').length") == 0
    assert (
        evaluated(
            browser,
            """[...document.querySelectorAll("img, [role=img]")].filter(
            node => !(node.alt || node.ariaLabel)).length""",
        )
        == 0
    )


@together
def test_the_figures_are_those_of_the_comparison(reported: Project) -> None:
    found = json.loads(reported.convline("compare", "worse", "--json").stdout)
    figures = json.loads((reported.path / EVALUATION).read_text())
    ours, theirs = found["candidate"], found["baseline"]
    page = text(reported)
    assert page.startswith(
        "▲ better workspace is better than worse on the 90 test images of tiny "
        f"Correct only in workspace: {len(ours['only_correct'])} images; "
        f"only in worse: {len(theirs['only_correct'])}. "
        f"McNemar's exact test: p = {found['mcnemar_exact_p_value']:.2g}. Test accuracy "
    )
    gain = f"+{100 * (ours['accuracy'] - theirs['accuracy']):.2f} points"
    low, high = map(percent, ours["accuracy_interval_95"])
    below, above = map(percent, theirs["accuracy_interval_95"])
    assert (
        f"Test accuracy {percent(ours['accuracy'])} 95 % interval {low} to {high} "
        f"worse: {percent(theirs['accuracy'])} ({below} to {above}) {gain} "
    ) in page
    assert (
        f"Errors {ours['errors']} in 90 test images worse: {theirs['errors']} in 90 "
        f"{MINUS}{theirs['errors'] - ours['errors']} "
    ) in page
    error = percent(figures["expected_calibration_error"])
    assert f"Expected calibration error, 15 bins {error} lower is better worse: " in page
    assert (
        f"accuracy (higher is better) {percent(ours['accuracy'])} {percent(theirs['accuracy'])} "
        f"{gain} balanced_accuracy (higher is better) "
    ) in page
    weakest = min(figures["per_class"], key=lambda row: row["recall"])
    assert f"{weakest['class']} has the lowest recall, {percent(weakest['recall'])}" in page
    for row in figures["per_class"]:
        assert f" {row['class']} {row['images']} {percent(row['precision'])} " in page


@together
def test_what_changed_and_how_it_ran(reported: Project) -> None:
    page = text(reported)
    changed = page[page.index("What changed") : page.index("All parameters")]
    assert changed == (
        "What changed workspace worse params.yaml epochs 2 1 learning_rate 0.01 1e-05 "
    )
    head = reported.run("git", "rev-parse", "--short=7", "HEAD").stdout.strip()
    assert f"Dataset tiny. workspace: commit {head}. worse: commit " in page
    assert "The workspace changed" not in page
    stages = page[page.index("Pipeline fetch parameters dataset, tiny.files writes ") :]
    assert " preprocess reads, from fetch data/raw " in stages
    assert " evaluate reads, from preprocess and train data/processed/test_images" in stages


@together
def test_the_same_state_gives_the_same_bytes(reported: Project) -> None:
    page = (reported.path / "report.html").read_bytes()
    assert len(page) < 2_000_000
    reported.convline("report", "worse", PYTHONHASHSEED="1")
    assert (reported.path / "report.html").read_bytes() == page


def test_a_baseline_without_a_run(project: Project) -> None:
    page = report(project, "main~1")
    assert page.startswith("● no comparison main~1 has no dvc.lock: dvc repro there Test accuracy")
    figures = json.loads((project.path / EVALUATION).read_text())
    row = f"accuracy (higher is better) {percent(figures['accuracy'])} {NOTHING} balanced_accuracy"
    assert row in page
    assert "No parameter differs." in page
    assert "points" not in page


def test_a_baseline_of_another_dataset(project: Project) -> None:
    project.rewrite_run("tiny", "small")
    page = report(project, "worse")
    assert page.startswith(
        "● no comparison worse used the dataset tiny, workspace small the workspace changed"
    )
    assert " worse: " in page[: page.index("Dataset small.")]
    assert "points" not in page
    assert "Mistakes of worse" not in page


def test_a_baseline_whose_predictions_are_nowhere(project: Project) -> None:
    shutil.rmtree(project.path / ".dvc/cache")
    assert report(project, "worse").startswith(
        "● no comparison worse: metrics/predictions.csv is neither in the cache nor in the remote;"
    )


def test_the_same_run_in_a_changed_workspace(project: Project) -> None:
    project.set_params(epochs=3)
    page = report(project, "main")
    assert page.startswith(
        "● no comparison workspace and main are the same run the workspace changed after its last "
        "run: dvc repro would run train."
    )
    assert "params.yaml epochs 3 2 All parameters" in page


def test_files_and_classes_are_named_as_text(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    run, other = results.load("workspace"), results.load("worse")
    for side in (run, other):
        side.predictions["file_name"] = [NAMES[i % len(NAMES)] for i in range(90)]
    scores = run.scores.model_copy(update={"never_predicted": ("<b>ant</b>", "bee")})
    page = render(
        candidate=Revision("workspace", "1", scores),
        baseline=Revision("worse", "2", other.scores),
        dataset="tiny",
        comparison=comparison.compare(other, run),
        conclusion="",
        remarks=[],
        parameters=[],
        changed_files=[],
        metrics=[],
        plots=[],
        more_figures=(),
        missing=[],
        pipeline=[],
    )
    assert "<script" not in page
    (project.path / "report.html").write_text(page)
    shown = text(project)
    right = [NAMES[i % len(NAMES)] for i in comparison.compare(other, run).candidate.only_correct]
    names = " ".join(", ".join(map(one_line, right[:10])).split())
    assert f"Files correct only in workspace: {names} and {len(right) - 10} more. " in shown
    assert "Never predicted: <b>ant</b>, bee (2 of 3 classes). " in shown


def test_plots_are_those_of_dvc_yaml(project: Project) -> None:
    definitions = yaml.safe_load((project.path / "dvc.yaml").read_text())
    own = {"Sure": {"title": "Sure & right", "x": "index", "y": {PREDICTIONS: "confidence"}}}
    definitions["plots"] = [own, *definitions["plots"]]
    (project.path / "dvc.yaml").write_text(yaml.safe_dump(definitions, sort_keys=False))
    shutil.rmtree(project.path / ".dvc/cache")
    (project.path / "metrics/reliability.csv").unlink()
    page = report(project, "main")
    assert "Plots Sure & right Accuracy by epoch " in page
    assert "Reliability on" not in page
    assert "Not drawn, because the data is missing: metrics/reliability.csv of workspace." in page


def test_names_are_text(project: Project) -> None:
    name = "'<script>alert(1)</script> & co"
    revision = name.replace(" ", "_") + "`x"
    project.run("git", "branch", revision)
    figures = project.path / EVALUATION
    figures.write_text(figures.read_text().replace('"class": "ant"', f'"class": "{name}"'))
    # The drawings are of all that the file has, and hold no control characters
    predictions = project.path / PREDICTIONS
    content = predictions.read_text().replace("ant", name.replace("&", "\x1b"))
    predictions.unlink()  # which may be a link into the cache
    predictions.write_text(content)
    shown = report(project, revision)
    assert f"workspace and {revision} are the same run" in shown
    assert f" {name} 30 " in shown  # among the classes
    page = (project.path / "report.html").read_text()
    assert "<script" not in page
    assert ">'&lt;script&gt;alert(1)&lt;/script&gt; \ufffd co</text>" in page


@pytest.mark.parametrize(
    ("arguments", "conclusion"),
    [
        ([], "workspace and main are the same run"),
        (["REV=worse"], "workspace is better than worse on the 90 test images of tiny"),
    ],
)
def test_make_report(project: Project, arguments: list[str], conclusion: str) -> None:
    project.install()
    printed = project.run("make", "report", *arguments).stdout
    assert printed == f"report: report.html: {conclusion}\n"


@pytest.mark.parametrize("revision", ["nowhere", ""])
def test_a_revision_that_is_none(project: Project, revision: str) -> None:
    (project.path / "report.html").write_text("of yesterday")
    result = project.convline("report", revision, ok=False)
    assert result.returncode == 1
    assert result.stderr == (
        f"report: there is no branch, tag, commit or experiment '{revision}'\n"
    )
    assert (project.path / "report.html").read_text() == "of yesterday"


def test_a_workspace_without_a_run(clone: Project) -> None:
    assert clone.problem("report") == "report: workspace has no dvc.lock: `dvc repro` there"
    assert not (clone.path / "report.html").exists()


def test_figures_of_something_else(project: Project) -> None:
    (project.path / EVALUATION).write_text('{"accuracy": 1}')
    line = project.problem("report")
    assert line.startswith("report: workspace: metrics/evaluate.json: ")
    assert "errors: Field required" in line
    assert line.endswith("; `dvc repro` there regenerates it")


NUMBERS = [0, 1, 0.5, -3]
ODD = [True, "abc", "\x1b[31m", [[1]], {"a": {"b": None}}, math.nan, -math.inf, 10**400]


@pytest.mark.parametrize("name", ["accuracy", "errors"])
def test_any_metric_is_shown_as_text(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever a revision's metrics/*.json holds."""
    values = [None, *NUMBERS, *ODD]
    for old, new, difference in product(values, values, values):
        shown = {"metrics/a.json": {name: {"old": old, "new": new, "diff": difference}}}
        monkeypatch.setattr(revisions, "dvc_prints", lambda *_, shown=shown: json.dumps(shown))
        (found,) = differences("metrics", "main")
        for text in (found.old, found.new, found.change):
            assert isinstance(text, str)
            assert len(text) <= 60
            assert printable(text.replace(SPACE, " "))
        if any(new is odd for odd in ODD):
            assert found.change == ""


def test_odd_metrics_of_the_baseline(project: Project) -> None:
    project.run("git", "checkout", "--quiet", "-b", "odd")
    evaluation, training = (project.path / f"metrics/{n}.json" for n in ("evaluate", "train"))
    figures = json.loads(evaluation.read_text())
    evaluation.write_text(
        json.dumps(figures | {"accuracy": "abc", "errors": [1, {"a": None}], "loss": math.nan})
    )
    training.write_text(json.dumps({"accuracy": True, "loss": {"deep": []}, "epoch": -1}))
    project.commit()
    project.run("git", "checkout", "--quiet", "main")
    page = report(project, "odd")
    ours = percent(figures["accuracy"])
    assert f" accuracy (higher is better) {ours} abc " in page
    assert "metrics/train.json accuracy" in page
    assert "Test accuracy " in page


def a_run(**stages: dict[str, Any]) -> results.Run:
    return results.Run("any", {"stages": stages})


def test_stages_stand_after_those_that_they_need() -> None:
    def stage(out: str, *deps: str) -> dict[str, Any]:
        return {
            "deps": [{"path": path, "md5": "1"} for path in (*deps, "code.py")],
            "outs": [{"path": out}],
        }

    run = a_run(d=stage("4", "2", "3"), c=stage("3", "1"), b=stage("2", "1"), a=stage("1"))
    groups = pipeline(run)
    assert [[stage.name for stage in group] for group in groups] == [["a"], ["b", "c"], ["d"]]
    last = groups[-1][0]
    assert (last.after, last.data, last.files) == (["b", "c"], ["2", "3"], ["code.py"])


def test_files_that_differ_are_those_of_the_project() -> None:
    def run(**files: str) -> results.Run:
        deps = [{"path": f"{name}.py", "md5": md5} for name, md5 in files.items()]
        data = {"path": "data", "md5": str(files)}
        return a_run(first={"deps": deps, "outs": [data]}, second={"deps": [data]})

    assert changed_files(run(same="1", other="1"), run(same="1", other="2", new="1")) == [
        "new.py",
        "other.py",
    ]
