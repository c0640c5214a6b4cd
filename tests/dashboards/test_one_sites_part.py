"""Somebody bound to one site, and a signal over three: every way to look and every mail is searched
for what belongs to the other two."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from email import message_from_bytes, policy
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, select
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.alerts import service as alerts
from app.central.alerts.models import OutboxMail, Severity
from app.central.alerts.reminders import escalate, send_digests
from app.central.exports.tables import Name
from app.central.intake import service as intake
from app.central.openapi.doors import doors
from app.central.surveillance import service as surveillance
from app.central.surveillance.scoped import part_of
from app.central.surveillance.service import SignalView
from app.contracts.window import Table
from dashboards.pages.topics.pages import PAGES
from dashboards.render import renderers
from dashboards.web import install
from tests.conftest import Clock
from tests.dashboards.conftest import (
    FIRST,
    LAST,
    REFERENCE_DAYS,
    a_reference,
    cases_of,
    evaluate,
)
from tests.support.fleet import PASSWORD, FakeEdge, World
from tests.support.postgres import Databases

CHANGE = FIRST + timedelta(REFERENCE_DAYS + 3)
MINE = "Q2"
SITES = {"Q1": "tango", MINE: "mine", "Q3": "uniform"}
WORD = {
    site: (f"{name}-scanner", f"{name}-maker", f"{name}-model", "4.1", "pa")
    for site, name in SITES.items()
}
FOREIGN = re.compile(r"\bQ[13]\b|tango|uniform", re.IGNORECASE)
LETTERS: dict[str, Any] = {"mail_from": "lockwatch@example.org", "base_url": "http://testserver"}


@pytest.fixture(scope="module")
def fleet(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three sites whose images and readers all change on one day."""
    folder = tmp_path_factory.mktemp("three")
    with pytest.MonkeyPatch.context() as patch, databases.copy() as engine:
        patch.setenv(clock.VARIABLE, str(folder / "clock"))
        simulated = Clock(folder / "clock")
        simulated.set(datetime.combine(FIRST, time(0), tzinfo=UTC))
        world = World(folder, engine, requests_per_minute=100_000)
        world.app.state.renderers = renderers()
        install(world.app)
        with world.sessions.begin() as session:
            for month in (1, 2, 3):
                intake.add_months(session, datetime(2026, month, 1, tzinfo=UTC))
        edges = {site: world.an_edge(site) for site in SITES}
        with world.sessions.begin() as session:
            for site, name in {"": "centre", **SITES}.items():
                alerts.add_recipient(
                    *(session, f"{name}@example.org", Severity.INFO),
                    by="test",
                    now=clock.now(),
                    site_id=site or None,
                )
        play_all(world, simulated, edges)
        yield world


def play_all(world: World, simulated: Clock, edges: dict[str, FakeEdge]) -> None:
    rng = np.random.default_rng(5)
    for i in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(i)
        simulated.set(datetime.combine(day + timedelta(1), time(1), tzinfo=UTC))
        for site, edge in edges.items():
            window = edge.window(day, cases=cases_of(rng, moved=day >= CHANGE), stratum=WORD[site])
            assert edge.send(window).status_code == 200
            if day.weekday() == 6:
                send_reads(edge, site, day - timedelta(6))
        if i == REFERENCE_DAYS + 1:
            a_reference(world)
        if day >= CHANGE:
            simulated.set(datetime.combine(day + timedelta(1), time(7), tzinfo=UTC))
            evaluate(world)


def send_reads(edge: FakeEdge, site: str, monday: date) -> None:
    labelled = np.array([40, 30, 6])
    positive = [2, 9, 4]
    key = (monday.isoformat(), "random_audit", f"{SITES[site]}-readers", "v1")
    table = Table((key,), np.array([[*labelled, *positive]]))
    assert (
        edge.send(edge.window(monday, tables={"labels": table}, stream="labels")).status_code == 200
    )


@pytest.fixture(scope="module")
def wide(fleet: World) -> SignalView:
    """The whole signal, as somebody bound to no site has it."""
    with fleet.sessions() as session:
        found = [s for s in surveillance.signals(session) if len(s.signal.sites) == len(SITES)]
    assert found, "no signal over three sites was raised"
    return found[0]


@pytest.fixture(scope="module")
def bound(fleet: World) -> dict[Role, TestClient]:
    """Signed in, bound to one site: one of every role that may be bound."""
    roles = [role for role in Role if role is not Role.ADMINISTRATOR]
    return {role: fleet.browser(f"bound {role.value}", role, MINE) for role in roles}


def addresses(world: World, wide: SignalView) -> list[str]:
    """Every GET, with values of the fleet for what its path takes; tables one by one."""
    edge = {"edge_id": "X-0001", "site_id": MINE, "signal_id": wide.id}
    values = edge | {"lock_digest": world.lock_digest, "reference_id": "R-0001"}
    made = []
    for door in doors(world.app):
        if "GET" not in door.methods:
            continue
        paths = [door.path]
        if "{topic}" in door.path:
            paths = [door.path.replace("{topic}", t) for t in PAGES]
        if "{name}.{kind}" in door.path:
            ends = [f"{n.value}.{k}" for n in Name for k in ("csv", "parquet")]
            paths = [door.path.replace("{name}.{kind}", end) for end in ends]
        made += [re.sub(r"{(\w+)}", lambda m: values.get(m[1], "X-0001"), p) for p in paths]
    return [*made, "/signals?show=all", f"/?device={world.lock_digest}"]


def text_of(answer: Any) -> str:
    if answer.content[:4] == b"PAR1":
        return str(pq.read_table(io.BytesIO(answer.content)).to_pylist())
    return str(answer.text)


def test_no_way_to_look_names_another_site(
    fleet: World, wide: SignalView, bound: dict[Role, TestClient]
) -> None:
    paths = addresses(fleet, wide)
    assert len(paths) > 60
    answered = dict.fromkeys(paths, 0)

    for role, person in bound.items():
        for path in paths:
            answer = person.get(path, follow_redirects=False)
            found = FOREIGN.search(text_of(answer))
            assert found is None, (
                f"{role.value} {path}: …{text_of(answer)[found.start() - 80 :][:160]}"
            )
            answered[path] += answer.status_code == 200

    looked = [path for path, times in answered.items() if times]
    assert f"/signals/{wide.id}" in looked
    assert f"/api/v1/signals/{wide.id}/evidence" in looked
    assert len(looked) > 40


def test_who_is_bound_to_no_site_is_shown_all_of_it(fleet: World, wide: SignalView) -> None:
    person = fleet.browser("unbound", Role.VIEWER)

    page = person.get(f"/signals/{wide.id}").text
    document = person.get(f"/api/v1/signals/{wide.id}").json()

    assert "Q1, Q2 and Q3" in page
    assert document["signal"] == wide.signal.model_dump(mode="json")
    assert document["other_sites"] == 0


def test_the_others_are_counted_and_the_own_part_is_shown(
    wide: SignalView, bound: dict[Role, TestClient]
) -> None:
    person = bound[Role.ANALYST]

    page = person.get(f"/signals/{wide.id}").text
    document = person.get(f"/api/v1/signals/{wide.id}").json()
    evidence = person.get(f"/api/v1/signals/{wide.id}/evidence").json()

    assert "Q2 and 2 other sites" in page
    assert "<figure" in page
    assert (document["signal"]["sites"], document["other_sites"]) == ([MINE], 2)
    assert document["digest"] == wide.digest
    assert {s["site"] for s in evidence["scanners"]} == {MINE}
    assert {t["site"] for t in evidence["traces"]} <= {MINE, ""}
    assert evidence["current_cases"] > 0


def test_readers_and_scanners_of_other_sites_are_left_out(fleet: World, wide: SignalView) -> None:
    groups = tuple(f"{name}-readers" for name in SITES.values())
    whole = wide.signal.model_copy(update={"readers": groups})
    assert wide.signal.stream.split(":")[1] == "Q1"

    with fleet.sessions() as session:
        part = part_of(session, whole, fleet.lock_digest, MINE)

    assert part.readers == ("mine-readers",)
    assert (part.scanners, part.scanner_models) == (("mine-scanner",), ("mine-model",))
    assert part.stream == "acquisition"


def test_nobody_signs_what_they_were_not_shown(
    wide: SignalView, bound: dict[Role, TestClient]
) -> None:
    person = bound[Role.QUALITY_APPROVER]
    signing = {"action": "start_assessment", "rationale": "mine", "seen_digest": wide.digest}

    page = person.get(f"/signals/{wide.id}").text
    refused = person.post(
        f"/api/v1/signals/{wide.id}/decisions", json={**signing, "password": PASSWORD}
    )
    form = {"verdict": "start_assessment", "digest": wide.digest, "password": PASSWORD}
    on_page = person.post(f"/signals/{wide.id}/decision", data=form)
    duty = person.post(f"/signals/{wide.id}/reportability", data=form)

    assert "Nobody signs what they were not shown" in page
    assert person.get(f"/api/v1/signals/{wide.id}").json()["actions"] == []
    assert [a.status_code for a in (refused, on_page, duty)] == [403, 403, 403]
    assert "does not show" in refused.json()["detail"]


def test_nobody_is_led_to_a_recalibration_that_they_may_not_use(
    fleet: World, wide: SignalView, bound: dict[Role, TestClient]
) -> None:
    link = f'href="/signals/{wide.id}/recalibration"'
    for role, person in bound.items():
        assert link not in person.get(f"/signals/{wide.id}").text, role

    assert link in fleet.browser("sees all", Role.VIEWER).get(f"/signals/{wide.id}").text


def test_mails_to_one_site_name_no_other(fleet: World, wide: SignalView) -> None:
    now = clock.now() + timedelta(days=2)
    with fleet.sessions.begin() as session:
        escalate(session, renderer=renderers().mail, now=now, **LETTERS)
        mails = list(session.scalars(select(OutboxMail)))
        session.execute(delete(OutboxMail).where(OutboxMail.cause == f"signal:{wide.id}"))
        due = wide.raised_at + timedelta(hours=1)
        send_digests(session, due, renderer=renderers().mail, now=now, **LETTERS)
        mails += session.scalars(select(OutboxMail).where(OutboxMail.cause.startswith("digest:")))

    mine = [m for m in mails if m.recipient == "mine@example.org"]
    whole = [m for m in mails if m.recipient == "centre@example.org"]
    assert {m.cause.split(":")[0] for m in mine} == {"signal", "digest", "escalation"}
    for mail in mine:
        assert FOREIGN.search(words_of(mail)) is None, words_of(mail)
    assert any("Q2 and 2 other sites" in words_of(m) for m in mine)
    assert any("Q1, Q2 and Q3" in words_of(m) for m in whole)


def test_the_alert_itself_counts_the_other_sites(fleet: World, wide: SignalView) -> None:
    with fleet.sessions.begin() as session:
        alerts.notify(
            *(session, "S-9999", wide.signal),
            lock_digest=fleet.lock_digest,
            device="ChestTriage 1.0.0",
            promised=1.0,
            renderer=renderers().mail,
            now=clock.now() + timedelta(days=3),
            **LETTERS,
        )
        told = session.scalars(select(OutboxMail).where(OutboxMail.cause == "signal:S-9999")).all()
        words = {mail.recipient: words_of(mail) for mail in told}

    mine = words["mine@example.org"]
    assert "Q2 and 2 other sites" in mine
    assert "centre@example.org" in mine
    assert FOREIGN.search(mine) is None, mine
    assert "tango@example.org" in words["centre@example.org"]


def words_of(mail: OutboxMail) -> str:
    message = message_from_bytes(mail.message, policy=policy.default)
    bodies = [part.get_content() for part in message.walk() if not part.is_multipart()]
    return "\n".join([mail.subject, *bodies])
