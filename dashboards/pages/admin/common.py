"""What the pages of the area share: where they lie, who may open which, and refusals in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Permission
from app.central.accounts.service import Person
from app.errors import AppError
from dashboards.pages.views import Link

ENROLMENT = "/admin/enrolment"
ACCOUNTS = "/admin/accounts"
OWN = "/account"
RECIPIENTS = "/admin/recipients"
EXAMPLE = "/admin/example"
SERVICE = "/admin/service"


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed into a form that was refused, and why; `form` names which of the page."""

    form: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    errors: tuple[str, ...] = ()

    def get(self, name: str) -> str:
        """What was typed into one field."""
        return dict(self.fields).get(name, "")

    def of(self, form: str) -> Typed:
        """What belongs to one form: nothing, unless it is the refused one."""
        return self if form == self.form else EMPTY


EMPTY = Typed()


def refused(form: str, fields: dict[str, str], errors: tuple[str, ...]) -> Typed:
    """A refused form; passwords and codes are never given back."""
    kept = tuple((k, v) for k, v in fields.items() if "password" not in k and k != "code")
    return Typed(form, kept, errors)


def attempt(session: Session, run: Callable[[], None]) -> tuple[str, ...]:
    """Act; what stood in the way, in words, and then nothing has changed."""
    try:
        with session.begin_nested():
            run()
    except AppError as error:
        return (str(error),)
    return ()


def may(person: Person, permission: Permission) -> bool:
    """Whether the role of the person is granted it."""
    return permission in GRANTS[person.role]


def area(person: Person, here: str) -> tuple[Link, ...]:
    """The pages of the area that this person may open; none where there is but one."""
    if not may(person, Permission.ADMINISTER):
        return ()
    words = (
        ("Enrolment", ENROLMENT),
        ("Accounts", ACCOUNTS),
        ("Recipients", RECIPIENTS),
        ("Service", SERVICE),
        ("Example", EXAMPLE),
    )
    return tuple(Link(text, href, href == here) for text, href in words)
