"""After a release: the comparison that the job makes once. Holdouts: due days and reminders."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from app import clock
from app.central.accounts.models import Role
from app.central.alerts.models import Severity
from app.central.alerts.service import add_recipient
from app.central.recalibration import watch
from app.central.reports.assembling import assemble, read, written
from app.central.worker import Worker
from app.contracts.holdout import HOLDOUT_TYPE, HoldoutRate, HoldoutRecord, HoldoutRow
from app.contracts.manifest import Proportion
from app.contracts.signing import SigningKey, seal
from app.edge.noise import noise_tables
from dashboards.web import install
from tests.central.recalibration.test_recalibration_loop import Loop, _day
from tests.central.recalibration.test_recalibration_loop import loop as loop
from tests.central.recalibration.test_recalibration_loop import submitted as submitted
from tests.support.fleet import MANUFACTURER, PASSWORD
from tests.support.playing import FIRST_DAY
from tests.support.rendering import RENDERERS


def tell(loop: Loop) -> None:
    with loop.world.sessions.begin() as session:
        add_recipient(session, "quality@example.org", Severity.NOTICE, by="x", now=clock.now())


def live(loop: Loop, days: int, point: str, threshold: float, epsilon: float | None = None) -> None:
    """That many days at a threshold, each told by its edge and worked on by the worker."""
    worker = Worker(loop.world.settings, loop.world.sessions, RENDERERS)
    rng, first = np.random.default_rng(3), clock.now().date() + timedelta(days=1)
    worker.round()
    for i in range(days):
        day = first + timedelta(days=i)
        loop.clock.set(datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=1))
        cases = _day(rng, 200, 0.25, threshold)
        tables = {"strata": loop.edge.strata(day, cases)}
        if epsilon is not None:
            tables = noise_tables(loop.world.schema, tables["strata"], epsilon)
        window = loop.edge.window(day, tables=tables, operating_point=point)
        assert loop.edge.send(window).status_code == 200
        loop.clock.advance(hours=4)
        worker.round()


def log_in(loop: Loop) -> None:
    for client, name in ((loop.author, "author"), (loop.approver, "approver")):
        client.post("/api/v1/session", json={"name": name, "password": PASSWORD})


def subjects(loop: Loop) -> list[str]:
    with loop.world.sessions() as session:
        rows = session.execute(
            text("SELECT subject FROM outbox_mail WHERE cause LIKE 'comparison:%'")
        )
        return [str(row[0]) for row in rows]


@pytest.mark.parametrize(
    ("threshold", "state"), [(0.125, "as expected"), (0.25, "not as expected")]
)
def test_the_job_compares_once_records_and_tells(
    loop: Loop, submitted: Any, threshold: float, state: str
) -> None:
    tell(loop)
    loop.decide(submitted)
    release = loop.release(submitted).json()

    live(loop, 8, release["id"], threshold)
    log_in(loop)
    recorded = loop.author.get(f"/api/v1/point-releases/{release['id']}/comparison").json()
    shown = loop.author.get(f"/api/v1/recalibrations/{submitted['id']}").json()

    assert (recorded["state"], recorded["cases"]) == (state, 1000)  # not the 1,600 of now
    assert shown["comparisons"] == [recorded]
    assert subjects(loop) == [
        f"{release['id']}: {state} after the change "
        f"http://testserver/recalibrations/{submitted['id']}"
    ]


def test_a_failed_comparison_offers_the_roll_back_on_the_page(loop: Loop, submitted: Any) -> None:
    install(loop.world.app)
    loop.decide(submitted)
    release = loop.release(submitted).json()

    live(loop, 6, release["id"], 0.25)
    log_in(loop)
    page = loop.approver.get(f"/recalibrations/{submitted['id']}").text

    assert "NOT AS EXPECTED" in page
    assert "Sign roll-back" in page


def test_flags_with_noise_are_not_compared(loop: Loop, submitted: Any) -> None:
    tell(loop)
    install(loop.world.app)
    loop.decide(submitted)
    release = loop.release(submitted).json()

    live(loop, 6, release["id"], 0.25, epsilon=8.0)
    log_in(loop)
    found = loop.author.get(f"/api/v1/point-releases/{release['id']}/comparison").json()
    page = loop.approver.get(f"/recalibrations/{submitted['id']}").text

    assert (found["state"], found["alerts"]) == ("not assessable under noise", None)
    assert "not assessable under noise" in page.lower()
    assert subjects(loop) == []


def test_cases_after_a_roll_back_are_not_counted(loop: Loop, submitted: Any) -> None:
    loop.decide(submitted)
    release = loop.release(submitted).json()
    live(loop, 2, release["id"], 0.125)
    log_in(loop)
    back = loop.approver.post(
        f"/api/v1/point-releases/{release['id']}/roll-back",
        json={"reason": "enough", "password": PASSWORD},
    )
    assert back.status_code == 201, back.text

    live(loop, 6, back.json()["id"], 0.25)
    log_in(loop)
    found = loop.author.get(f"/api/v1/point-releases/{release['id']}/comparison").json()

    assert (found["state"], found["cases"]) == (watch.ENDED, 400)


def test_charts_and_reports_begin_a_new_stage_with_each_operating_point(
    loop: Loop, submitted: Any
) -> None:
    install(loop.world.app)
    loop.decide(submitted)
    release = loop.release(submitted).json()
    live(loop, 3, release["id"], 0.125)
    log_in(loop)
    back = loop.approver.post(
        f"/api/v1/point-releases/{release['id']}/roll-back",
        json={"reason": "enough", "password": PASSWORD},
    ).json()
    live(loop, 2, back["id"], 0.25)
    log_in(loop)

    with loop.world.sessions() as session:
        stages = watch.stages(session, loop.world.lock_digest, "H01")
        report = assemble(
            session,
            loop.world.lock_digest,
            FIRST_DAY,
            clock.now().date(),
            number="DR-0001",
            by="author",
            now=clock.now(),
        )
    page = loop.author.get("/sites/H01").text
    document = loop.author.get(f"/api/v1/recalibrations/{submitted['id']}").json()["document"]
    figures = [document["consequences"][which] for which in ("new", "original")]

    assert [(s.point_id, s.kind) for s in stages] == [
        (release["id"], "release"),
        (back["id"], "roll-back"),
    ]
    assert [s.expected for s in stages] == [f["alerts_per_1000"]["value"] / 1000 for f in figures]
    assert stages[0].day == date.fromisoformat(release["effective_from"][:10]) + timedelta(1)
    assert report.stages["H01"] == stages
    assert [r.id for r in report.releases] == [release["id"], back["id"]]
    assert read(written(report)) == report
    assert f"roll-back {back['id']}" in page


# Holdouts ------------------------------------------------------------------------------------


def a_record(loop: Loop, **changes: Any) -> HoldoutRecord:
    rate = Proportion(successes=90, n=100, low=0.83, high=0.94)
    found = HoldoutRate(found=rate, cleared=rate, change=None)
    fields: dict[str, Any] = {
        "lock_digest": loop.world.lock_digest,
        "device": "Chest",
        "version": "1.0.0",
        "holdout": "2026-02",
        "labels_digest": "ab" * 32,
        "files_digest": "cd" * 32,
        "evaluated_at": clock.now() - timedelta(days=1),
        "agent_version": "0.1.0",
        "stage": "classifier",
        "threshold": 0.25,
        "known_answer_deviation": 0.0,
        "cases": 200,
        "outcomes": {"flagged": 110, "not_flagged": 90},
        "rows": (
            HoldoutRow(
                margin="all", level="all", cases=200, positives=100,
                sensitivity=found, specificity=found,
            ),
        ),
        "shared": None,
        "scores": (),
        "criteria": (),
        "verdict": "as cleared",
    }  # fmt: skip
    return HoldoutRecord.model_validate(fields | changes)


def signed(record: HoldoutRecord, key: SigningKey = MANUFACTURER) -> bytes:
    return seal(HOLDOUT_TYPE, record.model_dump(mode="json"), [key])


def test_a_signed_record_is_taken_in_once_and_moves_the_due_day(loop: Loop) -> None:
    [before] = loop.author.get("/api/v1/holdouts/due").json()
    envelope = signed(a_record(loop))

    taken = loop.author.post("/api/v1/holdouts", content=envelope)
    again = loop.author.post("/api/v1/holdouts", content=envelope)
    [after] = loop.author.get("/api/v1/holdouts/due").json()

    assert taken.status_code == 201, taken.text
    assert taken.json()["id"] == again.json()["id"] == "HO-0001"
    assert (before["last"], after["last"]) == ("", "HO-0001")
    expected = clock.now().date() - timedelta(days=1) + timedelta(days=365)
    assert date.fromisoformat(after["due_on"]) == expected
    assert len(loop.author.get("/api/v1/holdouts").json()) == 1


def test_records_that_nobody_trusted_signed_or_that_are_odd_are_refused(loop: Loop) -> None:
    post = loop.author.post
    stranger = post("/api/v1/holdouts", content=signed(a_record(loop), SigningKey.generate()))
    future = a_record(loop, evaluated_at=clock.now() + timedelta(days=1))
    elsewhere = a_record(loop, lock_digest="0" * 64)
    viewer = loop.world.browser("viewer", Role.VIEWER)

    assert stranger.status_code == 422
    assert post("/api/v1/holdouts", content=signed(future)).status_code == 422
    assert post("/api/v1/holdouts", content=signed(elsewhere)).status_code == 404
    assert post("/api/v1/holdouts", content=b"{}").status_code == 422
    assert viewer.post("/api/v1/holdouts", content=signed(a_record(loop))).status_code == 403
    assert loop.author.get("/api/v1/holdouts").json() == []


def test_a_missed_day_is_written_about_once_and_stands_on_the_page(loop: Loop) -> None:
    install(loop.world.app)
    tell(loop)
    worker = Worker(loop.world.settings, loop.world.sessions, RENDERERS)
    worker.round()
    loop.clock.advance(days=364)
    worker.round()
    log_in(loop)
    before = loop.author.get("/recalibrations").text
    for _ in range(3):
        loop.clock.advance(days=1)
        worker.round()
    log_in(loop)
    after = loop.author.get("/recalibrations").text

    with loop.world.sessions() as session:
        rows = session.execute(text("SELECT subject FROM outbox_mail WHERE cause LIKE 'holdout:%'"))
        told = [str(row[0]) for row in rows]
    assert "MISSED" not in before
    assert "MISSED" in after
    assert len(told) == 1
    assert "a freshly labelled holdout was due on" in told[0]


def test_a_record_has_a_page_of_its_own(loop: Loop) -> None:
    install(loop.world.app)
    loop.author.post("/api/v1/holdouts", content=signed(a_record(loop)))

    listed = loop.author.get("/recalibrations").text
    shown = loop.author.get("/holdouts/HO-0001")

    assert "HO-0001" in listed
    assert "Every criterion is met" in shown.text
    assert loop.author.get("/holdouts/HO-0009").status_code == 404
