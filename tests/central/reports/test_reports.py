"""A report is what was issued: its input, its bytes and who issued it."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.errors import NotFound, Unusable
from app.central.reports import drafting, service
from app.central.reports.assembling import assemble, compared_periods
from app.contracts.signing import sha256
from tests.support.fleet import World
from tests.support.rendering import RENDERERS


def drafted(world: World, start: date, end: date) -> service.ReportView:
    with world.sessions.begin() as session:
        made = drafting.request(session, world.lock_digest, start, end, by="ann", now=clock.now())
        drafting.draft(session, made, renderer=RENDERERS.report, now=clock.now())
        return service.detail(session, made.number).report


def test_a_drafted_report_is_kept_byte_for_byte(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window())

    made = drafted(world, date(2026, 3, 1), date(2026, 3, 10))

    with world.sessions() as session:
        stored = service.issued(session, made.number)
    content = json.loads(stored.evidence)
    assert made.number == "DR-0001"
    assert sha256(stored.evidence) == made.input_digest
    assert sha256(stored.pdf) == made.pdf_digest
    assert made.input_digest.encode() in stored.html
    assert content["balances"][0]["stored"] == 1
    assert content["standing"]["sites"][0]["analysed"] == 36
    assert content["start"] == "2026-03-01"


def test_the_same_state_gives_the_same_input(world: World) -> None:
    with world.sessions() as session:
        first, again = (
            assemble(
                session,
                world.lock_digest,
                date(2026, 3, 1),
                date(2026, 3, 10),
                number="DR-0001",
                by="ann",
                now=clock.now(),
            )
            for _ in range(2)
        )

    assert first == again


def test_reports_are_read_back_over_the_api(world: World) -> None:
    world.app.state.renderers = RENDERERS
    browser = world.browser("ann", Role.ANALYST)
    body = {"lock_digest": world.lock_digest, "start": "2026-03-01", "end": "2026-03-10"}

    made = browser.post("/api/v1/reports", json=body)
    pdf = browser.get("/api/v1/reports/DR-0001/pdf")
    html = browser.get("/api/v1/reports/DR-0001/html")

    assert made.status_code == 201
    assert [r["number"] for r in browser.get("/api/v1/reports").json()] == ["DR-0001"]
    assert pdf.headers["content-type"] == "application/pdf"
    assert sha256(pdf.content) == made.json()["pdf_digest"]
    assert "sandbox" in html.headers["content-security-policy"]
    assert (
        sha256(browser.get("/api/v1/reports/DR-0001/evidence").content)
        == (made.json()["input_digest"])
    )


def test_without_a_renderer_none_is_drafted(world: World) -> None:
    browser = world.browser("ann", Role.ANALYST)
    body = {"lock_digest": world.lock_digest, "start": "2026-03-01", "end": "2026-03-10"}

    answer = browser.post("/api/v1/reports", json=body)

    assert answer.status_code == 409
    assert "without a report renderer" in answer.json()["detail"]


def test_a_period_must_be_over(world: World) -> None:
    today = clock.now().date()

    for start, end in ((today, today), (today, today + timedelta(days=2))):
        with pytest.raises(Unusable, match="start before end"):
            drafted(world, start, end)


def test_an_unknown_report_is_not_found(world: World) -> None:
    with world.sessions() as session, pytest.raises(NotFound, match="no report DR-0404"):
        service.issued(session, "DR-0404")


def test_a_report_is_rebuilt_from_its_evidence_alone(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window())
    made = drafted(world, date(2026, 3, 1), date(2026, 3, 10))
    edge.send(edge.window(date(2026, 3, 9)))  # what arrives later changes nothing

    with world.sessions() as session:
        again = service.rebuild(session, made.number, renderer=RENDERERS.report)

    assert again.is_equal and again.pdf_digest == made.pdf_digest


def test_a_changed_byte_is_seen_when_a_report_is_rebuilt(world: World) -> None:
    made = drafted(world, date(2026, 3, 1), date(2026, 3, 10))
    with world.sessions.begin() as session:
        service.issued(session, made.number).pdf += b" "

    with world.sessions() as session:
        again = service.rebuild(session, made.number, renderer=RENDERERS.report)

    assert not again.is_equal and again.html_is_equal and again.evidence_holds


def test_periods_are_compared_with_the_one_before_and_the_year_before() -> None:
    now, before, year = compared_periods(date(2028, 2, 29), date(2028, 3, 7))

    assert now == (date(2028, 2, 29), date(2028, 3, 7))
    assert before == (date(2028, 2, 22), date(2028, 2, 29))
    assert year == (date(2027, 2, 28), date(2027, 3, 7))


def test_totals_count_whole_windows_inside_each_period(world: World) -> None:
    edge = world.an_edge()
    for day in (date(2026, 3, 1), date(2026, 3, 8), date(2026, 3, 9)):
        edge.send(edge.window(day))

    made = drafted(world, date(2026, 3, 5), date(2026, 3, 9))

    with world.sessions() as session:
        totals = json.loads(service.issued(session, made.number).evidence)["totals"]
    assert [t["analysed"] for t in totals] == [36, 36, 0]
    assert [t["sites"] for t in totals] == [1, 1, 0]


def test_a_report_on_every_site_is_not_for_somebody_of_one(world: World) -> None:
    world.an_edge("H01")
    drafted(world, date(2026, 3, 1), date(2026, 3, 9))
    bound = world.browser("near", Role.ANALYST, "H01")

    for path in ("", "/DR-0001", "/DR-0001/pdf", "/DR-0001/html", "/DR-0001/evidence"):
        assert bound.get(f"/api/v1/reports{path}").status_code == 403
