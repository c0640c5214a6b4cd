"""Change-control plans, proposals, signatures, releases and the way back."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.central.accounts import service as accounts
from app.central.accounts.permissions import Administrator, Approver, Assessor, Now, Viewer
from app.central.accounts.service import Person, Signer
from app.central.database import DbSession
from app.central.fleet.routes import Envelope
from app.central.openapi.media import ENVELOPE, OBJECT, takes
from app.central.plain import plain
from app.central.problems import problems
from app.central.recalibration import holdouts, plans, preview, releases, service, watch
from app.central.recalibration import proposal as proposals
from app.central.recalibration.equivalent import Asked
from app.central.recalibration.holdouts import HoldoutDue, HoldoutView
from app.central.recalibration.plans import PlanDocument
from app.central.recalibration.preview import Preview
from app.central.recalibration.releases import ReleaseView
from app.central.recalibration.schemas import (
    NewProposal,
    NewRelease,
    ProposalDecisionIn,
    RollBack,
    Signed,
)
from app.central.recalibration.service import ProposalView
from app.central.recalibration.watch import PostChange
from app.contracts.signing import canonical
from monitors.policies import Policy

router = APIRouter(prefix="/api/v1", tags=["recalibration"])
REFUSALS = problems(401, 403, 404, 409, 422)


@router.get(
    "/device-versions/{lock_digest}/change-plan",
    response_model=PlanDocument,
    responses=problems(404),
)
def show_plan(lock_digest: str, session: DbSession, _: Viewer) -> PlanDocument:
    """The change-control plan in force."""
    return plans.in_force(session, lock_digest)[0]


@router.get(
    "/device-versions/{lock_digest}/change-plan/draft",
    response_model=PlanDocument,
    responses=problems(404, 409, 422),
)
def draft_plan(lock_digest: str, session: DbSession, _: Administrator) -> PlanDocument:
    """A plan to edit: bounds of the cleared envelope, claims of its cohort."""
    return plans.draft(session, lock_digest)


@router.get(
    "/signals/{signal_id}/recalibration",
    response_model=Preview,
    responses=problems(403, 404, 409, 422),
)
def show_preview(signal_id: str, session: DbSession, person: Viewer, now: Now) -> Preview:
    """Whether the cause allows a new operating point, and what is known for choosing one."""
    return preview.preview_of(session, signal_id, now.date(), scope=person.site_id)


@router.post("/change-plans", status_code=201, response_model=PlanDocument, responses=REFUSALS)
def put_plan(
    body: PlanDocument, request: Request, session: DbSession, by: Administrator, now: Now
) -> PlanDocument:
    """A new version of a change-control plan."""
    plans.put_in_force(session, body, request.app.state.key, by=by.name, now=now)
    return plans.in_force(session, body.lock_digest)[0]


@router.get("/recalibrations", response_model=list[ProposalView])
def list_proposals(session: DbSession, person: Viewer) -> tuple[ProposalView, ...]:
    """Proposals, newest first."""
    return service.proposals(session, scope=person.site_id)


@router.post("/recalibrations", status_code=201, response_model=ProposalView, responses=REFUSALS)
def propose(
    body: NewProposal, request: Request, session: DbSession, person: Assessor, now: Now
) -> ProposalView:
    """Run the plan; refused and failed outcomes are recorded as well."""
    policy = Policy(body.held, body.target, body.floor)
    wanted = Asked(body.scanner_class, body.method) if body.scanner_class else None
    asked = proposals.Request(body.modification, policy, wanted)
    return service.propose(
        session,
        body.signal_id,
        asked,
        reason=body.reason,
        signer=_signer(request, person, body, now),
        key=request.app.state.key,
        scope=person.site_id,
    )


@router.get("/recalibrations/{proposal_id}", response_model=ProposalView, responses=problems(404))
def show_proposal(proposal_id: str, session: DbSession, person: Viewer) -> ProposalView:
    """One proposal with its signatures and releases."""
    return service.proposal(session, proposal_id, scope=person.site_id)


@router.get(
    "/recalibrations/{proposal_id}/record",
    response_class=Response,
    responses={200: {"content": OBJECT}, **problems(404)},
)
def show_record(proposal_id: str, session: DbSession, person: Viewer) -> Response:
    """The whole record as canonical JSON: what the dossier is made from."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    return Response(canonical(plain(found)), media_type="application/json")


@router.post(
    "/recalibrations/{proposal_id}/decisions", response_model=ProposalView, responses=REFUSALS
)
def decide(
    proposal_id: str,
    body: ProposalDecisionIn,
    request: Request,
    session: DbSession,
    person: Approver,
    now: Now,
) -> ProposalView:
    """Approve or return: by another person than the author."""
    service.proposal(session, proposal_id, scope=person.site_id)
    return service.decide(
        session,
        proposal_id,
        body.action,
        reason=body.reason,
        seen_digest=body.seen_digest,
        signer=_signer(request, person, body, now),
        key=request.app.state.key,
    )


@router.post(
    "/recalibrations/{proposal_id}/releases",
    status_code=201,
    response_model=ReleaseView,
    responses=REFUSALS,
)
def release(
    proposal_id: str,
    body: NewRelease,
    request: Request,
    session: DbSession,
    person: Approver,
    now: Now,
) -> ReleaseView:
    """Sign the approved operating point for one site."""
    service.proposal(session, proposal_id, scope=person.site_id)
    return releases.release(
        session,
        proposal_id,
        body.site_id,
        effective_from=body.effective_from,
        reason=body.reason,
        seen_digest=body.seen_digest,
        signer=_signer(request, person, body, now),
        key=request.app.state.key,
    )


@router.post(
    "/point-releases/{point_id}/roll-back",
    status_code=201,
    response_model=ReleaseView,
    responses=REFUSALS,
)
def roll_back(
    point_id: str,
    body: RollBack,
    request: Request,
    session: DbSession,
    person: Approver,
    now: Now,
) -> ReleaseView:
    """Undo a site's newest release in one signed step."""
    return releases.roll_back(
        session,
        point_id,
        reason=body.reason,
        signer=_signer(request, person, body, now),
        key=request.app.state.key,
    )


@router.get(
    "/point-releases/{point_id}/comparison", response_model=PostChange, responses=problems(404)
)
def show_comparison(point_id: str, session: DbSession, person: Viewer, now: Now) -> PostChange:
    """Alerts of the first cases after a release against what was expected."""
    found = releases.get(session, point_id)
    service.proposal(session, found.proposal_id, scope=person.site_id)
    return watch.post_change(session, point_id, now.date())


@router.get("/holdouts", response_model=list[HoldoutView])
def list_holdouts(session: DbSession, _: Viewer) -> tuple[HoldoutView, ...]:
    """Re-evaluations on freshly labelled holdouts, newest first."""
    return holdouts.evaluations(session)


@router.get("/holdouts/due", response_model=list[HoldoutDue])
def list_due_holdouts(session: DbSession, _: Viewer) -> tuple[HoldoutDue, ...]:
    """When the next re-evaluation of each device version is due under its plan."""
    return tuple(holdouts.due(session))


@router.post(
    "/holdouts",
    status_code=201,
    response_model=HoldoutView,
    responses=REFUSALS | problems(413),
    openapi_extra=takes(ENVELOPE),
)
def take_in_holdout(
    request: Request, content: Envelope, session: DbSession, by: Assessor, now: Now
) -> HoldoutView:
    """Take in the signed record of `lockwatch lab reevaluate`."""
    trusted = request.app.state.settings.manufacturer_keys
    return holdouts.take_in(session, content, trusted, by=by.name, now=now)


def _signer(request: Request, person: Person, body: Signed, now: Now) -> Signer:
    return accounts.sign(request.app.state.sessions, person, body.password.get_secret_value(), now)
