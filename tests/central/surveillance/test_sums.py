"""Sums that pages read say what the windows say, whichever of them are summed already."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from app import clock
from app.central.audit.models import AuditEntry
from app.central.intake import service as intake
from app.central.surveillance import summing, sums_repository
from app.central.surveillance.arrivals import Arrived
from app.central.surveillance.history import arrived_windows, history_of
from app.central.surveillance.measured import Counts, Days
from app.central.surveillance.pool import Deviations, Pool, pool_within
from app.central.surveillance.sum_models import SitePresence, SumBlock
from app.central.surveillance.sums import Kind, from_bits, largest_bits, packed, table_of, unpacked
from app.contracts.window import Table
from monitors.observations import History
from monitors.schema import NUMERIC_UNITS, IntArray
from monitors.summaries import summarise
from tests.conftest import Clock
from tests.contracts.examples import some_cases
from tests.support import decoded
from tests.support.fleet import FakeEdge, World

FIRST, LAST = date(2026, 1, 26), date(2026, 3, 8)
STRATA = (("X1", "ACME", "BX-2", "4.1", "pa"), ("X2", "ZETA", "Z-9", "1.0", "ap"))
PERIODS = [
    (FIRST, LAST),
    (date(2026, 2, 1), date(2026, 2, 28)),
    (date(2026, 1, 31), date(2026, 3, 1)),
    (date(2026, 2, 3), date(2026, 2, 19)),
    (date(2025, 12, 24), FIRST),
    (date(2026, 3, 8), date(2027, 1, 1)),
]


def strata(edge: FakeEdge, day: date, seed: int) -> Table:
    """Two scanners on one day, and the first again over that day and the two after."""
    schema, keys, rows = edge.world.schema, [], []
    for i, (days, stratum) in enumerate(((1, STRATA[0]), (1, STRATA[1]), (3, STRATA[0]))):
        cases = some_cases(40 + i, seed=seed + i)
        keys.append((day.isoformat(), (day + timedelta(days)).isoformat(), *stratum))
        rows.append(summarise(schema, cases, np.zeros(len(cases), dtype=np.int64), 1)[0])
    return Table(tuple(keys), np.array(rows))


def labels(week: date, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    labelled = np.array([40, 30, 6])
    names = (("random_audit", "a"), ("random_audit", "b"), ("follow_up", "a"))
    rows = [[*labelled, *rng.binomial(labelled, [0.1, 0.3, 0.7])] for _ in names]
    return Table(tuple((week.isoformat(), *name, "v1") for name in names), np.array(rows))


def rounds(day: date, deviation: int) -> Table:
    keys = tuple((day.isoformat(), group) for group in ("", "a"))
    return Table(keys, np.array([[deviation, 0, 0, 0, 0, 0, 0], [0, 20, 20, 20, 1, 10, 19]]))


def margins(n: int) -> Table:
    rows = [
        [n, n // 3, 60, 40, 30, 20, 2, 8, 15, 16],
        [n + 7, n // 4, 50, 40, 30, 20, 2, 8, 15, 16],
    ]
    return Table((("sex", "F"), ("sex", "M")), np.array(rows))


def send(edge: FakeEdge, day: date, name: str, table: Table, **header: object) -> None:
    stream = "cases" if name == "strata" else name
    if name == "strata":
        header["end"] = datetime.combine(day + timedelta(3), time(0), tzinfo=UTC)
    window = edge.window(day, tables={name: table}, stream=stream, **header)
    answer = edge.send(window)
    assert edge.receipt(answer).windows[0].outcome == "stored", answer.text


def send_all(world: World, simulated: Clock) -> list[FakeEdge]:
    """Six weeks of two sites; the second is silent for a while, and adds to a day much later."""
    with world.sessions.begin() as session:
        for month in (1, 2, 3):
            intake.add_months(session, datetime(2026, month, 1, tzinfo=UTC))
    edges = [world.an_edge("H01"), world.an_edge("H02")]
    for i in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(i)
        simulated.set(datetime.combine(day + timedelta(3), time(1 + i % 12), tzinfo=UTC))
        for n, edge in enumerate(edges):
            if n and 10 <= i < 20:
                continue
            deviation = 1e-9 * (i + n) if i % 3 else 0.0
            send(
                edge,
                day,
                "strata",
                strata(edge, day, 100 * n + i),
                known_answer_deviation=deviation,
            )
            if day.weekday() == 6:
                send(edge, day - timedelta(6), "labels", labels(day - timedelta(6), i + n))
                send(edge, day, "sentinel", rounds(day, 3 * i + n))
            if (day + timedelta(1)).day == 1 and not n:
                end = datetime.combine(day + timedelta(1), time(0), tzinfo=UTC)
                send(edge, day.replace(day=1), "subgroups", margins(500 + i), end=end)
    simulated.set(datetime.combine(LAST + timedelta(9), time(9), tzinfo=UTC))
    send(edges[1], FIRST, "strata", strata(edges[1], FIRST, 999), revision=1)
    return edges


@pytest.fixture
def played(world: World, simulated_clock: Clock) -> World:
    send_all(world, simulated_clock)
    return world


@pytest.fixture
def fresh(fresh_database: Engine, tmp_path: Path) -> World:
    return World(tmp_path, fresh_database)


def windows_of(session: Session, world: World) -> list[Arrived]:
    return arrived_windows(session, world.lock_digest, upto=LAST + timedelta(30))


def pool_of(session: Session, world: World) -> Pool:
    return pool_within(session, world.lock_digest, upto=LAST + timedelta(30), scope=None)


def alike(one: Counts, other: Counts) -> bool:
    names = ("scores", "labelled", "positive")
    return all((getattr(one, name) == getattr(other, name)).all() for name in names)


def check(session: Session, world: World) -> None:
    """Every question of every period, against the decoded windows."""
    windows, pool = windows_of(session, world), pool_of(session, world)
    history = history_of(world.schema, windows)
    sites = sorted({s.site for s in history.strata})
    assert pool.sites == tuple(sites) and len(sites) == 2
    assert pool.senders("sex") == {"H01"}
    nothing = decoded.counts(history, Days(1, 2))
    for first, last in PERIODS:
        days = Days.of(first, last)
        assert alike(pool.counts(days), decoded.counts(history, days))
        by_site = pool.counts_by_site(days, [*sites, "H99"])
        assert all(alike(by_site[s], decoded.counts(history, days, (s,))) for s in sites)
        assert alike(by_site["H99"], nothing)
        for group in ("a", "b", "c"):
            found, wanted = pool.reads(days, group), decoded.reads(history, days, group=group)
            assert all((x == y).all() for x, y in zip(found, wanted, strict=True))
        assert as_lists(pool.models(days)) == as_lists(models(history, days))
        assert as_lists(pool.margins(days)) == as_lists(margins_sent(windows, days))
        assert pool.deviations(days) == deviations(windows, history, days)
    for most in (1, 3, 1000):
        assert [
            (r.day, r.site, r.reader_group, r.row.tolist()) for r in pool.rounds(most)
        ] == sentinel_lines(history)[:most]
    for upto in (date(2026, 2, 11), LAST, LAST + timedelta(30)):
        assert together(pool.arrived_by(upto)) == together(history, upto)


def as_lists(rows: dict[object, IntArray]) -> dict[object, list[int]]:
    return {key: row.tolist() for key, row in rows.items()}


def models(history: History, days: Days) -> dict[str, IntArray]:
    cases, found = history.cases, dict[str, IntArray]()
    part = history.schema.columns["tallies"]
    for i in np.flatnonzero(days.holds(cases.start)):
        s = history.strata[cases.stratum[i]]
        name = f"{s.manufacturer} {s.model}"
        found[name] = found.get(name, 0) + cases.rows[i, part]
    return found


def margins_sent(windows: list[Arrived], days: Days) -> dict[tuple[str, str], IntArray]:
    found: dict[tuple[str, str], IntArray] = {}
    for one in windows:
        start, end = (
            d.date().toordinal() for d in (one.window.header.start, one.window.header.end)
        )
        table = one.window.tables.get("subgroups")
        if table is not None and start < days.end and end > days.start:
            for (margin, level), row in zip(table.keys, table.values, strict=True):
                found[margin, level] = found.get((margin, level), 0) + row
    return found


def deviations(windows: list[Arrived], history: History, days: Days) -> dict[str, Deviations]:
    known: dict[str, float] = {}
    for one in windows:
        header = one.window.header
        if days.start <= header.start.date().toordinal() < days.end:
            known[one.site] = max(known.get(one.site, 0.0), header.known_answer_deviation)
    of = history.sentinels
    sentinel: dict[str, float] = {}
    for i in np.flatnonzero(days.holds(of.day)):
        if not of.reader_group[i]:
            value = int(of.rows[i, 0]) / NUMERIC_UNITS
            sentinel[of.site[i]] = max(sentinel.get(of.site[i], 0.0), value)
    names = known.keys() | sentinel.keys()
    return {name: Deviations(known.get(name), sentinel.get(name)) for name in names}


def sentinel_lines(history: History) -> list[tuple[date, str, str, list[int]]]:
    of = history.sentinels
    order = sorted(range(len(of.day)), key=lambda i: (-of.day[i], of.site[i]))
    return [
        (date.fromordinal(int(of.day[i])), of.site[i], of.reader_group[i], of.rows[i].tolist())
        for i in order
    ]


def together(history: History, upto: date = date.max) -> dict[tuple[int, ...], list[int]]:
    """Whole rows of cases and labels by their days."""
    found: dict[tuple[int, ...], IntArray] = {}
    cases, of = history.cases, history.labels
    for i in np.flatnonzero(cases.arrival <= upto.toordinal()):
        key = (int(cases.start[i]), int(cases.end[i]), int(cases.arrival[i]))
        found[key] = found.get(key, 0) + cases.rows[i]
    for i in np.flatnonzero(of.arrival <= upto.toordinal()):
        name = hash((of.source[i], of.reader_group[i]))
        label = (int(of.week[i]), int(of.arrival[i]), name)
        found[label] = found.get(label, 0) + of.rows[i]
    return {key: row.tolist() for key, row in found.items()}


def test_sums_say_what_the_windows_say_before_while_and_after_they_are_summed(
    played: World,
) -> None:
    left = None
    while left != 0:
        with played.sessions() as session:
            check(session, played)
        with played.sessions.begin() as session:
            left = summing.sum_batch(session, most=30)

    with played.sessions() as session:
        check(session, played)
        assert sums_repository.missing(session) == []


def test_a_site_alone_is_what_its_own_windows_say(played: World) -> None:
    summing.sum_round(played.sessions)
    days, upto = Days.of(FIRST, LAST), LAST + timedelta(30)
    with played.sessions() as session:
        pool = pool_within(session, played.lock_digest, upto=upto, scope="H02")
        mine = arrived_windows(session, played.lock_digest, upto=upto, sites=("H02",))
    history = history_of(played.schema, mine)

    assert pool.sites == ("H02",)
    assert alike(pool.counts(days), decoded.counts(history, days))
    assert list(pool.deviations(days)) == ["H02"]
    assert pool.received(days)["H02"] == [
        (FIRST, FIRST + timedelta(12)),
        (FIRST + timedelta(20), LAST + timedelta(1)),
    ]


def test_days_received_are_those_that_windows_cover_within_the_period(played: World) -> None:
    summing.sum_round(played.sessions)
    silent = FIRST + timedelta(12)
    with played.sessions() as session:
        found = pool_of(session, played).received(Days.of(silent - timedelta(1), silent))

    assert found == {
        "H01": [(silent - timedelta(1), silent + timedelta(1))],
        "H02": [(silent - timedelta(1), silent)],
    }


@pytest.mark.parametrize("harm", ["a block", "a block too few", "a site"])
def test_a_recount_of_the_sums_agrees_puts_right_and_then_agrees_again(
    played: World, harm: str
) -> None:
    summing.sum_round(played.sessions)
    assert agree(played) == [True]
    with played.sessions.begin() as session:
        damage(session, harm)

    assert agree(played) == [False]

    assert agree(played) == [True]
    with played.sessions() as session:
        check(session, played)
        told = session.scalars(
            select(AuditEntry.subject).where(AuditEntry.action == "surveillance:sums:rebuild")
        ).all()
    assert told == [played.lock_digest]


def agree(world: World) -> list[bool]:
    with world.sessions.begin() as session:
        return [s.agrees for s in summing.resum(session, by="test", now=clock.now())]


def damage(session: Session, harm: str) -> None:
    block = session.scalars(
        select(SumBlock).where(SumBlock.kind == Kind.SITES, SumBlock.span == "day")
    ).first()
    assert block is not None
    if harm == "a block":
        table = unpacked(block.content)
        block.content = packed(Table(table.keys, table.values + 1))
    elif harm == "a block too few":
        session.delete(block)
    else:
        session.execute(update(SitePresence).values(margins=["age_band"]))


def test_nobody_changes_sums_that_somebody_reads(fresh: World) -> None:
    with fresh.sessions() as reading, fresh.sessions() as summing_:
        pool_within(reading, fresh.lock_digest, upto=LAST, scope=None)
        summing_.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            sums_repository.wait_to_change(summing_)


def test_of_two_workers_one_sums(fresh: World) -> None:
    with fresh.sessions() as one, fresh.sessions() as other:
        assert sums_repository.is_ours_to_sum(one)
        assert summing.sum_batch(other) == 0
        assert not sums_repository.is_ours_to_sum(other)


@pytest.mark.parametrize("size", [100, 40_000, 3_000_000_000, 2**62])
def test_a_table_comes_back_as_it_was_stored(size: int) -> None:
    table = Table((("a", "é"), ("b", "")), np.array([[-1, size, 0], [1, 2, 3]], dtype=np.int64))

    again = unpacked(packed(table))

    assert again.keys == table.keys and again.values.dtype == np.int64
    assert (again.values == table.values).all()
    assert unpacked(packed(table_of({}))).keys == ()


def test_deviations_keep_their_order_as_whole_numbers() -> None:
    values = [0.0, 5e-324, 1e-9, 0.1, 0.5, 1.0, 1e300]

    bits = [largest_bits(v) for v in values]

    assert bits == sorted(set(bits)) and [from_bits(b) for b in bits] == values
