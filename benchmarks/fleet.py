"""A fleet day evaluated: from the stored windows to stored signals, and what one window costs.

    python -m benchmarks.fleet [--edges 10 100 1000] [--days 3]

A fleet is written straight into the embedded PostgreSQL (intake has a benchmark of its own):
every edge has `REFERENCE_DAYS` windows behind an approved reference, then `--days` monitored
ones, the last of which is the day that is timed. `first` is an evaluation in a new process,
which decodes every window that has ever arrived; `next` the one of the next morning, when only
that day's windows are new. Bar: 10 s for 1,000 edges; cost per window flat within 20 %.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import structlog

from app.central.surveillance import history

BAR_S = 10.0
REFERENCE_DAYS = 30
CASES_A_DAY = 40
FIRST = date(2026, 1, 5)
PATTERNS = 20  # different days of a scanner; what is counted does not change what it costs


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--edges", type=int, nargs="+", default=[10, 100])
    given.add_argument("--days", type=int, default=3)
    options = given.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print("edges  windows   first s (CPU s)  next s (CPU s)  CPU us/window  CPU us/new window")
    for edges in options.edges:
        with tempfile.TemporaryDirectory(prefix="lw-bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            _run(folder, edges, options.days)
    print(f"bar: {BAR_S:.0f} s for 1,000 edges")


def _run(folder: Path, edges: int, days: int) -> None:
    from app.central.database import migrate, open_engine
    from app.central.embedded_postgres import open_embedded
    from tests.support.fleet import World

    with open_embedded(folder / "pg") as server:
        engine = open_engine(server.url)
        migrate(engine)
        world = World(folder, engine)
        fleet = _fleet(world, edges)
        last = FIRST + timedelta(days=REFERENCE_DAYS + days - 1)
        _write(world, _windows(world, fleet, FIRST, last))
        _approve(world)
        first = _evaluate(world, last)
        _write(world, _windows(world, fleet, last, last + timedelta(days=1)))
        following = _evaluate(world, last + timedelta(days=1))
        engine.dispose()
    stored = edges * (REFERENCE_DAYS + days - 1)
    print(
        f"{edges:5d}  {stored:7d}  {first[0]:8.2f} ({first[1]:5.2f})  "
        f"{following[0]:6.2f} ({following[1]:5.2f})  {first[1] / stored * 1e6:13.0f}  "
        f"{following[1] / edges * 1e6:17.0f}",
        flush=True,
    )


def _fleet(world, edges: int) -> list[tuple[str, object]]:
    """Site and edge of every hospital, written without its enrolment."""
    from app import clock
    from app.central.fleet.models import Edge, EdgeState, Site
    from tests.support.fleet import FakeEdge

    now = clock.now()
    fleet = [(f"H{i:05d}", FakeEdge(world, edge_id=f"edge-{i:012x}")) for i in range(edges)]
    with world.sessions.begin() as session:
        session.add_all(Site(id=s, name=s, timezone="UTC", created_at=now) for s, _ in fleet)
        session.flush()
        session.add_all(
            Edge(
                id=edge.edge_id,
                site_id=site,
                lock_digest=world.lock_digest,
                state=EdgeState.ACTIVE,
                public_key=edge.key.public.hex(),
                epoch=1,
                agent_version="0.1.0",
                reported_lock=world.lock_digest,
                lock_state="holds",
                enrolled_at=now,
                release_counter=1,
            )
            for site, edge in fleet
        )
    return fleet


def _write(world, rows: Iterator[dict[str, object]]) -> None:
    from sqlalchemy import insert

    from app.central.intake.models import StoredWindow

    with world.sessions.begin() as session:
        for some in batched(rows, 2000):
            session.execute(insert(StoredWindow), some)


def _approve(world) -> None:
    from app import clock
    from app.central.references import service as references

    until = FIRST + timedelta(days=REFERENCE_DAYS - 1)
    with world.sessions.begin() as session:
        made = references.propose(session, world.lock_digest, until, by="a", now=clock.now())
        references.approve(session, made.id, by="b", now=clock.now())
    history.DECODED = history.DecodedWindows()  # as in a new process


def _evaluate(world, day: date) -> tuple[float, float]:
    """Seconds by the clock, and of this process's own work: the machine may have other work."""
    from app import clock
    from app.central.surveillance import service

    began, worked = perf_counter(), process_time()
    with world.sessions.begin() as session:
        done = service.evaluate(
            session, world.lock_digest, day, announce=lambda *_: None, now=clock.now()
        )
    assert done is not None
    return perf_counter() - began, process_time() - worked


def batched(rows: Iterator[dict[str, object]], size: int) -> Iterator[list[dict[str, object]]]:
    while some := list(islice(rows, size)):
        yield some


def _windows(world, fleet, since: date, until: date) -> Iterator[dict[str, object]]:
    """Rows of stored windows of every edge and day; a day arrives at 03:00 of the next."""
    from app.contracts.window import Table
    from monitors.summaries import summarise
    from tests.support.fleet import SCANNER
    from tests.support.playing import a_day

    rng = np.random.default_rng(7)
    one = np.zeros(CASES_A_DAY, dtype=np.int64)
    rows = [summarise(world.schema, a_day(rng, n=CASES_A_DAY), one, 1) for _ in range(PATTERNS)]
    for i in range((until - since).days):
        day = since + timedelta(days=i)
        key = (day.isoformat(), (day + timedelta(days=1)).isoformat(), *SCANNER)
        for k, (site, edge) in enumerate(fleet):
            table = Table((key,), rows[(7 * i + k) % PATTERNS])
            yield _row(site, edge.window(day, tables={"strata": table}), day)


def _row(site: str, window, day: date) -> dict[str, object]:
    header = window.header
    arrived = datetime.combine(day + timedelta(days=1), time(3), UTC)
    return {
        "edge_id": header.edge_id,
        "start": header.start,
        "epoch": header.epoch,
        "sequence": header.sequence,
        "end": header.end,
        "stream": header.stream,
        "revision": 0,
        "site_id": site,
        "lock_digest": header.lock_digest,
        "digest": window.digest,
        "cases": CASES_A_DAY,
        "closed_at": arrived,
        "received_at": arrived,
        "raw": window.raw,
    }


if __name__ == "__main__":
    main()
