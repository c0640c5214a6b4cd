"""What a person should know of a candidate before approving it.

Stability: the first half of its period serves as a reference, and the engine looks at the second
half under the plan in force. A statistical signal there says that the candidate itself contains
a change. Distance: how far the scores of each site lie from those of the cleared population,
mixed at the prevalence of its validation; stated once, here, and watched by nothing, since a
site may differ from the cohort for good.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from monitors.engine import SignalResult, evaluate
from monitors.errors import MonitorError
from monitors.observations import Cohort, History
from monitors.plan import Plan
from monitors.reference import build_reference
from monitors.schema import FloatArray
from monitors.summaries import score_counts
from monitors.two_sample import pair, wasserstein


def stability(plan: Plan, history: History, until: int, cohort: Cohort) -> dict[str, Any]:
    """`held_still`, `changed` with what moved and since when, or `not_assessable` and why."""
    # Looked at from now, a stage was never anything else, and is no change of this candidate.
    stages = tuple(replace(stage, known=0) for stage in history.stages)
    inside = replace(_cases_before(history, until), stages=stages)
    first = int(inside.cases.start.min())
    middle = (first + until) // 2
    try:
        earlier = build_reference(plan, inside, middle, cohort)
    except MonitorError as error:
        return {"state": "not_assessable", "because": str(error)}
    result = evaluate(plan, earlier, inside, int(inside.cases.arrival.max()))
    found = [_what_moved(s) for s in result.signals if s.kind == "statistical"]
    compared = {"since": date.fromordinal(middle).isoformat()}
    return {"state": "changed" if found else "held_still", **compared, "signals": found}


def distances(history: History, until: int, cohort: Cohort) -> dict[str, dict[str, float]]:
    """Of each site and score stage: Wasserstein distance to the cohort, in units of the score."""
    inside, schema = _cases_before(history, until), history.schema
    expected = _mixed(cohort)
    site = np.array([inside.strata[i].site for i in inside.cases.stratum])
    found: dict[str, dict[str, float]] = {}
    for name in np.unique(site):
        rows = inside.cases.rows[site == name].sum(axis=0)
        counts = np.maximum(score_counts(schema, rows)[:, : schema.score_bins], 0)  # noise
        found[str(name)] = {
            stage.stage: float(wasserstein(pair(expected[s], counts[s]), stage.edges).value)
            for s, stage in enumerate(schema.scores)
            if counts[s].sum() > 0 and expected[s].sum() > 0
        }
    return found


def _mixed(cohort: Cohort) -> FloatArray:
    """Score distribution (S, B) of the cohort's classes at its prevalence; zero where unknown."""
    total = cohort.score_counts.sum(axis=-1, keepdims=True)
    share = cohort.score_counts / np.maximum(total, 1)
    mixed: FloatArray = (1 - cohort.prevalence) * share[0] + cohort.prevalence * share[1]
    return mixed


def _cases_before(history: History, until: int) -> History:
    c = history.cases
    inside = c.end <= until
    return replace(history, cases=c.select(inside))


def _what_moved(signal: SignalResult) -> dict[str, Any]:
    changed = signal.change_day
    return {
        "stream": signal.stream,
        "sites": list(signal.sites),
        "change_date": date.fromordinal(changed).isoformat() if changed else None,
        "characteristics": [c.name for c in signal.characteristics],
    }
