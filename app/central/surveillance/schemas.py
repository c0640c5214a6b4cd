"""What the routes of surveillance take and give."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.central.alerts.models import Severity
from app.central.surveillance.models import Action, AlarmOutcome, SignalState
from app.central.surveillance.plans import Mode, Monitor, PlanDocument
from app.central.surveillance.service import DecisionView
from app.contracts.signals import Signal


class SignalOut(BaseModel):
    """A signal with what people decided. `signal` keeps app/contracts/signals.py."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    signal: Signal
    lock_digest: str
    device: str
    version: str
    severity: Severity
    state: SignalState
    raised_at: datetime
    updated_at: datetime
    digest: str
    actions: tuple[Action, ...]
    decisions: tuple[DecisionView, ...]
    other_sites: int = Field(
        description="Sites that an account bound to one is not shown; then nothing can be decided"
    )


class DecisionIn(BaseModel):
    """A decision on what was shown (`seen_digest`), signed with the password."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    rationale: str = Field(min_length=1, max_length=10_000)
    cause: str = Field(default="", max_length=64)
    seen_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    password: SecretStr = Field(max_length=1024)


class EvaluationOut(BaseModel):
    """The newest evaluation of a device version."""

    upto: date
    evaluated_at: datetime
    windows: int
    input_digest: str
    result_digest: str
    reference_id: str
    plan_digest: str
    false_signals_promised_per_year: float
    assessability: dict[str, str]
    on_trial: tuple[Signal, ...] = Field(description="What monitors on trial have found")


class AlarmTestOut(BaseModel):
    """A known change made in a copy, and whether it was found."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    upto: date
    site_id: str
    shift_sd: float
    outcome: AlarmOutcome
    days_to_signal: int | None
    stream: str
    reference_id: str
    plan_digest: str
    ran_by: str
    ran_at: datetime


class PlanIn(BaseModel):
    """A new version of a surveillance plan; what is not named has its default."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, float | int] = Field(default={}, max_length=20)
    modes: dict[Monitor, Mode] = {}
    reason: str = Field(min_length=1, max_length=2000)
    password: SecretStr = Field(max_length=1024)


class PlanOut(BaseModel):
    """The plan in force, as it was signed here."""

    digest: str
    document: PlanDocument
