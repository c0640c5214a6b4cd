"""A page is the same to the byte, whether windows are decoded for it or were summed before."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.surveillance import summing, sums_repository
from dashboards.pages.topics.pages import PAGES
from tests.dashboards.conftest import MOVED_SITE, Scene
from tests.dashboards.pages_examples import draft_a_report, paths

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")


def pages(scene: Scene, people: dict[str, TestClient]) -> dict[tuple[str, str], str]:
    """Every page as each of these people sees it."""
    device = f"/devices/{scene.world.lock_digest}"
    some_days = [f"{device}/{t}?first=2026-01-20&last=2026-03-07" for t in PAGES]
    signals = [f"/signals/{i}" for i in scene.signal_ids]
    asked = dict.fromkeys([*paths(scene).values(), *some_days, *signals])
    return {(name, path): one.get(path).text for name, one in people.items() for path in asked}


def test_no_page_shows_whether_windows_are_summed(scene: Scene) -> None:
    draft_a_report(scene)
    bound = scene.world.browser("bound", Role.ANALYST, MOVED_SITE)
    people = {"everywhere": scene.client, "bound": bound}

    before = pages(scene, people)
    with scene.world.sessions.begin() as session:
        assert 0 < summing.sum_batch(session, most=100) < 200
    between = pages(scene, people)
    summing.sum_round(scene.world.sessions)
    with scene.world.sessions() as session:
        assert sums_repository.missing(session) == []
    after = pages(scene, people)

    assert len(before) > 50
    assert [name for name in before if between[name] != before[name]] == []
    assert [name for name in before if after[name] != before[name]] == []
