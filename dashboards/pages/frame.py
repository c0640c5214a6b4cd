"""What pages of people who are signed in share: the frame, scopes, and lists of signals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.central.accounts.service import Person
from app.central.fleet import service as fleet
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from dashboards import wording
from dashboards.pages.views import QueueRow, Shell
from dashboards.templating import render

NOBODY = "nobody"


def page(
    session: Session, person: Person, current: str, template: str, view: object, status: int = 200
) -> HTMLResponse:
    """A page in its frame; figures are drawn live where the view holds any."""
    waiting = len(surveillance.signals(session, only_open=True, scope=person.site_id))
    shell = Shell(current, person.full_name, person.role.value.replace("_", " "), waiting)
    return HTMLResponse(render(template, view=view, shell=shell, live=True), status)


def site_names(session: Session) -> Mapping[str, str]:
    """Names of sites by their id."""
    return {site.id: site.name for site in fleet.sites(session)}


def queue_row(one: SignalView, today: date) -> QueueRow:
    """A signal in a list."""
    return QueueRow(
        id=one.id,
        title=wording.title(one.signal),
        href=f"/signals/{one.id}",
        where=f"{wording.place(one.signal)} · {one.device} {one.version}",
        state=wording.STATES[one.state.value],
        is_open=one.is_open,
        raised=one.signal.date,
        age=wording.age(one.signal.date, today),
        owner=one.owner or NOBODY,
    )
