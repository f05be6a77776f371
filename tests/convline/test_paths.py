"""Where the files are: as dvc.yaml has it."""

import yaml

from conftest import REPOSITORY, outputs
from convline import paths, pipeline


def test_the_project_is_the_one_of_this_code() -> None:
    assert paths.PROJECT == REPOSITORY
    for path in (paths.PIPELINE, paths.PARAMS, paths.DATASETS):
        assert (paths.PROJECT / path).exists()


def test_what_is_written_is_an_output_of_the_pipeline() -> None:
    stages = yaml.safe_load((REPOSITORY / paths.PIPELINE).read_text())["stages"]
    declared = {path for name in pipeline.STAGES for path in outputs(stages[name])}
    for path in (
        *(paths.MODEL, paths.HISTORY, paths.TRAINING, paths.EVALUATION),
        *(paths.PREDICTIONS, paths.RELIABILITY, paths.MISTAKES),
    ):
        assert str(path) in declared
    assert str(paths.RAW) in declared
    assert any(path.startswith(f"{paths.PROCESSED}/") for path in declared)
