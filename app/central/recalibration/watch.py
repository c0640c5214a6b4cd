"""After a release: the flagged share of the first n cases against what the proposal expected.

n is the plan's and was signed with the proposal; the comparison is made once, on the first days
that reach it, and never on a number of cases chosen afterwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.central.errors import NotFound
from app.central.recalibration import repository
from app.central.recalibration.models import PointRelease
from app.central.surveillance.history import assemble
from monitors.observations import History
from monitors.proportions import wilson
from monitors.schema import IntArray
from monitors.summaries import tallies

WAITING, AS_EXPECTED, NOT_AS_EXPECTED = "waiting", "as expected", "not as expected"


@dataclass(frozen=True, slots=True)
class PostChange:
    """Alerts per 1,000 of the first `planned` cases; `last_day` is where they were reached."""

    point_id: str
    planned: int
    cases: int
    last_day: date | None
    alerts: float | None
    low: float | None
    high: float | None
    expected_low: float
    expected_high: float
    state: str


def post_change(session: Session, point_id: str, today: date) -> PostChange:
    """The comparison of one release; `waiting` until the planned number of cases is reached."""
    release = repository.find_release(session, point_id)
    if release is None or release.is_rollback:
        raise NotFound(f"no release {point_id[:64]}")
    proposal = repository.find_proposal(session, release.proposal_id)
    assert proposal is not None
    expected, planned = _promised(proposal.document)
    days, n, flagged = _since(session, release, today)
    reached = int(np.searchsorted(np.cumsum(n), planned)) if n.size else 0
    if reached >= n.size:
        ends = float(expected["low"]), float(expected["high"])
        return PostChange(point_id, planned, int(n.sum()), None, None, None, None, *ends, WAITING)
    cases, found = int(n[: reached + 1].sum()), int(flagged[: reached + 1].sum())
    seen = wilson(found, cases)
    low, high = 1000 * float(seen.low), 1000 * float(seen.high)
    fits = low <= expected["high"] and high >= expected["low"]
    return PostChange(
        point_id,
        planned,
        cases,
        date.fromordinal(int(days[reached])),
        1000 * found / cases,
        low,
        high,
        float(expected["low"]),
        float(expected["high"]),
        AS_EXPECTED if fits else NOT_AS_EXPECTED,
    )


def _promised(document: bytes) -> tuple[dict[str, Any], int]:
    found = json.loads(document)
    alerts: dict[str, Any] = found["consequences"]["new"]["alerts_per_1000"]
    return alerts, int(found["plan"]["post_change_cases"])


def _since(
    session: Session, release: PointRelease, today: date
) -> tuple[IntArray, IntArray, IntArray]:
    """Days, cases and flagged of the site from the first whole day after the change on."""
    history: History = assemble(session, release.lock_digest, upto=today).history
    mine = np.array([s.site == release.site_id for s in history.strata], dtype=bool)
    inside = mine[history.cases.stratum] if history.cases.stratum.size else np.zeros(0, bool)
    inside &= history.cases.start > release.effective_from.date().toordinal()
    tally = tallies(history.schema, history.cases.rows[inside])
    days, place = np.unique(history.cases.start[inside], return_inverse=True)
    sums = (np.bincount(place, weights=tally[k], minlength=days.size) for k in KINDS)
    n, flagged = (x.astype(np.int64) for x in sums)
    return days, n, flagged


KINDS = ("analysed", "flagged")
