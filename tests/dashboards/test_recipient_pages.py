"""Who is told, on pages: what is routed how, what is refused, and whether a message arrives."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Connection

from app import clock
from app.central.accounts.models import Role
from app.central.alerts import service as alerts
from app.central.alerts.models import Recipient, Severity
from app.central.alerts.transport import open_transport
from app.central.audit.service import lines
from dashboards import wording_admin as words
from dashboards.render import renderers
from dashboards.web import install
from tests.conftest import Clock
from tests.dashboards.test_pages import text_of
from tests.dashboards.test_templates import Page
from tests.support.fleet import World

LIST, ONE = "/admin/recipients", "/admin/recipients/recipient"
PERSON, PROGRAM = "anne+qa@maker.example", "https://hooks.maker.example/a/b?c=1&d=2"
NEW = {
    "address": PERSON,
    "least_severity": "warning",
    "site": "H01",
    "device": "",
    "told": "escalation",
    "digest": "no",
    "hours": "duty",
    "weekday-0": "yes",
    "weekday-6": "yes",
    "start": "07:30",
    "until": "16:00",
    "zone": "Europe/Berlin",
}


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    made = World(tmp_path, connection)
    made.app.state.renderers = renderers()
    install(made.app)
    made.add_site("H01")
    return made


def told(world: World) -> dict[str, Recipient]:
    with world.sessions() as session:
        return {r.address: r for r in alerts.recipients(session)}


@pytest.mark.parametrize("address", [PERSON, PROGRAM])
def test_an_address_is_added_changed_tried_and_ended(world: World, address: str) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)

    added = admin.post(LIST, data=NEW | {"address": address})
    first = told(world)[address]
    shown = admin.get(f"{ONE}?address={quote(address, safe='')}").text
    changes = {"do": "change", "hours": "always", "site": "", "told": "once", "digest": "yes"}
    changed = admin.post(ONE, data=NEW | {"address": address} | changes)
    second = told(world)[address]
    tried = admin.post(ONE, data={"address": address, "do": "test"})
    ended = admin.post(ONE, data={"address": address, "do": "end"})

    words_of_list = text_of(added.text)
    assert "when nobody has answered in time no Mon and Sun, 07:30 to 16:00" in words_of_list
    assert (first.least_severity, first.site_id, first.device) == (Severity.WARNING, "H01", None)
    assert (first.on_escalation, first.wants_digest) == (True, False)
    assert first.duty == {
        "zone": "Europe/Berlin",
        "weekdays": [0, 6],
        "start": "07:30:00",
        "until": "16:00:00",
    }
    assert shown.count(" checked") == 2 and 'value="07:30"' in shown
    assert changed.status_code == 200
    assert (second.site_id, second.duty) == (None, None)
    assert (second.on_escalation, second.wants_digest) == (False, True)
    assert words.TEST_QUEUED in tried.text and "Test message waits" in text_of(tried.text)
    assert "Nobody is told about signals yet." in ended.text and told(world) == {}
    for source in (added.text, shown, tried.text):
        assert Page(source).open == []
    with world.sessions() as session:
        verbs = [n.action.rpartition(":")[2] for n in lines(session, subject=address)]
        change = next(n for n in lines(session, subject=address) if n.action.endswith("change"))
    assert verbs == ["remove", "test", "change", "add"]
    assert (change.detail["from"]["site"], change.detail["to"]["site"]) == ("H01", None)


def test_a_test_message_arrives_and_says_what_it_is(world: World, tmp_path: Path) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)
    admin.post(LIST, data=NEW)

    admin.post(ONE, data={"address": PERSON, "do": "test"})
    again = admin.post(ONE, data={"address": PERSON, "do": "test"})
    transport = open_transport(world.settings.transport)
    sent = alerts.deliver(world.sessions, transport, "lockwatch@maker.example", clock.now())

    [mail] = [p for p in (tmp_path / "mail").rglob("*") if p.is_file()]
    assert sent == 1 and "No signal stands behind it." in mail.read_text()
    assert again.status_code == 422 and "a moment ago" in again.text
    assert "accepted by the mail server" in admin.get(LIST).text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"address": "no address"}, "mail address"),
        ({"address": "http://elsewhere.example/"}, "webhook: https expected"),
        ({"address": "known@maker.example"}, "this address is told already"),
        ({"least_severity": ""}, words.CHOOSE_SEVERITY),
        ({"site": "H99"}, "no site H99"),
        ({"weekday-0": "", "weekday-6": ""}, words.CHOOSE_WEEKDAY),
        ({"zone": "Mars"}, "Duty hours, zone: Value error, an IANA time zone expected"),
        ({"until": "07:00"}, "Duty hours, until"),
        ({"start": "soon"}, "Duty hours, start"),
    ],
)
def test_a_refused_recipient_is_not_added_and_the_form_keeps_what_was_typed(
    world: World, changes: dict[str, str], why: str
) -> None:
    with world.sessions.begin() as session:
        known = "known@maker.example"
        alerts.add_recipient(session, known, Severity.INFO, by="x", now=clock.now())
    admin = world.browser("ada", Role.ADMINISTRATOR)
    typed = NEW | changes

    answer = admin.post(LIST, data=typed)

    assert answer.status_code == 422 and why in answer.text
    assert f'value="{typed["address"]}"' in answer.text
    assert f'value="{typed["start"]}"' in answer.text
    assert list(told(world)) == ["known@maker.example"]


def test_a_refused_change_changes_nothing(world: World) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)
    admin.post(LIST, data=NEW)

    answers = [
        admin.post(ONE, data=NEW | {"do": "change", "site": "H99"}),
        admin.post(ONE, data=NEW | {"do": "explode"}),
    ]
    absent = admin.post(ONE, data=NEW | {"do": "end", "address": "x@y.example"})

    assert [a.status_code for a in answers] == [422, 422] and absent.status_code == 404
    assert told(world)[PERSON].site_id == "H01"


def test_the_api_changes_a_recipient_too(world: World) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)
    admin.post(LIST, data=NEW)
    path = f"/api/v1/recipients/{quote(PERSON, safe='')}"

    changed = admin.put(path, json={"least_severity": "urgent"})
    tried = admin.post("/api/v1/recipient-tests", json={"address": PERSON})
    mails = admin.get("/api/v1/mails").json()
    absent = admin.put("/api/v1/recipients/x@y.example", json={})

    assert (changed.status_code, absent.status_code) == (200, 404)
    assert told(world)[PERSON].least_severity is Severity.URGENT
    assert told(world)[PERSON].duty is None
    assert tried.status_code == 204 and [m["recipient"] for m in mails] == [PERSON]


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMINISTRATOR])
def test_recipients_are_for_administrators_alone(world: World, role: Role) -> None:
    browser = world.browser("ann", role)

    asked = [
        browser.get(LIST),
        browser.get(f"{ONE}?address={PERSON}"),
        browser.post(LIST, data=NEW),
        browser.post(ONE, data={"address": PERSON, "do": "end"}),
    ]

    assert [a.status_code for a in asked] == [403] * 4 and told(world) == {}
