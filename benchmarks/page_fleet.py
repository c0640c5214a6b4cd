"""A fleet with a year behind it, written straight into the database for `benchmarks.pages`.

Every site has one edge and one scanner, and sends a window of 40 cases a day. Windows are real:
encoded and signed with their edge's key. The reference is built from the first weeks. What the
engine found is made up (a walk a stream, signals at known sites) and stored by the service's own
`keep`, since an evaluation of the whole year has a benchmark of its own (`benchmarks.fleet`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace

import numpy as np
from sqlalchemy import text

from app import clock
from app.contracts.signing import SigningKey

CASES_A_DAY = 40
REFERENCE_DAYS = 30
PATTERNS = 20
WAITING, DECIDED = 60, 240  # signals
BLOCKS = ("acquisition", "score", "embedding")
LIMIT, WARNING = 1000.0, 100.0
WINDOW = (
    'edge_id, start, epoch, sequence, "end", stream, revision, site_id, lock_digest, digest, '
    "cases, closed_at, received_at, raw"
)
ARRIVED = """
    INSERT INTO arrival (edge_id, epoch, sequence, digest, content_digest, outcome, reason,
                         stream, start, "end", received_at)
    SELECT edge_id, epoch, sequence, digest, encode(sha256(raw), 'hex'), 'stored', '',
           stream, start, "end", received_at
    FROM stored_window
"""
MOVED = """
    INSERT INTO edge_cursor (edge_id, epoch, seen, produced, balance, balance_sequence)
    SELECT edge_id, 1, int8multirange(int8range(1, count(*) + 1)), count(*),
           CAST(:balance AS jsonb), count(*)
    FROM stored_window GROUP BY edge_id
"""


@dataclass(frozen=True, slots=True)
class Plot:
    """Some sites, and the days of which their windows are made."""

    sites: tuple[int, ...]
    first: date
    last: date  # exclusive
    before: int  # windows that each has sent already


def site_of(i: int) -> str:
    """Short name of site number `i`."""
    return f"H{i:04d}"


def edge_of(i: int) -> str:
    """Its edge."""
    return f"edge-{i:012x}"


def key_of(i: int) -> SigningKey:
    """The key of that edge: any, but the same in every process."""
    return SigningKey.from_seed(i.to_bytes(32, "big"))


def write(world, url: str, sites: int, days: int, processes: int) -> None:
    """Sites, edges, windows, reference, evaluation and signals up to yesterday."""
    today = clock.now().date()
    first = today - timedelta(days=days)
    between = first + timedelta(days=REFERENCE_DAYS)
    _months(world, first, today)
    _installations(world, sites)
    _windows(url, _plots(sites, first, between, 0), processes)
    reference = _reference(world, between)
    _windows(url, _plots(sites, between, today, REFERENCE_DAYS), processes)
    _ledgers(world, days)
    _evaluation(world, sites, reference, between, today)
    with world.bind.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _months(world, first: date, today: date) -> None:
    """The partitions that a monthly job would have added."""
    from app.central.intake.service import add_months

    at = datetime.combine(first.replace(day=1), time(), UTC)
    while at.date() <= today:
        with world.sessions.begin() as session:
            add_months(session, at)
        at = (at + timedelta(days=32)).replace(day=1)


def _installations(world, sites: int) -> None:
    from app.central.fleet.models import Edge, EdgeState, Site

    now = clock.now()
    with world.sessions.begin() as session:
        session.add_all(
            Site(id=site_of(i), name=f"Hospital {i:04d}", timezone="UTC", created_at=now)
            for i in range(sites)
        )
        session.flush()
        session.add_all(
            Edge(
                id=edge_of(i),
                site_id=site_of(i),
                lock_digest=world.lock_digest,
                state=EdgeState.ACTIVE,
                public_key=key_of(i).public.hex(),
                epoch=1,
                agent_version="0.1.0",
                reported_lock=world.lock_digest,
                lock_state="holds",
                enrolled_at=now,
                approved_at=now,
                approved_by="benchmark",
                last_seen_at=now,
                release_counter=1,
            )
            for i in range(sites)
        )


def _plots(sites: int, first: date, last: date, before: int) -> list[Plot]:
    size = 25
    numbers = [tuple(range(i, min(i + size, sites))) for i in range(0, sites, size)]
    return [Plot(some, first, last, before) for some in numbers]


def _windows(url: str, plots: Iterable[Plot], processes: int) -> None:
    import psycopg

    with ProcessPoolExecutor(processes) as pool, psycopg.connect(url) as connection:
        for rows in pool.map(made, plots):
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY stored_window ({WINDOW}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row(row)


def made(plot: Plot) -> list[tuple[object, ...]]:
    """Rows of stored windows of a plot."""
    return list(_made(plot))


def _made(plot: Plot) -> Iterator[tuple[object, ...]]:
    from app.contracts.window import Table
    from monitors.summaries import summarise
    from tests.contracts.examples import a_manifest
    from tests.support.fleet import SCANNER, FakeEdge
    from tests.support.playing import a_day

    manifest = a_manifest()
    schema = manifest.schema_.layout()
    device = SimpleNamespace(manifest=manifest, lock_digest=manifest.lock_digest, schema=schema)
    rng, one = np.random.default_rng(7), np.zeros(CASES_A_DAY, dtype=np.int64)
    rows = [summarise(schema, a_day(rng, n=CASES_A_DAY), one, 1) for _ in range(PATTERNS)]
    for i in plot.sites:
        edge = FakeEdge(device, key=key_of(i), edge_id=edge_of(i), sequence=plot.before)
        for d in range((plot.last - plot.first).days):
            day = plot.first + timedelta(days=d)
            key = (day.isoformat(), (day + timedelta(days=1)).isoformat(), *SCANNER)
            table = Table((key,), rows[(7 * d + i) % PATTERNS])
            yield _row(site_of(i), edge.window(day, tables={"strata": table}), day)


def _row(site: str, window, day: date) -> tuple[object, ...]:
    header = window.header
    arrived = datetime.combine(day + timedelta(days=1), time(3), UTC)
    place = (header.edge_id, header.start, header.epoch, header.sequence, header.end)
    known = (header.stream, 0, site, header.lock_digest, window.digest, CASES_A_DAY)
    return (*place, *known, arrived, arrived, window.raw)


def _reference(world, between: date) -> str:
    """Approved while only its own windows are there."""
    from app.central.references import service as references

    until = between - timedelta(days=1)
    with world.sessions.begin() as session:
        found = references.propose(session, world.lock_digest, until, by="a", now=clock.now())
        return references.approve(session, found.id, by="b", now=clock.now()).id


def _ledgers(world, days: int) -> None:
    """What intake would have written beside the windows."""
    import json

    from app.contracts.window import BALANCE

    cases = days * CASES_A_DAY
    balance = dict.fromkeys(BALANCE, 0) | {
        "windows_produced": days,
        "received": cases,
        "analysed": cases,
    }
    with world.sessions.begin() as session:
        session.execute(text(ARRIVED))
        session.execute(text(MOVED), {"balance": json.dumps(balance)})


def _evaluation(world, sites: int, reference: str, between: date, today: date) -> None:
    from app.central.accounts.service import Signer
    from app.central.surveillance import plans, service
    from app.central.surveillance.models import Action
    from monitors.engine import Evaluation

    traces, signals = _traces(sites, between, today), _signals(sites, between, today)
    result = Evaluation(tuple(signals), tuple(traces), {}, 1.0)
    with world.sessions.begin() as session:
        in_force = plans.in_force(session, world.lock_digest)
        windows = sites * (today - between).days + sites * REFERENCE_DAYS
        seen = service.Seen(world.lock_digest, "0" * 64, reference, in_force, today, windows)
        service.keep(session, seen, result, announce=lambda *_: None, now=clock.now())
        signer = Signer("assessor", "A. Assessor", clock.now())
        for one in service.signals(session, limit=DECIDED):
            for action in (Action.START_ASSESSMENT, Action.CONFIRM):
                seen_digest = service.signal(session, one.id).digest
                service.decide(
                    session,
                    one.id,
                    action,
                    rationale="Images were compared side by side.",
                    cause="scanner",
                    seen_digest=seen_digest,
                    signer=signer,
                    key=world.key,
                )


def _traces(sites: int, between: date, today: date):
    from monitors.engine import Trace

    rng = np.random.default_rng(11)
    day = np.arange(between.toordinal(), today.toordinal(), dtype=np.int64)
    for i in range(sites):
        for block in BLOCKS:
            walk = np.exp(rng.normal(0, 0.5, day.size))
            stream = f"{block}:{site_of(i)}"
            yield Trace(stream, block, site_of(i), "", "", day, walk, LIMIT, WARNING)


def _signals(sites: int, between: date, today: date):
    from monitors.effects import EffectSize
    from monitors.engine import Belief, SignalResult

    days = (today - between).days
    for k in range(WAITING + DECIDED):
        i, day = (13 * k) % sites, between.toordinal() + 10 + (k * (days - 12)) // 300
        belief = Belief(day, ("scanner",), 0.9, {"scanner": 0.9, "prevalence": 0.05})
        yield SignalResult(
            id=f"signal-{k}",
            kind="statistical",
            day=day,
            sites=(site_of(i),),
            scanners=("scanner-1",),
            scanner_models=("BX-2",),
            readers=(),
            history=(belief,),
            change_day=day - 3,
            change_interval=(day - 5, day - 1),
            characteristics=(EffectSize("noise", 0.9, (0.7, 1.1), "reference SD"),),
            stream=f"{BLOCKS[k % 3]}:{site_of(i)}",
            statistic=1234.5,
            limit=LIMIT,
        )
