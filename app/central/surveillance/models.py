"""Plans, evaluations, signals and what people decided about them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class SignalState(StrEnum):
    """Where a signal stands (screens.md 3.5)."""

    DETECTED = "detected"
    UNDER_ASSESSMENT = "under_assessment"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class Action(StrEnum):
    """What a person may decide."""

    START_ASSESSMENT = "start_assessment"
    CONFIRM = "confirm"
    REFUTE = "refute"
    LEAVE_OPEN = "leave_open"
    REOPEN = "reopen"


TRANSITIONS: dict[tuple[SignalState, Action], SignalState] = {
    (SignalState.DETECTED, Action.START_ASSESSMENT): SignalState.UNDER_ASSESSMENT,
    (SignalState.UNDER_ASSESSMENT, Action.CONFIRM): SignalState.CONFIRMED,
    (SignalState.UNDER_ASSESSMENT, Action.REFUTE): SignalState.REFUTED,
    (SignalState.UNDER_ASSESSMENT, Action.LEAVE_OPEN): SignalState.INCONCLUSIVE,
    (SignalState.INCONCLUSIVE, Action.REOPEN): SignalState.UNDER_ASSESSMENT,
    (SignalState.REFUTED, Action.REOPEN): SignalState.UNDER_ASSESSMENT,
}


class AlarmOutcome(StrEnum):
    """What came of an alarm test."""

    FOUND = "found"
    MISSED = "missed"
    NOT_POSSIBLE = "not_possible"  # no quiet site with enough windows since the reference


class SurveillancePlan(Base):
    """What is watched and at which false-signal budget; versioned and signed."""

    __tablename__ = "surveillance_plan"
    __table_args__ = (UniqueConstraint("lock_digest", "version"),)

    digest: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of the plan's payload")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), comment="Device version"
    )
    version: Mapped[int] = mapped_column(BigInteger, comment="1, 2, …; the highest is in force")
    document: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON of the plan")
    envelope: Mapped[bytes] = mapped_column(LargeBinary, comment="The same, signed here (DSSE)")
    created_by: Mapped[str] = mapped_column(comment="Account name")
    created_at: Mapped[datetime] = mapped_column(comment="When")


class Evaluation(Base):
    """One run of the engine; the same input is never evaluated twice."""

    __tablename__ = "evaluation"

    input_digest: Mapped[str] = mapped_column(
        primary_key=True, comment="SHA-256 over plan, reference, windows and day"
    )
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    reference_id: Mapped[str] = mapped_column(ForeignKey("reference.id"), comment="Reference")
    plan_digest: Mapped[str] = mapped_column(ForeignKey("surveillance_plan.digest"), comment="Plan")
    upto: Mapped[date] = mapped_column(index=True, comment="Windows that had arrived by this day")
    windows: Mapped[int] = mapped_column(BigInteger, comment="Windows it looked at")
    evidence: Mapped[bytes] = mapped_column(
        LargeBinary,
        deferred=True,
        comment="Compressed canonical JSON: signals, traces, assessability",
    )
    outline: Mapped[dict[str, Any] | None] = mapped_column(
        deferred=True,
        comment="What was missing, and where in the evidence the traces of a site lie; null: old",
    )
    standing: Mapped[dict[str, Any]] = mapped_column(
        comment="Of the evidence, what the fleet's pages say: words by site and block"
    )
    result_digest: Mapped[str] = mapped_column(comment="SHA-256 of the uncompressed evidence")
    promised: Mapped[float] = mapped_column(Double, comment="False signals promised per year")
    evaluated_at: Mapped[datetime] = mapped_column(comment="When")


class KeptDay(Base):
    """What arrived on a day, as the engine looks at it. Nothing that `stored_window` does not say:
    it may be emptied at any time."""

    __tablename__ = "kept_day"

    lock_digest: Mapped[str] = mapped_column(primary_key=True, comment="Device version")
    day: Mapped[date] = mapped_column(
        primary_key=True, comment="Day of the first evaluation that sees the windows"
    )
    windows: Mapped[int] = mapped_column(BigInteger, comment="How many windows it holds")
    digest: Mapped[str] = mapped_column(comment="SHA-256 of the content")
    content: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Their rows, packed (app/central/surveillance/arrivals.py)"
    )


class Signal(Base):
    """Something that may have changed; raised once, its history grows."""

    __tablename__ = "signal"
    __table_args__ = (UniqueConstraint("lock_digest", "source"),)

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as S-0001")
    source: Mapped[str] = mapped_column(comment="The engine's or the event's own stable name")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    kind: Mapped[str] = mapped_column(comment="statistical or deterministic")
    severity: Mapped[str] = mapped_column(comment="info, notice, warning or urgent")
    state: Mapped[SignalState] = mapped_column(index=True, comment="Where it stands")
    raised_on: Mapped[date] = mapped_column(comment="Day of the evidence that raised it")
    raised_at: Mapped[datetime] = mapped_column(comment="When it was stored here")
    updated_at: Mapped[datetime] = mapped_column(comment="When its history last grew")
    document: Mapped[dict[str, Any]] = mapped_column(
        comment="Signal JSON, app/contracts/signals.py"
    )
    evaluation: Mapped[str | None] = mapped_column(
        ForeignKey("evaluation.input_digest"), comment="Evaluation with its newest evidence"
    )


class Decision(Base):
    """A person's decision on a signal, signed. Never changed and never deleted."""

    __tablename__ = "decision"

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    signal_id: Mapped[str] = mapped_column(ForeignKey("signal.id"), index=True, comment="Signal")
    action: Mapped[Action] = mapped_column(comment="What was decided")
    cause: Mapped[str] = mapped_column(comment="Cause as the person sees it; may be empty")
    rationale: Mapped[str] = mapped_column(comment="Why, in the person's words")
    decided_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    meaning: Mapped[str] = mapped_column(comment="Meaning of the signature, 21 CFR 11.50(a)(3)")
    decided_at: Mapped[datetime] = mapped_column(comment="When")
    artefact_digest: Mapped[str] = mapped_column(
        comment="SHA-256 of the signal document that was on the screen"
    )
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")


class SignalNote(Base):
    """What a person wrote down about a signal, signed. Never changed and never deleted."""

    __tablename__ = "signal_note"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as N-0001")
    signal_id: Mapped[str] = mapped_column(
        ForeignKey("signal.id"), index=True, comment="Signal it is about"
    )
    kind: Mapped[str] = mapped_column(
        comment="answer: of a site; file: number of a CAPA or complaint file"
    )
    site_id: Mapped[str | None] = mapped_column(ForeignKey("site.id"), comment="Whose answer it is")
    text: Mapped[str] = mapped_column(comment="The answer, or the file number")
    noted_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    noted_at: Mapped[datetime] = mapped_column(comment="When")
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")


class AlarmTest(Base):
    """A known change made in a copy of one site's windows, and whether it was found."""

    __tablename__ = "alarm_test"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as A-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    reference_id: Mapped[str] = mapped_column(ForeignKey("reference.id"), comment="Reference")
    plan_digest: Mapped[str] = mapped_column(ForeignKey("surveillance_plan.digest"), comment="Plan")
    upto: Mapped[date] = mapped_column(comment="Windows that had arrived by this day")
    site_id: Mapped[str] = mapped_column(comment="Whose windows were copied; empty: none could be")
    shift_sd: Mapped[float] = mapped_column(Double, comment="Scores moved by so many reference SD")
    outcome: Mapped[AlarmOutcome] = mapped_column(comment="found, missed or not_possible")
    days_to_signal: Mapped[int | None] = mapped_column(
        BigInteger, comment="From the first changed window's arrival to the signal"
    )
    stream: Mapped[str] = mapped_column(comment="What raised it; empty if nothing did")
    ran_by: Mapped[str] = mapped_column(comment="Account name, or lockwatch on schedule")
    ran_at: Mapped[datetime] = mapped_column(comment="When")
