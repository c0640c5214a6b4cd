"""Permission is a parameter type: a route that names none does not pass the tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request

from app import clock
from app.central.accounts import sessions, tokens
from app.central.accounts.models import Role
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.errors import Forbidden, NotAuthenticated, PasswordDue


class Permission(StrEnum):
    """What a route needs."""

    READ = "read"
    ASSESS = "assess"  # decide on signals, propose references, draft reports
    REPORT = "report"  # assess the duty to report to authorities
    APPROVE = "approve"  # the second person
    ENROL = "enrol"  # sites, codes, edges
    REGISTER = "register"  # what was done to a scanner
    ADMINISTER = "administer"  # people, devices, plans
    AUDIT = "audit"  # read and export the trail; nobody can change it


_READERS = {Permission.READ}
GRANTS: dict[Role, set[Permission]] = {
    Role.VIEWER: _READERS,
    Role.ANALYST: _READERS | {Permission.ASSESS, Permission.REGISTER},
    Role.QUALITY_APPROVER: _READERS
    | {
        Permission.ASSESS,
        Permission.REGISTER,
        Permission.REPORT,
        Permission.APPROVE,
        Permission.AUDIT,
    },
    Role.REGULATORY: _READERS | {Permission.ASSESS, Permission.REPORT, Permission.AUDIT},
    Role.SITE_ADMIN: _READERS | {Permission.ENROL, Permission.REGISTER},
    Role.ADMINISTRATOR: _READERS
    | {Permission.ENROL, Permission.REGISTER, Permission.ADMINISTER, Permission.APPROVE},
    Role.AUDITOR: _READERS | {Permission.AUDIT},
}

WHOLE_FLEET = {Permission.ADMINISTER, Permission.AUDIT}  # both show or change every site
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
Now = Annotated[datetime, Depends(clock.now)]


def cookie_name(secure: bool) -> str:
    """`__Host-` binds the cookie to this host and to https."""
    return "__Host-lockwatch" if secure else "lockwatch"


def session_token(request: Request) -> str:
    """What the session cookie holds; empty: there is none."""
    return request.cookies.get(cookie_name(request.app.state.settings.secure_cookies), "")


def client_of(request: Request) -> str:
    """How the browser calls itself; for the list of one's own sessions, and believed nowhere."""
    return request.headers.get("user-agent", "")


def current_person(request: Request, session: DbSession, now: Now) -> Person:
    """Who is logged in, or whose API token the request carries."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        person = tokens.person_of(session, bearer.strip(), now)
    else:
        token = session_token(request)
        person = sessions.person_of(session, token, now) if token else None
    if person is None:
        raise NotAuthenticated("session", "log in first")
    return person


def require(permission: Permission) -> Callable[[Request, Person], Person]:
    """A dependency that admits people with `permission`."""

    def admitted(request: Request, person: Annotated[Person, Depends(current_person)]) -> Person:
        if person.must_choose_password:
            raise PasswordDue("choose a password of your own first")
        if permission not in GRANTS[person.role]:
            raise Forbidden(f"permission to {permission.value} is needed")
        if person.site_id is not None and permission in WHOLE_FLEET:
            raise Forbidden(
                f"to {permission.value} covers every site; your account is bound to one"
            )
        return oneself(request, person)

    admitted.permission = permission  # type: ignore[attr-defined]
    return admitted


def oneself(request: Request, person: Annotated[Person, Depends(current_person)]) -> Person:
    """Whoever is logged in, be it with a one-time password: for that password's end."""
    if person.reads_only and request.method not in SAFE_METHODS:
        raise Forbidden("an API token reads; log in to change anything")
    return person


oneself.permission = "oneself"  # type: ignore[attr-defined]


def anyone() -> None:
    """For the few routes that are open on purpose."""


anyone.permission = "anyone"  # type: ignore[attr-defined]

Anyone = Annotated[None, Depends(anyone)]
Oneself = Annotated[Person, Depends(oneself)]
Viewer = Annotated[Person, Depends(require(Permission.READ))]
Assessor = Annotated[Person, Depends(require(Permission.ASSESS))]
Reporter = Annotated[Person, Depends(require(Permission.REPORT))]
Approver = Annotated[Person, Depends(require(Permission.APPROVE))]
Enroller = Annotated[Person, Depends(require(Permission.ENROL))]
Registrar = Annotated[Person, Depends(require(Permission.REGISTER))]
Administrator = Annotated[Person, Depends(require(Permission.ADMINISTER))]
Auditor = Annotated[Person, Depends(require(Permission.AUDIT))]
