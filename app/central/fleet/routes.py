"""Device versions, sites and edges."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.central.accounts.permissions import Administrator, Enroller, Now, Viewer
from app.central.accounts.service import Person
from app.central.body import limited_body
from app.central.database import DbSession
from app.central.errors import NotFound
from app.central.fleet import codes, key_changes, service
from app.central.fleet.codes import CodeView
from app.central.fleet.schemas import (
    CodeOut,
    EdgeActionIn,
    KeyDecisionIn,
    NewCode,
    NewSite,
    Registered,
)
from app.central.fleet.service import DeviceVersionView, EdgeView, SiteView
from app.central.openapi.media import ENVELOPE, takes
from app.central.problems import problems
from app.central.surveillance import plans
from app.contracts.signing import ENVELOPE_LIMIT

router = APIRouter(prefix="/api/v1", tags=["fleet"])
Envelope = Annotated[bytes, Depends(limited_body(ENVELOPE_LIMIT))]


@router.get("/device-versions", response_model=list[DeviceVersionView])
def list_device_versions(session: DbSession, _: Viewer) -> tuple[DeviceVersionView, ...]:
    """Every registered device version."""
    return service.device_versions(session)


@router.post(
    "/device-versions",
    status_code=201,
    responses=problems(401, 403, 409, 413, 422),
    openapi_extra=takes(ENVELOPE),
)
def register_device_version(
    request: Request, content: Envelope, session: DbSession, now: Now, by: Administrator
) -> Registered:
    """Register a device version by its manifest, as the DSSE envelope that was signed.

    The default surveillance plan is put in force for it.
    """
    settings = request.app.state.settings
    version = service.register_device(
        session,
        content,
        trusted=settings.manufacturer_keys,
        threshold=settings.signature_threshold,
        by=by.name,
        now=now,
    )
    plans.ensure(session, version.lock_digest, request.app.state.key, by=by.name, now=now)
    return Registered(lock_digest=version.lock_digest)


@router.get("/sites", response_model=list[SiteView])
def list_sites(session: DbSession, person: Viewer) -> tuple[SiteView, ...]:
    """Sites with their edges."""
    return service.sites(session, scope=person.site_id)


@router.post("/sites", status_code=201, responses=problems(403, 409, 422))
def add_site(body: NewSite, session: DbSession, now: Now, by: Administrator) -> NewSite:
    """Add a hospital."""
    service.add_site(session, body.id, body.name, body.timezone, by=by.name, now=now)
    return body


@router.post("/sites/{site_id}/enrolment-codes", status_code=201, responses=problems(403, 404))
def create_enrolment_code(
    site_id: str, body: NewCode, session: DbSession, now: Now, by: Enroller
) -> CodeOut:
    """A one-time code for an edge at this site; valid for a day."""
    within(by, site_id)
    code = service.create_code(session, site_id, body.lock_digest, by=by.name, now=now)
    return CodeOut(code=code)


@router.get("/enrolment-codes", response_model=list[CodeView], responses=problems(401))
def list_enrolment_codes(session: DbSession, now: Now, person: Viewer) -> tuple[CodeView, ...]:
    """Codes that wait for their edge; the codes themselves are stored nowhere."""
    return codes.waiting(session, now, scope=person.site_id)


@router.get("/edges/{edge_id}", response_model=EdgeView, responses=problems(404))
def show_edge(edge_id: str, session: DbSession, person: Viewer) -> EdgeView:
    """One edge."""
    view = service.edge_view(session, edge_id)
    within(person, view.site_id)
    return view


@router.post(
    "/edges/{edge_id}/actions", response_model=EdgeView, responses=problems(403, 404, 409, 422)
)
def act_on_edge(
    edge_id: str, body: EdgeActionIn, session: DbSession, now: Now, by: Enroller
) -> EdgeView:
    """Approve (with the fingerprint), suspend, resume, revoke or retire (with a reason) an edge."""
    within(by, service.get_edge(session, edge_id).site_id)
    service.act(
        session,
        edge_id,
        body.action,
        by=by.name,
        now=now,
        seen_fingerprint=body.fingerprint,
        reason=body.reason,
    )
    return service.edge_view(session, edge_id)


@router.post(
    "/edges/{edge_id}/key-decisions",
    response_model=EdgeView,
    responses=problems(403, 404, 409, 422),
)
def decide_on_key(
    edge_id: str, body: KeyDecisionIn, session: DbSession, now: Now, by: Enroller
) -> EdgeView:
    """Approve or refuse the new key that an edge asks for.

    What was approved may be refused until the edge has switched to it.
    """
    within(by, service.get_edge(session, edge_id).site_id)
    key_changes.decide(
        session,
        edge_id,
        approve=body.approve,
        seen_fingerprint=body.fingerprint,
        by=by.name,
        now=now,
        reason=body.reason,
    )
    return service.edge_view(session, edge_id)


def within(person: Person, site_id: str) -> None:
    """What belongs to another site is not there for somebody bound to one."""
    if person.site_id not in (None, site_id):
        raise NotFound("not found")
