"""A fleet's year of daily windows through the default pipeline, and what one window costs.

    python -m benchmarks.fleet_year [--strata 10 100 1000] [--characteristics 200] [--changed 4]

Every stratum has `REFERENCE_DAYS` windows behind a reference and 365 monitored ones, of 200
characteristics (histograms and sums) and a joint vector of 128 coordinates, the most that a
window may hold. Timed is `evaluate` with the default plan, from rows in memory to signals. In
`--changed` strata the characteristics move, so that raising, dating and naming are part of it.
Bars: 60 s for 1,000 strata on two cores, and a cost per window that is flat within 20 %.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import replace

import numpy as np

from monitors.engine import Plan, build_reference, evaluate
from monitors.observations import (
    CaseRows,
    History,
    LabelRows,
    MomentRows,
    SentinelRows,
    Stratum,
)
from monitors.schema import JOINT_UNITS, FloatArray, Joint, Numeric, Schema, Score

BAR_S = 60.0
FIRST, REFERENCE_DAYS, YEAR = 739_252, 30, 365
CASES_A_DAY = 40
SCANNERS_A_SITE = 4
ACQUISITION, EMBEDDING, FOURIER = 48, 13, 16  # 3 + 2 x 48 + 13 + 16 = 128
BETWEEN_DAYS = 0.1  # standard deviations of a case, of a stratum's daily mean


def schema_of(characteristics: int) -> Schema:
    names = tuple(f"x{i}" for i in range(characteristics))
    watched = names[:ACQUISITION]
    size = 3 + 2 * len(watched) + EMBEDDING + FOURIER
    joint = Joint(
        watched,
        EMBEDDING,
        np.zeros((FOURIER, EMBEDDING)),
        np.zeros(FOURIER),
        np.zeros(size),
        np.ones(size),
    )
    numeric = tuple(Numeric(name, "1", np.linspace(-3, 3, 11)) for name in names)
    bins = 64
    return Schema(numeric, (), (Score("main", np.linspace(0, 1, bins + 1)),), joint, (0,) * bins)


def rows_of(schema: Schema, strata: int, days: int, shift: FloatArray, seed: int) -> CaseRows:
    """Windows in which case means vary by day; `shift` (strata,) of the acquisition's means.

    The histograms stay empty, and so take no memory: the pipeline reads them of no window.
    """
    rng = np.random.default_rng(seed)
    count, joint = strata * days, schema.columns["joint_sum"]
    rows = np.zeros((count, schema.width(schema.columns)), dtype=np.int64)
    rows[:, schema.columns["joint_n"]] = CASES_A_DAY
    stratum = np.tile(np.arange(strata), days)
    moved = schema.joint.blocks["acquisition"]
    spread = np.sqrt(1 / CASES_A_DAY + BETWEEN_DAYS**2)
    for day in range(days):  # a day at a time: a year of doubles would not fit beside the rows
        mean = rng.standard_normal((strata, schema.joint.size)) * spread
        mean[:, moved] += shift[:, None] * (day >= days // 2)
        part = slice(day * strata, (day + 1) * strata)
        rows[part, joint] = np.rint(mean * CASES_A_DAY * JOINT_UNITS)
    start = FIRST + np.repeat(np.arange(days), strata)
    return CaseRows(rows, start, start + 1, start + 1, stratum)


def moments_of(schema: Schema) -> MomentRows:
    """One week of one stratum, from which the covariance within days is the identity."""
    dof, p, columns = 10_000, schema.joint.size, schema.moment_columns
    row = np.zeros((1, schema.width(columns)), dtype=np.int64)
    row[:, columns["n"]], row[:, columns["dof"]] = dof + 7, dof
    row[:, columns["products"]] = (np.eye(p, dtype=np.int64) * dof * JOINT_UNITS**2)[
        np.triu_indices(p)
    ]
    one = np.array([FIRST])
    return MomentRows(row, one, one + 7, one + 7, np.array([0]))


def history_of(schema: Schema, strata: int, days: int, changed: int, seed: int) -> History:
    named = tuple(
        Stratum(f"H{i // SCANNERS_A_SITE:05d}", f"S{i % SCANNERS_A_SITE}") for i in range(strata)
    )
    shift = np.where(np.arange(strata) < changed, 0.5, 0.0)
    none = np.zeros(0, dtype=np.int64)
    moments = moments_of(schema)
    labels = LabelRows(np.zeros((0, 2), dtype=np.int64), none, none, (), (), ())
    sentinels = SentinelRows(np.zeros((0, 1), dtype=np.int64), none, none, (), ())
    cases = rows_of(schema, strata, days, shift, seed)
    return History(schema, named, cases, moments, labels, sentinels)


def timed(schema: Schema, strata: int, days: int, changed: int) -> None:
    """One line: a fleet of `strata` over `days`, and what its evaluation took."""
    plan, until = Plan(), FIRST + REFERENCE_DAYS
    before = history_of(schema, strata, REFERENCE_DAYS, 0, 1)
    reference = build_reference(plan, before, until)
    del before
    history = history_of(schema, strata, days, changed, 2)
    later = replace(
        history.cases,
        start=history.cases.start + REFERENCE_DAYS,
        end=history.cases.end + REFERENCE_DAYS,
        arrival=history.cases.arrival + REFERENCE_DAYS,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    found = evaluate(plan, reference, replace(history, cases=later))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    windows = strata * days
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{strata:6d} {days:4d} {windows:9,d} {wall:8.1f} {cpu:8.1f} {cpu / windows * 1e6:9.1f} "
        f"{len(found.signals):8d} {peak:6.1f}",
        flush=True,
    )


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--strata", type=int, nargs="+", default=[10, 100, 1000])
    given.add_argument("--days", type=int, default=YEAR)
    given.add_argument("--characteristics", type=int, default=200)
    given.add_argument("--changed", type=int, default=4, help="strata that change half way")
    options = given.parse_args()
    schema = schema_of(options.characteristics)
    print(
        f"{options.characteristics} characteristics, {schema.joint.size} joint coordinates, "
        f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    )
    print("strata days   windows   wall s    CPU s CPU us/window signals peak GiB")
    for strata in options.strata:
        timed(schema, strata, options.days, options.changed)
    print(f"bar: {BAR_S:.0f} s for 1,000 strata and a year, flat per window")


if __name__ == "__main__":
    main()
