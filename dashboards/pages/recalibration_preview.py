"""May a signal be answered with a new operating point? The gate's word, figures, and the form."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.central.accounts.permissions import GRANTS, Now, Permission, Viewer
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.recalibration.preview import Preview, SiteFigures, preview_of
from app.central.surveillance import service as surveillance
from app.central.surveillance.models import SignalState
from app.central.surveillance.service import SignalView
from app.errors import AppError
from dashboards.pages.frame import page
from dashboards.pages.requests import PageRoute
from dashboards.pages.views import Grid, Link
from dashboards.reports.dossier import FIGURES, interval

router = APIRouter(route_class=PageRoute, include_in_schema=False)
OPEN = (
    "The cause allows a new operating point, inside the cleared envelope. Scores stay as they are."
)
CLOSED = (
    "The gate refuses: no new operating point can be proposed on this signal now. Each reason says "
    "what evidence would change that; the gate is asked again whenever this page is opened."
)
SCANNER = (
    "The cause is a scanner shift alone: scores are never remapped, but an equivalent threshold "
    "for that class of scanners may be proposed."
)
CONFIRM = "A person has to confirm the signal before anything can be proposed on it."


POLICIES = {
    "prevalence": ("ppv", "alert_rate", "net_benefit", "sensitivity", "specificity"),
    "scanner": ("sensitivity",),
}
OFFERED = {"prevalence": "ppv", "scanner": "sensitivity"}  # its value before, as the target


@dataclass(frozen=True, slots=True)
class PreviewView:
    """`policies` is empty where the person may propose nothing; `target` is what was held before.
    `scanner_classes`: for one of which an equivalent threshold may be proposed."""

    title: str
    crumb: Link
    signal: str
    sentences: tuple[str, ...]
    grids: tuple[Grid, ...]
    policies: tuple[str, ...]
    target: str
    scanner_classes: tuple[str, ...] = ()


@router.get("/signals/{signal_id}/recalibration")
def preview_page(signal_id: str, session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """What a recalibration on one signal could do."""
    one = surveillance.signal(session, signal_id, scope=person.site_id)
    try:
        found = preview_of(session, one.id, now.date(), scope=person.site_id)
    except AppError as error:
        view = _view(one, (str(error),))
    else:
        view = _found(one, found, person)
    return page(session, person, "/signals", "recalibration_preview.html", view)


def _found(one: SignalView, found: Preview, person: Person) -> PreviewView:
    confirmed = one.state is SignalState.CONFIRMED
    word = {"prevalence": OPEN, "scanner": SCANNER}.get(found.route, CLOSED)
    may = bool(found.route) and confirmed and Permission.ASSESS in GRANTS[person.role]
    prevalence = (
        f"Share of positives since {found.since}: {found.prevalence:.1%} "
        f"({found.prevalence_low:.1%} to {found.prevalence_high:.1%}), "
        f"{found.prevalence_before:.1%} in the reference period, estimated from scores."
    )
    sentences = (word, prevalence, *(() if confirmed else (CONFIRM,)))
    reasons = tuple((r.found, r.would_change) for r in found.reasons)
    refused = (Grid("Refused because", ("Found", "What would change it"), reasons),)
    return _view(
        one,
        sentences,
        (*(refused if reasons else ()), *(_figures(site) for site in found.sites)),
        POLICIES[found.route] if may else (),
        f"{found.sites[0].before[OFFERED.get(found.route, 'ppv')]['value']:.3f}",
        found.scanner_classes if found.route == "scanner" else (),
    )


def _figures(site: SiteFigures) -> Grid:
    rows = tuple(
        (words, interval(site.before[name]), interval(site.now[name]))
        for name, words in FIGURES.items()
    )
    return Grid(
        f"{site.site_id} at the threshold in use, {site.threshold:.4g}, with 95 % intervals",
        ("Expected", "in the reference period", "since the change"),
        rows,
    )


def _view(
    one: SignalView,
    sentences: tuple[str, ...],
    grids: tuple[Grid, ...] = (),
    policies: tuple[str, ...] = (),
    target: str = "",
    scanner_classes: tuple[str, ...] = (),
) -> PreviewView:
    return PreviewView(
        f"Recalibration on {one.id}?",
        Link(f"Signal {one.id}", f"/signals/{one.id}"),
        one.id,
        sentences,
        grids,
        policies,
        target,
        scanner_classes,
    )
