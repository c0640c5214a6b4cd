"""NannyML on the same rows: seconds of its univariate calculator, and what its CBPE estimates.

    PEER_PYTHON -m benchmarks.peers.nannyml_seconds FOLDER

FOLDER holds reference.npy and current.npy (n, F), and scores.npy (m, 2): probability and label.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")

import nannyml  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402


def univariate_seconds(reference: np.ndarray, current: np.ndarray) -> float:
    """Fit on the reference and calculate on the current rows, default methods."""
    names = [f"x{i}" for i in range(reference.shape[1])]
    before, after = (pd.DataFrame(x, columns=names) for x in (reference, current))

    def run(rows: int) -> None:
        calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_number=10)
        calculator.fit(before.head(rows)).calculate(after.head(rows))

    run(200)
    start = time.perf_counter()
    run(len(before))
    return time.perf_counter() - start


def estimated(scores: np.ndarray) -> dict[str, float]:
    """CBPE at a probability of 0.5, fitted on the first half and estimated on the second."""
    frame = pd.DataFrame(scores, columns=["p", "label"])
    frame["said"] = (frame["p"] >= 0.5).astype(int)
    half = len(frame) // 2
    metrics = ["recall", "specificity", "precision", "roc_auc"]
    estimator = nannyml.CBPE(
        y_pred_proba="p",
        y_true="label",
        y_pred="said",
        problem_type="classification_binary",
        metrics=metrics,
        chunk_number=1,
    )
    estimator.fit(frame.head(half))
    found = estimator.estimate(frame.tail(half)).filter(period="analysis").to_df()
    return {name: float(found[name, "value"].iloc[0]) for name in metrics}


def main(folder: Path) -> None:
    reference, current, scores = (
        np.load(folder / f"{n}.npy") for n in ("reference", "current", "scores")
    )
    answer = {"seconds": univariate_seconds(reference, current), "cbpe": estimated(scores)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
