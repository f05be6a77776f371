"""Measure the exported models: what int8 and float16 cost in accuracy, and save in size and time.

Run on an otherwise idle machine, from anywhere, with the project's environment; the dataset comes
from where the stage fetch gets it. Writes benchmarks/formats.md.
"""

import argparse
import json
from collections import defaultdict
from statistics import median

from side_by_side import copy_of_project, report, table

QUANTIZATIONS = ("none", "float16", "int8")
FORMATS = {"onnx": "ONNX, onnxruntime", "litert": "LiteRT, its interpreter"}
MANY = 250  # pictures at a time

# Prints the microseconds that a picture takes, alone and among MANY, with each program
TIMED = f"""
import json, sys, time
sys.path[0] = "src"
import numpy as np
from convline import backend
from convline.backend import BackendParams
settings = BackendParams(backend="tensorflow", threads=int(sys.argv[1]))
backend.choose(settings)
backend.configure(settings)
from convline import exported, models
from convline.export import litert
from convline.paths import LITERT, MODEL, ONNX

pictures = np.load("data/processed/test_images.npy")[:{MANY}].astype(np.float32)
model = models.load(MODEL)
programs = {{
    "keras": model.predict_on_batch,
    "onnx": exported.read(ONNX, settings.threads),
    "litert": litert.classifier(LITERT.read_bytes(), settings.threads),
}}
found = {{}}
for name, classify in programs.items():
    for count in (1, len(pictures)):
        seconds = []
        for _ in range(200 if count == 1 else 40):
            start = time.perf_counter()
            classify(pictures[:count])
            seconds.append(time.perf_counter() - start)
        found[f"{{name}} {{count}}"] = sorted(seconds)[len(seconds) // 2] / count * 1e6
print(json.dumps(found))
"""


def main() -> None:
    """Train once, export with each quantization, and time what comes out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of each timing, default 3")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error("--repeats should be 1 or more")

    rows = []
    times = defaultdict[str, list[float]](list)
    with copy_of_project() as project:
        for stage in ("fetch", "preprocess", "train"):
            project.stage(stage)
        params = project.params()
        for quantization in QUANTIZATIONS:
            project.set_params(quantization=quantization, quantization_loss=1)
            project.stage("export")
            figures = json.loads((project.path / "metrics/export.json").read_bytes())
            own = defaultdict[str, list[float]](list)
            for repeat in range(1, repeats + 1):
                child = project.run(["-c", TIMED, str(params["threads"])])
                for name, value in json.loads(child.output.splitlines()[-1]).items():
                    (times if name.startswith("keras") else own)[name].append(value)
                print(f"{quantization}: {repeat} of {repeats}", flush=True)
            for name, title in FORMATS.items():
                of_file = figures[name]
                rows.append(
                    [
                        f"{title}, {quantization}",
                        f"{of_file['bytes'] / 1000:.0f}",
                        f"{of_file['accuracy']:.2%}",
                        str(of_file["changed_predictions"]),
                        f"{of_file['largest_difference']:.0e}",
                        f"{median(own[f'{name} 1']):.0f}",
                        f"{median(own[f'{name} {MANY}']):.0f}",
                    ]
                )
        keras = [
            "Keras",
            f"{(project.path / 'models/model.keras').stat().st_size / 1000:.0f}",
            f"{figures['accuracy']:.2%}",
            "",
            "",
            f"{median(times['keras 1']):.0f}",
            f"{median(times[f'keras {MANY}']):.0f}",
        ]

    report(
        "formats",
        "Exported models beside Keras",
        f"Dataset {params['dataset']}, network {params['network']}, {params['threads']} threads. "
        f"Accuracy, changed predictions and the largest difference of a probability are those of "
        f"the {figures['images']:,} validation images.",
        table(
            ["model", "KB", "accuracy", "changed", "difference", "one (µs)", f"of {MANY} (µs)"],
            [keras, *rows],
        ),
        f"Time for a picture, alone and among {MANY} in one call; medians of {repeats} processes. "
        "Keras is called by `predict_on_batch`.",
    )


if __name__ == "__main__":
    main()
