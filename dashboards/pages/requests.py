"""What every page request needs: forms, the frame of a page, and refusals as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session, sessionmaker

from app.central.accounts import service as accounts
from app.central.accounts.service import Person, Signer
from app.central.errors import NotAuthenticated, PasswordDue, SignInRefused, TooLarge, Unusable
from app.errors import AppError
from dashboards import wording
from dashboards.headers import HEADERS
from dashboards.pages import taking
from dashboards.pages.views import Link, ProblemView
from dashboards.templating import render

Check = Callable[[sessionmaker[Session], Person, str, datetime], Signer]
TO_FLEET, TO_SIGN_IN = Link("To the fleet", "/"), Link("To the sign-in", "/sign-in")
LARGEST_FORM = 64 << 10
SEE_OTHER = 303
PASSWORD_PAGE = "/account/password"  # noqa: S105 - where it is chosen


class PageRoute(APIRoute):
    """A route whose refusals are pages, and whose answers carry the headers of pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with our refusals."""
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                taking.ask(request)
                answer = await handle(request)
            except NotAuthenticated:
                answer = to_sign_in(request)
            except PasswordDue:
                answer = RedirectResponse(PASSWORD_PAGE, SEE_OTHER)
            except AppError as error:
                answer = problem_page(error)
            for name, value in HEADERS.items():
                answer.headers.setdefault(name, value)
            return answer

        return handle_page


def to_sign_in(request: Request) -> Response:
    """The sign-in page, which leads back to where the person was going."""
    path = request.url.path if request.method == "GET" else "/"
    query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
    return RedirectResponse(f"/sign-in?then={quote(path + query, safe='')}", SEE_OTHER)


def problem_page(error: AppError) -> Response:
    """A refusal in words."""
    onward = TO_SIGN_IN if isinstance(error, SignInRefused) else TO_FLEET
    view = ProblemView(error.title, str(error), onward)
    return HTMLResponse(render("problem.html", view=view, shell=None), error.status)


def own_path(then: str) -> str:
    """`then` if it is a path of this service, else the home page: no open redirect."""
    parts = urlsplit(then)
    is_path = then.startswith("/") and not then.startswith(("//", "/\\"))
    return then if is_path and not parts.netloc and not parts.scheme else "/"


async def form(request: Request) -> dict[str, str]:
    """Fields of a form; the last of a name counts. Foreign pages are refused by the guard."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise TooLarge(f"form: at most {LARGEST_FORM} bytes expected")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[-1] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(form)]


def utc(text: str, what: str) -> datetime:
    """An instant of a form; one without a zone is UTC."""
    try:
        return datetime.fromisoformat(text if "+" in text or text.endswith("Z") else f"{text}Z")
    except ValueError as error:
        raise Unusable(f"{what}: a date and time (UTC) expected") from error


def signed(
    request: Request,
    session: Session,
    person: Person,
    fields: dict[str, str],
    now: datetime,
    run: Callable[[Signer], None],
) -> tuple[str, ...]:
    """Sign and act; what stood in the way, in words."""
    return with_password(
        request, session, person, fields, now, run, wrong_password=wording.WRONG_PASSWORD
    )


def with_password(
    request: Request,
    session: Session,
    person: Person,
    fields: dict[str, str],
    now: datetime,
    run: Callable[[Signer], None],
    *,
    wrong_password: str,
    check: Check = accounts.sign,
) -> tuple[str, ...]:
    """Act if the field `password` is the person's; what stood in the way, in words."""
    try:
        signer = check(request.app.state.sessions, person, fields.get("password", ""), now)
        with session.begin_nested():
            run(signer)
    except NotAuthenticated:
        return (wrong_password,)
    except AppError as error:
        return (str(error),)
    return ()
