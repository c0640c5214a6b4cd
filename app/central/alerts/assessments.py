"""Who became aware of a signal and when, what was decided about reporting it, and the clocks.

Software starts no clock by itself and rules nothing out: a person's awareness starts them, and
only a signed assessment says which of them run.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.central.accounts.service import Person, Signer
from app.central.alerts import repository
from app.central.alerts.clocks import RULES, ClockState, Obligation, Start, due_on
from app.central.alerts.models import Awareness, ReportabilityAssessment
from app.central.audit import service as audit
from app.central.errors import NotAllowed, Unusable
from app.central.surveillance import service as surveillance
from app.contracts.exchange import parse
from app.contracts.signing import SigningKey, canonical

ASSESSMENT_DOMAIN = "lockwatch/reportability/v1"


class Judgement(BaseModel):
    """Whether one obligation applies, and why. `submission`: its number once it was met."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    applies: bool
    why: str = Field(min_length=1, max_length=4000)
    submission: str = Field(default="", max_length=200)


class Answers(BaseModel):
    """One form for several regimes (21 CFR 803, 806; EU MDR 87, 88), answered by a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    facts: str = Field(min_length=1, max_length=10_000)
    judgements: dict[Obligation, Judgement]
    remedial_action_considered: bool
    correction_started_on: date | None = None
    trend_indicator_crossed: bool | None = None
    """EU MDR 88: of the surveillance plan; None where there is none."""
    other_countries: str = Field(default="", max_length=4000)
    hazard: str = Field(default="", max_length=200)
    """Identifier in the risk file, where the risk was re-evaluated."""


@dataclass(frozen=True, slots=True)
class AwarenessView:
    """That a person is aware."""

    person: str
    aware_at: datetime
    how: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class AssessmentView:
    """A signed assessment."""

    version: int
    answers: Answers
    artefact_digest: str
    decided_by: str
    printed_name: str
    decided_at: datetime
    signature: str


@dataclass(frozen=True, slots=True)
class ClockView:
    """One obligation: when its time ends, if it has begun, and what was said about it."""

    obligation: Obligation
    trigger: str
    starts_with: Start
    state: ClockState
    started_on: date | None
    due_on: date | None
    days_left: int | None
    why: str
    submission: str


@dataclass(frozen=True, slots=True)
class VigilanceView:
    """Everything about the duty to report one signal."""

    signal: str
    digest: str
    aware_at: datetime | None
    awareness: tuple[AwarenessView, ...]
    assessments: tuple[AssessmentView, ...]
    clocks: tuple[ClockView, ...]


def note_awareness(
    session: Session, signal_id: str, person: Person, *, aware_at: datetime, how: str, now: datetime
) -> None:
    """Record that a person is aware of a signal, perhaps since earlier than now."""
    found = surveillance.signal(session, signal_id, scope=person.site_id)
    if not found.raised_at <= aware_at <= now:
        raise Unusable(f"aware_at: between {found.raised_at:%FT%TZ} and {now:%FT%TZ} expected")
    made = Awareness(
        id=str(uuid.uuid4()),
        signal_id=signal_id,
        person=person.name,
        aware_at=aware_at,
        how=how,
        recorded_at=now,
    )
    session.add(made)
    session.flush()
    audit.record(
        session,
        actor=person.name,
        action="alerts:signal:aware",
        subject=signal_id,
        at=now,
        reason=how,
        detail={"aware_at": aware_at.isoformat()},
    )


def assess(
    session: Session,
    signal_id: str,
    answers: Answers,
    *,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
) -> ReportabilityAssessment:
    """Store a person's signed assessment as the newest version."""
    found = surveillance.lock(session, signal_id)
    if surveillance.document_digest(found) != seen_digest:
        raise NotAllowed("the signal has changed since it was shown: look at it again")
    corrects = answers.judgements.get(Obligation.US_806_10)
    if corrects and corrects.applies and answers.correction_started_on is None:
        raise Unusable("correction_started_on: a date is needed where 21 CFR 806.10 applies")
    before = repository.assessments(session, signal_id)
    version = len(before) + 1
    document = canonical(answers.model_dump(mode="json"))
    made = ReportabilityAssessment(
        id=str(uuid.uuid4()),
        signal_id=signal_id,
        version=version,
        document=document,
        artefact_digest=seen_digest,
        decided_by=signer.name,
        printed_name=signer.full_name,
        decided_at=signer.at,
        signature=_signature(signal_id, version, answers, seen_digest, signer, key),
    )
    session.add(made)
    session.flush()
    audit.record(
        session,
        actor=signer.name,
        action="alerts:signal:assess_reportability",
        subject=signal_id,
        at=signer.at,
        detail={"version": version, "applies": _applying(answers), "digest": seen_digest},
    )
    return made


def _signature(
    signal_id: str, version: int, answers: Answers, seen: str, signer: Signer, key: SigningKey
) -> str:
    content = canonical(
        {
            "signal": signal_id,
            "version": version,
            "answers": answers.model_dump(mode="json"),
            "artefact_digest": seen,
            "decided_by": signer.name,
            "printed_name": signer.full_name,
            "meaning": "responsibility for the assessment of reportability",
            "decided_at": signer.at.isoformat(),
        }
    )
    return key.sign(ASSESSMENT_DOMAIN, content).hex()


def _applying(answers: Answers) -> list[str]:
    return sorted(o.value for o, judged in answers.judgements.items() if judged.applies)


def vigilance(
    session: Session, signal_id: str, *, scope: str | None, zone: str, now: datetime
) -> VigilanceView:
    """Awareness, assessments and clocks of one signal."""
    found = surveillance.signal(session, signal_id, scope=scope)
    known = repository.awareness(session, signal_id)
    told = [a.aware_at for a in known] + [d.decided_at for d in found.decisions]
    aware_at = min(told, default=None)  # who decides is aware, at the latest then
    assessments = tuple(_assessment_view(a) for a in repository.assessments(session, signal_id))
    answers = assessments[-1].answers if assessments else None
    today = now.astimezone(ZoneInfo(zone)).date()
    started = aware_at.astimezone(ZoneInfo(zone)).date() if aware_at else None
    return VigilanceView(
        signal_id,
        found.digest,
        aware_at,
        tuple(AwarenessView(a.person, a.aware_at, a.how, a.recorded_at) for a in known),
        assessments,
        tuple(_clock(o, started, answers, today) for o in Obligation),
    )


def _clock(
    obligation: Obligation, aware_on: date | None, answers: Answers | None, today: date
) -> ClockView:
    rule = RULES[obligation]
    corrected_on = answers.correction_started_on if answers else None
    start = aware_on if rule.start is Start.AWARE else corrected_on
    due = due_on(obligation, start) if start else None
    judged = answers.judgements.get(obligation) if answers else None
    return ClockView(
        obligation,
        rule.trigger,
        rule.start,
        _state(judged),
        start,
        due,
        (due - today).days if due else None,
        judged.why if judged else "",
        judged.submission if judged else "",
    )


def _state(judged: Judgement | None) -> ClockState:
    if judged is None:
        return ClockState.POSSIBLE
    if not judged.applies:
        return ClockState.RULED_OUT
    return ClockState.MET if judged.submission else ClockState.RUNNING


def _assessment_view(stored: ReportabilityAssessment) -> AssessmentView:
    return AssessmentView(
        stored.version,
        parse(Answers, stored.document),
        stored.artefact_digest,
        stored.decided_by,
        stored.printed_name,
        stored.decided_at,
        stored.signature,
    )


def unacknowledged(
    session: Session, signals: Sequence[surveillance.SignalView]
) -> list[surveillance.SignalView]:
    """Those of which nobody has become aware and on which nobody has decided."""
    aware = repository.aware_of(session, [s.id for s in signals])
    return [s for s in signals if s.id not in aware and not s.decisions]
