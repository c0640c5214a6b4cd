"""The web application: every domain's routes, refusals as problem details, a few headers."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import clock
from app.central import problems
from app.central.accounts import sessions
from app.central.accounts.credential_routes import router as credentials
from app.central.accounts.identity_provider import IdentityProvider
from app.central.accounts.people_routes import router as people
from app.central.accounts.permissions import SAFE_METHODS, session_token
from app.central.accounts.routes import router as accounts
from app.central.alerts.routes import router as alerts
from app.central.audit.routes import router as audit
from app.central.database import apart, session_factory
from app.central.errors import TooMany
from app.central.events.routes import router as events
from app.central.example.store import engine_beside
from app.central.exports.routes import router as exports
from app.central.fleet.routes import router as fleet
from app.central.intake.limits import Limiter
from app.central.intake.routes import edge_router
from app.central.intake.routes import router as intake
from app.central.jobs.routes import router as jobs
from app.central.openapi import document
from app.central.recalibration.routes import router as recalibration
from app.central.references.routes import router as references
from app.central.renderers import Renderers
from app.central.reports.routes import router as reports
from app.central.settings import CentralSettings
from app.central.surveillance.routes import router as surveillance

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def create_app(
    settings: CentralSettings, bind: Engine | Connection, renderers: Renderers | None = None
) -> FastAPI:
    """The service on a database. Pages are added by whoever composes the parts."""
    app = FastAPI(
        title="lockwatch",
        description="Post-market drift surveillance of locked medical-imaging AI.",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.request_sessions = session_factory(bind)
    app.state.sessions = session_factory(apart(bind))  # what is committed whatever the request does
    app.state.example_sessions = None  # a connection (tests) has no other beside it
    if isinstance(bind, Engine):
        app.state.example_sessions = session_factory(engine_beside(bind))
    app.state.key = settings.receipt_key()
    app.state.renderers = renderers
    app.state.edge_limiter = Limiter(settings.requests_per_minute)
    app.state.provider = IdentityProvider(settings) if settings.oidc_issuer else None
    app.state.sign_in_limiter = Limiter(max(settings.requests_per_minute // 10, 1))
    app.state.foreign_limiter = Limiter(1)
    app.state.enrolment_limiter = Limiter(max(settings.requests_per_minute // 10, 1))
    problems.install(app)
    for router in (edge_router, accounts, fleet, intake, references, surveillance, reports):
        app.include_router(router)
    for router in (people, credentials, events, exports, recalibration, jobs, audit, alerts):
        app.include_router(router)
    document.install(app)
    app.add_middleware(Guard, origin=_origin(settings.base_url))
    return app


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _note_foreign(request: Request) -> None:
    """In the trail, once a minute a session at most; refused it is in any case."""
    token, state = session_token(request), request.app.state
    if not token:
        return
    with suppress(TooMany, DBAPIError):
        state.foreign_limiter.spend(sessions.session_id(token))
        asked = f"{request.method} {request.url.path}"
        sessions.note_foreign(state.sessions, token, asked, clock.now())


class Guard:
    """Refuses changes that another site's page asks for; adds headers to every answer.

    Browsers say where a request comes from (Sec-Fetch-Site, Origin); edges and scripts say
    nothing, and carry no cookie that a foreign page could borrow.
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self.app = app
        self.origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["method"] not in SAFE_METHODS and self._is_foreign(Headers(scope=scope)):
            await run_in_threadpool(_note_foreign, Request(scope))
            refused = problems.problem(403, "Forbidden", "asked for by a page of another site")
            await refused(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _is_foreign(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in {"same-origin", "none"}
        origin = headers.get("origin")
        return origin is not None and origin != self.origin
