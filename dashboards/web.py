"""Adds the pages to the centre's application."""

from __future__ import annotations

from fastapi import FastAPI

from dashboards import assets
from dashboards.headers import SecurityHeaders
from dashboards.pages import routes, sign_in


def install(app: FastAPI) -> None:
    """Pages, their static files, and the security headers of every answer.

    `app.state` must hold settings, sessions, key and renderers, as `create_app` leaves them.
    """
    for router in (assets.router, sign_in.router, routes.router):
        app.include_router(router)
    app.add_middleware(SecurityHeaders)
