"""Adds the pages to the centre's application."""

from __future__ import annotations

from fastapi import FastAPI

from dashboards import assets
from dashboards.pages import (
    duty,
    provider,
    recalibration,
    recalibration_preview,
    reports,
    routes,
    sign_in,
)
from dashboards.pages.admin import (
    accounts,
    enrolment,
    identities,
    own,
    own_sessions,
    recipients,
)


def install(app: FastAPI) -> None:
    """Pages and their static files.

    `app.state` must hold settings, sessions, key and renderers, as `create_app` leaves them.
    """
    for part in (assets, sign_in, provider, reports, routes, duty):
        app.include_router(part.router)
    for part in (recalibration, recalibration_preview, enrolment, accounts):
        app.include_router(part.router)
    for part in (identities, own, own_sessions, recipients):
        app.include_router(part.router)
