"""Recalibration proposals: look, approve or return, release site by site, take back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Approver, Assessor, Now, Permission, Viewer
from app.central.accounts.service import Person, Signer
from app.central.database import DbSession
from app.central.errors import Unusable
from app.central.recalibration import proposal as proposals
from app.central.recalibration import releases, service
from app.central.recalibration.models import ProposalAction, ProposalState
from app.central.recalibration.service import ProposalView
from app.central.surveillance import service as surveillance
from app.central.surveillance.models import SignalState
from dashboards import filters
from dashboards.pages.frame import page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, signed, utc
from dashboards.pages.views import Fact, Grid, Link
from dashboards.reports import dossier
from monitors.errors import MonitorError
from monitors.policies import Policy

router = APIRouter(route_class=PageRoute, include_in_schema=False)
HERE = "/recalibrations"


@dataclass(frozen=True, slots=True)
class RecalibrationsView:
    """All proposals, and the form that opens one; `signals` may be proposed on."""

    title: str
    grid: Grid
    signals: tuple[str, ...]
    policies: tuple[str, ...]
    may_propose: bool
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecalibrationView:
    """One proposal in four blocks, with what the person may do."""

    title: str
    id: str
    digest: str
    state: str
    sentences: tuple[str, ...]
    facts: tuple[Fact, ...]
    grids: tuple[Grid, ...]
    links: tuple[Link, ...]
    may_decide: bool
    release_sites: tuple[str, ...]
    undoable: tuple[str, ...]
    errors: tuple[str, ...] = ()


@router.get(HERE)
def proposal_list(session: DbSession, person: Viewer) -> HTMLResponse:
    """Every proposal, newest first."""
    return page(session, person, HERE, "recalibrations.html", list_view(session, person))


def list_view(session: Session, person: Person, errors: tuple[str, ...] = ()) -> RecalibrationsView:
    """The list with its form."""
    found = service.proposals(session, scope=person.site_id)
    rows = tuple(
        (
            p.id,
            ", ".join(p.sites),
            dossier.policy(p.document["policy"]),
            p.state.value,
            filters.instant(p.proposed_at),
        )
        for p in found
    )
    confirmed = [
        s.id
        for s in surveillance.signals(session, scope=person.site_id)
        if s.state is SignalState.CONFIRMED
    ]
    return RecalibrationsView(
        "Recalibrations",
        Grid(
            "Proposals",
            ("Proposal", "Sites", "Policy", "State", "Proposed"),
            rows,
            links=tuple(f"{HERE}/{p.id}" for p in found),
            empty="No proposal. A confirmed signal can open one.",
        ),
        tuple(confirmed),
        ("ppv", "alert_rate", "net_benefit", "sensitivity", "specificity"),
        Permission.ASSESS in GRANTS[person.role],
        errors,
    )


@router.post(HERE)
def propose(
    request: Request, fields: Form, session: DbSession, person: Assessor, now: Now
) -> Response:
    """Run the plan on a confirmed signal."""
    made: list[str] = []

    def run(signer: Signer) -> None:
        asked = proposals.Request("M1", _policy(fields))
        found = service.propose(
            session,
            fields.get("signal", ""),
            asked,
            reason=fields.get("reason", ""),
            signer=signer,
            key=request.app.state.key,
        )
        made.append(found.id)

    errors = signed(request, session, person, fields, now, run)
    if not errors:
        return RedirectResponse(f"{HERE}/{made[0]}", SEE_OTHER)
    view = list_view(session, person, errors)
    return page(session, person, HERE, "recalibrations.html", view, 422)


def _policy(fields: dict[str, str]) -> Policy:
    try:
        target, floor = (float(fields.get(name) or 0) for name in ("target", "floor"))
        return Policy(fields.get("held", ""), target, floor)  # type: ignore[arg-type]
    except (ValueError, MonitorError) as error:
        raise Unusable(f"policy: {error}") from error


@router.get(HERE + "/{proposal_id}")
def proposal_of(proposal_id: str, session: DbSession, person: Viewer) -> HTMLResponse:
    """One proposal."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    return page(session, person, HERE, "recalibration.html", view_of(found, person))


def view_of(found: ProposalView, person: Person, errors: tuple[str, ...] = ()) -> RecalibrationView:
    """Four blocks that mirror a change-control plan, and the forms the person may use."""
    approver = Permission.APPROVE in GRANTS[person.role]
    is_open = found.state is ProposalState.SUBMITTED
    released = {r.site_id for r in found.releases}
    approved = found.state is ProposalState.APPROVED
    newest = {r.site_id: r for r in found.releases}
    return RecalibrationView(
        f"{found.id} {dossier.policy(found.document['policy'])}",
        found.id,
        found.digest,
        found.state.value,
        (found.document["statement"], found.document["prevalence"]["statement"]),
        (*dossier.cover(found), *dossier.evidence_facts(found)),
        (
            *dossier.reasons_grids(found),
            dossier.consequence_grid(found),
            dossier.scanner_grid(found),
            dossier.subgroup_grid(found),
            dossier.acceptance_grid(found),
            dossier.traceability_grid(found),
            dossier.signature_grid(found),
            dossier.release_grid(found),
        ),
        (
            Link("Dossier (PDF)", f"{HERE}/{found.id}/dossier.pdf"),
            Link("Record (JSON)", f"/api/v1/recalibrations/{found.id}/record"),
        ),
        approver and is_open and found.proposed_by != person.name,
        tuple(s for s in found.sites if s not in released) if approver and approved else (),
        tuple(r.id for r in newest.values() if not r.is_rollback) if approver else (),
        errors,
    )


@router.get(HERE + "/{proposal_id}/dossier.pdf")
def dossier_pdf(proposal_id: str, session: DbSession, person: Viewer) -> Response:
    """The change-control dossier as PDF/A with the record embedded."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    name = {"Content-Disposition": f'inline; filename="{found.id}.pdf"'}
    return Response(dossier.dossier_pdf(found), media_type="application/pdf", headers=name)


@router.post(HERE + "/{proposal_id}/decision")
def decide(
    proposal_id: str, request: Request, fields: Form, session: DbSession, person: Approver, now: Now
) -> Response:
    """Approve or return, release to a site, or take a release back: each is signed."""
    service.proposal(session, proposal_id, scope=person.site_id)

    def run(signer: Signer) -> None:
        _act(session, proposal_id, fields, signer, request)

    errors = signed(request, session, person, fields, now, run)
    if not errors:
        return RedirectResponse(f"{HERE}/{proposal_id}", SEE_OTHER)
    view = view_of(service.proposal(session, proposal_id), person, errors)
    return page(session, person, HERE, "recalibration.html", view, 422)


def _act(
    session: Session, proposal_id: str, fields: dict[str, str], signer: Signer, request: Request
) -> None:
    common: dict[str, Any] = {
        "reason": fields.get("reason", ""),
        "signer": signer,
        "key": request.app.state.key,
    }
    digest, what = fields.get("digest", ""), fields.get("do", "")
    if what in {ProposalAction.APPROVE.value, ProposalAction.RETURN.value}:
        service.decide(session, proposal_id, ProposalAction(what), seen_digest=digest, **common)
    elif what == "release":
        releases.release(
            session,
            proposal_id,
            fields.get("site", ""),
            effective_from=utc(fields.get("effective_from", ""), "effective from"),
            seen_digest=digest,
            **common,
        )
    elif what == "roll_back":
        releases.roll_back(session, fields.get("point", ""), **common)
    else:
        raise Unusable("choose what to do")
