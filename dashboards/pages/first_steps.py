"""What an installation still needs until it watches anything: six steps, each done or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from app.central.accounts.permissions import Permission
from app.central.accounts.service import Person
from app.central.example import store
from app.central.example.store import LoadState
from app.central.fleet.models import EdgeState
from app.central.fleet.service import DeviceVersionView, SiteView
from app.central.intake.closing import Closing
from app.central.references import service as references
from dashboards import wording
from dashboards.pages.admin.common import ENROLMENT, EXAMPLE, may
from dashboards.pages.views import FleetView, Link, Step

COMMANDS = (
    ("Register a device version", "lockwatch central device register BUNDLE"),
    ("Add a hospital", "lockwatch central site add SITE NAME"),
    ("Make a one-time code and give it to the hospital", "lockwatch central enrol SITE DIGEST"),
    (
        "Compare the fingerprint by telephone and approve",
        "lockwatch central approve EDGE --fingerprint …",
    ),
    ("First window received", "lockwatch edge status, at the hospital"),
    (
        "Propose a reference period; a second person approves it",
        "lockwatch central reference propose DIGEST --until DAY",
    ),
)


def first_steps(
    session: Session,
    versions: Sequence[DeviceVersionView],
    sites: Sequence[SiteView],
    balances: Sequence[Closing],
) -> tuple[Step, ...]:
    """The steps in order, none once all are done. The first open one is the next."""
    edges = [e for s in sites for e in s.edges]
    done = (
        bool(versions),
        bool(sites),
        bool(edges),
        any(e.state is not EdgeState.PENDING for e in edges),
        any(b.stored for b in balances),
        bool(references.approved(session)),
    )
    if all(done):
        return ()
    following = done.index(False)
    pending = next((e.id for e in edges if e.state is EdgeState.PENDING), "")
    leads = ("", ENROLMENT, ENROLMENT, f"{ENROLMENT}/edges/{pending}" if pending else ENROLMENT)
    return tuple(
        Step(
            text,
            command,
            "done" if is_done else "next" if i == following else "to do",
            "" if is_done else "".join(leads[i : i + 1]),
        )
        for i, ((text, command), is_done) in enumerate(zip(COMMANDS, done, strict=True))
    )


def with_example(session: Session, person: Person, view: FleetView) -> FleetView:
    """The home page with what it says of example data: that it is here, or that it may be."""
    if person.site_id is not None or store.is_seen_by(session):
        return view
    state = store.standing(session).state
    if state is LoadState.READY:
        link = Link(wording.EXAMPLE_OPEN, "/example/")
        return replace(view, example=wording.EXAMPLE_LOADED, example_link=link)
    if view.steps and may(person, Permission.ADMINISTER):
        link = Link(wording.EXAMPLE_LOAD, EXAMPLE)
        return replace(view, example=wording.EXAMPLE_OFFER, example_link=link)
    return view
