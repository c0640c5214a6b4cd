"""From a signal to a signed assessment: awareness, clocks, digest, escalation."""

from __future__ import annotations

import mailbox
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.alerts import service as alerts
from app.central.alerts.models import Severity
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import raise_event
from app.central.worker import Worker
from app.contracts.signing import canonical, verify
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World
from tests.support.rendering import RENDERERS

QUIET = {"facts": "Mean noise rose on one scanner.", "remedial_action_considered": True}


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world.settings, world.sessions, RENDERERS)


def a_signal(world: World, worker: Worker, event: str = "silence", site: str = "H01") -> str:
    """A deterministic signal of our own, announced as in life; returns its number."""
    with world.sessions.begin() as session:
        raise_event(
            session,
            world.lock_digest,
            source=f"{event}:{site}:{clock.now()}",
            event=event,
            cause="lock" if event == "lock" else "data_quality",
            site=site,
            announce=worker.announce,
            now=clock.now(),
        )
        return surveillance.signals(session, limit=1)[0].id


def tell(world: World, address: str, least: Severity = Severity.WARNING, **how: Any) -> None:
    with world.sessions.begin() as session:
        alerts.add_recipient(session, address, least, by="test", now=clock.now(), **how)


def arrived(world: World) -> list[tuple[str, str]]:
    folder = Path(world.settings.transport.removeprefix("maildir:"))
    if not folder.exists():
        return []
    found = mailbox.Maildir(folder, create=False)
    return sorted((str(m["To"]), str(m["Subject"])) for m in found)


def clocks_of(answer: Any) -> dict[str, tuple[str, str | None]]:
    return {c["obligation"]: (c["state"], c["due_on"]) for c in answer.json()["clocks"]}


def judged(**applies: tuple[bool, str]) -> dict[str, Any]:
    """Answers by the last word of the obligation."""
    names = {"r50": "21 CFR 803.50", "r53": "21 CFR 803.53", "r806": "21 CFR 806.10"}
    return {
        names[k]: {"applies": yes, "why": "as argued", "submission": number}
        for k, (yes, number) in applies.items()
    }


def submit(browser: TestClient, number: str, answers: dict[str, Any], /, **changes: Any) -> Any:
    seen = browser.get(f"/api/v1/signals/{number}").json()["digest"]
    body = {"answers": QUIET | answers, "seen_digest": seen, "password": PASSWORD} | changes
    return browser.post(f"/api/v1/signals/{number}/reportability", json=body)


def test_no_clock_runs_before_a_person_is_aware(world: World, worker: Worker) -> None:
    number = a_signal(world, worker)

    seen = world.browser("ann", Role.VIEWER).get(f"/api/v1/signals/{number}/vigilance")

    assert seen.json()["aware_at"] is None
    assert set(clocks_of(seen).values()) == {("possible", None)}


def test_awareness_starts_every_clock_that_counts_from_it(
    world: World, worker: Worker, simulated_clock: Clock
) -> None:
    number = a_signal(world, worker)
    read_at = simulated_clock.advance(hours=2).isoformat()
    simulated_clock.advance(hours=5)
    browser = world.browser("ann", Role.ANALYST)

    noted = browser.post(
        f"/api/v1/signals/{number}/awareness", json={"aware_at": read_at, "how": "by telephone"}
    )

    assert noted.status_code == 201
    assert clocks_of(noted) == {
        "21 CFR 803.50": ("possible", "2026-04-09"),
        "21 CFR 803.53": ("possible", "2026-03-17"),
        "21 CFR 806.10": ("possible", None),
        "EU MDR 87(3)": ("possible", "2026-03-25"),
        "EU MDR 87(4)": ("possible", "2026-03-12"),
        "EU MDR 87(5)": ("possible", "2026-03-20"),
        "EU AI Act 73": ("possible", "2026-03-25"),
    }


def test_the_day_of_awareness_is_that_of_the_manufacturer(
    tmp_path: Path, connection: Any, simulated_clock: Clock
) -> None:
    simulated_clock.set(clock.now().replace(hour=23))  # already the 11th in Tokyo
    world = World(tmp_path, connection, timezone="Asia/Tokyo")
    number = a_signal(world, Worker(world.settings, world.sessions, RENDERERS))
    browser = world.browser("ann", Role.ANALYST)

    noted = browser.post(f"/api/v1/signals/{number}/awareness", json={})

    assert clocks_of(noted)["EU MDR 87(4)"] == ("possible", "2026-03-13")


@pytest.mark.parametrize("minutes", [-1, 1])
def test_nobody_is_aware_before_the_signal_or_in_the_future(
    world: World, worker: Worker, minutes: int
) -> None:
    number = a_signal(world, worker)
    at = (clock.now() + timedelta(minutes=minutes)).isoformat()

    refused = world.browser("ann", Role.ANALYST).post(
        f"/api/v1/signals/{number}/awareness", json={"aware_at": at}
    )

    assert refused.status_code == 422
    assert "aware_at: between" in refused.json()["detail"]


def test_a_signed_assessment_says_which_clocks_run_and_a_submission_ends_them(
    world: World, worker: Worker, simulated_clock: Clock
) -> None:
    number = a_signal(world, worker)
    browser = world.browser("reg", Role.REGULATORY)
    browser.post(f"/api/v1/signals/{number}/awareness", json={})
    correction = {"correction_started_on": "2026-03-12"}

    first = submit(
        browser,
        number,
        {"judgements": judged(r50=(True, ""), r53=(False, ""), r806=(True, ""))} | correction,
    )
    simulated_clock.advance(days=3)
    browser.post("/api/v1/session", json={"name": "reg", "password": PASSWORD})
    second = submit(
        browser,
        number,
        {"judgements": judged(r50=(True, "1234567-2026-00001"), r806=(True, ""))} | correction,
    )

    assert first.status_code == 201, first.text
    assert clocks_of(first)["21 CFR 803.50"] == ("running", "2026-04-09")
    assert clocks_of(first)["21 CFR 803.53"] == ("ruled_out", "2026-03-17")
    assert clocks_of(first)["21 CFR 806.10"] == ("running", "2026-03-26")
    assert clocks_of(second)["21 CFR 803.50"] == ("met", "2026-04-09")
    assert clocks_of(second)["21 CFR 803.53"] == ("possible", "2026-03-17")
    assert [a["version"] for a in second.json()["assessments"]] == [1, 2]


def test_the_signature_binds_the_answers_and_what_was_seen(world: World, worker: Worker) -> None:
    number = a_signal(world, worker)
    browser = world.browser("reg", Role.REGULATORY)

    [made] = submit(browser, number, {"judgements": judged(r50=(False, ""))}).json()["assessments"]

    signed = {
        "signal": number,
        "version": 1,
        "answers": made["answers"],
        "artefact_digest": browser.get(f"/api/v1/signals/{number}").json()["digest"],
        "decided_by": "reg",
        "printed_name": "Reg Person",
        "meaning": "responsibility for the assessment of reportability",
        "decided_at": clock.now().isoformat(),
    }
    domain, signature = "lockwatch/reportability/v1", bytes.fromhex(made["signature"])
    verify(world.key.public, domain, canonical(signed), signature)


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"seen_digest": "0" * 64}, 409, "look at it again"),
        ({"password": "wrong password"}, 401, "name or password"),
        ({"answers": QUIET}, 422, "schema"),
        (
            {"answers": QUIET | {"judgements": judged(r806=(True, ""))}},
            422,
            "correction_started_on: a date is needed",
        ),
    ],
)
def test_an_assessment_that_cannot_be_relied_on_is_refused(
    world: World, worker: Worker, changes: dict[str, Any], status: int, why: str
) -> None:
    number = a_signal(world, worker)
    browser = world.browser("reg", Role.REGULATORY)

    answer = submit(browser, number, {"judgements": {}}, **changes)

    assert answer.status_code == status
    assert why in answer.json()["detail"]
    assert browser.get(f"/api/v1/signals/{number}/vigilance").json()["assessments"] == []


def test_what_is_not_worth_a_mail_of_its_own_comes_once_a_day(
    world: World, worker: Worker, simulated_clock: Clock
) -> None:
    tell(world, "all@x.example", Severity.INFO)
    tell(world, "grave@x.example", Severity.URGENT)
    tell(world, "never@x.example", Severity.URGENT, wants_digest=False)
    worker.round()
    a_signal(world, worker)  # a warning

    for _ in range(3):
        simulated_clock.advance(hours=20)
        worker.round()

    grave = [subject for to, subject in arrived(world) if to == "grave@x.example"]
    assert grave == ["digest S-0001"]
    assert ("all@x.example", "S-0001 silence") in arrived(world)
    assert not [m for m in arrived(world) if m[0] == "never@x.example"]
    assert not [m for m in arrived(world) if m[0] == "all@x.example" and "digest" in m[1]]


def test_a_flood_becomes_a_digest_and_loses_nothing(
    world: World, worker: Worker, simulated_clock: Clock
) -> None:
    tell(world, "all@x.example", Severity.INFO)
    worker.round()
    for i in range(alerts.MOST_AN_HOUR + 5):
        a_signal(world, worker, site=f"H{i:02d}")
    urgent = a_signal(world, worker, "lock", site="H99")
    simulated_clock.advance(hours=20)
    worker.round()

    told = [subject for _, subject in arrived(world)]
    single = [s for s in told if s.endswith(("silence", "lock"))]
    [digest] = [s for s in told if s.startswith("digest")]
    assert len(single) == alerts.MOST_AN_HOUR + 1  # what is urgent comes all the same
    assert len(digest.split(",")) == 5
    assert urgent not in digest


def test_an_unanswered_signal_is_escalated_once_and_an_answered_one_is_not(
    world: World, worker: Worker, simulated_clock: Clock
) -> None:
    tell(world, "first@x.example")
    tell(world, "boss@x.example", on_escalation=True, wants_digest=False)
    worker.round()
    lock = a_signal(world, worker, "lock", site="H01")
    simulated_clock.advance(minutes=1)
    answered = a_signal(world, worker, "lock", site="H02")
    world.browser("ann", Role.ANALYST).post(f"/api/v1/signals/{answered}/awareness", json={})

    simulated_clock.advance(hours=3)
    worker.round()
    before = [m for m in arrived(world) if "waits" in m[1]]
    for _ in range(3):
        simulated_clock.advance(hours=2)
        worker.round()

    assert before == []
    waited = [m for m in arrived(world) if "waits" in m[1]]
    assert [to for to, _ in waited] == ["boss@x.example", "first@x.example"]
    assert {subject[:6] for _, subject in waited} == {lock}
    assert [m for m in arrived(world) if m[0] == "boss@x.example"] == waited[:1]


def test_outside_duty_hours_only_what_is_urgent_comes_at_once(
    world: World, worker: Worker, simulated_clock: Clock
) -> None:
    from app.central.alerts.duty import Duty

    tell(world, "day@x.example", Severity.INFO, duty=Duty(zone="Europe/Berlin"))
    simulated_clock.set(clock.now().replace(day=13, hour=20))  # a Friday evening
    worker.round()
    a_signal(world, worker)
    a_signal(world, worker, "lock", site="H02")
    worker.round()
    at_once = arrived(world)
    simulated_clock.set(clock.now().replace(day=16, hour=6, minute=59))
    worker.round()
    too_early = arrived(world)
    simulated_clock.set(clock.now().replace(day=16, hour=7, minute=1))  # Monday 08:01 in Berlin
    worker.round()

    assert at_once == [("day@x.example", "S-0002 lock")]
    assert ("day@x.example", "S-0001 silence") not in too_early
    assert ("day@x.example", "S-0001 silence") in arrived(world)


def test_only_signals_of_the_own_site_and_device_are_told(world: World, worker: Worker) -> None:
    world.add_site("H01")
    tell(world, "here@x.example", site_id="H01")
    tell(world, "device@x.example", device=world.manifest.device)
    tell(world, "other@x.example", device="Another Device")

    a_signal(world, worker, site="H02")
    worker.round()

    assert [to for to, _ in arrived(world)] == ["device@x.example"]


def test_recipients_are_kept_through_the_api(world: World) -> None:
    browser = world.browser("adm", Role.ADMINISTRATOR)
    body = {"address": "a@x.example", "duty": {"zone": "Europe/Berlin"}}

    added = browser.post("/api/v1/recipients", json=body)
    unknown = browser.post("/api/v1/recipients", json=body | {"address": "b@x", "site_id": "H9"})
    wrong = browser.post("/api/v1/recipients", json=body | {"duty": {"zone": "Mars"}})
    listed = browser.get("/api/v1/recipients").json()
    removed = [browser.delete("/api/v1/recipients/a@x.example").status_code for _ in "12"]

    assert added.status_code == 201, added.text
    assert (unknown.status_code, wrong.status_code) == (422, 422)
    assert [r["duty"]["zone"] for r in listed] == ["Europe/Berlin"]
    assert removed == [204, 404]
    assert browser.get("/api/v1/mails").json() == []
