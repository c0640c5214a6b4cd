"""Recalibration proposals: look, approve or return, release site by site, take back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Approver, Assessor, Now, Permission, Viewer
from app.central.accounts.service import Person, Signer
from app.central.database import DbSession
from app.central.errors import NotFound, Unusable
from app.central.recalibration import holdouts, releases, service, watch
from app.central.recalibration import proposal as proposals
from app.central.recalibration.equivalent import Asked
from app.central.recalibration.models import ProposalAction, ProposalState
from app.central.recalibration.service import ProposalView
from app.central.recalibration.watch import PostChange
from app.central.surveillance import service as surveillance
from app.central.surveillance.models import SignalState
from dashboards import filters
from dashboards.pages.frame import page
from dashboards.pages.reports import RECORD_POLICY
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, signed, utc
from dashboards.pages.views import Fact, Grid, Link
from dashboards.reports import correction, dossier
from dashboards.reports.document import report_html
from dashboards.reports.holdout import holdout_view
from dashboards.reports.user_notice import user_notice_pdf
from monitors.errors import MonitorError
from monitors.policies import Policy

router = APIRouter(route_class=PageRoute, include_in_schema=False)
HERE = "/recalibrations"
HOLDOUTS = "/holdouts"


@dataclass(frozen=True, slots=True)
class RecalibrationsView:
    """All proposals, and the form that opens one; `signals` may be proposed on."""

    title: str
    grid: Grid
    holdouts: tuple[Grid, ...]
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
def proposal_list(session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """Every proposal, newest first."""
    return page(session, person, HERE, "recalibrations.html", list_view(session, person, now))


def list_view(
    session: Session, person: Person, now: datetime, errors: tuple[str, ...] = ()
) -> RecalibrationsView:
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
        if s.state is SignalState.CONFIRMED and not s.other_sites
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
        holdout_grids(session, now),
        tuple(confirmed),
        ("ppv", "alert_rate", "net_benefit", "sensitivity", "specificity"),
        Permission.ASSESS in GRANTS[person.role],
        errors,
    )


def holdout_grids(session: Session, now: datetime) -> tuple[Grid, Grid]:
    """When the next freshly labelled holdout is due, and what the ones before found."""
    due = tuple(
        (
            one.device,
            str(one.due_on),
            "MISSED" if one.is_missed(now.date()) else "ahead",
            one.last or "none yet",
        )
        for one in holdouts.due(session)
    )
    found = holdouts.evaluations(session)
    rows = tuple(
        (
            h.id,
            f"{h.record.device} {h.record.version}",
            h.record.holdout,
            filters.instant(h.record.evaluated_at),
            str(h.record.cases),
            h.record.verdict,
        )
        for h in found
    )
    columns = ("Record", "Device", "Holdout", "Evaluated", "Files", "Verdict")
    return (
        Grid(
            "Freshly labelled holdouts due",
            ("Device", "Due on", "State", "Last record"),
            due,
            empty="No change-control plan is in force, so none is due.",
        ),
        Grid(
            "Freshly labelled holdouts received",
            columns,
            rows,
            links=tuple(f"{HOLDOUTS}/{h.id}" for h in found),
            empty="None. `lockwatch lab reevaluate` makes the signed record.",
        ),
    )


@router.get(HOLDOUTS + "/{holdout_id}")
def holdout_page(holdout_id: str, session: DbSession, _: Viewer) -> Response:
    """One re-evaluation as a page that stands alone."""
    found = holdouts.evaluation(session, holdout_id)
    policy = {"Content-Security-Policy": RECORD_POLICY}
    return HTMLResponse(report_html(holdout_view(found.record)), headers=policy)


@router.post(HERE)
def propose(
    request: Request, fields: Form, session: DbSession, person: Assessor, now: Now
) -> Response:
    """Run the plan on a confirmed signal."""
    made: list[str] = []

    def run(signer: Signer) -> None:
        wanted = _equivalence(fields)
        asked = proposals.Request("M2" if wanted else "M1", _policy(fields), wanted)
        found = service.propose(
            session,
            fields.get("signal", ""),
            asked,
            reason=fields.get("reason", ""),
            signer=signer,
            key=request.app.state.key,
            scope=person.site_id,
        )
        made.append(found.id)

    errors = signed(request, session, person, fields, now, run)
    if not errors:
        return RedirectResponse(f"{HERE}/{made[0]}", SEE_OTHER)
    view = list_view(session, person, now, errors)
    return page(session, person, HERE, "recalibrations.html", view, 422)


def _equivalence(fields: dict[str, str]) -> Asked | None:
    """The class of scanners that the form names, if it names one."""
    name, method = fields.get("scanner_class", ""), fields.get("method", "labels")
    if not name:
        return None
    if method not in ("labels", "alignment"):
        raise Unusable("method: labels or alignment expected")
    return Asked(name, "labels" if method == "labels" else "alignment")


def _policy(fields: dict[str, str]) -> Policy:
    try:
        target, floor = (float(fields.get(name) or 0) for name in ("target", "floor"))
        return Policy(fields.get("held", ""), target, floor)  # type: ignore[arg-type]
    except (ValueError, MonitorError) as error:
        raise Unusable(f"policy: {error}") from error


@router.get(HERE + "/{proposal_id}")
def proposal_of(proposal_id: str, session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """One proposal."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    view = view_of(session, found, person, now)
    return page(session, person, HERE, "recalibration.html", view)


def view_of(
    session: Session,
    found: ProposalView,
    person: Person,
    now: datetime,
    errors: tuple[str, ...] = (),
) -> RecalibrationView:
    """Four blocks that mirror a change-control plan, and the forms the person may use."""
    approver = Permission.APPROVE in GRANTS[person.role]
    is_open = found.state is ProposalState.SUBMITTED
    released = {r.site_id for r in found.releases}
    approved = found.state is ProposalState.APPROVED
    newest = {r.site_id: r for r in found.releases}
    watched = [
        watch.post_change(session, r.id, now.date()) for r in found.releases if not r.is_rollback
    ]
    return RecalibrationView(
        f"{found.id} {dossier.policy(found.document['policy'])}",
        found.id,
        found.digest,
        found.state.value,
        (
            found.document["statement"],
            found.document["prevalence"]["statement"],
            *(warning(c) for c in watched if c.state == watch.NOT_AS_EXPECTED),
        ),
        (*dossier.cover(found), *dossier.evidence_facts(found)),
        (
            *dossier.reasons_grids(found),
            dossier.consequence_grid(found),
            dossier.scanner_grid(found),
            dossier.subgroup_grid(found),
            dossier.acceptance_grid(found),
            dossier.traceability_grid(found),
            dossier.signature_grid(found),
            dossier.release_grid(found.releases),
            dossier.watch_grid(watched),
        ),
        (
            Link("Dossier (PDF)", f"{HERE}/{found.id}/dossier.pdf"),
            Link("Record (JSON)", f"/api/v1/recalibrations/{found.id}/record"),
            *(
                Link(f"Notice to users, {r.id} (PDF)", f"{HERE}/{found.id}/notices/{r.id}.pdf")
                for r in found.releases
            ),
            Link("Correction and removal (PDF)", f"{HERE}/{found.id}/correction.pdf"),
            Link("Correction and removal (JSON)", f"{HERE}/{found.id}/correction.json"),
        ),
        approver and is_open and found.proposed_by != person.name,
        tuple(s for s in found.sites if s not in released) if approver and approved else (),
        tuple(r.id for r in newest.values() if not r.is_rollback) if approver else (),
        errors,
    )


def warning(found: PostChange) -> str:
    """What a failed comparison asks for."""
    return (
        f"After the change to {found.point_id} the alerts are NOT AS EXPECTED: {found.alerts:.0f} "
        f"per 1,000, {found.expected_low:.0f} to {found.expected_high:.0f} expected. It can be "
        "taken back in one signed step."
    )


@router.get(HERE + "/{proposal_id}/dossier.pdf")
def dossier_pdf(proposal_id: str, session: DbSession, person: Viewer) -> Response:
    """The change-control dossier as PDF/A with the record embedded."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    return _pdf(dossier.dossier_pdf(found), found.id)


@router.get(HERE + "/{proposal_id}/notices/{point_id}.pdf")
def notice_pdf(proposal_id: str, point_id: str, session: DbSession, person: Viewer) -> Response:
    """The notice to the users of one site."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    release = next((r for r in found.releases if r.id == point_id), None)
    if release is None:
        raise NotFound(f"no release {point_id[:64]} of {found.id}")
    return _pdf(user_notice_pdf(found, release), f"notice-{release.id}")


@router.get(HERE + "/{proposal_id}/correction.{kind}")
def correction_pack(
    proposal_id: str, kind: Literal["pdf", "json"], session: DbSession, person: Viewer
) -> Response:
    """The data of a correction or removal."""
    found = service.proposal(session, proposal_id, scope=person.site_id)
    if kind == "json":
        return Response(correction.correction_json(found), media_type="application/json")
    return _pdf(correction.correction_pdf(found), f"correction-{found.id}")


def _pdf(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'inline; filename="{name}.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)


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
    view = view_of(session, service.proposal(session, proposal_id), person, now, errors)
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
