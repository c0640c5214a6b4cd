"""How fast windows answer, against the field's packages on the rows behind them, in one run.

    python -m benchmarks.statistics [--quick] [--nannyml PYTHON] [--scouter PYTHON]

(As a script its name would hide the library's.) Evidently is a dependency and always runs; the
other two run with the Python of an environment of their own. Arrays are in memory on both sides;
imports and reading files count for neither. Figures are medians of repetitions (ours) and one run
after a warm-up on few rows (the peers'). Prints one table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.lab.fitting import Names, fit_schema
from monitors.dispersion import design_effect, intraclass_correlation
from monitors.means import baseline, mean_shift
from monitors.multiplicity import benjamini_hochberg
from monitors.performance import cbpe
from monitors.prevalence import Classes
from monitors.schema import FloatArray, IntArray, Schema
from monitors.summaries import Cases, numeric_counts, numeric_means, summarise
from monitors.two_sample import chi_square, directed, pair, psi

CHARACTERISTICS = 50
WINDOWS = 91  # 90 days of reference and one of now


def cases_of(values: FloatArray) -> Cases:
    n = len(values)
    score = 1 / (1 + np.exp(-values[:, :1]))
    nothing = np.zeros((n, 0))
    return Cases(values, np.zeros((n, 0), np.int64), score, nothing, np.zeros(n, np.int64))


def p_values(counts: IntArray, n: IntArray, mean: FloatArray, square: FloatArray) -> FloatArray:
    """Of mean, shift and distribution of every characteristic: the last window against the rest."""
    reference = counts[:-1].sum(axis=0)
    icc = intraclass_correlation(counts[:-1])
    of = pair(
        reference,
        counts[-1],
        reference_effect=design_effect(n[:-1], icc),
        current_effect=design_effect(n[-1:], icc),
    )
    shift = mean_shift(baseline(n[:-1], mean[:-1], square[:-1] - mean[:-1] ** 2), n[-1:], mean[-1:])
    return np.stack([shift.p_value, directed(of).z_shift, chi_square(of).p_value])


def parts(schema: Schema, rows: IntArray) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Counts, n, mean and mean square of stored windows, as arrays."""
    return numeric_counts(schema, rows)[..., :-1], *numeric_means(schema, rows)


def stored(
    counts: IntArray, n: IntArray, mean: FloatArray, square: FloatArray
) -> Callable[[], FloatArray]:
    """The same with the reference's part worked out once, as a frozen reference has it."""
    icc = intraclass_correlation(counts[:-1])
    reference, effect = counts[:-1].sum(axis=0), design_effect(n[:-1], icc)
    frozen = baseline(n[:-1], mean[:-1], square[:-1] - mean[:-1] ** 2)

    def now() -> FloatArray:
        of = pair(
            reference,
            counts[-1],
            reference_effect=effect,
            current_effect=design_effect(n[-1:], icc),
        )
        return np.stack([mean_shift(frozen, n[-1:], mean[-1:]).p_value, chi_square(of).p_value])

    return now


def median_seconds(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def evidently_seconds(reference: FloatArray, current: FloatArray) -> float:
    """Wall seconds of DataDriftPreset on the rows, after a warm-up on 200 of them."""
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    names = [f"x{i}" for i in range(reference.shape[1])]
    before, after = (pd.DataFrame(x, columns=names) for x in (reference, current))

    def run(rows: int) -> None:
        Report([DataDriftPreset()]).run(after.head(rows), before.head(rows)).dict()

    run(200)
    return median_seconds(lambda: run(len(before)), 1)


def ask(python: str, peer: str, **arrays: FloatArray) -> dict:
    """What a peer's program in its own environment answers about the same arrays."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array)
        command = [python, "-m", f"benchmarks.peers.{peer}_seconds", folder]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(said.stdout.splitlines()[-1])


def calibrated_scores(rows: int, seed: int = 2) -> FloatArray:
    """Probability and label (rows, 2) of a calibrated classifier."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1.2, 4.0, rows)
    return np.column_stack([p, rng.random(rows) < p])


def binned_cbpe(scores: FloatArray, bins: int = 64) -> dict[str, float]:
    """Ours on the same halves, from a histogram of scores with an edge at 0.5."""
    at = np.minimum((scores[:, 0] * bins).astype(int), bins - 1)
    half = len(scores) // 2
    first, label = at[:half], scores[:half, 1]
    negative, positive = (np.bincount(first[label == y], minlength=bins) for y in (0, 1))
    found = cbpe(
        Classes(negative, positive), np.bincount(at[half:], minlength=bins), threshold_bin=bins // 2
    )
    return {
        "recall": float(found.sensitivity.value),
        "specificity": float(found.specificity.value),
        "precision": float(found.ppv.value),
        "roc_auc": float(found.auc.value),
    }


def psi_of_rows(reference: FloatArray, current: FloatArray) -> FloatArray:
    """PSI (F,) of rows on deciles of the reference: binning included, as the peer's."""
    before, after = (np.sort(np.ascontiguousarray(rows.T), axis=1) for rows in (reference, current))
    edges = before[:, np.arange(1, 10) * before.shape[1] // 10]
    return psi(pair(_between(before, edges), _between(after, edges))).value


def _between(columns: FloatArray, edges: FloatArray) -> IntArray:
    """Counts (F, 10) of sorted columns (F, n) between edges (F, 9)."""
    below = [column.searchsorted(cuts) for column, cuts in zip(columns, edges, strict=True)]
    return np.diff(np.array(below), prepend=0, append=columns.shape[1], axis=1)


def beside_nannyml(python: str, before: FloatArray, after: FloatArray, verdict: float) -> None:
    scores = calibrated_scores(20_000)
    peer = ask(python, "nannyml", reference=before, current=after, scores=scores)
    ours = binned_cbpe(scores)
    apart = max(abs(ours[name] - value) for name, value in peer["cbpe"].items())
    print(f"NannyML univariate calculator on the rows           {peer['seconds']:9.3f} s")
    print(f"ratio, values to verdict                            {peer['seconds'] / verdict:9.1f}")
    print(f"CBPE from 64 bins, largest difference               {apart:9.4f}")


def beside_scouter(python: str, before: FloatArray, after: FloatArray) -> None:
    ours = median_seconds(lambda: psi_of_rows(before, after), 3)
    peer = ask(python, "scouter", reference=before, current=after)
    apart = float(np.abs(psi_of_rows(before, after) - np.array(peer["psi"])).max())
    print(f"PSI alone, values to PSI                            {ours:9.3f} s")
    print(f"scouter, profile and PSI on the rows                {peer['seconds']:9.3f} s")
    print(f"ratio, PSI alone                                    {peer['seconds'] / ours:9.2f}")
    print(f"PSI, largest difference                             {apart:9.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--nannyml", help="Python of an environment that has NannyML")
    parser.add_argument("--scouter", help="Python of an environment that has scouter-ml")
    options = parser.parse_args()
    total = 10_000 if options.quick else 100_000
    rng = np.random.default_rng(1)
    values = rng.standard_normal((total, CHARACTERISTICS))
    day = np.arange(total) * WINDOWS // total
    cases = cases_of(values)
    names = tuple(f"x{i}" for i in range(CHARACTERISTICS))
    schema = fit_schema(Names(names, ("1",) * CHARACTERISTICS), cases_of(values[day < WINDOWS - 1]))

    rows = summarise(schema, cases, day, WINDOWS)
    fast = median_seconds(stored(*parts(schema, rows)), 200)
    refit = median_seconds(lambda: p_values(*parts(schema, rows)), 50)
    summary = median_seconds(lambda: summarise(schema, cases, np.zeros_like(day), 1), 3)
    tracemalloc.start()
    summarise(schema, cases, np.zeros_like(day), 1)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()

    def whole() -> bool:
        found = p_values(*parts(schema, summarise(schema, cases, day, WINDOWS)))
        return bool((benjamini_hochberg(found[2]) <= 0.05).any())

    verdict = median_seconds(whole, 3)
    now = day == WINDOWS - 1
    peer = evidently_seconds(values[~now], values[now])
    print(
        f"rows {total} x {CHARACTERISTICS}, cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"all p-values of 50 characteristics, stored windows  {1000 * fast:9.3f} ms")
    print(f"  and the reference worked out anew from 90 windows {1000 * refit:9.3f} ms")
    print(f"values to windows to verdict                        {verdict:9.3f} s")
    print(f"edge summary                                        {summary:9.3f} s, {peak:.0f} MiB")
    print(f"Evidently DataDriftPreset on the rows               {peer:9.3f} s")
    print(f"ratio, p-values from stored windows                 {peer / fast:9.0f}")
    print(f"ratio, values to verdict                            {peer / verdict:9.1f}")
    if options.nannyml:
        beside_nannyml(options.nannyml, values[~now], values[now], verdict)
    if options.scouter:
        beside_scouter(options.scouter, values[~now], values[now])


if __name__ == "__main__":
    main()
