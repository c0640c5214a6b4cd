"""The periodic alarm test: is a change that we make ourselves found?

The last four weeks of one site are copied, every score of the copy is moved up by one reference
standard deviation, and the engine looks at the copy under the plan and reference in force. The
site is the one with most cases among those whose untouched copy raises nothing. Nothing of the
copy is stored but what came of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed
from app.central.numbering import next_number
from app.central.references import repository as references_repository
from app.central.references import service as references
from app.central.surveillance import plans, repository
from app.central.surveillance.history import assemble
from app.central.surveillance.models import AlarmOutcome, AlarmTest
from app.central.surveillance.plans import InForce, Mode
from app.central.surveillance.service import Announce, raise_event
from monitors.engine import SignalResult, evaluate
from monitors.observations import CaseRows, History
from monitors.reference import Reference
from monitors.schema import JOINT_UNITS, IntArray
from monitors.stages import staged

DAYS = 28
LEAST_WINDOWS = 10  # of a site: with fewer, silence would say nothing about the alarm
SHIFT_SD = 1.0


def run(
    session: Session, lock_digest: str, upto: date, *, announce: Announce, by: str, now: datetime
) -> AlarmTest:
    """Test the alarm on everything that had arrived by `upto`; a missed change is a signal."""
    approved = references_repository.in_force(session, lock_digest)
    if approved is None:
        raise NotAllowed("an alarm test needs an approved reference")
    in_force = plans.in_force(session, lock_digest)
    reference = references.statistics_of(approved)
    weeks = _last_weeks(assemble(session, lock_digest, upto=upto).history, reference, upto)
    site = _quiet_site(in_force, reference, weeks, upto)
    first = _first_found(in_force, reference, weeks, site, upto) if site else None
    outcome = AlarmOutcome.FOUND if first else AlarmOutcome.MISSED
    made = AlarmTest(
        id=next_number(session, AlarmTest.id, "A"),
        lock_digest=lock_digest,
        reference_id=approved.id,
        plan_digest=in_force.digest,
        upto=upto,
        site_id=site or "",
        shift_sd=SHIFT_SD,
        outcome=outcome if site else AlarmOutcome.NOT_POSSIBLE,
        days_to_signal=first.day - int(_at(weeks, site).arrival.min()) if site and first else None,
        stream=first.stream if first else "",
        ran_by=by,
        ran_at=now,
    )
    session.add(made)
    session.flush()
    _tell(session, made, announce, now)
    return made


def _tell(session: Session, made: AlarmTest, announce: Announce, now: datetime) -> None:
    audit.record(
        session,
        actor=made.ran_by,
        action="surveillance:alarm_test:run",
        subject=made.lock_digest,
        at=now,
        detail={"id": made.id, "outcome": made.outcome.value, "site": made.site_id},
    )
    if made.outcome is AlarmOutcome.MISSED:
        raise_event(
            session,
            made.lock_digest,
            source=f"alarm_test:{made.id}",
            event="alarm_test",
            cause="data_quality",
            site=made.site_id,
            announce=announce,
            now=now,
        )


def tests_of(session: Session, lock_digest: str) -> tuple[AlarmTest, ...]:
    """Alarm tests of a device version, newest first."""
    return tuple(repository.alarm_tests(session, lock_digest))


def _last_weeks(history: History, reference: Reference, upto: date) -> History:
    """Only what is assessable: a change in a stage without a baseline could not be found."""
    since = max(reference.until, upto.toordinal() - DAYS)
    known = staged(history, {s.stage for s in reference.known})
    watched = reference.unit_of(known.strata)[known.cases.stratum] >= 0
    chosen = known.cases.select(watched & (known.cases.start >= since))
    return replace(known, cases=chosen, events=(), stages=())


def _at(history: History, site: str) -> CaseRows:
    return history.cases.select(_is_at(history, site))


def _is_at(history: History, site: str) -> npt.NDArray[np.bool_]:
    of_stratum = np.array([s.site == site for s in history.strata], dtype=bool)
    return np.asarray(of_stratum[history.cases.stratum])


def _quiet_site(in_force: InForce, reference: Reference, weeks: History, upto: date) -> str:
    """The site with most cases whose untouched copy raises nothing; "" where there is none."""
    untouched = _statistical(in_force, reference, weeks, upto)
    stirred = {site for signal in untouched for site in signal.sites}
    cases = {site: _at(weeks, site) for site in {unit.site for unit in reference.units} - stirred}
    possible = {
        s: int(_n(weeks, c).sum()) for s, c in cases.items() if len(c.rows) >= LEAST_WINDOWS
    }
    return max(sorted(possible), key=possible.__getitem__, default="")


def _first_found(
    in_force: InForce, reference: Reference, weeks: History, site: str, upto: date
) -> SignalResult | None:
    found = _statistical(in_force, reference, _moved(weeks, site), upto)
    return next((s for s in found if site in s.sites), None)


def _statistical(
    in_force: InForce, reference: Reference, history: History, upto: date
) -> list[SignalResult]:
    result = evaluate(in_force.plan, reference, history, upto.toordinal())
    return [
        s
        for s in result.signals
        if s.kind == "statistical" and in_force.mode_of(s.stream) is Mode.ACTIVE
    ]


def _moved(history: History, site: str) -> History:
    """A copy in which every score of the site is `SHIFT_SD` higher in its joint moments."""
    rows = history.cases.rows.copy()
    here = _is_at(history, site)
    first = history.schema.columns["joint_sum"].start
    block = history.schema.joint.blocks["score"]
    n = _n(history, history.cases)
    moved = slice(first + block.start, first + block.stop)
    rows[here, moved] += n[here, None] * round(SHIFT_SD * JOINT_UNITS)
    return replace(history, cases=replace(history.cases, rows=rows))


def _n(history: History, cases: CaseRows) -> IntArray:
    n: IntArray = cases.rows[:, history.schema.columns["joint_n"].start]
    return n
