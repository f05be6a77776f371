"""The tutorial that Convline's network comes from, as a bare script: what to compare with.

Everything is in memory, and everything that the recipe leaves open is as Keras has it: no
validation images, no determinism, no settings of threads. Ends with one line of JSON.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt


def main() -> None:
    """Load MNIST, train, print the accuracy on the test images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("data/raw"),
        help="where MNIST's four files are (default: data/raw)",
    )
    parser.add_argument("--images", type=int, help="train on that many, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")
    parser.add_argument("--epochs", type=int, default=5, help="default: 5")
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    images = read(options.folder / "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    labels = read(options.folder / "train-labels-idx1-ubyte.gz", 8)
    if options.images is not None:
        chosen = np.random.default_rng(options.seed).choice(
            len(images), options.images, replace=False
        )
        images, labels = images[chosen], labels[chosen]
    test_images = read(options.folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    test_labels = read(options.folder / "t10k-labels-idx1-ubyte.gz", 8)

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    inputs, targets = images.astype("float32") / 255, keras.utils.to_categorical(labels)
    start = time.perf_counter()
    model.fit(inputs, targets, batch_size=64, epochs=options.epochs)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(
        test_images.astype("float32") / 255, keras.utils.to_categorical(test_labels)
    )

    print(f"Test accuracy after training on {len(images):,} images: {accuracy:.2%}")
    print(
        json.dumps(
            {
                "accuracy": round(accuracy, 4),
                "seconds": round(seconds, 2),
                "parameters": model.count_params(),
                "images": len(images),
                "epochs": options.epochs,
                "seed": options.seed,
            }
        )
    )


def read(path: Path, header: int) -> npt.NDArray[np.uint8]:
    """The bytes of one gzipped IDX file behind its header of `header` bytes."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


if __name__ == "__main__":
    main()
