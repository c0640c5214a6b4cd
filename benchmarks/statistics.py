"""How fast windows answer, against Evidently on the rows behind them, in one run.

    python -m benchmarks.statistics [--quick]   (as a script its name would hide the library's)

Arrays are in memory on both sides; imports and reading files count for neither. Figures are medians
of repetitions (ours) and one run after a warm-up on few rows (the peer's). Prints one table.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np

from app.lab.fitting import Names, fit_schema
from monitors.dispersion import design_effect, intraclass_correlation
from monitors.means import baseline, mean_shift
from monitors.multiplicity import benjamini_hochberg
from monitors.schema import FloatArray, IntArray, Schema
from monitors.summaries import Cases, numeric_counts, numeric_means, summarise
from monitors.two_sample import chi_square, directed, pair

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    total = 10_000 if parser.parse_args().quick else 100_000
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


if __name__ == "__main__":
    main()
