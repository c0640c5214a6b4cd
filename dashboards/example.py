"""The pages once more, under /example, over the example data: to be read, never to be acted in.

It is an application of its own on connections that see nothing but the example's tables, at the
instant at which the example stands. Who is there is asked of the real installation; everybody is
a viewer here. Links lead about within the example, and every page says what it is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from fastapi import FastAPI, Request
from sqlalchemy.orm import Session, sessionmaker
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.central import problems
from app.central.accounts.models import Role
from app.central.accounts.permissions import SAFE_METHODS, current_person
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.errors import Forbidden, NotFound
from app.central.example import store
from app.central.exports.routes import router as exports
from app.contracts.signing import SigningKey
from dashboards import wording
from dashboards.pages import duty, letters, recalibration, recalibration_preview, reports, routes
from dashboards.pages.requests import problem_page
from dashboards.templating import render

ROOT = "/example"
OUTSIDE = "/|static/|account|sign-out|sign-in"  # what stays where it is
LINK = re.compile(rf'\b(href|action|src)="/(?!{OUTSIDE})'.encode())
MAIN, TITLE = b'<main id="main">', b" \xc2\xb7 Surveillance</title>"


def mount(app: FastAPI, example_sessions: sessionmaker[Session]) -> None:
    """Add the example's pages to the centre's application."""
    app.mount(ROOT, Marked(pages_of(app, example_sessions)))


def pages_of(app: FastAPI, example_sessions: sessionmaker[Session]) -> FastAPI:
    """The pages over the example's tables; people are those of `app`."""
    inner = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    inner.state.settings = app.state.settings
    inner.state.renderers = app.state.renderers
    inner.state.request_sessions = inner.state.sessions = example_sessions
    inner.state.key = SigningKey.generate()  # signs nothing: nobody may act
    problems.install(inner)
    for part in (reports, routes, duty, letters, recalibration, recalibration_preview):
        inner.include_router(part.router)
    inner.include_router(exports)
    real = app.state.request_sessions

    def visitor(request: Request) -> Person:
        with real.begin() as session:
            return _visitor(current_person(request, session, clock.now()))

    inner.dependency_overrides[current_person] = visitor
    inner.dependency_overrides[clock.now] = stands_at
    return inner


def _visitor(person: Person) -> Person:
    if person.site_id is not None:
        raise Forbidden("example data is shown to people who see every site")
    return replace(person, role=Role.VIEWER)


def stands_at(session: DbSession) -> datetime:
    """The instant at which the example stands: nothing of it grows old."""
    found = store.standing(session)
    if found.stands_at is None:
        raise NotFound(f"no example data to look at: {found.state.value}")
    return found.stands_at


class Marked:
    """Says on every page that it is an example, and keeps its links within it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            refusal = problem_page(Forbidden(wording.EXAMPLE_IS_READ))
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, _Answer(send))


class _Answer:
    """One answer on its way out: a page is held until all of it is there."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith("text/html"):
                self.start = message
                return
        if self.start is None:
            await self.send(message)
            return
        self.body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._release(self.start)

    async def _release(self, start: Message) -> None:
        body = marked(self.body)
        MutableHeaders(scope=start)["content-length"] = str(len(body))
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})


def marked(page: bytes) -> bytes:
    """A page of ours with its links under /example, its title and its first lines saying so.

    Every value in our templates is escaped, so a quoted attribute is one that a template wrote.
    """
    note = render("example_note.html").encode()
    page = LINK.sub(rb'\1="' + ROOT.encode() + b"/", page)
    return page.replace(MAIN, MAIN + b"\n" + note, 1).replace(
        TITLE, b" \xc2\xb7 Example" + TITLE, 1
    )
