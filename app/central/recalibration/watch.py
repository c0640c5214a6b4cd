"""After a release: the flagged share of the first n cases against what the proposal expected.

n is the plan's and was signed with the proposal. The comparison is made once, by the daily job,
on the first days that reach n; it is recorded for good and told. It never looks at cases from
after another release or a roll-back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app.central.alerts.models import Severity
from app.central.alerts.ports import Notice, Tell
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound
from app.central.plain import plain
from app.central.recalibration import repository
from app.central.recalibration.equivalent import class_of
from app.central.recalibration.models import PointRelease, PostChangeComparison
from app.central.recalibration.releases import expected_figures
from app.central.surveillance.history import assemble
from app.contracts.signing import canonical, sha256
from monitors.observations import History
from monitors.proportions import wilson
from monitors.schema import IntArray
from monitors.summaries import tallies

WAITING, AS_EXPECTED, NOT_AS_EXPECTED = "waiting", "as expected", "not as expected"
ENDED = "ended before the planned number of cases"
NOISY = "not assessable under noise"
KINDS = ("analysed", "flagged")


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


@dataclass(frozen=True, slots=True)
class NewStage:
    """From `day`, the first whole one, a site flags at another operating point.

    expected : share of cases flagged, as the proposal has it; None where the operating point
    is of one class of scanners.
    """

    day: date
    point_id: str
    kind: str
    expected: float | None


RECORDED = TypeAdapter(PostChange)


def stages(session: Session, lock_digest: str, site_id: str) -> tuple[NewStage, ...]:
    """Every operating point that was released to a site, or came back there, oldest first."""
    found = repository.releases(session, lock_digest, site_id)
    return tuple(_stage(session, release) for release in found)


def _stage(session: Session, release: PointRelease) -> NewStage:
    proposal = repository.find_proposal(session, release.proposal_id)
    assert proposal is not None
    document = json.loads(proposal.document)
    expected = expected_figures(document, release.site_id, is_rollback=release.is_rollback)
    is_of_all = not document["thresholds"]["new"]["scanner_class"]
    share = float(expected["alerts_per_1000"]["value"]) / 1000 if is_of_all else None
    first = release.effective_from.date() + timedelta(1)
    return NewStage(first, release.id, "roll-back" if release.is_rollback else "release", share)


def compare_due(session: Session, today: date, now: datetime, tell: Tell) -> int:
    """Make every comparison whose number of cases is reached; how many that were."""
    made = 0
    for release in repository.unwatched(session):
        found = _look(session, release, today)
        if found.state in (AS_EXPECTED, NOT_AS_EXPECTED):
            _record(session, release, found, now, tell)
            made += 1
    return made


def post_change(session: Session, point_id: str, today: date) -> PostChange:
    """The recorded comparison of a release, or how far its cases have got."""
    known = recorded(session, point_id)
    if known is not None:
        return known
    release = repository.find_release(session, point_id)
    if release is None or release.is_rollback:
        raise NotFound(f"no release {point_id[:64]}")
    return _look(session, release, today)


def recorded(session: Session, point_id: str) -> PostChange | None:
    """The comparison of a release as it was recorded; None before."""
    stored = repository.find_comparison(session, point_id)
    if stored is None:
        return None
    if sha256(stored.document) != stored.digest:
        raise NotAllowed(f"the comparison of {point_id} is not what was recorded")
    return RECORDED.validate_json(stored.document)


def _record(
    session: Session, release: PointRelease, found: PostChange, now: datetime, tell: Tell
) -> None:
    document = canonical(plain(found))
    is_fine = found.state == AS_EXPECTED
    session.add(
        PostChangeComparison(
            point_id=release.id,
            document=document,
            digest=sha256(document),
            is_as_expected=is_fine,
            compared_at=now,
        )
    )
    session.flush()
    audit.record(
        session,
        actor="lockwatch",
        action="recalibration:point:compare",
        subject=release.id,
        at=now,
        detail={"state": found.state, "digest": sha256(document)},
    )
    severity = Severity.NOTICE if is_fine else Severity.WARNING
    tell(
        session,
        f"comparison:{release.id}",
        _notice(release, found),
        severity,
        (release.site_id,),
        release.lock_digest,
    )


def _notice(release: PointRelease, found: PostChange) -> Notice:
    to_do = (
        ("Nothing: surveillance goes on.",)
        if found.state == AS_EXPECTED
        else ("Look at the proposal; the release can be rolled back there in one signed step.",)
    )
    return Notice(
        subject=f"{release.id}: {found.state} after the change",
        heading=f"Operating point {release.id} at {release.site_id}: {found.state}",
        sentences=(
            f"The first {found.cases} cases since the change were compared with what the proposal "
            "expected, as planned before.",
        ),
        facts=(
            ("Alerts per 1,000", f"{found.alerts:.0f} ({found.low:.0f} to {found.high:.0f})"),
            ("Expected", f"{found.expected_low:.0f} to {found.expected_high:.0f}"),
            ("Cases up to", str(found.last_day)),
            ("Proposal", release.proposal_id),
        ),
        to_do=to_do,
        path=f"/recalibrations/{release.proposal_id}",
    )


def _look(session: Session, release: PointRelease, today: date) -> PostChange:
    proposal = repository.find_proposal(session, release.proposal_id)
    assert proposal is not None
    expected, planned, only = _promised(proposal.document)
    ends = float(expected["low"]), float(expected["high"])
    until = _superseded(session, release)
    days, n, flagged, is_noisy = _since(session, release, today, until, only)
    if is_noisy:
        total = int(n.sum())
        return PostChange(release.id, planned, total, None, None, None, None, *ends, NOISY)
    reached = int(np.searchsorted(np.cumsum(n), planned)) if n.size else 0
    if reached >= n.size:
        state = WAITING if until is None else ENDED
        return PostChange(release.id, planned, int(n.sum()), None, None, None, None, *ends, state)
    cases, found = int(n[: reached + 1].sum()), int(flagged[: reached + 1].sum())
    seen = wilson(found, cases)
    low, high = 1000 * float(seen.low), 1000 * float(seen.high)
    return PostChange(
        release.id,
        planned,
        cases,
        date.fromordinal(int(days[reached])),
        1000 * found / cases,
        low,
        high,
        *ends,
        AS_EXPECTED if low <= ends[1] and high >= ends[0] else NOT_AS_EXPECTED,
    )


def _promised(document: bytes) -> tuple[dict[str, Any], int, str]:
    """Alerts expected, of how many cases, and of which class of scanners ("" = all)."""
    found = json.loads(document)
    alerts: dict[str, Any] = found["consequences"]["new"]["alerts_per_1000"]
    only = str(found["thresholds"]["new"]["scanner_class"])
    return alerts, int(found["plan"]["post_change_cases"]), only


def _superseded(session: Session, release: PointRelease) -> date | None:
    """The day on which the site changed again, if it did."""
    later = repository.releases(session, release.lock_digest, release.site_id)
    return next(
        (r.effective_from.date() for r in later if r.counter > release.counter),
        None,
    )


def _since(
    session: Session, release: PointRelease, today: date, until: date | None, only: str
) -> tuple[IntArray, IntArray, IntArray, bool]:
    """Days, cases and flagged of the site: whole days from after the change to the next one; and
    whether an edge added noise to them."""
    history: History = assemble(session, release.lock_digest, upto=today).history
    mine = np.array(
        [s.site == release.site_id and (not only or class_of(s) == only) for s in history.strata],
        dtype=bool,
    )
    inside = mine[history.cases.stratum] if history.cases.stratum.size else np.zeros(0, bool)
    inside &= history.cases.start > release.effective_from.date().toordinal()
    if until is not None:
        inside &= history.cases.end <= until.toordinal()
    tally = tallies(history.schema, history.cases.rows[inside])
    days, place = np.unique(history.cases.start[inside], return_inverse=True)
    sums = (np.bincount(place, weights=tally[k], minlength=days.size) for k in KINDS)
    n, flagged = (x.astype(np.int64) for x in sums)
    return days, n, flagged, bool(history.cases.is_noisy[inside].any())
