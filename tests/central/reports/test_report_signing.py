"""From the draft to the issued report: who may sign what, and what each signature changes."""

from __future__ import annotations

import json
from datetime import date

import pytest
from sqlalchemy import select, text

from app import clock
from app.central.accounts.models import Role
from app.central.accounts.service import Person, Signer
from app.central.alerts.models import OutboxMail
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.reports import drafting, repository, schedules, service, signing
from app.central.reports.assembling import content_digest, read
from app.central.reports.models import Frequency, Meaning, ReportState
from app.central.reports.ports import DriftReport, RenderedReport
from app.contracts.signing import sha256
from tests.support.fleet import PASSWORD, World
from tests.support.rendering import RENDERERS, InAFewWords

START, END = date(2026, 3, 1), date(2026, 3, 10)
WHY = "A site sent its windows late."


def press(world: World) -> signing.Press:
    return signing.Press.of(RENDERERS, world.settings)


def a_draft(world: World, **asked: str | None) -> str:
    with world.sessions.begin() as session:
        made = drafting.request(
            session, world.lock_digest, START, END, by="ann", now=clock.now(), **asked
        )
        drafting.draft(session, made, renderer=RENDERERS.report, now=clock.now())
        return made.number


def sign(world: World, number: str, meaning: Meaning, by: str, **changes: str) -> None:
    with world.sessions.begin() as session:
        seen = changes.pop("seen_digest", service.detail(session, number).content_digest)
        signing.sign(
            session,
            number,
            meaning,
            seen_digest=seen,
            signer=Signer(by, f"{by.title()} Person", clock.now()),
            key=world.key,
            press=press(world),
            **changes,
        )


def issued(world: World, **asked: str | None) -> str:
    number = a_draft(world, **asked)
    sign(world, number, Meaning.REVIEW, "bob")
    sign(world, number, Meaning.APPROVAL, "cleo")
    return number


def state(world: World, number: str) -> ReportState:
    with world.sessions() as session:
        return service.detail(session, number).report.state


def test_two_other_people_sign_the_same_content_and_the_report_is_issued(world: World) -> None:
    number = issued(world)

    with world.sessions() as session:
        found = service.detail(session, number)
        stored = service.issued(session, number)
    assert found.report.state is ReportState.ISSUED and found.report.issued_by == "cleo"
    assert [(s.meaning, s.signed_by) for s in found.signatures] == [
        ("review", "bob"),
        ("approval", "cleo"),
    ]
    content = read(stored.evidence)
    assert {s.content_digest for s in found.signatures} == {content_digest(content)}
    assert content.signatures == found.signatures and content.status == "issued"
    assert sha256(stored.evidence) == stored.input_digest
    assert sha256(stored.pdf) == stored.pdf_digest and b" issued " in stored.pdf


def test_an_issued_report_rebuilds_byte_for_byte(world: World) -> None:
    number = issued(world)

    with world.sessions() as session:
        assert service.rebuild(session, number, renderer=RENDERERS.report).is_equal


def test_a_remark_is_part_of_what_is_signed(world: World) -> None:
    number = a_draft(world)
    with world.sessions() as session:
        before = service.detail(session, number).content_digest
    author = Person("ann", "Ann Person", Role.ANALYST, None)

    with world.sessions.begin() as session:
        signing.remark(
            session, number, "Summary", WHY, by=author, press=press(world), now=clock.now()
        )

    with pytest.raises(NotAllowed, match="has changed since it was shown"):
        sign(world, number, Meaning.REVIEW, "bob", seen_digest=before)
    sign(world, number, Meaning.REVIEW, "bob")
    with world.sessions() as session:
        [kept] = json.loads(service.issued(session, number).evidence)["remarks"]
    assert (kept["section"], kept["text"], kept["printed_name"]) == ("Summary", WHY, "Ann Person")


def test_nobody_remarks_on_what_was_reviewed(world: World) -> None:
    number = a_draft(world)
    sign(world, number, Meaning.REVIEW, "bob")
    author = Person("ann", "Ann Person", Role.ANALYST, None)

    with (
        world.sessions.begin() as session,
        pytest.raises(NotAllowed, match="only a draft report is remarked on"),
    ):
        signing.remark(
            session, number, "Summary", WHY, by=author, press=press(world), now=clock.now()
        )


@pytest.mark.parametrize(
    ("prepare", "meaning", "by", "complaint"),
    [
        ((), Meaning.REVIEW, "ann", "another person than its author"),
        ((), Meaning.APPROVAL, "cleo", "only a reviewed report is signed for approval"),
        ((Meaning.REVIEW,), Meaning.APPROVAL, "bob", "another person than reviewed it"),
        ((Meaning.REVIEW,), Meaning.APPROVAL, "ann", "another person than its author"),
        ((Meaning.REVIEW,), Meaning.REVIEW, "cleo", "only a draft report is signed for review"),
    ],
)
def test_the_wrong_person_or_the_wrong_time_is_refused(
    world: World, prepare: tuple[Meaning, ...], meaning: Meaning, by: str, complaint: str
) -> None:
    number = a_draft(world)
    for step in prepare:
        sign(world, number, step, "bob")
    before = state(world, number)

    with pytest.raises(NotAllowed, match=complaint):
        sign(world, number, meaning, by)

    assert state(world, number) is before


def test_a_draft_is_withdrawn_with_a_reason_and_never_signed_again(world: World) -> None:
    number = a_draft(world)
    with pytest.raises(Unusable, match="at least 20 characters"):
        sign(world, number, Meaning.WITHDRAWAL, "ann", reason="wrong")

    sign(world, number, Meaning.WITHDRAWAL, "ann", reason=WHY)

    assert state(world, number) is ReportState.WITHDRAWN
    with pytest.raises(NotAllowed, match="is withdrawn"):
        sign(world, number, Meaning.REVIEW, "bob")


def test_a_successor_takes_the_place_of_an_issued_report_whose_bytes_stay(world: World) -> None:
    first = issued(world)
    with world.sessions() as session:
        kept = service.issued(session, first).pdf
    second = a_draft(world, supersedes=first, reason=WHY)
    assert state(world, first) is ReportState.ISSUED  # until its successor is issued

    sign(world, second, Meaning.REVIEW, "bob")
    sign(world, second, Meaning.APPROVAL, "cleo")

    with world.sessions() as session:
        found = service.detail(session, first)
        assert found.report.state is ReportState.SUPERSEDED and found.superseded_by == second
        assert service.issued(session, first).pdf == kept
        assert service.detail(session, second).supersedes_reason == WHY


@pytest.mark.parametrize(
    ("asked", "error", "complaint"),
    [
        ({"supersedes": "DR-0099", "reason": WHY}, NotFound, "no report DR-0099 of this device"),
        ({"supersedes": "DR-0001", "reason": WHY}, NotAllowed, "only an issued report"),
        ({"schedule_id": "RS-0009"}, NotFound, "no schedule RS-0009"),
    ],
)
def test_what_cannot_be_superseded_or_told_is_refused(
    world: World, asked: dict[str, str], error: type[Exception], complaint: str
) -> None:
    a_draft(world)

    with pytest.raises(error, match=complaint):
        a_draft(world, **asked)


def test_the_group_of_the_schedule_is_told_once_when_the_report_is_issued(world: World) -> None:
    with world.sessions.begin() as session:
        schedules.add(
            session,
            world.manifest.device,
            Frequency.WEEKLY,
            recipients="Board",
            addresses=("b@example.org", "a@example.org", "a@example.org"),
            with_evidently=False,
            by="ann",
            now=clock.now(),
        )

    number = issued(world, schedule_id="RS-0001")

    with world.sessions() as session:
        told = session.execute(select(OutboxMail.recipient, OutboxMail.subject)).all()
    assert sorted(told) == [
        ("a@example.org", f"{number} for Board"),
        ("b@example.org", f"{number} for Board"),
    ]


def test_every_step_is_in_the_audit_trail(world: World) -> None:
    number = issued(world)

    with world.sessions() as session:
        entries = session.execute(
            text("SELECT convert_from(body, 'UTF8')::json ->> 'action' FROM audit_entry")
        ).scalars()
        steps = [a.rpartition(":")[2] for a in entries if a.startswith("reports:")]
    assert number == "DR-0001"
    assert steps == ["request", "draft", "review", "approval", "issue"]


def test_a_report_is_signed_over_the_api_with_the_password(world: World) -> None:
    world.app.state.renderers = RENDERERS
    number = a_draft(world)
    reviewer = world.browser("bob", Role.ANALYST)
    approver = world.browser("cleo", Role.QUALITY_APPROVER)
    path = f"/api/v1/reports/{number}/signatures"
    digest = reviewer.get(f"/api/v1/reports/{number}").json()["content_digest"]
    body = {"content_digest": digest, "password": PASSWORD}

    wrong = reviewer.post(path, json=body | {"meaning": "review", "password": "x" * 12})
    reviewed = reviewer.post(path, json=body | {"meaning": "review"})
    too_much = reviewer.post(path, json=body | {"meaning": "approval"})
    approved = approver.post(path, json=body | {"meaning": "approval"})

    assert (wrong.status_code, too_much.status_code) == (401, 403)
    assert (reviewed.json()["state"], approved.json()["state"]) == ("reviewed", "issued")
    shown = reviewer.get(f"/api/v1/reports/{number}").json()
    assert [s["signed_by"] for s in shown["signatures"]] == ["bob", "cleo"]


class Falls(InAFewWords):
    def drift_report(
        self, report: DriftReport, evidence: bytes, input_digest: str
    ) -> RenderedReport:
        raise ValueError("out of ink")


def requested(world: World) -> str:
    with world.sessions.begin() as session:
        return drafting.request(
            session, world.lock_digest, START, END, by="ann", now=clock.now()
        ).number


def test_a_worker_drafts_what_waits_and_shows_how_far_it_is(world: World) -> None:
    number, seen = requested(world), []

    class Looks(InAFewWords):
        def drift_report(
            self, report: DriftReport, evidence: bytes, input_digest: str
        ) -> RenderedReport:
            with world.sessions() as session:
                seen.append(service.detail(session, number).report.progress)
            return super().drift_report(report, evidence, input_digest)

    before = state(world, number)
    done = drafting.draft_waiting(world.sessions, Looks(), clock.now())

    assert (before, done) == (ReportState.REQUESTED, 1)
    assert seen == [drafting.DRAWING]
    assert state(world, number) is ReportState.DRAFT
    assert drafting.draft_waiting(world.sessions, Looks(), clock.now()) == 0


def test_drafting_that_fails_says_so_and_is_asked_for_again(world: World) -> None:
    number = requested(world)

    assert drafting.draft_waiting(world.sessions, Falls(), clock.now()) == 0

    with world.sessions() as session:
        found = service.detail(session, number).report
    assert (found.state, found.progress) == (
        ReportState.FAILED,
        "drafting failed: ValueError",
    )
    with world.sessions.begin() as session:
        drafting.again(session, number, by="ann", now=clock.now())
    assert drafting.draft_waiting(world.sessions, RENDERERS.report, clock.now()) == 1
    assert state(world, number) is ReportState.DRAFT


def test_a_worker_that_lost_its_report_leaves_it_alone(world: World) -> None:
    number = requested(world)

    class Late(InAFewWords):
        def drift_report(
            self, report: DriftReport, evidence: bytes, input_digest: str
        ) -> RenderedReport:
            with world.sessions.begin() as session:
                other = repository.find_report(session, number)
                assert other is not None
                other.state = ReportState.DRAFT
            return super().drift_report(report, evidence, input_digest)

    assert drafting.draft_waiting(world.sessions, Late(), clock.now()) == 0
    assert state(world, number) is ReportState.DRAFT
