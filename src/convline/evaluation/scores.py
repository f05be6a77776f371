"""What the predictions of a classifier on labelled images score."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support

from convline.evaluation import figures

BINS = np.linspace(0, 1, 16)  # the edges of 15 bins of confidence


def summary(
    actual: npt.NDArray[np.intp],
    probabilities: npt.NDArray[np.float32],
    classes: list[str],
    by_corruption: pd.DataFrame,
) -> dict[str, Any]:
    """Every figure of FIGURES, and what else evaluate.json holds, of the predictions for n images.

    Takes labels (n,), probabilities (n, classes), and the table of `corruptions.accuracies`.

    - The balanced accuracy is the mean recall of the classes that have images, and the worst recall
      is their lowest.
    - The negative log-likelihood is a mean, in nats. A probability below 2**-52 counts as 2**-52,
      which costs 36.04.
    - The Brier score (G. W. Brier, "Verification of forecasts", 1950) is summed over the classes,
      from 0 to 2, the worst.
    - The expected calibration error (C. Guo et al., "On calibration of modern neural networks",
      2017) is the mean, over the images, of the distance between confidence and accuracy of the
      image's bin in `reliability`; from 0 to 1, the worst.
    - The accuracy on corrupted images is a mean over all kinds and strengths.

    Figures by class and by corruption are lists, as are the classes that have images and are never
    predicted: DVC leaves lists out of `dvc metrics diff`, which stays short.
    """
    predicted = probabilities.argmax(axis=1)
    correct = int(np.sum(actual == predicted))
    labels = range(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        actual, predicted, labels=labels, zero_division=0
    )
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)  # scikit-learn warns of sums of float32's precision
    # As scikit-learn's log_loss, which would hold all probabilities five times over
    likelihood = np.maximum(exact[np.arange(len(actual)), actual], 2**-52)
    bins = reliability(actual, probabilities)
    gaps = (bins["confidence"] - bins["accuracy"]).abs()
    values = {
        "accuracy": correct / len(actual),
        "errors": len(actual) - correct,
        "balanced_accuracy": float(recall[support > 0].mean()),
        "worst_recall": float(recall[support > 0].min()),
        "negative_log_likelihood": float(-np.log(likelihood).mean()),
        "brier_score": brier_score_loss(actual, exact, labels=labels, scale_by_half=False),
        "expected_calibration_error": float(np.average(gaps, weights=bins["images"])),
        "corrupted_accuracy": float(by_corruption["accuracy"].mean()),
    }
    return {
        **figures.rounded(values),
        "accuracy_interval_95": accuracy_interval(correct, len(actual)),
        "images": len(actual),
        "never_predicted": [
            name for i, name in enumerate(classes) if support[i] and i not in predicted
        ],
        "per_class": [
            {
                "class": name,
                "images": int(support[i]),
                "precision": round(float(precision[i]), 4),
                "recall": round(float(recall[i]), 4),
                "f1": round(float(f1[i]), 4),
            }
            for i, name in enumerate(classes)
        ],
        "per_corruption": by_corruption.round(4).to_dict("records"),
    }


def reliability(
    actual: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """How often predictions are correct, by confidence: the probability of the predicted class.

    Takes labels (n,) and probabilities (n, classes). The images are counted in 15 bins of equal
    width, low < confidence <= high; a bin without images has no row. `confidence` and `accuracy`
    are means over the bin's images.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    low = np.digitize(confidence, BINS[1:-1], right=True)
    images = pd.DataFrame(
        {
            "low": BINS[low],
            "high": BINS[low + 1],
            "confidence": confidence,
            "correct": probabilities.argmax(axis=1) == actual,
        }
    )
    return images.groupby(["low", "high"], as_index=False).agg(
        images=("correct", "size"), confidence=("confidence", "mean"), accuracy=("correct", "mean")
    )


def accuracy_interval(correct: int, images: int) -> list[float]:
    """The 95 % Wilson interval of an accuracy (E. B. Wilson, "Probable inference", 1927).

    A list of its two ends, to four decimals.
    """
    interval = binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return [round(interval.low, 4), round(interval.high, 4)]
