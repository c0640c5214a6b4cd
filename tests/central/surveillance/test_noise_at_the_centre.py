"""Windows of the real edge with noise on, through the real intake, into evaluations and pages.

The reference is of before the noise, the harder case: nothing has got used to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from app import clock
from app.central.errors import Unusable
from app.central.fleet import repository
from app.central.fleet import service as fleet
from app.central.recalibration.drift import read_drift
from app.central.recalibration.plans import default_document
from app.central.references import checks
from app.central.references.cohort import cohort_of
from app.central.surveillance import evidence
from app.central.surveillance.arrivals import Arrived, gather, pack, unpack
from app.central.surveillance.history import assemble
from app.central.surveillance.joining import join
from app.central.surveillance.measured import Days, classes_of
from app.central.surveillance.pool import Pool, pool_within
from app.contracts.disclosure import DEFAULT
from app.contracts.noise import mechanism
from app.contracts.window import encode
from app.device.result import CaseResult
from app.edge.cases import version_of
from app.edge.journal import Journal
from app.edge.noise import noise_tables, spent
from app.edge.sealing import Closing
from app.edge.windows import close_due
from dashboards.evidence import Scope, counts_between, flagged_series, series_of
from monitors.observations import History
from monitors.schema import TALLIES
from monitors.summaries import tallies
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.contracts.examples import KEY, a_header, a_schema, some_tables
from tests.edge.builders import a_result, at, put_results

EPSILON = 8.0
CASES_A_DAY = 60
QUIET_DAYS, CHANGED_DAYS = 16, 12


class Hospital:
    """The journal of an edge that closes its windows with noise, and sends them."""

    def __init__(self, watched: Watched, journal: Journal) -> None:
        self.watched, self.journal = watched, journal
        self.sent = 0
        journal.do(lambda db: version_of(db, watched.world.manifest))
        self.close(MONITORED_FROM)

    def close(self, day: date) -> None:
        """What the agent does at one in the morning, for the day before yesterday's end."""
        edge = self.watched.edge
        closing = Closing(
            now=at(day, 1),
            zone=ZoneInfo("UTC"),
            watermark=timedelta(hours=1),
            limits=DEFAULT,
            key=edge.key,
            edge_id=edge.edge_id,
            epoch=2,  # its own: the reference period was played by another hand
            lock_state="holds",
            deviation=0.0,
            noise_epsilon=EPSILON,
        )
        self.journal.do(lambda db: close_due(db, closing))
        rows = self.journal.do(
            lambda db: db.execute(
                "SELECT raw FROM windows WHERE sequence > ? ORDER BY sequence", (self.sent,)
            ).fetchall()
        )
        for (raw,) in rows:
            answer = edge.send(bytes(raw))
            assert [w.outcome for w in edge.receipt(answer).windows] == ["stored"], answer.text
            self.sent += 1

    def live(self, day: date, rng: np.random.Generator, level: float) -> None:
        """One day's cases, closed and sent on the next morning, and evaluated."""
        results = [(f"{day}/{k}".encode(), day, _a_case(rng, level)) for k in range(CASES_A_DAY)]
        put_results(self.journal, results, manifest=self.watched.world.manifest)
        morning = day + timedelta(days=1)
        self.watched.clock.set(at(morning, 3))
        self.close(morning)
        self.watched.clock.advance(hours=3)
        self.watched.evaluate(morning)


def _a_case(rng: np.random.Generator, level: float) -> CaseResult:
    """As in `tests.support.playing`, where the reference period comes from."""
    return a_result(
        rng,
        scores={"classifier": float(rng.beta(1.2, 5.0))},
        numeric={"noise": float(rng.gamma(30.0, level / 30.0)), "kvp": float(rng.normal(95, 6))},
    )


@pytest.fixture
def hospital(watched: Watched, tmp_path: Path) -> Iterator[Hospital]:
    journal = Journal(tmp_path / "hospital")
    with watched.world.sessions.begin() as session:
        edge = repository.find_edge(session, watched.edge.edge_id)
        assert edge is not None
        fleet.declare_epoch(session, edge, 2, "a journal of its own", now=clock.now())
    yield Hospital(watched, journal)
    journal.close()


def history_of(watched: Watched, upto: date) -> History:
    with watched.world.sessions() as session:
        return assemble(session, watched.world.lock_digest, upto=upto).history


def test_noise_raises_nothing_and_hides_no_changed_scanner(hospital: Hospital) -> None:
    watched, rng = hospital.watched, np.random.default_rng(4)
    for i in range(QUIET_DAYS):
        hospital.live(MONITORED_FROM + timedelta(days=i), rng, 1.2)
    assert watched.signals() == ()

    change = MONITORED_FROM + timedelta(days=QUIET_DAYS)
    for i in range(CHANGED_DAYS):
        hospital.live(change + timedelta(days=i), rng, 1.9)

    [signal] = watched.signals()
    assert signal.signal.sites == ("H01",)
    assert signal.signal.characteristics[0].name == "noise"
    assert signal.signal.change_date is not None
    assert abs((signal.signal.change_date - change).days) <= 2
    assert hospital.journal.do(spent).cases == CASES_A_DAY * (QUIET_DAYS + CHANGED_DAYS)
    _nothing_shown_is_below_zero(watched, change + timedelta(days=CHANGED_DAYS))
    _says_what_it_cannot(watched, change + timedelta(days=CHANGED_DAYS))


def _nothing_shown_is_below_zero(watched: Watched, upto: date) -> None:
    history = history_of(watched, upto)
    noisy = history.cases.is_noisy
    assert noisy.sum() == QUIET_DAYS + CHANGED_DAYS
    # Exact beside noise: that many cases, and no other, were analysed.
    counted = tallies(history.schema, history.cases.rows[noisy])
    assert set(counted["analysed"].tolist()) == {CASES_A_DAY}
    one = counts_between(history, "score_classifier", Scope(("H01",)), 0, 10**6)
    assert min(one) >= 0
    first = MONITORED_FROM.toordinal()
    assert not any(counts_between(history, "noise", Scope(("H01",)), first, 10**6))
    with watched.world.sessions() as session:
        [signal] = watched.signals()
        shown = evidence.signal_evidence(session, signal.id)
    assert shown is not None
    assert all(min(c.current, default=0) >= 0 for c in shown.comparisons)
    flags = next(s for s in shown.series if s.name == "flag_rate")
    assert all(0 <= p.mean <= 1 for p in flags.points)
    # A week with noise knows its rate less well than one of as many cases without.
    exact, least = (
        [p.se**2 * p.n - p.mean * (1 - p.mean) for p in flags.points if is_noisy(p.week)]
        for is_noisy in (lambda w: w + timedelta(6) < MONITORED_FROM, lambda w: w > MONITORED_FROM)
    )
    assert max(map(abs, exact)) < 1e-9 < min(least)


def _says_what_it_cannot(watched: Watched, upto: date) -> None:
    history = history_of(watched, upto)
    cases = history.cases
    column = slice(TALLIES.index("flagged"), TALLIES.index("flagged") + 1)
    by_day = flagged_series(history, Scope(("H01",)), upto)
    assert (by_day.noises > 0).sum() == (cases.variance(column)[:, 0] > 0).sum()
    assert series_of(history, "noise", Scope(("H01",)), upto) is not None
    # What is measured with labels rests on cases without noise alone.
    with watched.world.sessions() as session:
        pool = pool_within(session, watched.world.lock_digest, upto=upto, scope=None)
        measured = pool.counts(Days(0, 10**6)).scores.sum()
    exact = tallies(history.schema, cases.rows[~cases.is_noisy])["analysed"].sum()
    assert measured == exact > 0
    cohort = cohort_of(watched.world.manifest, watched.world.schema)
    found = checks.distances(history, 10**6, cohort)
    assert all(np.isfinite(list(found["H01"].values())))
    [signal] = watched.signals()
    plan = default_document(watched.world.manifest)
    with watched.world.sessions() as session, pytest.raises(Unusable, match="under noise"):
        read_drift(session, signal, plan, classes_of(cohort), upto)


def test_a_kept_day_holds_the_noise_that_its_windows_declare() -> None:
    schema, scales = a_schema(), mechanism(a_schema(), EPSILON).scales
    windows = []
    for sequence, epsilon in ((1, None), (2, EPSILON)):
        tables = some_tables()
        if epsilon is not None:
            tables |= noise_tables(schema, tables["strata"], epsilon)
        windows.append(Arrived("H01", 740_000, encode(a_header(sequence=sequence), tables, KEY)))

    kept = unpack(pack(gather(windows)))

    for parts in ([kept], [gather(windows[1:]), gather(windows[:1])]):
        cases = join(schema, parts).history.cases
        assert cases.is_noisy.tolist() == [False, True]
        every = slice(0, scales.size)
        assert np.sqrt(cases.variance(every)).tolist() == [[0.0] * scales.size, scales.tolist()]
    assert join(schema, [gather(windows[:1])]).history.cases.noise is None


def test_sums_keep_rows_with_noise_apart_and_add_up_their_variance() -> None:
    schema, scales = a_schema(), mechanism(a_schema(), EPSILON).scales
    windows = []
    for sequence, epsilon in ((1, None), (2, EPSILON), (3, EPSILON)):
        tables = some_tables()
        if epsilon is not None:
            tables |= noise_tables(schema, tables["strata"], epsilon)
        window = encode(a_header(sequence=sequence), tables, KEY)
        windows.append(Arrived(f"H0{sequence}", 740_000, window))
    every, days = slice(0, scales.size), Days(730_000, 750_000)

    pool, exact = Pool.of(schema, windows), Pool.of(schema, windows[:1])
    cases = pool.history.cases

    total = sum(one.window.tables["strata"].values.sum(axis=0) for one in windows)
    lines = 2 * len(windows[1].window.tables["strata"].keys)
    assert np.array_equal(cases.rows.sum(axis=0), total)
    assert np.array_equal(cases.variance(every).sum(axis=0), lines * scales.astype(float) ** 2)
    assert np.array_equal(pool.counts(days).scores, exact.counts(days).scores)
    assert exact.counts(days).scores.any()
    assert pool.arrived_by(date.fromordinal(740_000)).cases.is_noisy.any()
    assert pool.sites == ("H01", "H02", "H03")
