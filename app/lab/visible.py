"""What a table's volume could show: smallest changes, and days until a signal, by stratum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from monitors.detectors import limit
from monitors.margins import reference_margin
from monitors.null_model import TOLERANCE, Basis
from monitors.observations import History
from monitors.plan import Plan
from monitors.power import days_to_signal, mean_effect
from monitors.reference import Reference, build_reference, stratum_name
from monitors.schema import FloatArray

SHIFTS = (0.25, 0.5, 1.0)  # of one characteristic, in standard deviations of a case
ODDS = (1.5, 2.5)  # of the prevalence
DEFAULT_RATE = 0.15
LONGEST = 400  # windows looked at
DIRECTED_SHARE = 1 / 3  # of a stream's weight on the label-shift direction


@dataclass(frozen=True, slots=True)
class Visible:
    """One stratum. cases_a_day : analysed. month : smallest shift, in standard deviations, that 30
    days show at 5 % with 80 % power. days : until a signal, inf beyond the horizon, by change."""

    stratum: str
    cases_a_day: float
    cases_a_window: float
    month: float
    days: tuple[tuple[str, float], ...]
    state: str


@dataclass(frozen=True, slots=True)
class Power:
    """All strata, and the promise under which the days hold."""

    streams: int
    limit: float
    false_signals_per_year: float
    strata: tuple[Visible, ...]
    not_assessable: tuple[str, ...]


def power_of(history: History, until: int, plan: Plan) -> Iterator[Power | int]:
    """Yields the number of strata, then each one's place as it is done, then the whole."""
    reference = build_reference(plan, history, until)
    reach = limit(max(len(reference.streams), 1), plan.false_signals_per_year)
    yield len(reference.units)
    found = []
    for unit in range(len(reference.units)):
        found.append(_visible(reference, history, unit, reach))
        yield unit
    words = reference.assessability
    yield Power(
        streams=len(reference.streams),
        limit=reach,
        false_signals_per_year=plan.false_signals_per_year,
        strata=tuple(found),
        not_assessable=tuple(f"{k}: {v}" for k, v in words.items() if v.startswith("not")),
    )


def _visible(reference: Reference, history: History, unit: int, reach: float) -> Visible:
    stratum, null = reference.units[unit], reference.null
    at = history.strata.index(stratum)
    mine = (history.cases.stratum == at) & (history.cases.end <= reference.until)
    span = int(history.cases.end[mine].max() - history.cases.start[mine].min())
    daily = float(null.cases[unit]) / max(span, 1)
    n = float(null.cases[unit] / max(reference.windows[unit], 1))
    days = max(n / daily, 1.0)
    single = _single(reference)
    month = mean_effect(
        30 * daily, float(null.cases[unit]), between=float(np.median(single)), windows=30 / days
    )
    found = [
        (
            f"one characteristic by {shift:g} SD",
            shift,
            float(np.median(single)),
            1 / (2 * single.size),
        )
        for shift in SHIFTS
        if single.size
    ]
    found += list(_prevalence(reference, n))
    return Visible(
        stratum=stratum_name(stratum),
        cases_a_day=daily,
        cases_a_window=n,
        month=float(month),
        days=tuple((name, _days(reference, unit, n, days, reach, e)) for name, *e in found),
        state=reference.assessability[stratum_name(stratum)],
    )


def _single(reference: Reference) -> FloatArray:
    """Between-window variance of single acquisition characteristics, in variances of a case."""
    null, part = reference.null, reference.schema.joint.blocks["acquisition"]
    within = np.diag(null.within)[part]
    return np.asarray((np.diag(null.between)[part] / within)[within > 0])


def _prevalence(reference: Reference, n: float) -> Iterator[tuple[str, float, float, float]]:
    """Shift along the label-shift direction, standardised, its between-variance and weight."""
    basis = reference.bases.get("score")
    if basis is None or basis.direction is None:
        return
    length, between = _along(basis, n)
    labels = reference.labels
    rate = DEFAULT_RATE if labels is None else float(np.mean(labels.rate))
    for odds in ODDS:
        step = float(expit(logit(rate) + np.log(odds)) - rate)
        yield (
            f"prevalence odds x {odds:g} ({rate:.0%} to {rate + step:.0%})",
            step * length,
            between,
            (DIRECTED_SHARE),
        )


def _along(basis: Basis, n: float) -> tuple[float, float]:
    """Length of the direction in standard deviations of a case, and its day variance there."""
    white = slice(0, basis.whitened)
    assert basis.direction is not None
    variance = 1 / n + basis.between[white] + TOLERANCE**2
    information = float((basis.direction**2 / variance).sum())
    plain = float((basis.direction**2).sum())
    return float(np.sqrt(plain)), max(plain / information - 1 / n - TOLERANCE**2, 0.0)


def _days(
    reference: Reference, unit: int, n: float, days: float, reach: float, change: list[float]
) -> float:
    """Days until the stratum's stream signals a change of (shift, between, weight)."""
    shift, between, weight = change
    null = reference.null
    own = (1 + float(null.n0[unit]) * between) / float(null.cases[unit])
    variance = 1 / n + between + own + TOLERANCE**2
    return float(
        days_to_signal(
            shift / np.sqrt(variance),
            reach,
            margin=float(reference_margin(np.array(own / variance), reach, np.array(weight))),
            weight=weight,
            days=days,
            longest=LONGEST,
            runs=200,
        )
    )
