"""The duty to report on a signal's page: software shows times, a person decides and signs."""

from __future__ import annotations

import pytest

from app.central.accounts.models import Role
from app.central.alerts.clocks import Obligation
from dashboards import wording
from tests.dashboards.conftest import Scene
from tests.dashboards.test_pages import text_of
from tests.support.fleet import PASSWORD

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
PAGE = "/signals/S-0001"


def filled(scene: Scene, **changes: str) -> dict[str, str]:
    judged = {}
    for i, _ in enumerate(Obligation, 1):
        judged |= {f"applies-{i}": "false", f"why-{i}": "Nobody was harmed."}
    digest = scene.signal("S-0001").digest
    answers = {"facts": "Noise rose <b>.", "remedial": "true", "digest": digest}
    return judged | answers | {"password": PASSWORD} | changes


def recorded(scene: Scene) -> tuple[int, int]:
    """How often awareness and assessments stand on the page."""
    words = text_of(scene.client.get(PAGE).text)
    return words.count("has been aware since"), words.count("assessment of reportability”")


def test_times_run_from_recorded_awareness_and_nothing_is_decided(scene: Scene) -> None:
    before = text_of(scene.client.get(PAGE).text)

    scene.client.post(f"{PAGE}/awareness", data={"how": "read the <mail>"})
    page = scene.client.get(PAGE).text

    assert wording.NOT_AWARE in before and "no date yet, counts from awareness" in before
    words = text_of(page)
    assert "has been aware since" in words and "read the &lt;mail&gt;" in words
    assert ", in 15 days" in words and ", in 2 days" in words
    assert words.count(wording.CLOCK_STATES["possible"]) == len(Obligation)
    assert wording.NOT_ASSESSED in words


@pytest.mark.parametrize("since", ["2999-01-01T00:00", "1999-01-01T00:00", "yesterday"])
def test_an_impossible_awareness_is_refused_in_words(scene: Scene, since: str) -> None:
    sent = {"how": "kept as typed", "aware_at": since}
    before = recorded(scene)

    answer = scene.client.post(f"{PAGE}/awareness", data=sent)

    assert answer.status_code == 422
    assert "expected" in text_of(answer.text) and "kept as typed" in answer.text
    assert recorded(scene) == before


def test_a_signed_assessment_says_which_duties_apply(scene: Scene) -> None:
    scene.client.post(f"{PAGE}/awareness", data={"how": "read"})
    sent = filled(scene, **{"applies-4": "true", "applies-5": "true", "submission-5": "MIR-7"})

    words = text_of(scene.client.post(f"{PAGE}/reportability", data=sent).text)

    assert "Assessment 1" in words and "Noise rose &lt;b&gt;." in words
    assert f"{wording.CLOCK_STATES['running']}: Nobody was harmed." in words
    assert f"{wording.CLOCK_STATES['met']}: Nobody was harmed. (MIR-7)" in words
    assert "meaning “responsibility for the assessment of reportability”" in words


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"applies-1": ""}, wording.DUTY_INCOMPLETE),
        ({"why-7": " "}, wording.DUTY_INCOMPLETE),
        ({"remedial": ""}, wording.DUTY_INCOMPLETE),
        ({"password": "wrong"}, wording.WRONG_PASSWORD),
        ({"digest": "0" * 64}, "the signal has changed since it was shown"),
        ({"applies-3": "true"}, "correction_started_on: a date is needed"),
    ],
)
def test_a_refused_assessment_says_why_and_keeps_what_was_typed(
    scene: Scene, changes: dict[str, str], complaint: str
) -> None:
    before = recorded(scene)

    answer = scene.client.post(f"{PAGE}/reportability", data=filled(scene, **changes))

    assert answer.status_code == 422
    assert complaint in text_of(answer.text)
    assert "Noise rose &lt;b&gt;.</textarea>" in answer.text and PASSWORD not in answer.text
    assert recorded(scene) == before


def test_who_may_not_report_sees_the_times_and_no_form(scene: Scene) -> None:
    viewer = scene.browser(Role.VIEWER)

    page = viewer.get(PAGE).text

    assert "Duty to report" in page and "EU MDR 87(3)" in page
    assert "/reportability" not in page and "/awareness" not in page
    assert viewer.post(f"{PAGE}/awareness", data={"how": "x"}).status_code == 403
    assert viewer.post(f"{PAGE}/reportability", data=filled(scene)).status_code == 403
