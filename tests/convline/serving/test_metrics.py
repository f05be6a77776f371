"""What Prometheus reads."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import exports
from convline.serving.current import File
from convline.serving.metrics import Metrics


def test_the_text_is_prometheus_and_names_the_one_model_in_use(tmp_path: Path) -> None:
    metrics = Metrics()
    for shift in range(2):
        model = File(exports.write(tmp_path / "model.onnx", shift)).read()
        metrics.uses(model)
    families = {
        family.name: family for family in text_string_to_metric_families(metrics.text().decode())
    }
    (in_use,) = families["convline_model"].samples
    assert (in_use.labels["onnx_md5"], in_use.value) == (model.classifier.md5, 1)
    assert in_use.labels["revision"] == ""
    (loaded,) = families["convline_models_loaded"].samples
    assert loaded.value == 2
