"""Pages over a real database: who may see what, what they say, and how a decision is signed."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.exports.tables import Name
from dashboards import wording
from dashboards import wording_performance as phrases
from dashboards.headers import HEADERS, POLICY
from dashboards.pages.topics.pages import PAGES
from tests.dashboards.conftest import HOSTILE, MOVED_SITE, QUIET_SITE, SILENT_SITE, Scene
from tests.dashboards.test_templates import Page
from tests.support.fleet import PASSWORD

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
WHY = "The vendor changed the edge enhancement; images were compared side by side."
PATHS = ("/", "/signals", "/sites", "/devices", "/balance", "/reports")
TOPICS = tuple(PAGES)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def stranger(scene: Scene) -> TestClient:
    return TestClient(scene.world.app, raise_server_exceptions=False, follow_redirects=False)


def fields(scene: Scene, signal_id: str, **changes: str) -> dict[str, str]:
    filled = {
        "verdict": "start_assessment",
        "cause": "scanner",
        "rationale": WHY,
        "password": PASSWORD,
        "digest": scene.signal(signal_id).digest,
    }
    return filled | changes


@pytest.mark.parametrize("path", [*PATHS, "/audit", "/signals/S-0001", "/sites/H01"])
def test_a_stranger_is_asked_to_sign_in_and_comes_back_to_where_they_were_going(
    scene: Scene, path: str
) -> None:
    answer = stranger(scene).get(path)

    assert answer.status_code == 303
    then = path.replace("/", "%2F")
    assert answer.headers["location"] == f"/sign-in?then={then}"


def test_signing_in_leads_back_and_never_away(scene: Scene) -> None:
    scene.browser(Role.QUALITY_APPROVER)
    browser = stranger(scene)
    given = {"name": Role.QUALITY_APPROVER.value, "password": PASSWORD}

    for then, leads in (
        ("/signals/S-0001", "/signals/S-0001"),
        ("//evil.example/x", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
    ):
        answer = browser.post("/sign-in", data=given | {"then": then})
        assert (answer.status_code, answer.headers["location"]) == (303, leads)


def test_a_wrong_password_is_refused_in_words_that_tell_nothing(scene: Scene) -> None:
    scene.browser(Role.QUALITY_APPROVER)
    browser = stranger(scene)

    wrong = browser.post("/sign-in", data={"name": "quality_approver", "password": "x" * 12})
    nobody = browser.post("/sign-in", data={"name": "nobody<b>", "password": "x" * 12})

    assert (wrong.status_code, nobody.status_code) == (401, 401)
    assert wording.SIGN_IN_FAILED in wrong.text and wording.SIGN_IN_FAILED in nobody.text
    assert "nobody&lt;b&gt;" in nobody.text and "set-cookie" not in nobody.headers


def test_the_cookie_is_not_for_scripts_and_not_for_other_sites(scene: Scene) -> None:
    scene.browser(Role.QUALITY_APPROVER)
    given = {"name": Role.QUALITY_APPROVER.value, "password": PASSWORD}

    cookie = stranger(scene).post("/sign-in", data=given).headers["set-cookie"].lower()

    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie


def test_signing_out_ends_the_session(scene: Scene) -> None:
    browser = stranger(scene)
    scene.browser(Role.VIEWER)
    browser.post("/sign-in", data={"name": "viewer", "password": PASSWORD})
    before = browser.get("/").status_code
    token = browser.cookies["lockwatch"]

    browser.post("/sign-out", data={})
    browser.cookies.set("lockwatch", token)  # somebody kept it

    assert (before, browser.get("/").status_code) == (200, 303)


def test_a_form_sent_from_another_sites_page_is_refused(scene: Scene) -> None:
    answer = scene.client.post(
        "/signals/S-0001/decision",
        data=fields(scene, "S-0001"),
        headers={"sec-fetch-site": "cross-site"},
    )

    assert answer.status_code == 403
    assert scene.signal("S-0001").decisions == ()


def test_a_form_of_any_length_is_not_read_to_its_end(scene: Scene) -> None:
    answer = scene.client.post("/sign-in", data={"name": "x" * 70_000})

    assert answer.status_code == 413
    assert "at most 65536 bytes" in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_every_page_carries_the_strict_policy_and_is_kept_by_nobody(
    scene: Scene, path: str
) -> None:
    answer = scene.client.get(path)

    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe-inline" not in POLICY.replace("style-src-attr 'unsafe-inline'", "")


@pytest.mark.parametrize(
    "path", [*PATHS, "/signals/S-0001", f"/sites/{MOVED_SITE}", "/signals?show=all"]
)
def test_real_pages_keep_the_rules_of_the_templates(scene: Scene, path: str) -> None:
    source = scene.client.get(path).text

    assert Page(source).open == []
    assert "<script>alert" not in source
    assert len(source.encode()) < 500_000
    for figure in re.findall(r"<figure.*?</figure>", source, flags=re.DOTALL):
        assert "<figcaption>" in figure and "<table>" in figure and "<svg" in figure


def test_the_home_page_counts_every_site_once_and_names_the_silent_one(scene: Scene) -> None:
    words = text_of(scene.client.get("/").text)

    assert "1 signal waits for a decision at 1 site." in words
    assert "1 site shows common-cause variation only." in words
    assert "Hospital H03 has not been heard from since" in words
    assert "Every balance closes." in words


def test_the_heat_map_links_to_the_signal_and_shows_silence(scene: Scene) -> None:
    source = scene.client.get("/").text

    assert '<a href="/signals/S-0001" aria-label="Hospital H02, image physics, signal">' in source
    assert 'aria-label="Hospital H03, scores, silent"' in source
    assert 'aria-label="Hospital H01, scores, in control"' in source


def test_the_queue_leads_to_the_signal_and_says_where(scene: Scene) -> None:
    source = scene.client.get("/signals").text

    assert 'href="/signals/S-0001">S-0001 Noise has shifted upward</a>' in source
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in source


def test_the_signal_page_shows_charts_of_the_windows_it_was_raised_on(scene: Scene) -> None:
    source = scene.client.get("/signals/S-0001").text
    words = text_of(source)

    assert "Noise rose by" in words and "reference SD" in words
    assert "most likely the scanner" in words
    assert 'id="seen-1"' in source and 'id="seen-2"' in source and 'id="where-1"' in source
    assert "at most 1 false signal a year" in words
    assert "watched at the same time" in words


def test_a_site_page_shows_its_lock_its_scanner_and_its_windows(scene: Scene) -> None:
    words = text_of(scene.client.get(f"/sites/{MOVED_SITE}").text)

    assert "equal to the release" in words
    assert "chest_pa" in words and "ACME" in words
    assert "What happened at H02" in words


def test_the_scanner_page_shows_versions_scores_and_what_is_missing(scene: Scene) -> None:
    source = scene.client.get(f"/sites/{MOVED_SITE}/scanners").text
    words = text_of(source)

    assert Page(source).open == [] and "<script>alert" not in source
    assert "1 scanner with 1 software version on record." in words
    assert "Software versions of each scanner" in words and "4.1" in words
    assert "Missing attributes, share of cases, last 8 weeks" in words
    assert "Kvp 0.0 %" in words or "kVp 0.0 %" in words


def test_a_device_page_shows_what_it_is_and_its_lock_everywhere(scene: Scene) -> None:
    words = text_of(scene.client.get(f"/devices/{scene.world.lock_digest}").text)

    assert "00850000000017" in words and "Prioritise adult chest radiographs" in words
    assert "R-0001" in words and "The installed device remains locked." in words
    for site in (QUIET_SITE, MOVED_SITE, SILENT_SITE):
        assert f"Hospital {site}" in words


def topic(scene: Scene, name: str, query: str = "") -> str:
    answer = scene.client.get(f"/devices/{scene.world.lock_digest}/{name}{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_device_page_leads_to_each_of_its_tables_as_csv(scene: Scene) -> None:
    source = scene.client.get(f"/devices/{scene.world.lock_digest}").text
    links = re.findall(r'href="(/api/v1/[^"]+\.csv)" download', source)

    assert len(links) == len(Name)
    for link in links:
        answer = scene.client.get(link)
        assert (answer.status_code, answer.headers["content-type"]) == (
            200,
            "text/csv; charset=utf-8",
        )
        assert len(answer.text.splitlines()) > 1


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_keeps_the_rules_and_leads_to_the_others(scene: Scene, name: str) -> None:
    source = topic(scene, name)

    assert Page(source).open == []
    assert "<script>alert" not in source
    assert len(source.encode()) < 500_000
    for other in TOPICS:
        assert f'href="/devices/{scene.world.lock_digest}/{other}"' in source


def test_performance_is_measured_on_reads_and_not_estimated_while_images_changed(
    scene: Scene,
) -> None:
    words = text_of(topic(scene, "performance"))

    assert re.search(r"Sensitivity 0\.\d\d \(0\.\d\d–0\.\d\d\) and specificity", words)
    assert "measured on 760 reads, 2026-03-02 to 2026-03-18" in words
    assert phrases.NOT_ESTIMATED in words and " estimated 0" not in words
    assert "Calibration slope" in words and "validation cohort of 16 cases" in words


def test_without_reads_the_page_says_how_many_are_needed(scene: Scene) -> None:
    words = text_of(topic(scene, "performance", "?first=2026-03-17&last=2026-03-18"))

    assert "Performance was not measured" in words
    assert "needs reference reads: 0 of 100" in words


def test_subgroups_name_their_multiplicity_and_what_is_covered(scene: Scene) -> None:
    source = topic(scene, "subgroups")

    assert "Bonferroni, 3 rows" in source
    assert "Sex: sent by all 3 sites" in text_of(source)
    assert source.index(">female<") < source.index(">male<")


def test_the_prevalence_may_differ_from_the_validation_cohort(scene: Scene) -> None:
    words = text_of(topic(scene, "prevalence"))

    assert "In the validation cohort 25.0 % were positive." in words
    assert "may differ from that of the validation cohort" in words
    assert "95 % interval" in words and "Positive predictive value" in words


def test_reader_groups_are_compared_with_themselves(scene: Scene) -> None:
    words = text_of(topic(scene, "annotation"))

    assert "2 reader groups were compared" in words
    assert "follow up group-1" in words and "re-scored, largest change" in words


def test_the_lock_page_counts_every_installation(scene: Scene) -> None:
    words = text_of(topic(scene, "lock"))

    assert "Of 3 installations: 3 equal to the release." in words
    assert "2.9e-06" in words and scene.world.lock_digest in words


def test_the_time_line_marks_the_gap_of_the_silent_site(scene: Scene) -> None:
    words = text_of(topic(scene, "timeline"))

    assert "no data for" in words and "R-0001 approved" in words
    assert "S-0001 noise has shifted upward" in words


def test_a_person_of_one_site_sees_no_other_site_in_a_topic(scene: Scene) -> None:
    scene.world.add_person("near", Role.VIEWER, QUIET_SITE)
    browser = TestClient(scene.world.app, raise_server_exceptions=False)
    browser.post("/sign-in", data={"name": "near", "password": PASSWORD})

    for name in TOPICS:
        text = browser.get(f"/devices/{scene.world.lock_digest}/{name}").text
        assert "Hospital H02" not in text and "H02" not in text_of(text), name


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/signals/S-9999", "no signal S-9999"),
        ("/sites/H99", "no site H99"),
        ("/devices/none", "no device version none"),
        ("/devices/none/lock", "no device version none"),
        ("/reports/DR-0099.pdf", "no report DR-0099"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(scene: Scene, path: str, sentence: str) -> None:
    answer = scene.client.get(path)

    assert answer.status_code == 404
    assert sentence in answer.text and "<h1>Not found</h1>" in answer.text


def test_a_person_of_one_site_sees_only_that_site(scene: Scene) -> None:
    scene.world.add_person("local", Role.VIEWER, QUIET_SITE)
    browser = TestClient(scene.world.app, raise_server_exceptions=False)
    browser.post("/sign-in", data={"name": "local", "password": PASSWORD})

    assert "S-0001" not in browser.get("/signals").text
    assert browser.get("/signals/S-0001").status_code == 404
    assert browser.get(f"/sites/{MOVED_SITE}").status_code == 404
    assert browser.get(f"/sites/{MOVED_SITE}/scanners").status_code == 404
    home = browser.get("/").text
    assert "Hospital H01" in home and "Hospital H02" not in home


def test_charts_for_a_person_of_one_site_hold_no_case_of_another(scene: Scene) -> None:
    scene.world.add_person("moved", Role.VIEWER, MOVED_SITE)
    browser = TestClient(scene.world.app, raise_server_exceptions=False)
    browser.post("/sign-in", data={"name": "moved", "password": PASSWORD})
    device = f"/devices/{scene.world.lock_digest}"

    for path in ("/", "/signals/S-0001", f"/sites/{MOVED_SITE}/scanners", device):
        bound = text_of(browser.get(path).text)
        assert MOVED_SITE in bound and "all other sites" not in bound, path
        for other in (QUIET_SITE, SILENT_SITE):
            assert other not in bound, path
    assert "all other sites" in text_of(scene.client.get("/signals/S-0001").text)


def test_the_audit_trail_is_for_auditors_and_quality_people(scene: Scene) -> None:
    other = scene.browser(Role.VIEWER)

    for reader in (scene.browser(Role.AUDITOR), scene.client):
        assert "surveillance:signal:raise" in reader.get("/audit").text
        assert 'href="/audit"' in reader.get("/").text
    assert other.get("/audit").status_code == 403
    assert 'href="/audit"' not in other.get("/").text


def test_a_viewer_sees_no_form_and_cannot_sign(scene: Scene) -> None:
    viewer = scene.browser(Role.VIEWER)

    page = viewer.get("/signals/S-0001").text
    answer = viewer.post("/signals/S-0001/decision", data=fields(scene, "S-0001"))

    assert 'name="password"' not in page and wording.NOT_ALLOWED in page
    assert answer.status_code == 403
    assert scene.signal("S-0001").decisions == ()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"verdict": ""}, wording.CHOOSE_VERDICT),
        ({"verdict": "confirm"}, wording.CHOOSE_VERDICT),  # not before somebody has taken it
        ({"password": "wrong"}, wording.WRONG_PASSWORD),
        ({"digest": "0" * 64}, "the signal has changed since it was shown"),
    ],
)
def test_a_refused_decision_says_why_and_leaves_no_trace(
    scene: Scene, changes: dict[str, str], complaint: str
) -> None:
    sent = fields(scene, "S-0001", **changes)

    answer = scene.client.post("/signals/S-0001/decision", data=sent)

    assert answer.status_code == 422
    assert complaint in answer.text
    assert scene.signal("S-0001").decisions == ()


def test_a_signal_is_taken_then_decided_and_both_signatures_are_shown(scene: Scene) -> None:
    taken = scene.client.post("/signals/S-0001/decision", data=fields(scene, "S-0001"))
    short = fields(scene, "S-0001", verdict="confirm", rationale="too short <")
    refused = scene.client.post("/signals/S-0001/decision", data=short)
    decided = scene.client.post(
        "/signals/S-0001/decision", data=fields(scene, "S-0001", verdict="confirm")
    )

    assert "under assessment" in taken.text
    assert refused.status_code == 422
    assert "at least 20 characters expected, got 11" in refused.text
    assert "too short &lt;</textarea>" in refused.text
    words = text_of(decided.text)
    assert WHY in words
    assert "meaning “review: the signal is confirmed”" in words
    assert "Signed by Quality_Approver Person" in words
    assert wording.DECIDED in words and 'name="rationale"' not in decided.text
    assert "No signal waits for a decision." in text_of(scene.client.get("/").text)
