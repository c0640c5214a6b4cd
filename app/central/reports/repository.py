"""Queries on issued reports."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from app.central.reports.models import Report


def find_report(session: Session, number: str) -> Report | None:
    """The report of that number."""
    return session.get(Report, number)


def reports(session: Session, *, limit: int = 200) -> Sequence[Report]:
    """Issued reports, newest first, without their bytes."""
    heavy = defer(Report.html), defer(Report.pdf), defer(Report.evidence)
    query = select(Report).order_by(Report.issued_at.desc(), Report.number.desc()).limit(limit)
    return session.scalars(query.options(*heavy)).all()
