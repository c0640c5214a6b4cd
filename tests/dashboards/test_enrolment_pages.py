"""From a new hospital to its approved edge, on pages: who may, where, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.accounts.permissions import GRANTS, Permission
from app.central.audit import service as audit
from app.central.fleet import service as fleet
from app.central.fleet.models import EdgeAction, EdgeState
from app.contracts.signing import SigningKey
from dashboards.web import install
from tests.conftest import Clock
from tests.dashboards.test_pages import text_of
from tests.dashboards.test_templates import Page
from tests.support.fleet import PASSWORD, FakeEdge, World

HERE = "/admin/enrolment"
WHY = "The hospital moves its server room this week."


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    made = World(tmp_path, connection)
    install(made.app)
    return made


def state(world: World, edge: FakeEdge) -> EdgeState:
    with world.sessions() as session:
        return fleet.edge_view(session, edge.edge_id).state


def shown_code(source: str) -> str:
    [code] = re.findall(r'<code class="secret">([0-9a-f]{32})</code>', source)
    return code


def test_from_a_new_hospital_to_its_first_window(world: World) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)
    site = {"id": "H01", "name": "Hospital <One>", "timezone": "Europe/Berlin"}

    added = admin.post(f"{HERE}/sites", data=site)
    made = admin.post(f"{HERE}/codes", data={"site": "H01", "version": world.lock_digest})
    edge = FakeEdge(world)
    assert edge.enrol(shown_code(made.text)).status_code == 200
    path = f"{HERE}/edges/{edge.edge_id}"
    before = text_of(admin.get(path).text)
    typed = edge.key.key_id.upper()
    spaced = " ".join(typed[i : i + 8] for i in range(0, 64, 8))
    approved = admin.post(f"{path}/approval", data={"fingerprint": spaced})
    edge.send(edge.window())

    assert "Hospital &lt;One&gt;" in added.text
    assert "1 code not redeemed yet." in text_of(made.text)
    assert "code not redeemed" not in text_of(admin.get(HERE).text)
    assert "Fingerprint compared and approved by a person (next)" in before
    assert "First window received (next)" in text_of(approved.text)
    after = text_of(admin.get(path).text)
    assert "First window received (done)" in after and "by ada" in after
    for source in (added.text, made.text, approved.text):
        assert Page(source).open == [] and "<One>" not in source


def test_a_code_is_on_no_other_page_and_expires(world: World, simulated_clock: Clock) -> None:
    world.add_site()
    admin = world.browser("ada", Role.ADMINISTRATOR)

    made = admin.post(f"{HERE}/codes", data={"site": "H01", "version": world.lock_digest})
    code = shown_code(made.text)
    again, listed = admin.get(HERE).text, admin.get("/api/v1/enrolment-codes")
    simulated_clock.advance(hours=25)
    later = world.browser("bea", Role.ADMINISTRATOR).get(HERE).text

    assert [c["site_id"] for c in listed.json()] == ["H01"] and code not in listed.text
    assert made.headers["cache-control"] == "no-store"
    assert code not in again and "made by" in again.lower() and "ada" in again
    assert "No code waits for its edge." in later


@pytest.mark.parametrize(
    ("path", "given", "why"),
    [
        ("sites", {"id": "H 01", "name": "x"}, "site id: 1 to 32 letters"),
        ("sites", {"id": "H09", "name": "", "timezone": "UTC"}, "site name: 1 to 200"),
        ("sites", {"id": "H09", "name": "x", "timezone": "Mars"}, "time zone: an IANA name"),
        ("sites", {"id": "H01", "name": "x", "timezone": "UTC"}, "site H01 exists"),
        ("sites", {"id": "H09", "name": "a\x00b", "timezone": "UTC"}, "printable"),
        ("codes", {"site": "H77", "version": "x"}, "no site H77"),
        ("codes", {"site": "H01", "version": "abc"}, "no device version abc"),
        ("codes", {}, "no site"),
    ],
)
def test_a_refused_form_says_why_keeps_what_was_typed_and_changes_nothing(
    world: World, path: str, given: dict[str, str], why: str
) -> None:
    world.add_site()
    admin = world.browser("ada", Role.ADMINISTRATOR)
    with world.sessions() as session:
        head = audit.head(session)

    answer = admin.post(f"{HERE}/{path}", data=given)

    assert answer.status_code == 422
    assert why in answer.text and "data-errors" in answer.text
    assert path == "codes" or f'value="{given["id"]}"' in answer.text
    with world.sessions() as session:
        assert [s.id for s in fleet.sites(session)] == ["H01"]
        assert audit.head(session) == head


def test_a_new_key_is_approved_by_what_the_hospital_reads(world: World) -> None:
    edge, new = world.an_edge(), SigningKey.generate()
    admin = world.browser("ada", Role.ADMINISTRATOR)
    page = f"{HERE}/edges/{edge.edge_id}"
    assert "New key" not in text_of(admin.get(page).text)
    edge.ask_for_key(new)

    waiting = admin.get(page).text
    given = {"fingerprint": edge.key.key_id, "decision": "approve"}
    wrong = admin.post(f"{page}/key", data=given)
    unsaid = admin.post(f"{page}/key", data={"fingerprint": new.key_id})
    right = admin.post(f"{page}/key", data=given | {"fingerprint": new.key_id.upper()})

    assert Page(waiting).open == [] and "asks for another key" in waiting
    assert wrong.status_code == 422 and "not that of the new key" in wrong.text
    assert unsaid.status_code == 422 and "approve or to refuse" in unsaid.text
    assert "This key is approved." in right.text and "approve key" in text_of(right.text)
    assert edge.switch_key(new).status_code == 200
    assert "New key" not in text_of(admin.get(page).text)


def test_a_viewer_sees_a_new_key_and_decides_nothing(world: World) -> None:
    edge, new = world.an_edge(), SigningKey.generate()
    edge.ask_for_key(new)
    viewer = world.browser("vic", Role.VIEWER)
    page = f"{HERE}/edges/{edge.edge_id}"

    shown = viewer.get(page).text
    tried = viewer.post(f"{page}/key", data={"fingerprint": new.key_id, "decision": "approve"})

    assert "asks for another key" in shown and "Approve the new key" not in shown
    assert tried.status_code == 403


def test_another_fingerprint_approves_nothing(world: World) -> None:
    edge = world.an_edge(active=False)
    admin = world.browser("ada", Role.ADMINISTRATOR)

    for typed in ("", "ab" * 32, edge.key.key_id[:63], edge.key.key_id + "0"):
        answer = admin.post(f"{HERE}/edges/{edge.edge_id}/approval", data={"fingerprint": typed})
        assert answer.status_code == 422
        assert "not that of the key" in answer.text

    assert state(world, edge) is EdgeState.PENDING


def test_every_change_of_state_takes_a_reason_and_is_on_record(world: World) -> None:
    edge = world.an_edge()
    admin = world.browser("ada", Role.ADMINISTRATOR)
    path = f"{HERE}/edges/{edge.edge_id}"

    def ask(action: str, reason: str = WHY) -> tuple[int, EdgeState]:
        answer = admin.post(f"{path}/actions", data={"action": action, "reason": reason})
        assert ("data-errors" in answer.text) == (answer.status_code == 422)
        return answer.status_code, state(world, edge)

    assert ask("suspend", "  ") == (422, EdgeState.ACTIVE)
    assert ask("resume") == (422, EdgeState.ACTIVE)  # it is not suspended
    assert ask("approve") == (422, EdgeState.ACTIVE)
    assert ask("explode") == (422, EdgeState.ACTIVE)
    assert ask("suspend") == (200, EdgeState.SUSPENDED)
    assert ask("resume") == (200, EdgeState.ACTIVE)
    assert ask("retire") == (200, EdgeState.RETIRED)
    assert ask("resume") == (422, EdgeState.RETIRED)
    words = text_of(admin.get(path).text)
    assert words.count(f"ada suspend {WHY}") == 1 and f"ada retire {WHY}" in words
    assert "<form" not in admin.get(path).text.partition("<main")[2]  # nothing is left to do
    with world.sessions() as session:
        assert [line.reason for line in audit.lines(session, subject=edge.edge_id)][:3] == [WHY] * 3


def test_a_revoked_edge_is_refused(world: World) -> None:
    edge = world.an_edge()
    admin = world.browser("ada", Role.ADMINISTRATOR)

    admin.post(f"{HERE}/edges/{edge.edge_id}/actions", data={"action": "revoke", "reason": WHY})

    assert edge.send(edge.window()).status_code == 401


# Who may


def test_somebody_bound_to_a_site_enrols_there_and_sees_no_other(world: World) -> None:
    mine, other = world.an_edge("H01", active=False), world.an_edge("H02", active=False)
    near = world.browser("nia", Role.SITE_ADMIN, "H01")

    home = near.get(HERE).text
    own = near.post(f"{HERE}/edges/{mine.edge_id}/approval", data={"fingerprint": mine.key.key_id})
    code = near.post(f"{HERE}/codes", data={"site": "H01", "version": world.lock_digest})
    foreign = [
        near.get(f"{HERE}/edges/{other.edge_id}"),
        near.post(f"{HERE}/edges/{other.edge_id}/approval", data={"fingerprint": other.key.key_id}),
        near.post(
            f"{HERE}/edges/{other.edge_id}/actions", data={"action": "revoke", "reason": WHY}
        ),
        near.post(f"{HERE}/codes", data={"site": "H02", "version": world.lock_digest}),
    ]

    assert mine.edge_id in home and "H02" not in home and other.edge_id not in home
    assert own.status_code == 200 and state(world, mine) is EdgeState.ACTIVE
    assert code.status_code == 200 and len(shown_code(code.text)) == 32
    assert [a.status_code for a in foreign] == [404] * 4
    assert all(other.edge_id not in a.text for a in foreign)
    assert state(world, other) is EdgeState.PENDING
    assert near.post(f"{HERE}/sites", data={"id": "H03", "name": "x"}).status_code == 403


def test_a_code_for_another_site_does_not_show_on_the_page_of_a_bound_person(world: World) -> None:
    world.add_site("H01"), world.add_site("H02")
    world.code("H02")

    near = world.browser("nia", Role.SITE_ADMIN, "H01")
    home = near.get(HERE).text

    assert near.get("/api/v1/enrolment-codes").json() == []
    assert "No code waits for its edge." in home


@pytest.mark.parametrize("role", list(Role))
def test_a_role_finds_the_forms_it_may_use_and_no_others(world: World, role: Role) -> None:
    edge = world.an_edge(active=False)
    browser = world.browser("ann", role)

    home, one = browser.get(HERE), browser.get(f"{HERE}/edges/{edge.edge_id}")
    asked = {
        "sites": browser.post(f"{HERE}/sites", data={}).status_code,
        "codes": browser.post(f"{HERE}/codes", data={}).status_code,
        "approval": browser.post(f"{HERE}/edges/{edge.edge_id}/approval", data={}).status_code,
        "actions": browser.post(f"{HERE}/edges/{edge.edge_id}/actions", data={}).status_code,
    }

    granted = GRANTS[role]
    for form, source in (
        ("sites", home),
        ("codes", home),
        ("approval", one),
        ("actions", one),
    ):
        needed = Permission.ADMINISTER if form == "sites" else Permission.ENROL
        is_there = re.search(rf'action="[^"]*/{form}"', source.text) is not None
        assert is_there == (needed in granted), form
        assert (asked[form] != 403) == (needed in granted), form
    assert home.status_code == one.status_code == 200
    assert ('href="/admin"' in home.text) == (Permission.ENROL in granted)
    sees_history = bool({Permission.ENROL, Permission.AUDIT} & granted)
    assert ("<h2>History</h2>" in one.text) == sees_history


def test_a_token_reads_the_page_and_changes_nothing(world: World) -> None:
    edge = world.an_edge()
    browser = world.browser("ada", Role.ADMINISTRATOR)
    body = {"password": PASSWORD, "purpose": "script", "days": 7}
    token = browser.post("/api/v1/tokens", json=body).json()["token"]
    script = TestClient(world.app, headers={"authorization": f"Bearer {token}"})

    asked = script.post(
        f"{HERE}/edges/{edge.edge_id}/actions", data={"action": "revoke", "reason": WHY}
    )

    assert script.get(HERE).status_code == 200 and asked.status_code == 403
    assert state(world, edge) is EdgeState.ACTIVE


def test_the_first_steps_lead_to_where_they_are_done(world: World) -> None:
    browser = world.browser("ada", Role.ADMINISTRATOR)

    empty = browser.get("/").text
    edge = world.an_edge(active=False)
    waiting = browser.get("/").text
    world.act(edge, EdgeAction.APPROVE)
    approved = browser.get("/").text

    assert empty.count(f'<a href="{HERE}">') == 3  # site, code, approval
    assert f'<a href="{HERE}/edges/{edge.edge_id}">Compare the fingerprint' in waiting
    assert HERE not in approved
