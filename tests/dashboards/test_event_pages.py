"""Planned events on pages: registered in a form, drawn, decided on by a second person."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from app.central.accounts.models import Role
from app.central.events import service as events
from dashboards import evidence, wording
from dashboards.charts.plotly import figure
from dashboards.charts.spec import Stage
from dashboards.charts.svg import svg
from dashboards.charts.table import table
from dashboards.evidence import Period, Scope, Series
from dashboards.pages.event_marks import event_stages
from tests.dashboards.conftest import CHANGE, HOSTILE, MOVED_SITE, Scene
from tests.dashboards.history_example import FIRST, UNTIL, UPTO
from tests.dashboards.test_pages import text_of
from tests.support.fleet import PASSWORD

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
PAGE = f"/sites/{MOVED_SITE}/scanners"
ACTION = f"/sites/{MOVED_SITE}/events"
WORDS = "Tube <replaced> by the vendor"


def filled(scene: Scene, **changes: str) -> dict[str, str]:
    return {
        "lock_digest": scene.world.lock_digest,
        "scanner": HOSTILE,
        "kind": "service",
        "first_day": (CHANGE - timedelta(1)).isoformat(),
        "last_day": "",
        "description": WORDS,
    } | changes


def decision(scene: Scene, event_id: str, **changes: str) -> dict[str, str]:
    with scene.world.sessions() as session:
        digest = events.get(session, event_id).digest
    return {
        "verdict": "new_stage",
        "reason": "Looked at with the vendor.",
        "digest": digest,
        "password": PASSWORD,
    } | changes


def test_an_event_goes_from_a_form_to_a_new_stage(scene: Scene) -> None:
    analyst = scene.browser(Role.ANALYST)
    refused = analyst.post(ACTION, data=filled(scene, description="Patient 19480412"))
    assert refused.status_code == 422
    assert "looks like an identifier" in text_of(refused.text)

    answer = analyst.post(ACTION, data=filled(scene))

    assert answer.status_code == 200 and answer.url.path == PAGE
    assert "Tube &lt;replaced&gt; by the vendor" in answer.text
    assert wording.EVENT_VERDICTS[""] in answer.text
    assert "opens a new stage</summary>" not in answer.text  # not hers to decide
    signal = scene.client.get("/signals/S-0001").text
    assert "Service, registered: Tube &lt;replaced&gt;" in signal
    assert f'href="{PAGE}#E-0001"' in signal
    device = f"/devices/{scene.world.lock_digest}"
    for page in (PAGE, f"/sites/{MOVED_SITE}", device, f"{device}/timeline"):
        assert "E-0001 service" in scene.client.get(page).text, page

    again = scene.client.post(f"{ACTION}/E-0001", data=decision(scene, "E-0001", password="no"))
    assert again.status_code == 422 and wording.WRONG_PASSWORD in text_of(again.text)
    done = scene.client.post(f"{ACTION}/E-0001", data=decision(scene, "E-0001"))

    assert done.status_code == 200 and done.url.path == PAGE
    assert "new stage: Looked at with the vendor. Signed by" in text_of(done.text)
    assert "new stage E-0001" in scene.client.get(f"/sites/{MOVED_SITE}").text
    assert "opens a new stage</summary>" not in done.text


def test_a_viewer_is_offered_no_form_and_refused(scene: Scene) -> None:
    viewer = scene.browser(Role.VIEWER)

    assert "Register an event" not in viewer.get(PAGE).text
    assert viewer.post(ACTION, data=filled(scene)).status_code == 403
    assert viewer.post(f"{ACTION}/E-0001", data={}).status_code == 403


def a_series(moved_from: int, by: float = 0.5) -> Series:
    day = np.arange(FIRST.toordinal(), UPTO.toordinal() + 1)
    rng = np.random.default_rng(3)
    value = 5 + 0.1 * rng.standard_normal(day.size) + by * (day >= moved_from)
    return Series("noise", "HU", day, np.full(day.size, 40), value)


@pytest.mark.parametrize("within", [True, False])
def test_a_restarted_stage_has_its_own_limits_or_none(within: bool) -> None:
    # Begun inside the reference, its own readings there are its baseline; after it, nothing is.
    begun = UNTIL - timedelta(20) if within else UNTIL + timedelta(3)
    series = a_series(begun.toordinal())

    chart = evidence.control_chart(
        series, Scope(), Period(UNTIL, UPTO), [Stage(begun, "new stage E-0001", restarts=True)]
    )

    assert chart is not None
    after = [r for r in chart.readings if r.day >= begun]
    assert {r.centre is None for r in after} == {not within}
    if within:
        assert after[0].centre == pytest.approx(5.5, abs=0.1)
    assert [r for r in after if r.mark] == []
    before = [r for r in chart.readings if r.day < begun]
    assert before[0].centre == pytest.approx(5.0, abs=0.1)
    assert "new stage E-0001" in svg(chart)
    last = table(chart).rows[-1]
    assert ("not assessable" in last) is not within
    assert figure(chart)["data"][2]["y"][-1] == after[-1].centre


def test_without_its_stage_the_same_series_lies_outside() -> None:
    begun = UNTIL + timedelta(3)

    chart = evidence.control_chart(a_series(begun.toordinal()), Scope(), Period(UNTIL, UPTO))

    assert chart is not None
    assert len([r for r in chart.readings if r.day >= begun and r.mark]) > 5


def test_only_an_approved_event_restarts_limits(scene: Scene) -> None:
    scene.browser(Role.ANALYST).post(ACTION, data=filled(scene, kind="other"))
    with scene.world.sessions() as session:
        found = events.get(session, "E-0002")

    assert [s.restarts for s in event_stages([found])] == [False]


def test_the_device_page_asks_for_an_evaluation_and_says_how_far_it_is(scene: Scene) -> None:
    page = f"/devices/{scene.world.lock_digest}"
    assert "Evaluate now" not in scene.browser(Role.VIEWER).get(page).text
    assert scene.browser(Role.VIEWER).post(f"{page}/evaluations").status_code == 403

    answer = scene.client.post(f"{page}/evaluations")

    assert answer.status_code == 200 and answer.url.path == page
    words = text_of(answer.text)
    assert "windows that had arrived by 06:00 UTC of 2026-03-19" in words
    assert "waits for a worker" in words
    assert "Evaluate now" in words
