"""A letter to one of three sites: plain words, no other site, signed, mailed, kept, printed."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import select
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.alerts import service as alerts
from app.central.alerts.letters import DOMAIN
from app.central.alerts.models import OutboxMail, Severity, SiteLetter
from app.central.audit import service as audit
from app.central.surveillance.service import SignalView
from app.contracts.signing import canonical, sha256, verify
from dashboards import letters as written
from dashboards import wording_letter
from tests.dashboards.test_one_sites_part import FOREIGN, MINE, fleet, wide, words_of
from tests.support.fleet import PASSWORD, World

__all__ = ["fleet", "wide"]
pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
STATISTICS = re.compile(r"σ|\bSD\b|CUSUM|interval|95 %|p-value|e-value|odds|reference SD", re.I)


@pytest.fixture(scope="module")
def writer(fleet: World) -> TestClient:
    return fleet.browser("regina", Role.REGULATORY)


@pytest.fixture(scope="module")
def sent(fleet: World, wide: SignalView, writer: TestClient) -> str:
    """The number of a letter to MINE, sent with an addition and to two contacts."""
    with fleet.sessions.begin() as session:
        for name in ("physics@mine.example", "https://mine.example/hook"):
            alerts.add_recipient(
                *(session, name, Severity.URGENT), by="test", now=clock.now(), site_id=MINE
            )
    answer = post(writer, wide, addition="We met on <Monday>.\nKind regards")
    assert answer.status_code == 200, answer.text
    return str(answer.url.path.removeprefix("/letters/"))


def post(person: TestClient, one: SignalView, site: str = MINE, **changes: Any) -> Any:
    fields = {"digest": one.digest, "password": PASSWORD} | changes
    return person.post(f"/signals/{one.id}/letters/{site}", data=fields)


def main_of(html: str) -> str:
    """The part of a page that is its own, as text."""
    return re.sub(r"<[^>]+>", " ", html.split('<main id="main">')[1])


def test_the_draft_says_it_in_plain_words_and_names_no_other_site(
    wide: SignalView, writer: TestClient
) -> None:
    shown = main_of(writer.get(f"/signals/{wide.id}/letters/{MINE}").text)

    assert FOREIGN.search(shown) is None
    assert STATISTICS.search(shown) is None
    assert "mine-scanner" in shown
    assert "The same was seen at 2 other hospitals." in shown
    assert "Please tell us whether a scanner was serviced" in shown
    assert "No picture and no patient was looked at" in shown
    assert "mine@example.org" in shown and "centre@example.org" not in shown


def test_it_is_mailed_to_the_contacts_of_that_site_and_to_nobody_else(
    fleet: World, sent: str
) -> None:
    with fleet.sessions() as session:
        told = session.scalars(select(OutboxMail).where(OutboxMail.cause == f"letter:{sent}")).all()
        words = {m.recipient: words_of(m) for m in told}

    assert set(words) == {"mine@example.org", "physics@mine.example"}
    for text in words.values():
        assert f"Letter {sent}" in text and "We met on <Monday>." in text
        assert FOREIGN.search(text) is None and STATISTICS.search(text) is None
        assert "http" not in text


def test_it_is_kept_signed_audited_and_on_the_signals_time_line(
    fleet: World, wide: SignalView, writer: TestClient, sent: str
) -> None:
    with fleet.sessions() as session:
        stored = session.get_one(SiteLetter, sent)
        [line] = [a for a in audit.lines(session, subject=wide.id) if "letter" in a.action]
    assert sha256(stored.document) == stored.digest
    content = {
        "id": sent,
        "signal": wide.id,
        "site": MINE,
        "digest": stored.digest,
        "addresses": stored.addresses,
        "sent_by": "regina",
        "printed_name": "Regina Person",
        "meaning": "responsibility for the letter to the site",
        "sent_at": stored.sent_at.isoformat(),
    }
    verify(fleet.key.public, DOMAIN, canonical(content), bytes.fromhex(stored.signature))
    assert (line.action, line.actor) == ("alerts:site_letter:send", "regina")
    assert line.detail["digest"] == stored.digest
    assert f'<a href="/letters/{sent}">Letter {sent} to {MINE}, Regina Person</a>' in (
        writer.get(f"/signals/{wide.id}").text
    )


def test_the_page_and_the_pdf_say_the_same(writer: TestClient, sent: str) -> None:
    page = writer.get(f"/letters/{sent}").text
    first, again = (writer.get(f"/letters/{sent}/pdf").content for _ in range(2))

    printed = "".join(p.extract_text() for p in PdfReader(io.BytesIO(first)).pages)
    assert first == again
    for words in ("What we noticed", "Kind regards", "Please tell us whether a scanner"):
        assert words in re.sub(r"\s+", " ", printed)
        assert words in page
    assert "We met on &lt;Monday&gt;." in page
    assert FOREIGN.search(main_of(page)) is None and FOREIGN.search(printed) is None


def test_the_site_reads_its_own_letter_and_no_other(
    fleet: World, wide: SignalView, writer: TestClient, sent: str
) -> None:
    foreign = post(writer, wide, "Q1").url.path.removeprefix("/letters/")
    mine = fleet.browser("mine viewer", Role.VIEWER, MINE)

    history = mine.get(f"/signals/{wide.id}").text

    assert mine.get(f"/letters/{sent}").status_code == 200
    assert mine.get(f"/letters/{foreign}").status_code == 404
    assert mine.get(f"/letters/{foreign}/pdf").status_code == 404
    assert sent in history and foreign not in history


def test_only_whom_it_befits_writes_letters(fleet: World, wide: SignalView) -> None:
    address = f"/signals/{wide.id}/letters/{MINE}"
    for role in Role:
        person = fleet.browser(f"letter {role.value}", role)
        status = 200 if role in {Role.REGULATORY, Role.QUALITY_APPROVER} else 403
        assert person.get(address).status_code == status, role
        links = f'href="{address}"' in person.get(f"/signals/{wide.id}").text
        assert links == (status == 200), role
    bound = fleet.browser("bound writer", Role.REGULATORY, MINE)
    assert bound.get(address).status_code == 403
    assert post(bound, wide).status_code == 403
    assert address not in bound.get(f"/signals/{wide.id}").text


def test_what_cannot_be_sent_is_given_back_with_what_was_typed(
    fleet: World, wide: SignalView, writer: TestClient
) -> None:
    with fleet.sessions() as session:
        before = len(session.scalars(select(SiteLetter)).all())

    wrong = post(writer, wide, password="not mine at all", addition="keep this")
    stale = post(writer, wide, digest="0" * 64)
    long = post(writer, wide, addition="x" * 4001)

    assert [a.status_code for a in (wrong, stale, long)] == [422] * 3
    assert "keep this</textarea>" in wrong.text and "Password: it is not yours" in wrong.text
    assert "has changed since the letter was drafted" in stale.text
    assert "addition: 0 to 4000 characters" in long.text
    assert writer.get(f"/signals/{wide.id}/letters/H99").status_code == 404
    with fleet.sessions() as session:
        assert len(session.scalars(select(SiteLetter)).all()) == before


def test_without_a_contact_it_is_said_that_nothing_is_mailed(
    fleet: World, wide: SignalView, writer: TestClient
) -> None:
    with fleet.sessions.begin() as session:
        alerts.remove_recipient(session, "uniform@example.org", by="test", now=clock.now())

    draft = writer.get(f"/signals/{wide.id}/letters/Q3").text
    kept = post(writer, wide, "Q3")

    assert "nothing will be mailed" in draft
    assert kept.url.path.startswith("/letters/L-")


@pytest.mark.parametrize("cause", list(wording_letter.CAUSES))
def test_every_cause_has_plain_words_and_a_question(wide: SignalView, cause: str) -> None:
    newest = wide.signal.history[-1].model_copy(update={"causes": (cause,)})
    signal = wide.signal.model_copy(update={"history": (newest,)})

    said = (*wording_letter.noticed(signal), *wording_letter.means(signal))
    asked = wording_letter.asks(signal, wide.id)
    denied = " ".join(wording_letter.not_meant(signal))

    assert said and asked[0] == wording_letter.ASKS[cause]
    assert asked[-1] == f"Please answer this letter, and name {wide.id}."
    is_lock = cause == "lock"
    assert ("has not changed" in denied) != is_lock
    assert (wording_letter.GO_ON in asked) != is_lock
    assert STATISTICS.search(" ".join((*said, *asked))) is None


def test_a_letter_has_words_for_every_state_and_event() -> None:
    from app.central.surveillance.models import SignalState

    assert set(wording_letter.STATES) == {s.value for s in SignalState}
    assert written.title_of("L-0001", {"device": "D 1", "site": "S"}) == "Letter L-0001: D 1, S"
