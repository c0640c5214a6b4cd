"""The address of every page of the scene, under a short name."""

from __future__ import annotations

from datetime import date

from app import clock
from app.central.reports import drafting
from dashboards.pages import topics
from dashboards.render import renderers
from tests.dashboards.conftest import MOVED_SITE, Scene


def draft_a_report(scene: Scene) -> None:
    """DR-0001, as a worker drafts it."""
    start, end = date(2026, 3, 1), date(2026, 3, 17)
    with scene.world.sessions.begin() as session:
        drafting.request(
            session, scene.world.lock_digest, start, end, by="RS-0001", now=clock.now()
        )
    assert drafting.draft_waiting(scene.world.sessions, renderers().report, clock.now()) == 1


def paths(scene: Scene) -> dict[str, str]:
    """Every GET that a person may open."""
    device = f"/devices/{scene.world.lock_digest}"
    return {
        "fleet": "/",
        "signals": "/signals",
        "signals-all": "/signals?show=all",
        "signal": "/signals/S-0001",
        "sites": "/sites",
        "site": f"/sites/{MOVED_SITE}",
        "scanners": f"/sites/{MOVED_SITE}/scanners",
        "devices": "/devices",
        "device": device,
        **{f"device-{topic}": f"{device}/{topic}" for topic in topics.PAGES},
        "balance": "/balance",
        "reports": "/reports",
        "report": "/reports/DR-0001",
    }
