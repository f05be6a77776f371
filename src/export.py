"""Export the trained model to ONNX and LiteRT, and compare their answers with those of Keras."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from convline import backend, files, imports, memory, network, params, problems, provenance, text
from convline.backend import BackendParams
from convline.data import arrays, datasets
from convline.paths import EXPORT, LITERT, MODEL, ONNX, PROCESSED

if TYPE_CHECKING:
    from convline.export.agreement import Agreement


class Params(params.Schema):
    """What export reads from params.yaml."""

    dataset: str
    network: str
    threads: Annotated[params.Int, Field(ge=1, le=1024)]
    quantization: Literal["none", "float16", "int8"]
    quantization_loss: Annotated[params.Float, Field(ge=0, le=1)]


def main() -> None:
    """Read the model, convert it, compare both files with it, write them and their figures."""
    settings = params.load("export", Params)
    # Whatever has trained: only TensorFlow converts, and the backends read each other's models
    tensorflow = BackendParams(backend="tensorflow", threads=settings.threads)
    backend.choose(tensorflow)
    network.imported(settings.network)  # registers its layers
    made_from = provenance.record("export")
    dataset = datasets.load(settings.dataset)
    train = arrays.load_split(PROCESSED, "train")
    validation = arrays.load_split(PROCESSED, "validation", like=train)
    if (train.input_shape, train.classes) != (dataset.input_shape, len(dataset.classes)):
        raise problems.Problem(
            f"{PROCESSED}/ has images of {train.input_shape} in {train.classes} classes, "
            f"{settings.dataset} has {dataset.input_shape} in {len(dataset.classes)}; "
            "`dvc repro preprocess` regenerates it"
        )

    backend.configure(tensorflow)
    # What imports Keras or onnxruntime comes only now
    with imports.lean(), imports.quiet():
        from convline import models
        from convline.data.batches import Batches
        from convline.evaluation import predictions
        from convline.export import agreement, litert, onnx_file
        from convline.export.calibration import Calibration
        from convline.exported import About

    model = predictions.load(validation)
    expected = predictions.predict(model, Batches(validation))
    about = About(
        dataset=settings.dataset,
        classes=dataset.classes,
        shape=dataset.input_shape,
        fit=dataset.fit,
        background=dataset.background,
        ink=dataset.ink,
        quantization=settings.quantization,
        model_md5=str(made_from.deps[str(MODEL)]),
    )
    contents: dict[Path, bytes] = {}
    found: dict[Path, Agreement] = {}
    # LiteRT first: it rejects recurrent layers, on some of which onnxruntime's quantization aborts
    for path, target in ((LITERT, litert), (ONNX, onnx_file)):
        with converting(path) as folder:
            contents[path] = target.convert(model, about, Calibration(train.images), folder)
            classify = target.classifier(contents[path], settings.threads)
            found[path] = agreement.compare(classify, validation, expected)
        agreement.check(path, found[path], settings.quantization, settings.quantization_loss)

    for path, content in contents.items():
        with files.written(path) as file:
            file.write(content)
    made = made_from.with_outs(*contents)
    files.write_json(
        EXPORT,
        {
            "dataset": settings.dataset,
            "quantization": settings.quantization,
            "images": len(validation.images),
            "accuracy": round(found[ONNX].accuracy_of_keras, 4),
            "onnx": figures(contents[ONNX], found[ONNX]),
            "litert": figures(contents[LITERT], found[LITERT]),
            "made_from": [r.model_dump() for r in (models.made_from(MODEL), made) if r],
        },
    )
    for path, content in contents.items():
        print(
            f"export: {settings.dataset}: {path}: {len(content):,} bytes, validation accuracy "
            f"{found[path].accuracy:.2%} (Keras {found[path].accuracy_of_keras:.2%}), "
            f"{found[path].changed_predictions:,} changed predictions"
        )


@contextmanager
def converting(path: Path) -> Iterator[Path]:
    """A temporary folder to convert in, where libraries print nothing.

    Raises `Problem` where a conversion for `path` fails.
    """
    with (
        imports.lean(),
        imports.quiet(),
        warnings.catch_warnings(action="ignore"),  # of libraries, about one another
        files.temporary_folder() as folder,
    ):
        try:
            yield folder
        except (OSError, problems.Problem):
            raise
        except Exception as error:  # converters raise anything where they do not know a layer
            if memory.exhausted(error):
                raise
            # Of TensorFlow's pages, what follows the place in the first line
            reason = str(error).partition("\n")[0].rpartition("): ")[2]
            raise problems.Problem(
                f"{MODEL} cannot be converted to {path}: {text.shortened(reason, 150)}"
            ) from error


def figures(content: bytes, agreement: "Agreement") -> dict[str, float]:
    """What metrics/export.json has of a file."""
    return {
        "bytes": len(content),
        # More digits differ from processor to processor
        "largest_difference": float(f"{agreement.largest_difference:.1g}"),
        "changed_predictions": agreement.changed_predictions,
        "accuracy": round(agreement.accuracy, 4),
    }


if __name__ == "__main__":
    problems.run(main)
