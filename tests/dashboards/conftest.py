"""A small fleet with a history: three sites, a planted change, a silent site, people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.alerts import service as alerts
from app.central.alerts.models import Severity
from app.central.intake import service as intake
from app.central.references import service as references
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from app.contracts.window import Table, Window
from dashboards.render import renderers
from dashboards.web import install
from monitors.summaries import Cases
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, FakeEdge, World
from tests.support.postgres import Databases

FIRST = date(2026, 1, 1)
REFERENCE_DAYS, MONITORED_DAYS = 60, 16
CHANGE = FIRST + timedelta(REFERENCE_DAYS + 8)
LAST = FIRST + timedelta(REFERENCE_DAYS + MONITORED_DAYS - 1)
QUIET_SITE, MOVED_SITE, SILENT_SITE = "H01", "H02", "H03"
HOSTILE = "X9</script><script>alert(1)</script>"
A_DAY = 40
MONTH_ENDS = (date(2026, 1, 31), date(2026, 2, 28), LAST)


@dataclass
class Scene:
    """The world after `LAST`, with a person of every kind signed in on demand."""

    world: World
    clock: Clock
    signal_ids: tuple[str, ...] = ()
    _browsers: dict[Role, TestClient] = field(default_factory=dict)

    @property
    def client(self) -> TestClient:
        return self.browser(Role.QUALITY_APPROVER)

    def browser(self, role: Role) -> TestClient:
        """A browser in which somebody of that role has signed in."""
        if role not in self._browsers:
            self.world.add_person(role.value, role)
            made = TestClient(self.world.app, raise_server_exceptions=False)
            answer = made.post("/sign-in", data={"name": role.value, "password": PASSWORD})
            assert answer.url.path == "/", answer.text
            self._browsers[role] = made
        return self._browsers[role]

    @property
    def engine(self) -> Engine:
        """Its database."""
        assert isinstance(self.world.bind, Engine)
        return self.world.bind

    def signal(self, signal_id: str) -> SignalView:
        with self.world.sessions() as session:
            return surveillance.signal(session, signal_id)


def cases_of(rng: np.random.Generator, moved: bool) -> Cases:
    score = np.clip(rng.beta(2, 6, A_DAY), 0, 1)
    return Cases(
        numeric=np.column_stack(
            [rng.gamma(16.0, 0.1, A_DAY) + 0.2 * moved, rng.normal(95, 5, A_DAY)]
        ),
        categorical=rng.integers(0, 2, (A_DAY, 1)),
        scores=score[:, None],
        embedding=rng.normal(0, 1, (A_DAY, 2)),
        outcome=(score >= 0.25).astype(np.int64),
    )


def play(world: World, simulated: Clock) -> None:
    """Every day of every site: the window is sent the day after, at 01:00."""
    edges = {site: world.an_edge(site) for site in (QUIET_SITE, MOVED_SITE, SILENT_SITE)}
    rng = np.random.default_rng(5)
    for i in range(REFERENCE_DAYS + MONITORED_DAYS):
        day = FIRST + timedelta(i)
        simulated.set(datetime.combine(day + timedelta(1), time(1), tzinfo=UTC))
        for site, edge in edges.items():
            if site == SILENT_SITE and day > LAST - timedelta(6):
                continue
            _send(edge, site, day, cases_of(rng, moved=site == MOVED_SITE and day >= CHANGE))
            if day.weekday() == 6:
                _send_labels(edge, day - timedelta(6))
            if day in MONTH_ENDS:
                send_margins(edge, day.replace(day=1), day.day)
        if i == REFERENCE_DAYS + 1:
            a_reference(world)


def _send(edge: FakeEdge, site: str, day: date, cases: Cases) -> None:
    scanner = HOSTILE if site == MOVED_SITE else "scanner-1"
    window = edge.window(day, cases=cases, stratum=(scanner, "ACME", "BX-2", "4.1", "chest_pa"))
    answer = edge.send(window)
    assert answer.status_code == 200, answer.text


def _send_labels(edge: FakeEdge, monday: date) -> None:
    """A week's audit by two reader groups, its follow-up, and a round of the sentinel set."""
    rng = np.random.default_rng([5, monday.toordinal(), edge.sequence])
    labelled = np.array([40, 30, 6])
    rows = {
        ("random_audit", "group-1"): [*labelled, *rng.binomial(labelled, [0.05, 0.3, 0.7])],
        ("random_audit", "group-2"): [*labelled, *rng.binomial(labelled, [0.05, 0.3, 0.7])],
        ("follow_up", "group-1"): [0, 30, 6, 0, *rng.binomial([30, 6], [0.3, 0.7])],
    }
    keys = tuple((monday.isoformat(), source, group, "v1") for source, group in rows)
    labels = Table(keys, np.array(list(rows.values())))
    _accepted(edge, edge.window(monday, tables={"labels": labels}, stream="labels"))
    rounds = Table(
        tuple((monday.isoformat(), group) for group in ("", "group-1")),
        np.array([[3, 0, 0, 0, 0, 0, 0], [0, 20, 20, 20, 1, 10, 19]]),
    )
    _accepted(edge, edge.window(monday, tables={"sentinel": rounds}, stream="sentinel"))


def send_margins(edge: FakeEdge, first: date, days: int) -> None:
    """A month's sub-groups; one level is too small to leave and is not sent."""
    rng, rows = np.random.default_rng([6, first.toordinal(), edge.sequence]), []
    for share in (0.5, 0.4):
        n = int(days * A_DAY * share)
        labelled = np.array([60, 40, 30, 20])
        positive = rng.binomial(labelled, [0.02, 0.2, 0.5, 0.8])
        rows.append([n, int(rng.binomial(n, 0.42)), *labelled, *positive])
    table = Table((("sex", "F"), ("sex", "M")), np.array(rows))
    end = datetime.combine(first + timedelta(days), time(0), tzinfo=UTC)
    window = edge.window(first, tables={"subgroups": table}, stream="subgroups", end=end)
    _accepted(edge, window)


def _accepted(edge: FakeEdge, window: Window) -> None:
    answer = edge.send(window)
    assert answer.status_code == 200, answer.text
    assert edge.receipt(answer).windows[0].outcome == "stored", answer.text


def a_reference(world: World) -> None:
    until = FIRST + timedelta(REFERENCE_DAYS - 1)
    with world.sessions.begin() as session:
        proposed = references.propose(session, world.lock_digest, until, by="lead", now=clock.now())
        references.approve(session, proposed.id, by="quality", now=clock.now())


def evaluate(world: World) -> None:
    rendering = renderers()

    def announce(session: Session, view: SignalView) -> None:
        alerts.notify(
            session,
            view.id,
            view.signal,
            lock_digest=view.lock_digest,
            device=f"{view.device} {view.version}",
            promised=1.0,
            renderer=rendering.mail,
            mail_from="lockwatch@example.org",
            base_url=world.settings.base_url,
            now=clock.now(),
        )

    with world.sessions.begin() as session:
        surveillance.evaluate(
            session, world.lock_digest, clock.now().date(), announce=announce, now=clock.now()
        )


@contextmanager
def a_scene(databases: Databases, folder: Path) -> Iterator[Scene]:
    """The scene on a database of its own."""
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
            alerts.add_recipient(
                session, "quality@example.org", Severity.INFO, by="test", now=clock.now()
            )
        play(world, simulated)
        for day in (LAST - timedelta(1), LAST, LAST + timedelta(1), LAST + timedelta(2)):
            simulated.set(datetime.combine(day, time(7), tzinfo=UTC))
            evaluate(world)
        with world.sessions() as session:
            ids = tuple(s.id for s in surveillance.signals(session))
        yield Scene(world, simulated, ids)


@pytest.fixture(scope="module")
def scene(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Built once a test file; tests that decide use signals of theirs."""
    with a_scene(databases, tmp_path_factory.mktemp("scene")) as made:
        yield made
