"""Queries on plans, evaluations and signals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime

from sqlalchemy import ColumnElement, LargeBinary, Row, delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.central.surveillance.models import (
    AlarmTest,
    Decision,
    Evaluation,
    KeptDay,
    Signal,
    SignalState,
    SurveillancePlan,
)

EVALUATION_LOCK = 9_012_026  # any number, the same in every process
KEPT_LOCK = 10_012_026


def newest_plan(
    session: Session, lock_digest: str, *, lock: bool = False
) -> SurveillancePlan | None:
    """The plan in force."""
    query = (
        select(SurveillancePlan)
        .where(SurveillancePlan.lock_digest == lock_digest)
        .order_by(SurveillancePlan.version.desc())
        .limit(1)
    )
    return session.scalar(query.with_for_update() if lock else query)


def find_plan(session: Session, digest: str) -> SurveillancePlan | None:
    """The plan of that digest."""
    return session.get(SurveillancePlan, digest)


def lock_evaluations(session: Session, lock_digest: str) -> None:
    """Wait until nobody else evaluates this device version; kept to the end of the transaction."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(:n, hashtext(:digest))"),
        {"n": EVALUATION_LOCK, "digest": lock_digest},
    )


Kept = Row[date, int, str, bytes]


def kept_days(session: Session, lock_digest: str, *, upto: date) -> Iterator[Kept]:
    """Day, windows, digest and content of what is kept up to `upto`, one after the other."""
    query = select(KeptDay.day, KeptDay.windows, KeptDay.digest, KeptDay.content).where(
        KeptDay.lock_digest == lock_digest, KeptDay.day <= upto
    )
    yield from session.execute(query.execution_options(yield_per=1))


def may_keep_days(session: Session, lock_digest: str) -> bool:
    """Whether nobody else is keeping days of this version; if so, ours to the transaction's end.

    Nobody waits: who may not, puts together what they need and keeps nothing.
    """
    query = text("SELECT pg_try_advisory_xact_lock(:n, hashtext(:digest))")
    return bool(session.scalar(query, {"n": KEPT_LOCK, "digest": lock_digest}))


def keep_day(session: Session, day: KeptDay) -> None:
    """Keep a day, in place of what was kept of it."""
    values = {c.key: getattr(day, c.key) for c in KeptDay.__mapper__.column_attrs}
    made = insert(KeptDay).values(values)
    session.execute(made.on_conflict_do_update(index_elements=["lock_digest", "day"], set_=values))


def forget_days(session: Session) -> None:
    """Keep nothing of any day."""
    session.execute(delete(KeptDay))


def find_evaluation(session: Session, input_digest: str) -> Evaluation | None:
    """The evaluation of exactly this input."""
    return session.get(Evaluation, input_digest)


def evidence_parts(
    session: Session, input_digest: str, spans: Sequence[tuple[int, int]]
) -> tuple[bytes, ...]:
    """Bytes of an evaluation's evidence from `start` to before `end` of each span."""
    if not spans:
        return ()
    parts = [func.substring(Evaluation.evidence, a + 1, b - a, type_=LargeBinary) for a, b in spans]
    query = select(*parts).where(Evaluation.input_digest == input_digest)
    return tuple(session.execute(query).one())


def last_evaluation(
    session: Session, lock_digest: str, *, upto: date | None = None
) -> Evaluation | None:
    """The newest evaluation of a device version, or the newest up to a day."""
    query = select(Evaluation).where(Evaluation.lock_digest == lock_digest)
    if upto is not None:
        query = query.where(Evaluation.upto <= upto)
    order = Evaluation.upto.desc(), Evaluation.evaluated_at.desc()
    return session.scalar(query.order_by(*order).limit(1))


def find_signal(session: Session, signal_id: str, *, lock: bool = False) -> Signal | None:
    """The signal of that number."""
    return session.get(Signal, signal_id, with_for_update=lock)


def find_signal_by_source(session: Session, lock_digest: str, source: str) -> Signal | None:
    """The signal that this finding raised, if it has."""
    query = select(Signal).where(Signal.lock_digest == lock_digest, Signal.source == source)
    return session.scalar(query)


def has_raised(session: Session, sources: str, since: datetime) -> bool:
    """Whether a finding whose name begins so has raised a signal since then."""
    query = select(Signal.id).where(
        Signal.source.startswith(sources, autoescape=True), Signal.raised_at > since
    )
    return session.scalar(query.limit(1)) is not None


def signals(
    session: Session,
    *,
    states: Collection[SignalState] = (),
    lock_digest: str | None = None,
    site_id: str | None = None,
    before: Signal | None = None,
    raised: tuple[date, date] | None = None,
    limit: int = 200,
) -> Sequence[Signal]:
    """Signals, newest first, of one site, from the one after `before` on, `raised` on these days or
    between them."""
    query = select(Signal).order_by(Signal.raised_on.desc(), Signal.id.desc()).limit(limit)
    query = query.where(*_which(states, site_id))
    if lock_digest is not None:
        query = query.where(Signal.lock_digest == lock_digest)
    if raised is not None:
        query = query.where(Signal.raised_on.between(*raised))
    if before is not None:
        query = query.where(tuple_(Signal.raised_on, Signal.id) < (before.raised_on, before.id))
    return session.scalars(query).all()


def count_signals(session: Session, *, states: Collection[SignalState], site_id: str | None) -> int:
    """How many signals are in these states, of one site or of all."""
    query = select(func.count()).select_from(Signal).where(*_which(states, site_id))
    return session.scalar(query) or 0


def _which(states: Collection[SignalState], site_id: str | None) -> tuple[ColumnElement[bool], ...]:
    in_state = (Signal.state.in_(states),) if states else ()
    at_site = () if site_id is None else (Signal.document["sites"].contains([site_id]),)
    return (*in_state, *at_site)


def decisions(session: Session, signal_ids: Collection[str]) -> Sequence[Decision]:
    """Decisions on these signals, oldest first."""
    query = select(Decision).where(Decision.signal_id.in_(signal_ids))
    return session.scalars(query.order_by(Decision.decided_at, Decision.id)).all()


def alarm_tests(session: Session, lock_digest: str, *, limit: int = 100) -> Sequence[AlarmTest]:
    """Alarm tests of a device version, newest first."""
    query = select(AlarmTest).where(AlarmTest.lock_digest == lock_digest)
    return session.scalars(
        query.order_by(AlarmTest.ran_at.desc(), AlarmTest.id.desc()).limit(limit)
    ).all()
