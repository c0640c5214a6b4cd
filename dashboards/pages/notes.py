"""Notes on a signal: the answer of a site, and the number of a CAPA or complaint file."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import Now, Reporter
from app.central.accounts.service import Person, Signer
from app.central.database import DbSession
from app.central.errors import Forbidden, Unusable
from app.central.surveillance import notes
from app.central.surveillance import service as surveillance
from app.central.surveillance.notes import NoteKind
from app.central.surveillance.service import SignalView
from dashboards import wording
from dashboards.pages.frame import page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, signed
from dashboards.pages.views import NotePage

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/signals/{signal_id}/notes")
def form(signal_id: str, session: DbSession, person: Reporter) -> Response:
    """The form."""
    return _page(session, person, _about(session, signal_id, person), {}, ())


@router.post("/signals/{signal_id}/notes")
def write(
    signal_id: str,
    request: Request,
    fields: Form,
    session: DbSession,
    person: Reporter,
    now: Now,
) -> Response:
    """Sign and keep; a refusal gives the form back with what was typed."""
    one = _about(session, signal_id, person)

    def run(signer: Signer) -> None:
        if fields.get("kind", "") not in set(NoteKind):
            raise Unusable(wording.CHOOSE_NOTE)
        notes.write(
            session,
            one.id,
            NoteKind(fields["kind"]),
            fields.get("text", ""),
            site_id=fields.get("site", ""),
            signer=signer,
            key=request.app.state.key,
        )

    errors = signed(request, session, person, fields, now, run)
    if errors:
        return _page(session, person, one, fields, errors)
    return RedirectResponse(f"/signals/{one.id}", SEE_OTHER)


def _about(session: Session, signal_id: str, person: Person) -> SignalView:
    if person.site_id is not None:
        raise Forbidden("a note on a signal is written by somebody who sees every site")
    return surveillance.signal(session, signal_id)


def _page(
    session: Session,
    person: Person,
    one: SignalView,
    fields: dict[str, str],
    errors: tuple[str, ...],
) -> Response:
    view = NotePage(
        title=f"Write down about {one.id}",
        signal=one.id,
        kinds=tuple(wording.NOTES.items()),
        sites=one.signal.sites,
        kind=fields.get("kind", ""),
        site=fields.get("site", ""),
        text=fields.get("text", "")[: max(notes.LONGEST.values())],
        errors=errors,
    )
    return page(session, person, "/signals", "note.html", view, 422 if errors else 200)
