"""A site's answer and a file number: signed, kept on the signal's history, shown to whom it may."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.audit import service as audit
from app.central.surveillance.models import SignalNote
from app.central.surveillance.notes import DOMAIN, signed_content
from app.central.surveillance.service import SignalView
from app.contracts.signing import verify
from tests.dashboards.test_one_sites_part import MINE, fleet, wide
from tests.support.fleet import PASSWORD, World

__all__ = ["fleet", "wide"]
ANSWER = "The kernel was changed on <Monday>."


@pytest.fixture(scope="module")
def writer(fleet: World) -> TestClient:
    return fleet.browser("rita", Role.REGULATORY)


def post(person: TestClient, one: SignalView, **changes: Any) -> Any:
    fields = {"kind": "answer", "site": MINE, "text": ANSWER, "password": PASSWORD}
    return person.post(f"/signals/{one.id}/notes", data=fields | changes)


def test_an_answer_and_a_file_number_stand_on_the_history(
    fleet: World, wide: SignalView, writer: TestClient
) -> None:
    shown = post(writer, wide)
    number = post(writer, wide, kind="file", text=" CAPA-2026-117 ")

    assert (shown.status_code, number.status_code) == (200, 200)
    assert f"Answer of {MINE}: The kernel was changed on &lt;Monday&gt;. (N-0001" in number.text
    assert "File: CAPA-2026-117 (N-0002, Rita Person)" in number.text
    with fleet.sessions() as session:
        made = session.scalars(select(SignalNote).order_by(SignalNote.id)).all()
        lines = [a for a in audit.lines(session, subject=wide.id) if ":note:" in a.action]
    for note in made:
        verify(fleet.key.public, DOMAIN, signed_content(note), bytes.fromhex(note.signature))
    assert [(n.site_id, n.text) for n in made] == [(MINE, ANSWER), (None, "CAPA-2026-117")]
    assert {a.action for a in lines} == {"surveillance:note:answer", "surveillance:note:file"}
    assert all(ANSWER not in str(a.detail) for a in lines)
    own = fleet.browser("own", Role.ANALYST, MINE).get(f"/signals/{wide.id}").text
    other = next(s for s in wide.signal.sites if s != MINE)
    foreign = fleet.browser("foreign", Role.ANALYST, other).get(f"/signals/{wide.id}").text
    assert f"Answer of {MINE}" in own and "CAPA-2026-117" not in own
    assert "N-0001" not in foreign and "N-0002" not in foreign


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": ""}, "What it is: choose one."),
        ({"site": "H99"}, "expected, got H99"),
        ({"text": "  "}, "1 to 4000 characters"),
        ({"kind": "file", "text": "x" * 65}, "1 to 64 characters"),
        ({"password": "wrong"}, "was not signed"),
    ],
)
def test_a_refusal_keeps_what_was_typed_and_stores_nothing(
    fleet: World, wide: SignalView, writer: TestClient, changes: dict[str, str], said: str
) -> None:
    with fleet.sessions() as session:
        before = len(session.scalars(select(SignalNote)).all())

    refused = post(writer, wide, **changes)

    assert refused.status_code == 422
    assert said in refused.text
    with fleet.sessions() as session:
        assert len(session.scalars(select(SignalNote)).all()) == before


def test_only_people_who_answer_for_it_may_write(fleet: World, wide: SignalView) -> None:
    viewer = fleet.browser("looker", Role.VIEWER)

    assert post(viewer, wide).status_code == 403
    assert "Write down an answer" not in viewer.get(f"/signals/{wide.id}").text
