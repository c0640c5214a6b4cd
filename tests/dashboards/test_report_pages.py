"""Pages of reports: drafted by a worker, remarked on, signed by two others, superseded."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.reports import drafting
from dashboards import wording
from dashboards.render import renderers
from tests.dashboards.conftest import QUIET_SITE, Scene
from tests.dashboards.test_pages import text_of
from tests.dashboards.test_templates import Page
from tests.support.fleet import PASSWORD

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
WHY = "A site sent its windows late; the counts of two days have changed."


def drafts(scene: Scene) -> int:
    return drafting.draft_waiting(scene.world.sessions, renderers().report, clock.now())


def ask(scene: Scene, browser: TestClient, **changes: str) -> str:
    asked = {"device": scene.world.lock_digest, "start": "2026-03-01", "end": "2026-03-16"}
    answer = browser.post("/reports", data=asked | changes)
    assert answer.status_code == 200, text_of(answer.text)
    return answer.url.path


def sign(browser: TestClient, path: str, meaning: str, **changes: str) -> str:
    source = browser.get(path).text
    digest = source.partition('name="digest" value="')[2].partition('"')[0]
    given = {"digest": digest, "meaning": meaning, "password": PASSWORD}
    return text_of(browser.post(f"{path}/signatures", data=given | changes).text)


def test_a_report_is_drafted_by_a_worker_signed_by_two_others_and_kept(scene: Scene) -> None:
    author = scene.browser(Role.ANALYST)
    reviewer, approver = scene.browser(Role.REGULATORY), scene.client

    path = ask(scene, author)
    asked = author.get(path).text
    assert drafts(scene) == 1
    drafted = author.get(path).text
    remark = {"section": "Summary", "text": WHY + " <b>"}
    author.post(f"{path}/remarks", data=remark)

    assert "This page looks again by itself" in asked and 'hx-trigger="every 2s"' in asked
    assert "hx-trigger" not in drafted and "/reports/DR-0001.pdf" in drafted
    assert 'value="review"' not in drafted and 'value="withdrawal"' in drafted  # the author
    draft = scene.client.get(f"{path}.html").text
    assert "DRAFT, NOT ISSUED" in draft and WHY + " &lt;b&gt;" in draft
    assert "waits for approval" in sign(reviewer, path, "review")
    assert 'value="approval"' not in reviewer.get(path).text  # nor may the reviewer approve
    said = sign(approver, path, "approval")
    assert "Signed by Regulatory Person" in said and "approval: the report is issued" in said
    pdf, again = (scene.client.get(f"{path}.pdf").content for _ in range(2))
    html = scene.client.get(f"{path}.html")
    assert pdf.startswith(b"%PDF") and pdf == again
    assert "sandbox" in html.headers["content-security-policy"]
    assert "script-src" not in html.headers["content-security-policy"]
    assert "NOT ISSUED" not in html.text and "<script" not in html.text
    assert "Signed by Quality_Approver Person" in html.text
    assert "Noise has shifted upward" in html.text and "Periods side by side" in html.text
    assert scene.client.get(f"{path}.json").json()["status"] == "issued"
    rebuilt = text_of(scene.client.post(f"{path}/rebuild", data={}).text)
    assert "DR-0001 was rebuilt from its stored evidence: every byte is as issued" in rebuilt


def test_a_refused_signature_says_why_and_keeps_what_was_typed(scene: Scene) -> None:
    path = ask(scene, scene.browser(Role.ANALYST))
    drafts(scene)
    reviewer = scene.client

    wrong = sign(reviewer, path, "withdrawal", password="x" * 12, reason=WHY)
    none = sign(reviewer, path, "")
    stale = sign(reviewer, path, "review", digest="0" * 64)

    assert wording.WRONG_PASSWORD in wrong and WHY in wrong
    assert wording.CHOOSE_MEANING in none
    assert "has changed since it was shown" in stale
    assert "Nobody has signed yet." in text_of(reviewer.get(path).text)


def test_an_analyst_cannot_approve(scene: Scene) -> None:
    path = ask(scene, scene.client)
    drafts(scene)
    sign(scene.browser(Role.REGULATORY), path, "review")
    analyst = scene.browser(Role.ANALYST)

    assert 'value="approval"' not in analyst.get(path).text
    assert "permission to approve is needed" in sign(analyst, path, "approval")


def test_pages_of_reports_keep_the_rules_of_the_templates(scene: Scene) -> None:
    for path in ("/reports", "/reports/DR-0001"):
        source = scene.client.get(path).text
        assert Page(source).open == []
        assert len(source.encode()) < 500_000


def test_a_person_of_one_site_reads_no_report_on_all(scene: Scene) -> None:
    scene.world.add_person("bound", Role.QUALITY_APPROVER, QUIET_SITE)
    browser = TestClient(scene.world.app, raise_server_exceptions=False)
    browser.post("/sign-in", data={"name": "bound", "password": PASSWORD})

    for path in ("/reports", "/reports/DR-0001", "/reports/DR-0001.pdf", "/reports/DR-0001.json"):
        assert browser.get(path).status_code == 403
    assert browser.get(f"/devices/{scene.world.lock_digest}/evidently").status_code == 403
    assert "/reports" not in browser.get("/").text


def test_an_administrator_adds_and_ends_a_schedule(scene: Scene) -> None:
    admin = scene.browser(Role.ADMINISTRATOR)
    form = {
        "device_name": scene.world.manifest.device,
        "frequency": "monthly",
        "recipients": "Board <b>",
        "addresses": "a@example.org\nb@example.org",
        "with_evidently": "yes",
    }

    wrong = admin.post("/reports/schedules", data=form | {"addresses": "nobody"})
    never = admin.post("/reports/schedules", data=form | {"frequency": "hourly"})
    admin.post("/reports/schedules", data=form)
    listed = admin.get("/reports").text
    admin.post("/reports/schedules/RS-0001/end", data={})

    assert (wrong.status_code, never.status_code) == (422, 422)
    assert "name@domain expected" in wrong.text and wording.CHOOSE_FREQUENCY in never.text
    assert "Board &lt;b&gt;" in listed and "a@example.org, b@example.org" in listed
    assert wording.NO_SCHEDULE in admin.get("/reports").text
    assert scene.client.post("/reports/schedules", data=form).status_code == 403


def test_a_successor_names_its_reason_and_the_first_leads_to_it(scene: Scene) -> None:
    assert "Draft its successor" in scene.client.get("/reports/DR-0001").text
    refused = scene.client.post(
        "/reports",
        data={
            "device": scene.world.lock_digest,
            "start": "2026-03-01",
            "end": "2026-03-16",
            "supersedes": "DR-0001",
        },
    )

    path = ask(scene, scene.client, supersedes="DR-0001", reason=WHY)
    drafts(scene)
    sign(scene.browser(Role.REGULATORY), path, "review")
    scene.world.add_person("second", Role.QUALITY_APPROVER)
    second = TestClient(scene.world.app, raise_server_exceptions=False)
    second.post("/sign-in", data={"name": "second", "password": PASSWORD})
    sign(second, path, "approval")

    assert refused.status_code == 422 and "why the report is superseded" in refused.text
    before = text_of(scene.client.get("/reports/DR-0001").text)
    number = path.rpartition("/")[2]
    assert f"Superseded by {number}; kept as it was issued." in before
    assert WHY in text_of(scene.client.get(path).text)
    assert "Draft its successor" not in scene.client.get("/reports/DR-0001").text


@pytest.mark.parametrize(
    ("start", "end", "complaint"),
    [
        ("2026-03-10", "2026-03-01", "start before end"),
        ("", "2026-03-01", "Invalid isoformat string"),
        ("2026-03-01", "2031-01-01", "end by"),
    ],
)
def test_an_impossible_period_is_refused_in_words(
    scene: Scene, start: str, end: str, complaint: str
) -> None:
    asked = {"device": scene.world.lock_digest, "start": start, "end": end}

    answer = scene.client.post("/reports", data=asked)

    assert answer.status_code == 422
    assert complaint in answer.text


def test_a_viewer_cannot_issue_a_report(scene: Scene) -> None:
    viewer = scene.browser(Role.VIEWER)

    assert "Draft a report" not in viewer.get("/reports").text
    assert viewer.post("/reports", data={}).status_code == 403
    assert viewer.post("/reports/DR-0001/rebuild", data={}).status_code == 403


def test_evidentlys_report_stands_beside_ours_in_a_sandbox(scene: Scene) -> None:
    listed = scene.client.get("/reports").text
    path = f"/devices/{scene.world.lock_digest}/evidently"

    answer = scene.client.get(path)

    assert f'href="{path}"' in listed and "not controlled for false signals" in listed
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200 and "not controlled for false signals" in answer.text
    assert "sandbox allow-scripts;" in policy and "allow-same-origin" not in policy
    assert "connect-src" not in policy and "default-src 'none'" in policy
    assert "noise" in answer.text and "score_classifier" in answer.text


def test_evidentlys_report_needs_a_reference_and_a_role(scene: Scene) -> None:
    viewer = scene.browser(Role.VIEWER)

    assert viewer.get(f"/devices/{scene.world.lock_digest}/evidently").status_code == 403
    assert scene.client.get("/devices/none/evidently").status_code == 404
