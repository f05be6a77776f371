"""Search parameters: run many trials, each a DVC experiment, and say which are the best.

The section `search` of params.yaml says what to vary and what to maximize. Trials run on this
machine, or with --scheduler on all workers that joined a Dask scheduler. After Ctrl-C, or whatever
else ended it, the same command goes on.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from typing import Any

from convline import params
from convline.commands import pushed
from convline.paths import HISTORY, PARAMS
from convline.problems import Problem
from convline.search import cluster, project, space, summary
from convline.search.runner import Job, Runner
from convline.search.study import Study, alone, drawn, fixed
from convline.text import one_line

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
FIRST = 3  # trials that may fail before the search gives up, if none has succeeded


def main() -> None:
    """Check, run what is left of the search, print what it found, write its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the search; its experiments are NAME-0, NAME-1, ...")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, such as tcp://host:8786")
    parser.add_argument(
        "--confirm",
        metavar="SEEDS",
        type=positive,
        default=0,
        help=f"then run the best {summary.BEST} again with so many other seeds",
    )
    arguments = parser.parse_args()
    if not NAME.fullmatch(arguments.name):
        raise Problem(
            f"{arguments.name!r} is no name of a search: use letters, digits, - and _, and begin "
            "with a letter or digit"
        )
    settings, varied = space.load()
    with alone(arguments.name):
        search = Search(arguments.name, settings, varied, arguments.scheduler)
        finished = search.run(arguments.confirm)
        if search.study.trials:
            project.bring(search.commit, search.study.name, search.place)
            summary.write_page(search.study, settings)
    if not finished:
        command = " ".join(["convline search", *sys.argv[1:]])
        print(f"search: stopped; to go on: {command}")
        sys.exit(130)
    print(summary.text(search.study, settings))


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


class Search:
    """A search that begins or goes on."""

    def __init__(
        self, name: str, settings: space.Search, varied: space.Space, scheduler: str | None
    ) -> None:
        values = params.read_yaml(PARAMS)
        self.settings = settings
        self.varied = varied
        self.scheduler = scheduler
        self.threads = int(values["threads"])
        self.seed = int(values["seed"])
        self.identity = project.identity()
        self.place = project.destination(elsewhere=scheduler is not None)
        self.commit = self._begun(name)
        self.study = Study(name, settings, varied, self.seed)
        self.study.fix(self._fixed())

    def _fixed(self) -> dict[str, Any]:
        """What stays the same while the search goes on."""
        return {"commit": self.commit} | self.settings.model_dump(
            include={"vary", "metric", "direction"}
        )

    def _begun(self, name: str) -> str:
        """The commit that the search is about.

        Raises `Problem` where it cannot begin, or is another than the one that began.
        """
        kept = fixed(name)
        if not kept:
            commit = project.commit()
            if names := project.taken(name, self.place):
                raise Problem(
                    f"there are experiments of an earlier search, such as {names[0]}: choose "
                    "another name"
                )
            project.check_shared(commit, f"{name}-0", self.place)
            if self.place.remote and not pushed.has_data("HEAD"):
                raise Problem("trials pull from the remote: push that data first")
            return commit
        for key in ("vary", "metric", "direction"):
            if kept[key] != getattr(self.settings, key):
                raise Problem(
                    f"{PARAMS}: search.{key} is not what the search {name} began with; restore it, "
                    "or choose another name"
                )
        return str(kept["commit"])

    def run(self, seeds: int) -> bool:
        """Run what is left, then the best with `seeds` other seeds. False after Ctrl-C."""
        most = max(
            [self.threads] + [int(edge) for edge in self.varied.edges("threads")]  # type: ignore[arg-type]
        )
        cores = max(cluster.cores_here(), most)
        with cluster.connected(self.scheduler, f"convline-{self.study.name}", cores) as workers:
            trials = Runner(workers, self.spec, self.told, self.ended)
            if not trials.run(self.trials(), most):
                return False
            again = Runner(workers, self.spec, lambda job, facts: False, self.confirmed)
            return again.run(self.again(seeds), most)

    def spec(self, job: Job) -> dict[str, Any]:
        """What a worker has to know of a trial."""
        logged = HISTORY / f"plots/metrics/validation/{self.settings.key}.tsv"
        return {
            "name": job.name,
            "commit": self.commit,
            "ref": project.reference(self.commit, job.name),
            "origin": self.place.origin,
            "remote": self.place.remote,
            "cache": self.place.cache,
            "identity": self.identity,
            "overrides": job.overrides,
            "file": self.settings.file,
            "key": self.settings.key,
            "history": str(logged) if space.prunable(self.settings) else None,
        }

    def job(self, name: str, values: dict[str, space.Value], owner: Any) -> Job:
        """A trial with `values`."""
        cores = int(values.get("threads", self.threads))  # type: ignore[arg-type]
        return Job(name, space.overrides(values), cores, owner)

    def trials(self) -> Iterator[Job]:
        """The trials that were stopped, then new ones."""
        for trial in self.study.unfinished():
            yield self.job(f"{self.study.name}-{trial.number}", drawn(trial), trial)
        while len(self.study.trials) < self.settings.trials:
            trial = self.study.ask()
            yield self.job(f"{self.study.name}-{trial.number}", drawn(trial), trial)

    def told(self, job: Job, facts: dict[str, Any]) -> bool:
        """Keep the figure of an epoch, and say whether the trial is not worth another."""
        job.owner.report(facts["value"], facts["step"])
        return bool(job.owner.should_prune())

    def ended(self, job: Job, outcome: dict[str, Any], seconds: float) -> None:
        """Keep the outcome of a trial, and print its line."""
        self.study.tell(job.owner, outcome, seconds)
        done = [trial for trial in self.study.trials if trial.state.is_finished()]
        best = self.study.complete[:1]
        text = f"{outcome['state']}: {outcome.get('reason', '')}"
        if outcome["state"] == "pruned":
            text = f"pruned after {len(self.study.reports(job.owner))} epochs"
        elif outcome["state"] == "complete":
            text = f"{self.settings.key} {summary.shown(outcome['value'])}"
        so_far = ", ".join(
            f"best {summary.experiment(self.study, one)} with {summary.shown(one.value or 0.0)}"
            for one in best
        )
        self.line(
            f"{job.name}: {text} ({summary.described(drawn(job.owner))}; {seconds:.0f} s)",
            so_far,
            f"{len(done)} of {max(self.settings.trials, len(done))}",
        )
        failed = [trial for trial in done if trial.state.name == "FAIL"]
        if len(failed) == len(done) >= FIRST:
            raise Problem(f"the first {len(failed)} trials failed; the last: {outcome['reason']}")

    def again(self, seeds: int) -> Iterator[Job]:
        """The best trials with other seeds, where these did not run yet."""
        for trial in self.study.complete[: summary.BEST] if seeds else []:
            for seed in range(self.seed + 1, self.seed + 1 + seeds):
                name = f"{summary.experiment(self.study, trial)}-seed{seed}"
                if name not in self.study.confirmed:
                    yield self.job(name, drawn(trial) | {"seed": seed}, trial.number)

    def confirmed(self, job: Job, outcome: dict[str, Any], seconds: float) -> None:
        """Keep the outcome of a trial with another seed, and print its line."""
        if outcome["state"] == "complete":
            self.study.confirm(job.name, outcome | {"of": job.owner})
            text = f"{self.settings.key} {summary.shown(outcome['value'])}"
        else:
            text = f"failed: {outcome['reason']}"
        self.line(f"{job.name}: {text} ({seconds:.0f} s)")

    @staticmethod
    def line(*parts: str) -> None:
        """Print what is not empty of a trial's line."""
        print(f"search: {'; '.join(one_line(part) for part in parts if part)}", flush=True)
