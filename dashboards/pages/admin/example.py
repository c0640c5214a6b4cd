"""Example data: load it, watch it come, look at it, take it away."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import Administrator, Now
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.errors import Unusable
from app.central.example import store
from app.central.example.store import LoadState
from dashboards import example
from dashboards import wording_admin as words
from dashboards.pages.admin.common import EXAMPLE, area, attempt
from dashboards.pages.admin.views import ExamplePage
from dashboards.pages.frame import ADMIN, page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
UNDERWAY = (LoadState.WAITING, LoadState.LOADING)
ROOM = (LoadState.ABSENT, LoadState.FAILED)
ACTS = {"load": store.ask, "remove": store.remove}


@router.get(EXAMPLE)
def show(session: DbSession, person: Administrator) -> HTMLResponse:
    """What it is and how far it is."""
    return _page(session, person)


@router.post(EXAMPLE)
def act(fields: Form, session: DbSession, person: Administrator, now: Now) -> Response:
    """What `do` says: load or remove."""

    def run() -> None:
        if fields.get("do") not in ACTS:
            raise Unusable(words.CHOOSE_ACTION)
        ACTS[fields["do"]](session, by=person.name, now=now)

    errors = attempt(session, run)
    if errors:
        return _page(session, person, errors)
    return RedirectResponse(EXAMPLE, SEE_OTHER)


def _page(session: Session, person: Person, errors: tuple[str, ...] = ()) -> HTMLResponse:
    found = store.standing(session)
    view = ExamplePage(
        title="Example data",
        sentences=words.EXAMPLE_SENTENCES,
        area=area(person, EXAMPLE),
        standing=words.example_standing(found),
        is_underway=found.state in UNDERWAY,
        may_load=found.state in ROOM,
        may_remove=found.state is not LoadState.ABSENT,
        opens=f"{example.ROOT}/" if found.state is LoadState.READY else "",
        errors=errors,
    )
    return page(session, person, ADMIN, "admin/example.html", view, 422 if errors else 200)
