"""Case windows as arrays of means, merged to a useful size, for whichever strata are watched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from monitors.observations import History, Stratum
from monitors.schema import JOINT_UNITS, FloatArray, IntArray
from monitors.summaries import first_stage, merge_score_bins

POOLED = "pooled"


@dataclass(frozen=True, eq=False)
class CaseWindows:
    """W windows of watched strata ("units"), in arrival order.

    unit, n, start, end, arrival : (W,). mean : (W, p) of phi. scores : (W, merged label bins)
    cases by score of the first stage. noise : (W, p) variance that edges' noise gives the mean,
    (W, 1) zeros where there is none.
    """

    unit: IntArray
    n: IntArray
    start: IntArray
    end: IntArray
    arrival: IntArray
    mean: FloatArray
    scores: IntArray
    noise: FloatArray

    @cached_property
    def _by_unit(self) -> tuple[IntArray, IntArray]:
        """Places of the windows unit by unit, and the unit of each."""
        order = np.argsort(self.unit, kind="stable")
        return order, self.unit[order]

    def of(self, units: IntArray) -> IntArray:
        """Places of all windows of `units`, in arrival order."""
        order, unit = self._by_unit
        begin, end = np.searchsorted(unit, [units, units + 1])
        parts = [order[a:b] for a, b in zip(begin, end, strict=True)]
        return np.sort(np.concatenate([order[:0], *parts]))

    def select(self, which: IntArray) -> CaseWindows:
        """Some of the windows, in the order given."""
        return CaseWindows(
            self.unit[which],
            self.n[which],
            self.start[which],
            self.end[which],
            self.arrival[which],
            self.mean[which],
            self.scores[which],
            self.noise[which],
        )


def case_windows(history: History, unit_of_stratum: IntArray, minimum: int) -> CaseWindows:
    """Windows merged per unit, in arrival order, until they hold `minimum` complete cases.

    unit_of_stratum : (strata,) unit index, -1 for a stratum that is not watched. A last lot that
    is still too small waits for the next window.
    """
    cases, schema = history.cases, history.schema
    n = cases.rows[:, schema.columns["joint_n"]][:, 0]
    unit = unit_of_stratum[cases.stratum] if cases.stratum.size else cases.stratum
    used = np.flatnonzero((unit >= 0) & (n > 0))
    # The order of the input must not matter, not even between windows of one day.
    key = (cases.stratum[used], cases.end[used], cases.start[used], cases.arrival[used], unit[used])
    order = used[np.lexsort(key)]
    lot = _lots(unit[order], n[order], minimum)
    order, lot = order[lot >= 0], lot[lot >= 0]
    begin = np.flatnonzero(np.diff(lot, prepend=-1))
    last = np.append(begin[1:], lot.size)[: begin.size] - 1
    total = np.add.reduceat(n[order], begin)
    windows = CaseWindows(
        unit[order][last],
        total,
        np.minimum.reduceat(cases.start[order], begin),
        np.maximum.reduceat(cases.end[order], begin),
        cases.arrival[order][last],
        _sums(cases.rows, schema.columns["joint_sum"], order, begin) / JOINT_UNITS / total[:, None],
        merge_score_bins(schema, _sums(cases.rows, first_stage(schema), order, begin)),
        _noise_of_means(history, order, begin, total),
    )
    return windows.select(np.lexsort((windows.start, windows.unit, windows.arrival)))


def _sums(rows: IntArray, columns: slice, order: IntArray, begin: IntArray) -> IntArray:
    """Of some columns, over runs of rows in `order`; the rest of a wide row is never read."""
    return np.asarray(np.add.reduceat(rows[order, columns], begin, axis=0))


def _noise_of_means(history: History, order: IntArray, begin: IntArray, n: IntArray) -> FloatArray:
    """Variance (W, p) of the mean of phi by the noise of the runs of rows that make it up."""
    cases, where = history.cases, history.schema.columns["joint_sum"]
    if cases.noise is None:
        return np.zeros((n.size, 1))
    total = np.add.reduceat(cases.select(order).variance(where), begin, axis=0)
    return np.asarray(total / (n[:, None] * float(JOINT_UNITS)) ** 2)


def _lots(unit: IntArray, n: IntArray, minimum: int) -> IntArray:
    """Lot number of each window, sorted by unit and time; -1 for a lot that is not full."""
    lot = [-1] * unit.size
    number, begin, held, before = 0, 0, 0, -1
    for i, (of, cases) in enumerate(zip(unit.tolist(), n.tolist(), strict=True)):
        if of != before:
            begin, held, before = i, 0, of
        held += cases
        if held >= minimum:
            lot[begin : i + 1] = [number] * (i + 1 - begin)
            number, begin, held = number + 1, i + 1, 0
    return np.array(lot, dtype=np.int64)


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
