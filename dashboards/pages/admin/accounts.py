"""People: add one, change the role or site, disable, unlock, reset a password, end codes.

A name may hold any printable character, so it travels as a field and never in the path.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts import codes, people, repository
from app.central.accounts.models import Account, Role
from app.central.accounts.permissions import Administrator, Now
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.errors import Unusable
from app.central.fleet import service as fleet
from dashboards import filters
from dashboards import wording_admin as words
from dashboards.pages.admin.common import ACCOUNTS, EMPTY, Typed, area, attempt, refused
from dashboards.pages.admin.views import AccountPage, AccountsView, Shown
from dashboards.pages.frame import ADMIN, page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute
from dashboards.pages.views import Choice, Fact, Grid

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PERSON = ACCOUNTS + "/person"
ROLES = tuple(Choice(role.value, text) for role, text in words.ROLES.items())


def address(name: str) -> str:
    """Where one person's account is."""
    return f"{PERSON}?name={quote(name, safe='')}"


@router.get(ACCOUNTS)
def accounts(session: DbSession, person: Administrator, now: Now) -> HTMLResponse:
    """Everybody."""
    return _list(session, person, now)


def _list(
    session: Session,
    person: Person,
    now: datetime,
    *,
    shown: Shown | None = None,
    typed: Typed = EMPTY,
) -> HTMLResponse:
    everybody = repository.accounts(session)
    active = [a for a in everybody if a.disabled_at is None]
    view = AccountsView(
        title="Accounts",
        sentences=words.accounts_sentences(
            len(active),
            len(everybody) - len(active),
            sum(a.role is Role.ADMINISTRATOR for a in active),
        ),
        area=area(person, ACCOUNTS),
        people=Grid(
            "People",
            ("Name", "Printed name", "Role", "Site", "State", "One-time codes"),
            tuple(_row(a, now) for a in everybody),
            links=tuple(address(a.name) for a in everybody),
        ),
        roles=ROLES,
        sites=_sites(session),
        shown=shown,
        typed=typed,
    )
    return page(session, person, ADMIN, "admin/accounts.html", view, 422 if typed.errors else 200)


def _row(account: Account, now: datetime) -> tuple[str, ...]:
    return (
        account.name,
        account.full_name,
        account.role.value.replace("_", " "),
        account.site_id or words.EVERY_SITE,
        words.account_state(account, now),
        "asked for" if account.codes_since else "not set up",
    )


def _sites(session: Session) -> tuple[Choice, ...]:
    return tuple(Choice(i, f"{i}, {name}") for i, name in fleet.site_names(session).items())


@router.post(ACCOUNTS)
def add(fields: Form, session: DbSession, person: Administrator, now: Now) -> Response:
    """A new person with a one-time password, shown on this answer and nowhere else."""
    name, full_name = fields.get("name", "").strip(), fields.get("full_name", "").strip()
    made: list[str] = []

    def run() -> None:
        role, site = role_of(fields), fields.get("site") or None
        made.append(people.invite(session, name, full_name, role, site, by=person.name, now=now))

    errors = attempt(session, run)
    if errors:
        return _list(session, person, now, typed=refused("add", fields, errors))
    return _list(session, person, now, shown=_one_time(name, made[0]))


def role_of(fields: dict[str, str]) -> Role:
    """The role that was chosen."""
    chosen = fields.get("role", "")
    if chosen not in set(Role):
        raise Unusable(words.CHOOSE_ROLE)
    return Role(chosen)


def _one_time(name: str, password: str) -> Shown:
    return Shown(f"One-time password for {name}", password, words.ONE_TIME_SHOWN)


@router.get(PERSON)
def account(
    request: Request,
    session: DbSession,
    person: Administrator,
    now: Now,
    name: Annotated[str, Query()] = "",
) -> HTMLResponse:
    """One person."""
    return one(request, session, person, name, now)


def one(
    request: Request,
    session: Session,
    person: Person,
    name: str,
    now: datetime,
    *,
    shown: Shown | None = None,
    typed: Typed = EMPTY,
) -> HTMLResponse:
    """The page of one person."""
    found = people.get(session, name)
    identity = repository.identity_of(session, name)
    view = AccountPage(
        title=f"{found.full_name}, {found.name}",
        name=found.name,
        state=words.account_state(found, now),
        area=area(person, ""),
        facts=_facts(found),
        role=found.role.value,
        site=found.site_id or "",
        roles=ROLES,
        sites=_sites(session),
        is_disabled=found.disabled_at is not None,
        is_locked=found.locked_until is not None and now < found.locked_until,
        is_oneself=found.name == person.name,
        has_codes=found.codes_since is not None,
        provider=request.app.state.settings.oidc_name if request.app.state.provider else "",
        identity=identity.subject if identity else "",
        shown=shown,
        typed=typed,
    )
    return page(session, person, ADMIN, "admin/account.html", view, 422 if typed.errors else 200)


def _facts(account: Account) -> tuple[Fact, ...]:
    since = f"asked for since {filters.instant(account.codes_since)}"
    return (
        Fact("Role", words.ROLES[account.role]),
        Fact("Site", account.site_id or words.EVERY_SITE),
        Fact("Added", filters.instant(account.created_at)),
        Fact("One-time codes", since if account.codes_since else "not set up"),
    )


Act = Callable[[Session, str, Person, datetime, dict[str, str]], Shown | None]


def _change(session: Session, name: str, by: Person, now: datetime, fields: dict[str, str]) -> None:
    site = fields.get("site") or None
    people.change(session, name, role_of(fields), site, by=by.name, now=now)


def _disable(session: Session, name: str, by: Person, now: datetime, _: dict[str, str]) -> None:
    people.disable(session, name, by=by.name, now=now)


def _enable(session: Session, name: str, by: Person, now: datetime, _: dict[str, str]) -> None:
    people.enable(session, name, by=by.name, now=now)


def _unlock(session: Session, name: str, by: Person, now: datetime, _: dict[str, str]) -> None:
    people.unlock(session, name, by=by.name, now=now)


def _reset(session: Session, name: str, by: Person, now: datetime, _: dict[str, str]) -> Shown:
    return _one_time(name, people.reset_password(session, name, by=by.name, now=now))


def _end_codes(session: Session, name: str, by: Person, now: datetime, _: dict[str, str]) -> None:
    codes.end(session, name, by=by.name, now=now)


ACTS: dict[str, Act] = {
    "role": _change,
    "disable": _disable,
    "enable": _enable,
    "unlock": _unlock,
    "password": _reset,
    "codes": _end_codes,
}


@router.post(PERSON)
def act(
    request: Request, fields: Form, session: DbSession, person: Administrator, now: Now
) -> Response:
    """What `do` says, to the account that `name` names."""
    name, chosen = fields.get("name", ""), fields.get("do", "")
    people.get(session, name)
    shown: list[Shown | None] = []

    def run() -> None:
        if chosen not in ACTS:
            raise Unusable(words.CHOOSE_ACTION)
        shown.append(ACTS[chosen](session, name, person, now, fields))

    errors = attempt(session, run)
    if errors:
        return one(request, session, person, name, now, typed=refused(chosen, fields, errors))
    if shown[0] is not None:
        return one(request, session, person, name, now, shown=shown[0])
    return RedirectResponse(address(name), SEE_OTHER)
