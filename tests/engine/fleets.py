"""Simulated fleets for the engine's tests, each made once a session."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from app.lab.simulate import Drift, Fleet, simulate
from monitors.engine import Evaluation, Plan, Reference, build_reference, evaluate
from monitors.observations import CaseRows, History, LabelRows, MomentRows, SentinelRows

SEED = 7
ORDINARY = Fleet(volume=60.0, monitored_days=50)
SCANNER = Drift(kind="scanner", day=12, site="H2", scanner="S1", size=1.0)
PREVALENCE = Drift(kind="prevalence", day=12, site="H3", size=3.0)
ANNOTATION = Drift(kind="annotation", day=12, site="H1", size=1.0)
VERSION = Drift(kind="software_version", day=12, site="H1", scanner="S2")


def a_fleet(*drifts: Drift) -> Fleet:
    return replace(ORDINARY, drifts=drifts)


@cache
def a_history(*drifts: Drift, seed: int = SEED) -> History:
    return simulate(a_fleet(*drifts), seed)


@cache
def a_reference(*drifts: Drift, seed: int = SEED) -> Reference:
    return build_reference(Plan(), a_history(*drifts, seed=seed), ORDINARY.reference_end)


@cache
def found(*drifts: Drift, seed: int = SEED) -> Evaluation:
    return evaluate(Plan(), a_reference(*drifts, seed=seed), a_history(*drifts, seed=seed))


def shuffled(history: History, seed: int = 1) -> History:
    """The same rows in another order, under another numbering of strata."""
    rng = np.random.default_rng(seed)
    c, m, la, s = history.cases, history.moments, history.labels, history.sentinels
    renamed = rng.permutation(len(history.strata))
    place = np.argsort(renamed)
    by_c, by_m = rng.permutation(c.start.size), rng.permutation(m.start.size)
    by_l, by_s = rng.permutation(la.week.size), rng.permutation(s.day.size)
    return History(
        history.schema,
        tuple(history.strata[i] for i in renamed),
        CaseRows(c.rows[by_c], c.start[by_c], c.end[by_c], c.arrival[by_c], place[c.stratum[by_c]]),
        MomentRows(
            m.rows[by_m], m.start[by_m], m.end[by_m], m.arrival[by_m], place[m.stratum[by_m]]
        ),
        LabelRows(
            la.rows[by_l],
            la.week[by_l],
            la.arrival[by_l],
            tuple(la.site[i] for i in by_l),
            tuple(la.source[i] for i in by_l),
            tuple(la.reader_group[i] for i in by_l),
        ),
        SentinelRows(
            s.rows[by_s],
            s.day[by_s],
            s.arrival[by_s],
            tuple(s.site[i] for i in by_s),
            tuple(s.reader_group[i] for i in by_s),
        ),
        history.events,
    )
