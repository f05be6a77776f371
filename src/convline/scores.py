"""The figures of a classifier on labelled images."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support


def summary(
    actual: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp], classes: list[str]
) -> dict[str, Any]:
    """Accuracy with its interval, errors and per-class figures of labels (n,) and guesses (n,).

    The 95 % interval is E. B. Wilson's ("Probable inference", 1927). Figures per class are a
    list: DVC leaves lists out of `dvc metrics diff`, which so stays short. Shares are rounded
    to four decimals.
    """
    correct = int(np.sum(actual == predicted))
    interval = binomtest(correct, len(actual)).proportion_ci(0.95, method="wilson")
    precision, recall, f1, support = precision_recall_fscore_support(
        actual, predicted, labels=range(len(classes)), zero_division=0
    )
    return {
        "accuracy": round(correct / len(actual), 4),
        "accuracy_interval_95": [round(interval.low, 4), round(interval.high, 4)],
        "errors": len(actual) - correct,
        "images": len(actual),
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
    }
