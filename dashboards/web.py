"""Adds the pages to the centre's application."""

from __future__ import annotations

from fastapi import FastAPI

from dashboards import assets
<<<<<<< HEAD
from dashboards.pages import duty, prospects, recalibration, routes, sign_in
=======
from dashboards.pages import duty, recalibration, reports, routes, sign_in
>>>>>>> w-pages


def install(app: FastAPI) -> None:
    """Pages and their static files.

    `app.state` must hold settings, sessions, key and renderers, as `create_app` leaves them.
    """
<<<<<<< HEAD
    for part in (assets, sign_in, routes, duty, recalibration, prospects):
=======
    for part in (assets, sign_in, reports, routes, duty, recalibration):
>>>>>>> w-pages
        app.include_router(part.router)
