"""What pages of people who are signed in share: the frame, scopes, and lists of signals."""

from __future__ import annotations

from datetime import date

from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Permission
from app.central.accounts.service import Person
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from dashboards import wording
from dashboards.pages import taking
from dashboards.pages.views import Link, QueueRow, Shell
from dashboards.templating import render

ADMIN = "/admin"
NOBODY = "nobody"
TOPICS = {
    "": "Overview",
    "performance": "Performance",
    "subgroups": "Sub-groups",
    "prevalence": "Prevalence",
    "annotation": "Annotation",
    "lock": "Lock",
    "timeline": "Time line",
    "references": "Reference periods",
}
DRAWN = {
    "device.html",
    "fleet.html",
    "scanners.html",
    "signal.html",
    "subject.html",
}  # templates that hold figures


def page(
    session: Session, person: Person, current: str, template: str, view: object, status: int = 200
) -> HTMLResponse:
    """A page in its frame, or the one table of it that was asked for."""
    table = taking.wanted(view) if status == 200 else None
    if table is not None:
        return table
    waiting = surveillance.count(session, only_open=True, scope=person.site_id)
    role = person.role.value.replace("_", " ")
    links = _navigation(person, current, waiting)
    shell = Shell(person.full_name, role, links, taking.links(view))
    return HTMLResponse(render(template, view=view, shell=shell, live=template in DRAWN), status)


def _navigation(person: Person, current: str, waiting: int) -> tuple[Link, ...]:
    """The words; only those whose pages the person may see."""
    words = [
        ("Fleet", "/"),
        (f"Signals ({waiting})", "/signals"),
        ("Devices", "/devices"),
        ("Sites", "/sites"),
        ("Recalibrations", "/recalibrations"),
    ]
    if person.site_id is None:  # a report covers every site
        words.append(("Reports", "/reports"))
    if Permission.AUDIT in GRANTS[person.role] and person.site_id is None:
        words.append(("Audit", "/audit"))
    if Permission.ENROL in GRANTS[person.role]:
        words.append(("Admin", ADMIN))
    return tuple(Link(text, href, href == current) for text, href in words)


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


def topic_links(lock_digest: str, here: str) -> tuple[Link, ...]:
    """The pages of a device version, in one order everywhere."""
    return tuple(
        Link(words, f"/devices/{lock_digest}{'/' if key else ''}{key}", key == here)
        for key, words in TOPICS.items()
    )
