"""What every page request needs: forms, the frame of a page, and refusals as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute

from app.central.errors import Forbidden, NotAuthenticated, TooLarge
from app.errors import AppError
from dashboards.pages.views import ProblemView
from dashboards.templating import render

LARGEST_FORM = 64 << 10
SEE_OTHER = 303


class PageRoute(APIRoute):
    """A route whose refusals are pages: sign in first, or a sentence a person can act on."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with our refusals."""
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                return await handle(request)
            except NotAuthenticated:
                return to_sign_in(request)
            except AppError as error:
                return problem_page(error)

        return handle_page


def to_sign_in(request: Request) -> Response:
    """The sign-in page, which leads back to where the person was going."""
    path = request.url.path if request.method == "GET" else "/"
    query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
    return RedirectResponse(f"/sign-in?then={quote(path + query, safe='')}", SEE_OTHER)


def problem_page(error: AppError) -> Response:
    """A refusal in words."""
    view = ProblemView(error.title, str(error))
    return HTMLResponse(render("problem.html", view=view, shell=None), error.status)


def own_path(then: str) -> str:
    """`then` if it is a path of this service, else the home page: no open redirect."""
    parts = urlsplit(then)
    is_path = then.startswith("/") and not then.startswith(("//", "/\\"))
    return then if is_path and not parts.netloc and not parts.scheme else "/"


async def form(request: Request) -> dict[str, str]:
    """Fields of a form; the last of a name counts."""
    refuse_other_origins(request)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise TooLarge(f"form: at most {LARGEST_FORM} bytes expected")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[-1] for name, values in fields.items()}


def refuse_other_origins(request: Request) -> None:
    """A form is taken only from our own pages: browsers say where a request comes from.

    The cookie is also SameSite; this holds where it is not honoured. Programs send neither header.
    """
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None and fetch_site not in {"same-origin", "none"}:
        raise Forbidden("form: a request of this site's own pages expected")
    origin = request.headers.get("origin")
    if fetch_site is None and origin is not None:
        host = request.headers.get("host", "")
        if urlsplit(origin).netloc != host:
            raise Forbidden("form: a request of this site's own pages expected")


Form = Annotated[dict[str, str], Depends(form)]
