"""The ledger of scheduled work: what was due, and that it was done once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class RunState(StrEnum):
    """Where one due run stands."""

    DUE = "due"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # given up after the last attempt; shown, and never taken for done


class JobPlan(Base):
    """How far each job's due times have been written down."""

    __tablename__ = "job_plan"

    job: Mapped[str] = mapped_column(primary_key=True, comment="Name of the job")
    planned_to: Mapped[datetime] = mapped_column(comment="Every due time up to here has a run")


class JobRun(Base):
    """One due time of one job."""

    __tablename__ = "job_run"

    job: Mapped[str] = mapped_column(primary_key=True, comment="Name of the job")
    due_at: Mapped[datetime] = mapped_column(primary_key=True, comment="When it was due")
    state: Mapped[RunState] = mapped_column(index=True, comment="due, running, done or failed")
    owner: Mapped[str] = mapped_column(comment="Worker that holds it; empty if none")
    attempts: Mapped[int] = mapped_column(BigInteger, comment="Claims so far; fences late workers")
    lease_until: Mapped[datetime | None] = mapped_column(comment="Database time; then reclaimed")
    not_before: Mapped[datetime | None] = mapped_column(comment="Database time of the next attempt")
    finished_at: Mapped[datetime | None] = mapped_column(comment="When it was done")
    last_error: Mapped[str] = mapped_column(comment="Kind of the last failure")


class Heartbeat(Base):
    """That a worker lives, and up to which instant it has completed everything."""

    __tablename__ = "worker_heartbeat"

    worker: Mapped[str] = mapped_column(primary_key=True, comment="Host and process")
    completed_to: Mapped[datetime] = mapped_column(comment="Instant of the last completed round")
    beaten_at: Mapped[datetime] = mapped_column(comment="Database time of it")
