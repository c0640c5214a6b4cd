"""Numbers for Prometheus: counts only, naming no site, edge, person or signal."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.central.alerts.models import OutboxMail
from app.central.fleet.models import Edge
from app.central.intake.models import Arrival
from app.central.jobs import service as jobs
from app.central.jobs.models import JobRun
from app.central.surveillance.models import Signal

STATES: tuple[tuple[str, str, InstrumentedAttribute[object]], ...] = (
    ("edges", "Edges by state", Edge.state),
    ("windows", "Windows that arrived, by outcome", Arrival.outcome),
    ("signals", "Signals by state", Signal.state),
    ("mails", "Mails by state of delivery", OutboxMail.state),
    ("job_runs", "Scheduled runs by state", JobRun.state),
)


def exposition(session: Session, now: datetime) -> bytes:
    """The present numbers in Prometheus' text format."""
    registry = CollectorRegistry()
    for name, what, column in STATES:
        gauge = Gauge(f"lockwatch_{name}", what, ["state"], registry=registry)
        for state, count in session.execute(select(column, func.count()).group_by(column)):
            gauge.labels(str(state)).set(count)
    late = Gauge("lockwatch_job_runs_late", "Runs due but not done in time", registry=registry)
    late.set(jobs.late(session, now))
    return generate_latest(registry)
