"""Adds the pages to the centre's application."""

from __future__ import annotations

from fastapi import FastAPI

from dashboards import assets, example
from dashboards.pages import (
    duty,
    letters,
    notes,
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
    service,
)
from dashboards.pages.admin import example as example_data


def install(app: FastAPI) -> None:
    """Pages and their static files.

    `app.state` must hold settings, sessions (the example's, too), key and renderers, as
    `create_app` leaves them.
    """
    for part in (assets, sign_in, provider, reports, routes, duty, letters, notes):
        app.include_router(part.router)
    for part in (recalibration, recalibration_preview, enrolment, accounts):
        app.include_router(part.router)
    for part in (identities, own, own_sessions, recipients, service, example_data):
        app.include_router(part.router)
    if app.state.example_sessions is not None:
        example.mount(app, app.state.example_sessions)
