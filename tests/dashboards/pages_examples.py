"""The address of every page of the scene, under a short name."""

from __future__ import annotations

from dashboards.pages import topics
from tests.dashboards.conftest import MOVED_SITE, Scene


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
    }
