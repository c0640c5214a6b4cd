"""One's own account: the password, one-time codes, API tokens; sessions in `own_sessions.py`.

Everything but looking and revoking takes the present password, so that a session left open
gives nobody a lasting way in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import segno
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from sqlalchemy.orm import Session

from app.central.accounts import codes, people, repository, sessions, tokens
from app.central.accounts import service as accounts
from app.central.accounts.models import ApiToken
from app.central.accounts.permissions import Now, Oneself, Viewer, client_of
from app.central.accounts.service import Person, Signer
from app.central.database import DbSession
from app.central.errors import NotAuthenticated, Unusable
from app.errors import AppError
from dashboards import filters
from dashboards import wording_admin as words
from dashboards.charts import palette
from dashboards.pages.admin import own_sessions
from dashboards.pages.admin.common import EMPTY, OWN, Typed, refused
from dashboards.pages.admin.views import CodesSetUp, OwnAccount, PasswordPage, Shown, TokenRow
from dashboards.pages.frame import page
from dashboards.pages.requests import (
    PASSWORD_PAGE,
    SEE_OTHER,
    Check,
    Form,
    PageRoute,
    with_password,
)
from dashboards.pages.sign_in import with_session
from dashboards.pages.views import Fact

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get(OWN)
def own_account(
    session: DbSession, person: Viewer, now: Now, done: Annotated[str, Query()] = ""
) -> HTMLResponse:
    """What one may set about oneself."""
    return _page(session, person, now, notice=words.NOTICES.get(done, ""))


def _page(
    session: Session,
    person: Person,
    now: datetime,
    *,
    notice: str = "",
    set_up: CodesSetUp | None = None,
    shown: Shown | None = None,
    typed: Typed = EMPTY,
) -> HTMLResponse:
    account = people.get(session, person.name)
    begun = "begun" if account.code_secret else "none"
    standing = "set" if account.codes_since else begun
    view = OwnAccount(
        title="Account",
        facts=(
            Fact("Name to sign in with", person.name),
            Fact("Name as printed beside signatures", person.full_name),
            Fact("Role", words.ROLES[person.role]),
            Fact("Site", person.site_id or words.EVERY_SITE),
            *own_sessions.identity_facts(repository.identity_of(session, person.name)),
        ),
        password_sentence=words.SIGNS_NOTHING if person.has_no_password else "",
        codes=standing,
        codes_sentence=words.CODES[standing],
        tokens=tuple(_token_row(t, now) for t in tokens.tokens_of(session, person)),
        sessions=own_sessions.rows(session, person, now),
        idle_minutes=sessions.IDLE // timedelta(minutes=1),
        longest_days=tokens.LONGEST_DAYS,
        notice=notice,
        set_up=set_up,
        shown=shown,
        typed=typed,
    )
    return page(session, person, OWN, "admin/own.html", view, 422 if typed.errors else 200)


def _token_row(token: ApiToken, now: datetime) -> TokenRow:
    is_open = token.revoked_at is None and now < token.expires_at
    if token.revoked_at is not None:
        state = f"revoked {filters.instant(token.revoked_at)}"
    else:
        state = f"{'until' if is_open else 'expired'} {filters.instant(token.expires_at)}"
    made, used = filters.instant(token.created_at), filters.instant(token.last_used_at)
    return TokenRow(token.id, token.purpose, made, state, used, is_open)


@router.get(PASSWORD_PAGE)
def password_page(session: DbSession, person: Oneself) -> HTMLResponse:
    """The form alone: where a one-time password leads."""
    return _password(session, person)


def _password(session: Session, person: Person, errors: tuple[str, ...] = ()) -> HTMLResponse:
    view = PasswordPage("Choose a password", person.must_choose_password, errors)
    return page(session, person, OWN, "admin/password.html", view, 422 if errors else 200)


@router.post(PASSWORD_PAGE)
def change_password(
    request: Request, fields: Form, session: DbSession, person: Oneself, now: Now
) -> Response:
    """A password of the person's own; every other session ends, this one goes on as a new one."""
    new = fields.get("new_password", "")
    if new != fields.get("again_password", ""):
        return _password(session, person, (words.PASSWORDS_DIFFER,))

    def run(_: Signer) -> None:
        people.set_password(session, person.name, new, now=now)

    errors = _if_own(request, session, person, fields, now, run, check=accounts.confirm)
    if errors:
        return _password(session, person, errors)
    return _anew(request, session, person, now, "password")


def _if_own(
    request: Request,
    session: Session,
    person: Person,
    fields: dict[str, str],
    now: datetime,
    run: Callable[[Signer], None],
    check: Check = accounts.sign,
) -> tuple[str, ...]:
    wrong = words.PASSWORD_NOT_YOURS
    return with_password(
        request, session, person, fields, now, run, wrong_password=wrong, check=check
    )


def _anew(request: Request, session: Session, person: Person, now: datetime, done: str) -> Response:
    """A new session for this browser, as every other one has ended."""
    account = people.get(session, person.name)
    client, opened_with = client_of(request), person.opened_with
    token = sessions.log_in(session, account, now, client=client, opened_with=opened_with)
    return with_session(RedirectResponse(f"{OWN}?done={done}", SEE_OTHER), request, token)


@router.post(OWN + "/codes")
def begin_codes(
    request: Request, fields: Form, session: DbSession, person: Viewer, now: Now
) -> Response:
    """Begin to set up one-time codes; the secret is on this answer and nowhere else."""
    made: list[str] = []

    def run(_: Signer) -> None:
        made.append(codes.begin(session, person.name))

    errors = _if_own(request, session, person, fields, now, run)
    if errors:
        return _page(session, person, now, typed=refused("codes", fields, errors))
    return _page(session, person, now, set_up=set_up(made[0]))


def set_up(address: str) -> CodesSetUp:
    """The address of an authenticator, drawn and in letters, in fours."""
    secret = parse_qs(urlsplit(address).query)["secret"][0]
    drawn = segno.make(address, error="l", micro=False).svg_inline(
        svgclass="qr", dark=palette.INK, omitsize=True, title=words.QR_TITLE
    )
    return CodesSetUp(
        Markup(drawn.replace("<svg ", '<svg role="img" ', 1)),  # noqa: S704 - numbers and a title
        " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
        address,
    )


@router.post(OWN + "/codes/confirmation")
def confirm_codes(fields: Form, session: DbSession, person: Viewer, now: Now) -> Response:
    """The first code: every sign-in asks for one from now on."""
    code = "".join(fields.get("code", "").split())[:16]
    try:
        codes.confirm(session, person.name, code, now)
    except NotAuthenticated:
        return _page(session, person, now, typed=refused("code", {}, (words.CODE_NOT_RIGHT,)))
    except AppError as error:
        return _page(session, person, now, typed=refused("code", {}, (str(error),)))
    return RedirectResponse(f"{OWN}?done=codes", SEE_OTHER)


@router.post(OWN + "/codes/end")
def end_codes(
    request: Request, fields: Form, session: DbSession, person: Viewer, now: Now
) -> Response:
    """No more codes for oneself."""

    def run(_: Signer) -> None:
        codes.end(session, person.name, by=person.name, now=now)

    errors = _if_own(request, session, person, fields, now, run)
    if errors:
        return _page(session, person, now, typed=refused("codes-end", fields, errors))
    return _anew(request, session, person, now, "codes-ended")


@router.post(OWN + "/tokens")
def create_token(
    request: Request, fields: Form, session: DbSession, person: Viewer, now: Now
) -> Response:
    """A token for scripts, on this answer and nowhere else."""
    made: list[str] = []

    def run(_: Signer) -> None:
        purpose = fields.get("purpose", "").strip()
        made.append(tokens.create(session, person, purpose, days_of(fields), now)[0])

    errors = _if_own(request, session, person, fields, now, run)
    if errors:
        return _page(session, person, now, typed=refused("token", fields, errors))
    shown = Shown("API token", made[0], words.TOKEN_SHOWN)
    return _page(session, person, now, shown=shown)


def days_of(fields: dict[str, str]) -> int:
    """For how long a token is to hold."""
    typed = fields.get("days", "").strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 3):
        raise Unusable(words.DAYS.format(longest=tokens.LONGEST_DAYS))
    return int(typed)


@router.post(OWN + "/tokens/revocation")
def revoke_token(fields: Form, session: DbSession, person: Viewer, now: Now) -> Response:
    """One of one's own tokens means nothing from now on."""
    tokens.revoke(session, fields.get("id", ""), person, now)
    return RedirectResponse(f"{OWN}?done=token", SEE_OTHER)
