"""Signals, decisions on them, and the evaluations behind them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.central.accounts import service as accounts
from app.central.accounts.permissions import Administrator, Assessor, Now, Viewer
from app.central.database import DbSession
from app.central.errors import NotFound
from app.central.jobs.service import JobRunView
from app.central.paging import Limit, link_next
from app.central.plain import plain
from app.central.problems import problems
from app.central.surveillance import alarm_test, evidence, on_demand, plans, service
from app.central.surveillance.models import AlarmTest
from app.central.surveillance.schemas import (
    AlarmTestOut,
    DecisionIn,
    EvaluationOut,
    PlanIn,
    PlanOut,
    SignalOut,
)
from app.central.surveillance.scoped import assessability_of, part_of
from app.central.surveillance.service import SignalView
from app.contracts.signals import Run, SignalsFile

router = APIRouter(prefix="/api/v1", tags=["surveillance"])


@router.get("/signals", response_model=list[SignalOut])
def list_signals(
    request: Request,
    response: Response,
    session: DbSession,
    person: Viewer,
    only_open: bool = False,
    lock_digest: str | None = None,
    limit: Limit = 200,
    before: Annotated[str | None, Query(pattern=r"^S-[0-9]{4,12}$")] = None,
) -> tuple[SignalView, ...]:
    """Signals, newest first, a page at a time; `before`: the last one of the page before."""
    page = service.signals(
        session,
        only_open=only_open,
        lock_digest=lock_digest,
        scope=person.site_id,
        before=before,
        limit=limit,
    )
    if page:
        link_next(request, response, page, page[-1].id)
    return page


@router.get("/signals/{signal_id}", response_model=SignalOut, responses=problems(404))
def show_signal(signal_id: str, session: DbSession, person: Viewer) -> SignalView:
    """One signal."""
    return service.signal(session, signal_id, scope=person.site_id)


@router.get("/signals/{signal_id}/evidence", responses=problems(404))
def show_evidence(signal_id: str, session: DbSession, person: Viewer) -> dict[str, Any]:
    """Traces, distributions and series beside a signal."""
    found = evidence.signal_evidence(session, signal_id, scope=person.site_id)
    if found is None:
        raise NotFound(f"signal {signal_id[:32]} rests on an event, not on statistics")
    shown: dict[str, Any] = plain(found)
    return shown


@router.post(
    "/signals/{signal_id}/decisions",
    response_model=SignalOut,
    responses=problems(401, 403, 404, 409, 422),
)
def decide_signal(
    signal_id: str,
    body: DecisionIn,
    request: Request,
    session: DbSession,
    person: Assessor,
    now: Now,
) -> SignalView:
    """Record a signed decision: the password is given again, and what was seen is named.

    Refused to an account bound to one of several sites: nobody signs what they were not shown.
    """
    service.whole(session, signal_id, scope=person.site_id)
    state = request.app.state
    signer = accounts.sign(state.sessions, person, body.password.get_secret_value(), now)
    service.decide(
        session,
        signal_id,
        body.action,
        rationale=body.rationale,
        cause=body.cause,
        seen_digest=body.seen_digest,
        signer=signer,
        key=state.key,
    )
    return service.signal(session, signal_id, scope=person.site_id)


@router.get(
    "/device-versions/{lock_digest}/evaluation",
    response_model=EvaluationOut,
    responses=problems(404),
)
def show_evaluation(lock_digest: str, session: DbSession, person: Viewer) -> EvaluationOut:
    """The newest evaluation of a device version."""
    found = service.last_evaluation(session, lock_digest)
    if found is None:
        raise NotFound("not evaluated yet: an approved reference is needed")
    return EvaluationOut(
        upto=found.upto,
        evaluated_at=found.evaluated_at,
        windows=found.windows,
        input_digest=found.input_digest,
        result_digest=found.result_digest,
        reference_id=found.reference_id,
        plan_digest=found.plan_digest,
        false_signals_promised_per_year=found.evidence.promised,
        assessability=assessability_of(found.evidence.assessability, person.site_id),
        on_trial=tuple(
            part_of(session, s, lock_digest, person.site_id)
            for s in service.on_trial(session, found)
            if person.site_id is None or person.site_id in s.sites
        ),
    )


@router.post(
    "/device-versions/{lock_digest}/evaluations",
    response_model=JobRunView,
    status_code=202,
    responses=problems(401, 403, 404, 409),
)
def ask_for_evaluation(
    lock_digest: str, response: Response, session: DbSession, person: Assessor, now: Now
) -> JobRunView:
    """Evaluate now what had arrived by the newest 06:00 UTC; `Location` finds the job again."""
    run = on_demand.ask(session, lock_digest, by=person.name, now=now)
    response.headers["Location"] = f"/api/v1/jobs/{run.job}/{run.due_at.isoformat()}"
    return run


@router.get(
    "/device-versions/{lock_digest}/plan", response_model=PlanOut, responses=problems(401, 404)
)
def show_plan(lock_digest: str, session: DbSession, _: Viewer) -> PlanOut:
    """The surveillance plan in force."""
    found = plans.in_force(session, lock_digest)
    return PlanOut(digest=found.digest, document=found.document)


@router.post(
    "/device-versions/{lock_digest}/plan",
    response_model=PlanOut,
    status_code=201,
    responses=problems(401, 403, 404, 409, 422),
)
def put_plan(
    lock_digest: str,
    body: PlanIn,
    request: Request,
    session: DbSession,
    person: Administrator,
    now: Now,
) -> PlanOut:
    """Put a new version in force, signed with the password; evaluations use it from now on."""
    state = request.app.state
    signer = accounts.sign(state.sessions, person, body.password.get_secret_value(), now)
    stored = plans.put_in_force(
        session,
        lock_digest,
        plans.plan_of(body.parameters),
        state.key,
        by=signer.name,
        now=now,
        modes=body.modes,
        reason=body.reason,
    )
    return PlanOut(digest=stored.digest, document=plans.read(stored).document)


@router.get(
    "/device-versions/{lock_digest}/alarm-tests",
    response_model=list[AlarmTestOut],
    responses=problems(401),
)
def list_alarm_tests(lock_digest: str, session: DbSession, person: Viewer) -> tuple[AlarmTest, ...]:
    """Alarm tests, newest first: was a change that the centre made in a copy found?"""
    made = alarm_test.tests_of(session, lock_digest)
    return tuple(t for t in made if person.site_id in (None, t.site_id))


@router.get(
    "/device-versions/{lock_digest}/signals-file",
    response_model=SignalsFile,
    responses=problems(404),
)
def show_signals_file(lock_digest: str, session: DbSession, person: Viewer) -> SignalsFile:
    """The signals of a device version in the laboratory's shape (`SIGNALS.json`)."""
    found = service.last_evaluation(session, lock_digest)
    if found is None:
        raise NotFound("not evaluated yet: an approved reference is needed")
    shown = service.signals(session, lock_digest=lock_digest, scope=person.site_id, limit=1000)
    run = Run(
        run_id=found.input_digest,
        signals=tuple(view.signal for view in reversed(shown)),
        false_signals_promised_per_year=found.evidence.promised,
        assessability=assessability_of(found.evidence.assessability, person.site_id),
    )
    return SignalsFile(plan=found.plan_digest, runs=(run,))
