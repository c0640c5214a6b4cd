"""The letter to a site about a signal: the draft, sending it, and what was sent."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import Now, Reporter, Viewer
from app.central.accounts.service import Person, Signer
from app.central.alerts import letters
from app.central.alerts.letters import About
from app.central.database import DbSession
from dashboards import letters as written
from dashboards import wording
from dashboards import wording_letter as words
from dashboards.letters import LetterPage
from dashboards.pages.frame import page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, signed
from dashboards.pages.views import Link

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/signals/{signal_id}/letters/{site_id}")
def draft(signal_id: str, site_id: str, session: DbSession, person: Reporter) -> HTMLResponse:
    """The draft, and the form that sends it."""
    about = letters.about(session, signal_id, site_id, person)
    return _draft(session, person, about, "", ())


@router.post("/signals/{signal_id}/letters/{site_id}")
def send(
    signal_id: str,
    site_id: str,
    request: Request,
    fields: Form,
    session: DbSession,
    person: Reporter,
    now: Now,
) -> Response:
    """Sign and send; a refusal gives the form back with what was typed."""
    about = letters.about(session, signal_id, site_id, person)
    state = request.app.state
    sent: list[str] = []

    def run(signer: Signer) -> None:
        addition = letters.check_addition(fields.get("addition", ""))
        made = letters.send(
            session,
            about,
            written.drafted(about, addition),
            seen_digest=fields.get("digest", ""),
            signer=signer,
            key=state.key,
            write=written.letter_mail,
            mail_from=state.settings.mail_from,
        )
        sent.append(made.id)

    errors = signed(request, session, person, fields, now, run)
    if errors:
        addition = fields.get("addition", "")[: letters.LONGEST_ADDITION]
        return _draft(session, person, about, addition, errors)
    return RedirectResponse(f"/letters/{sent[0]}", SEE_OTHER)


def _draft(
    session: Session, person: Person, about: About, addition: str, errors: tuple[str, ...]
) -> HTMLResponse:
    document = written.drafted(about)
    view = LetterPage(
        title=f"Letter to {about.site}, draft",
        signal=about.one.id,
        sections=written.sections_of(document),
        facts=(),
        action=f"/signals/{about.one.id}/letters/{about.site_id}",
        told=f"To: {wording.listed(about.contacts)}." if about.contacts else words.NO_CONTACT,
        digest=about.one.digest,
        addition=addition,
        sending=words.SENDING,
        errors=errors,
    )
    return page(session, person, "/signals", "letter.html", view, 422 if errors else 200)


@router.get("/letters/{number}")
def show(number: str, session: DbSession, person: Viewer) -> HTMLResponse:
    """A letter that was sent."""
    found = letters.letter(session, number, scope=person.site_id)
    view = LetterPage(
        title=written.title_of(found.id, found.document),
        signal=found.signal_id,
        sections=written.sections_of(found.document),
        facts=written.facts_of(found),
        files=(Link("PDF, to print", f"/letters/{found.id}/pdf"),),
    )
    return page(session, person, "/signals", "letter.html", view)


@router.get("/letters/{number}/pdf")
def pdf(number: str, session: DbSession, person: Viewer) -> Response:
    """The same as PDF/A."""
    found = letters.letter(session, number, scope=person.site_id)
    attached = {"Content-Disposition": f'attachment; filename="{found.id}.pdf"'}
    return Response(written.letter_pdf(found), media_type="application/pdf", headers=attached)
