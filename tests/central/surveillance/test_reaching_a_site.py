"""A signal that grows to other sites: their people are told once, and nobody twice."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import clock
from app.central.alerts import service as alerts
from app.central.alerts.models import OutboxMail, Severity
from app.central.surveillance import plans, service
from app.central.surveillance.service import SignalView
from dashboards.render import renderers
from monitors.engine import Belief, Evaluation, SignalResult
from tests.central.surveillance.conftest import MONITORED_FROM, Watched

EVERYBODY = {"all@example.org": None, "one@example.org": "H01", "two@example.org": "H02"}


def told(watched: Watched) -> list[str]:
    with watched.world.sessions() as session:
        found = session.scalars(select(OutboxMail).where(OutboxMail.cause == "signal:S-0001"))
        return sorted(mail.recipient for mail in found)


def announce(session: Session, view: SignalView) -> None:
    alerts.notify(
        *(session, view.id, view.signal),
        lock_digest=view.lock_digest,
        device=f"{view.device} {view.version}",
        promised=1.0,
        renderer=renderers().mail,
        mail_from="lockwatch@example.org",
        base_url="http://testserver",
        now=clock.now(),
    )


def find(watched: Watched, sites: tuple[str, ...], days: int) -> None:
    """An evaluation that finds the one change at `sites`."""
    day = MONITORED_FROM.toordinal() + days
    found = SignalResult(
        id="signal-1",
        kind="statistical",
        day=MONITORED_FROM.toordinal(),
        sites=sites,
        scanners=(),
        scanner_models=(),
        readers=(),
        history=(Belief(day, ("prevalence",), 0.9, {"prevalence": 0.9}),),
        change_day=None,
        change_interval=None,
        characteristics=(),
        stream="score:H01",
        statistic=20.0,
        limit=10.0,
    )
    with watched.world.sessions.begin() as session:
        in_force = plans.in_force(session, watched.world.lock_digest)
        upto = date.fromordinal(day)
        seen = service.Seen(
            *(watched.world.lock_digest, f"{days:064x}", watched.reference_id),
            *(in_force, upto, 1),
        )
        result = Evaluation((found,), (), {}, 1.0)
        service.keep(session, seen, result, announce=announce, now=clock.now())


def test_the_people_of_a_site_that_is_reached_later_are_told_once(watched: Watched) -> None:
    watched.world.add_site("H02")
    with watched.world.sessions.begin() as session:
        for address, site in EVERYBODY.items():
            alerts.add_recipient(
                *(session, address, Severity.INFO), by="test", now=clock.now(), site_id=site
            )

    find(watched, ("H01",), 1)
    first = told(watched)
    find(watched, ("H01",), 2)
    unchanged = told(watched)
    find(watched, ("H01", "H02"), 3)
    reached = told(watched)
    find(watched, ("H01", "H02"), 4)

    assert first == unchanged == ["all@example.org", "one@example.org"]
    assert reached == told(watched) == sorted(EVERYBODY)


def test_what_was_decided_reaches_nobody_more(watched: Watched) -> None:
    watched.world.add_site("H02")
    with watched.world.sessions.begin() as session:
        alerts.add_recipient(
            *(session, "two@example.org", Severity.INFO), by="test", now=clock.now(), site_id="H02"
        )
    find(watched, ("H01",), 1)
    with watched.world.sessions.begin() as session:
        from app.central.surveillance.models import SignalState

        service.lock(session, "S-0001").state = SignalState.CONFIRMED

    find(watched, ("H01", "H02"), 2)

    assert told(watched) == []
