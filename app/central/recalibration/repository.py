"""Queries on plans, proposals and releases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

from sqlalchemy import Result, bindparam, select
from sqlalchemy.orm import Session

from app.central.fleet.models import Edge
from app.central.intake.models import StoredWindow
from app.central.recalibration.models import (
    ChangePlan,
    HoldoutEvaluation,
    PointRelease,
    PostChangeComparison,
    Proposal,
    ProposalDecision,
)

NEWEST_POINT = (
    select(PointRelease.id)
    .where(
        PointRelease.lock_digest == bindparam("lock_digest"),
        PointRelease.site_id == bindparam("site_id"),
    )
    .order_by(PointRelease.counter.desc())
    .limit(1)
    .scalar_subquery()
)
"""Id of the newest operating point of a site, inside another query."""


def newest_plan(session: Session, lock_digest: str, *, lock: bool = False) -> ChangePlan | None:
    """The plan in force."""
    query = select(ChangePlan).where(ChangePlan.lock_digest == lock_digest)
    query = query.order_by(ChangePlan.version.desc()).limit(1)
    return session.scalar(query.with_for_update() if lock else query)


def first_plan(session: Session, lock_digest: str) -> ChangePlan:
    """The first plan of a device version that has one."""
    query = select(ChangePlan).where(ChangePlan.lock_digest == lock_digest)
    return session.scalars(query.order_by(ChangePlan.version).limit(1)).one()


def find_proposal(session: Session, proposal_id: str, *, lock: bool = False) -> Proposal | None:
    """The proposal of that number."""
    return session.get(Proposal, proposal_id, with_for_update=lock)


def proposals(session: Session, *, limit: int = 200) -> Sequence[Proposal]:
    """Proposals, newest first."""
    order = Proposal.proposed_at.desc(), Proposal.id.desc()
    return session.scalars(select(Proposal).order_by(*order).limit(limit)).all()


def decisions(session: Session, proposal_id: str) -> Sequence[ProposalDecision]:
    """Signatures under a proposal, oldest first."""
    query = select(ProposalDecision).where(ProposalDecision.proposal_id == proposal_id)
    return session.scalars(query.order_by(ProposalDecision.decided_at)).all()


def find_release(session: Session, point_id: str) -> PointRelease | None:
    """The release of that operating point."""
    return session.get(PointRelease, point_id)


def releases(session: Session, lock_digest: str, site_id: str) -> Sequence[PointRelease]:
    """Every release to one site, oldest first."""
    query = select(PointRelease).where(
        PointRelease.lock_digest == lock_digest, PointRelease.site_id == site_id
    )
    return session.scalars(query.order_by(PointRelease.counter)).all()


def releases_of_version(session: Session, lock_digest: str) -> Sequence[PointRelease]:
    """Every release of a device version, by site, oldest first."""
    query = select(PointRelease).where(PointRelease.lock_digest == lock_digest)
    return session.scalars(query.order_by(PointRelease.site_id, PointRelease.counter)).all()


def releases_of(session: Session, proposal_id: str) -> Sequence[PointRelease]:
    """Every release of one proposal, oldest first."""
    query = select(PointRelease).where(PointRelease.proposal_id == proposal_id)
    return session.scalars(query.order_by(PointRelease.released_at, PointRelease.id)).all()


def effective_between(
    session: Session, lock_digest: str, start: datetime, end: datetime
) -> Sequence[PointRelease]:
    """Releases and roll-backs that took effect in [start, end), oldest first."""
    query = select(PointRelease).where(
        PointRelease.lock_digest == lock_digest,
        PointRelease.effective_from >= start,
        PointRelease.effective_from < end,
    )
    return session.scalars(query.order_by(PointRelease.effective_from, PointRelease.id)).all()


def newest_release(session: Session, lock_digest: str, site_id: str) -> PointRelease | None:
    """What the site should be using, if anything but the cleared operating point."""
    found = releases(session, lock_digest, site_id)
    return found[-1] if found else None


def unwatched(session: Session) -> Sequence[PointRelease]:
    """Releases, not roll-backs, that have not been compared yet, oldest first."""
    compared = select(PostChangeComparison.point_id)
    query = select(PointRelease).where(
        PointRelease.is_rollback.is_(False), PointRelease.id.not_in(compared)
    )
    return session.scalars(query.order_by(PointRelease.released_at, PointRelease.id)).all()


def find_comparison(session: Session, point_id: str) -> PostChangeComparison | None:
    """The comparison of a release, if it was made."""
    return session.get(PostChangeComparison, point_id)


def find_holdout(session: Session, digest: str) -> HoldoutEvaluation | None:
    """The evaluation with that record."""
    query = select(HoldoutEvaluation).where(HoldoutEvaluation.digest == digest)
    return session.scalar(query)


def holdouts(session: Session, lock_digest: str | None = None) -> Sequence[HoldoutEvaluation]:
    """Evaluations, newest first."""
    query = select(HoldoutEvaluation)
    if lock_digest is not None:
        query = query.where(HoldoutEvaluation.lock_digest == lock_digest)
    order = HoldoutEvaluation.evaluated_at.desc(), HoldoutEvaluation.id.desc()
    return session.scalars(query.order_by(*order)).all()


def newest_windows(session: Session, lock_digest: str, site_id: str, n: int = 64) -> list[bytes]:
    """Exact bytes of a site's newest case windows, newest end first."""
    w = StoredWindow
    query = select(w.raw).where(
        w.lock_digest == lock_digest, w.site_id == site_id, w.stream == "cases"
    )
    return list(session.scalars(query.order_by(w.end.desc(), w.received_at.desc()).limit(n)))


def windows_after(session: Session, release: PointRelease, until: date) -> Result[datetime, bytes]:
    """Start and exact bytes of the site's case windows that began between a release's hour and
    `until`, oldest first, a few in memory at a time; to be closed."""
    w = StoredWindow
    edges = select(Edge.id).where(Edge.site_id == release.site_id)
    query = select(w.start, w.raw).where(
        w.edge_id.in_(edges),
        w.start >= release.effective_from,
        w.start < datetime.combine(until, time(0), tzinfo=UTC),
        w.lock_digest == release.lock_digest,
        w.stream == "cases",
    )
    return session.execute(query.order_by(w.start).execution_options(yield_per=4))
