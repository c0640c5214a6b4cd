"""Case windows as arrays of means, merged to a useful size, for whichever strata are watched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.observations import History, Stratum
from monitors.schema import JOINT_UNITS, FloatArray, IntArray
from monitors.summaries import joint_means

POOLED = "pooled"


@dataclass(frozen=True, slots=True, eq=False)
class CaseWindows:
    """W windows of watched strata ("units"), in arrival order.

    unit, n, start, end, arrival : (W,). mean : (W, p) of phi. rows : (W, width). noise : (W, p)
    variance that an edge's noise gives the mean, (W, 1) zeros where there is none.
    """

    unit: IntArray
    n: IntArray
    start: IntArray
    end: IntArray
    arrival: IntArray
    mean: FloatArray
    rows: IntArray
    noise: FloatArray

    def select(self, which: IntArray) -> CaseWindows:
        """Some of the windows, in the order given."""
        return CaseWindows(
            self.unit[which],
            self.n[which],
            self.start[which],
            self.end[which],
            self.arrival[which],
            self.mean[which],
            self.rows[which],
            self.noise[which],
        )


def case_windows(history: History, unit_of_stratum: IntArray, minimum: int) -> CaseWindows:
    """Windows merged per unit, in arrival order, until they hold `minimum` complete cases.

    unit_of_stratum : (strata,) unit index, -1 for a stratum that is not watched. A last lot that
    is still too small waits for the next window.
    """
    cases = history.cases
    n = cases.rows[:, history.schema.columns["joint_n"]][:, 0]
    unit = unit_of_stratum[cases.stratum] if cases.stratum.size else cases.stratum
    used = np.flatnonzero((unit >= 0) & (n > 0))
    # The order of the input must not matter, not even between windows of one day.
    key = (cases.stratum[used], cases.end[used], cases.start[used], cases.arrival[used], unit[used])
    order = used[np.lexsort(key)]
    lot = _lots(unit[order], n[order], minimum)
    kept = lot >= 0
    order, lot = order[kept], lot[kept]
    count = int(lot.max()) + 1 if lot.size else 0
    rows = np.zeros((count, cases.rows.shape[1]), dtype=np.int64)
    np.add.at(rows, lot, cases.rows[order])
    last = np.full(count, -1)
    last[lot] = np.arange(lot.size)
    start, end = np.full(count, np.iinfo(np.int64).max), np.zeros(count, dtype=np.int64)
    np.minimum.at(start, lot, cases.start[order])
    np.maximum.at(end, lot, cases.end[order])
    total, mean = joint_means(history.schema, rows)
    windows = CaseWindows(
        unit[order][last],
        total,
        start,
        end,
        cases.arrival[order][last],
        mean,
        rows,
        _noise_of_means(history, order, lot, total),
    )
    return windows.select(np.lexsort((windows.start, windows.unit, windows.arrival)))


def _noise_of_means(history: History, order: IntArray, lot: IntArray, n: IntArray) -> FloatArray:
    """Variance (W, p) of the mean of phi by the noise of the rows `order` that make up each lot."""
    cases, where = history.cases, history.schema.columns["joint_sum"]
    if cases.noise is None:
        return np.zeros((n.size, 1))
    total = np.zeros((n.size, where.stop - where.start))
    np.add.at(total, lot, cases.select(order).variance(where))
    return np.asarray(total / (n[:, None] * float(JOINT_UNITS)) ** 2)


def _lots(unit: IntArray, n: IntArray, minimum: int) -> IntArray:
    """Lot number of each window, sorted by unit and time; -1 for a lot that is not full."""
    lot = np.full(unit.size, -1)
    number, begin, held = 0, 0, 0
    for i in range(unit.size):
        if i and unit[i] != unit[i - 1]:
            begin, held = i, 0
        held += int(n[i])
        if held >= minimum:
            lot[begin : i + 1] = number
            number, begin, held = number + 1, i + 1, 0
    return lot


def predecessor(stratum: Stratum, known: tuple[Stratum, ...]) -> int | None:
    """The known stratum of the same scanner and stage most like `stratum`; None for a new one."""
    candidates = [
        (
            (k.protocol == stratum.protocol)
            + (k.model == stratum.model)
            + (k.software_version == stratum.software_version),
            k.software_version,
            i,
        )
        for i, k in enumerate(known)
        if (k.site, k.scanner, k.stage) == (stratum.site, stratum.scanner, stratum.stage)
    ]
    return max(candidates)[2] if candidates else None
