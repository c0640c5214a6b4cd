"""A fleet with a year behind it, written straight into the database for `benchmarks.pages`.

Every site has one edge and one scanner, and sends a window of 40 cases a day; every Sunday the
reads of two reader groups and a round of its sentinel set, and its sub-groups at the end of a
month. Windows are real: encoded and signed with their edge's key. The reference is built from the
first weeks. What the engine found is made up (a walk a stream, signals at known sites) and stored
by the service's own `keep`, since an evaluation of the whole year has a benchmark of its own
(`benchmarks.fleet`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace

import numpy as np
from sqlalchemy import text

from app import clock
from app.contracts.signing import SigningKey
from app.contracts.window import Window
from monitors.schema import IntArray, Schema

Row = tuple[object, ...]

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
COUNT = 'edge_id, start, "end", lock_digest, arrival, site_id, analysed, flagged'
MOVED = """
    INSERT INTO edge_cursor (edge_id, epoch, seen, produced, balance, balance_sequence, cases_end)
    SELECT edge_id, 1, int8multirange(int8range(1, count(*) + 1)), count(*),
           CAST(:balance AS jsonb), count(*), max("end") FILTER (WHERE stream = 'cases')
    FROM stored_window GROUP BY edge_id
"""


@dataclass(frozen=True, slots=True)
class Plot:
    """Some sites, and the days of which their windows are made."""

    sites: tuple[int, ...]
    first: date
    last: date  # exclusive
    begun: date  # when its edges sent their first


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
    _windows(url, _plots(sites, first, between, first), processes)
    reference = _reference(world, between)
    _windows(url, _plots(sites, between, today, first), processes)
    _ledgers(world, days, sent_before(first, today))
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


def _plots(sites: int, first: date, last: date, begun: date) -> list[Plot]:
    size = 25
    numbers = [tuple(range(i, min(i + size, sites))) for i in range(0, sites, size)]
    return [Plot(some, first, last, begun) for some in numbers]


def sent_before(first: date, last: date) -> int:
    """Windows that a site sends from `first` to before `last`."""
    return sum(len(_streams(first + timedelta(days=d))) for d in range((last - first).days))


def _streams(day: date) -> tuple[str, ...]:
    """What a site sends of one day."""
    weekly = ("labels", "sentinel") if day.weekday() == 6 else ()
    monthly = ("subgroups",) if (day + timedelta(days=1)).day == 1 else ()
    return ("cases", *weekly, *monthly)


def _windows(url: str, plots: Iterable[Plot], processes: int) -> None:
    import psycopg

    with ProcessPoolExecutor(processes) as pool, psycopg.connect(url) as connection:
        for windows, counts in pool.map(made, plots):
            _copy(connection, f"stored_window ({WINDOW})", windows)
            _copy(connection, f"case_count ({COUNT})", counts)


def _copy(connection, into: str, rows: list[Row]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {into} FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def made(plot: Plot) -> tuple[list[Row], list[Row]]:
    """Rows of the stored windows of a plot, and of the counts of their cases."""
    from app.central.intake.arrival import arrival_day
    from app.central.intake.counting import counted

    windows, counts = [], []
    for site, window, arrived in _sent(plot):
        header = window.header
        mine = counted(window)
        place = (header.edge_id, header.start, header.epoch, header.sequence, header.end)
        known = (header.stream, 0, site, header.lock_digest, window.digest)
        windows.append(
            (*place, *known, sum(c.analysed for c in mine), arrived, arrived, window.raw)
        )
        where = (header.lock_digest, arrival_day(arrived), site)
        counts += [(header.edge_id, c.start, c.end, *where, c.analysed, c.flagged) for c in mine]
    return windows, counts


def _sent(plot: Plot) -> Iterator[tuple[str, Window, datetime]]:
    """Site, window and when it arrived."""
    from tests.contracts.examples import a_manifest
    from tests.support.fleet import FakeEdge

    manifest = a_manifest()
    schema = manifest.schema_.layout()
    device = SimpleNamespace(manifest=manifest, lock_digest=manifest.lock_digest, schema=schema)
    tables = _patterns(schema)
    before = sent_before(plot.begun, plot.first)
    for i in plot.sites:
        edge = FakeEdge(device, key=key_of(i), edge_id=edge_of(i), sequence=before)
        for d in range((plot.last - plot.first).days):
            day = plot.first + timedelta(days=d)
            arrived = datetime.combine(day + timedelta(days=1), time(3), UTC)
            for stream in _streams(day):
                rows = tables[stream][(7 * d + i) % PATTERNS]
                yield site_of(i), _window(edge, stream, rows, day), arrived


def _patterns(schema: Schema) -> dict[str, list[IntArray]]:
    """Some rows of each stream to choose from."""
    from monitors.summaries import summarise
    from tests.support.playing import a_day

    rng, one = np.random.default_rng(7), np.zeros(CASES_A_DAY, dtype=np.int64)
    days = [a_day(rng, n=CASES_A_DAY) for _ in range(PATTERNS)]
    return {
        "cases": [summarise(schema, day, one, 1) for day in days],
        "labels": [_drawn(rng, [[20, 15, 5]] * 3, [0.05, 0.3, 0.7]) for _ in days],
        "sentinel": [_rounds(rng) for _ in days],
        "subgroups": [_margins(rng) for _ in days],
    }


def _drawn(rng: np.random.Generator, labelled: list[list[int]], shares: list[float]) -> IntArray:
    """Labelled cases and positives among them, (r, 2 bins)."""
    return np.hstack([labelled, rng.binomial(labelled, shares)])


def _rounds(rng: np.random.Generator) -> IntArray:
    """A re-scoring and a re-reading of the sentinel set."""
    deviation = [[int(rng.integers(0, 5))], [0]]
    return np.hstack([deviation, _drawn(rng, [[0, 0, 0], [20, 20, 20]], [0.05, 0.5, 0.95])])


def _margins(rng: np.random.Generator) -> IntArray:
    n = rng.integers(500, 600, size=(2, 1))
    reads = _drawn(rng, [[60, 40, 30, 20]] * 2, [0.02, 0.2, 0.5, 0.8])
    return np.hstack([n, rng.binomial(n, 0.4), reads])


KEYS = {
    "labels": (
        ("random_audit", "group-1", "v1"),
        ("random_audit", "group-2", "v1"),
        ("follow_up", "group-1", "v1"),
    ),
    "sentinel": (("",), ("group-1",)),
    "subgroups": (("sex", "F"), ("sex", "M")),
}


def _window(edge, stream: str, rows: IntArray, day: date) -> Window:
    """The next window of an edge; labels and rounds are of the week, sub-groups of the month."""
    from app.contracts.window import Table
    from tests.support.fleet import SCANNER

    end = day + timedelta(days=1)
    first = {
        "cases": day,
        "labels": day - timedelta(days=6),
        "sentinel": day,
        "subgroups": day.replace(day=1),
    }[stream]
    dates = {"cases": (day.isoformat(), end.isoformat()), "subgroups": ()}
    lead = dates.get(stream, (first.isoformat(),))
    keys = tuple((*lead, *key) for key in KEYS.get(stream, (SCANNER,)))
    name = "strata" if stream == "cases" else stream
    return edge.window(
        first,
        tables={name: Table(keys, rows)},
        stream=stream,
        end=datetime.combine(end, time(), UTC),
    )


def _reference(world, between: date) -> str:
    """Approved while only its own windows are there."""
    from app.central.references import service as references

    until = between - timedelta(days=1)
    with world.sessions.begin() as session:
        found = references.propose(session, world.lock_digest, until, by="a", now=clock.now())
        return references.approve(session, found.id, by="b", now=clock.now()).id


def _ledgers(world, days: int, windows: int) -> None:
    """What intake would have written beside the windows."""
    from app.contracts.window import BALANCE

    cases = days * CASES_A_DAY
    balance = dict.fromkeys(BALANCE, 0) | {
        "windows_produced": windows,
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
        windows = sites * sent_before(between - timedelta(days=REFERENCE_DAYS), today)
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
