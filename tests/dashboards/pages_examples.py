"""The address of every page of the scene, under a short name."""

from __future__ import annotations

from datetime import date

from app import clock
from app.central.accounts.models import Role
from app.central.fleet import service as fleet
from app.central.reports import drafting
from dashboards.pages.topics.pages import PAGES
from dashboards.render import renderers
from tests.dashboards.conftest import MOVED_SITE, QUIET_SITE, Scene


def draft_a_report(scene: Scene) -> None:
    """DR-0001, as a worker drafts it."""
    start, end = date(2026, 3, 1), date(2026, 3, 17)
    with scene.world.sessions.begin() as session:
        drafting.request(
            session, scene.world.lock_digest, start, end, by="RS-0001", now=clock.now()
        )
    assert drafting.draft_waiting(scene.world.sessions, renderers().report, clock.now()) == 1


def await_an_edge(scene: Scene) -> str:
    """An edge that has presented its key, and another code that waits; the edge's id."""
    scene.world.code(QUIET_SITE)
    return scene.world.an_edge(QUIET_SITE, active=False).edge_id


def admin_paths(scene: Scene) -> dict[str, str]:
    """Every GET that only an administrator may open, or sees more of."""
    with scene.world.sessions() as session:
        edges = [e for s in fleet.sites(session) for e in s.edges]
    first = {e.state.value: f"/admin/enrolment/edges/{e.id}" for e in reversed(edges)}
    return {
        "admin-enrolment": "/admin/enrolment",
        **{f"admin-edge-{state}": path for state, path in first.items()},
        "admin-accounts": "/admin/accounts",
        "admin-account": f"/admin/accounts/person?name={Role.QUALITY_APPROVER.value}",
        "admin-example": "/admin/example",
        "admin-service": "/admin/service",
        "admin-recipients": "/admin/recipients",
        "admin-recipient": "/admin/recipients/recipient?address=quality@example.org",
    }


def example_paths() -> dict[str, str]:
    """Some pages of the example data, where it is loaded."""
    return {
        "example": "/example/",
        "example-signal": "/example/signals/S-0001",
        "example-site": "/example/sites/EX2",
    }


def paths(scene: Scene) -> dict[str, str]:
    """Every GET that a person may open."""
    device = f"/devices/{scene.world.lock_digest}"
    return {
        "fleet": "/",
        "signals": "/signals",
        "signals-all": "/signals?show=all",
        "signal": "/signals/S-0001",
        "letter-draft": f"/signals/S-0001/letters/{MOVED_SITE}",
        "note": "/signals/S-0001/notes",
        "sites": "/sites",
        "site": f"/sites/{MOVED_SITE}",
        "scanners": f"/sites/{MOVED_SITE}/scanners",
        "devices": "/devices",
        "device": device,
        **{f"device-{topic}": f"{device}/{topic}" for topic in PAGES},
        "balance": "/balance",
        "reports": "/reports",
        "report": "/reports/DR-0001",
        "enrolment": "/admin/enrolment",
        "account": "/account",
        "password": "/account/password",
    }
