"""A fleet day evaluated: from the stored windows to stored signals, and what one window costs.

    python -m benchmarks.fleet [--edges 10 100 1000] [--days 3]

A fleet is written straight into the embedded PostgreSQL (intake has a benchmark of its own):
every edge has `REFERENCE_DAYS` windows behind an approved reference, then `--days` monitored
ones, the last of which is the day that is timed. Every evaluation runs in a process of its own.
`nothing kept` verifies and decodes every window that has ever arrived, as after an upgrade;
`next morning` finds the days before kept, and only that day's windows are new; `engine` is what
the statistics take of it. MiB: the largest the process was, and before it evaluated. Bar: 10 s for
1,000 edges; CPU per window flat within 20 %.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import structlog

BAR_S = 10.0
REFERENCE_DAYS = 30
CASES_A_DAY = 40
FIRST = date(2026, 1, 5)
PATTERNS = 20  # different days of a scanner; what is counted does not change what it costs


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--edges", type=int, nargs="+", default=[10, 100])
    given.add_argument("--days", type=int, default=3)
    given.add_argument(
        "--evaluate", nargs=3, metavar=("URL", "LOCK", "DAY"), help=argparse.SUPPRESS
    )
    options = given.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if options.evaluate:
        url, lock_digest, day = options.evaluate
        print(json.dumps(_evaluated(url, lock_digest, date.fromisoformat(day))))
        return
    print(
        " edges windows | nothing kept: s (CPU, engine), CPU us/window, MiB (before)"
        " | next morning: s (CPU, engine), CPU us/window, us/new window, MiB"
    )
    for edges in options.edges:
        with tempfile.TemporaryDirectory(prefix="lw-bench-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            _run(folder, edges, options.days)
    print(f"bar: {BAR_S:.0f} s for 1,000 edges")


def _run(folder: Path, edges: int, days: int) -> None:
    from sqlalchemy import text

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
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM kept_day"))
            connection.execute(text("ANALYZE"))
        scratch = _evaluate(server.url, world.lock_digest, last)
        _write(world, _windows(world, fleet, last, last + timedelta(days=1)))
        morning = _evaluate(server.url, world.lock_digest, last + timedelta(days=1))
        engine.dispose()
    stored = edges * (REFERENCE_DAYS + days - 1)
    print(
        f"{edges:6d} {stored:7d} | {_line(scratch)}, {scratch['cpu'] / stored * 1e6:.0f}, "
        f"{scratch['peak']:.0f} ({scratch['before']:.0f}) | {_line(morning)}, "
        f"{morning['cpu'] / (stored + edges) * 1e6:.0f}, {morning['cpu'] / edges * 1e6:.0f}, "
        f"{morning['peak']:.0f}",
        flush=True,
    )


def _line(found: dict[str, float]) -> str:
    return f"{found['wall']:.2f} ({found['cpu']:.2f}, {found['engine']:.2f})"


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


def _evaluate(url: str, lock_digest: str, day: date) -> dict[str, float]:
    """What an evaluation takes in a new process."""
    given = [sys.executable, "-m", "benchmarks.fleet", "--evaluate", url, lock_digest, str(day)]
    done = subprocess.run(given, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _evaluated(url: str, lock_digest: str, day: date) -> dict[str, float]:
    """Seconds by the clock, of this process's own work and of the engine in it; MiB at most."""
    from app import clock
    from app.central.database import open_engine, session_factory
    from app.central.surveillance import service

    engine, statistics = open_engine(url), _Timed(service.run_engine)
    service.run_engine = statistics
    before, began, worked = _peak_mib(), perf_counter(), process_time()
    with session_factory(engine).begin() as session:
        done = service.evaluate(
            session, lock_digest, day, announce=lambda *_: None, now=clock.now()
        )
    assert done is not None
    return {
        "wall": perf_counter() - began,
        "cpu": process_time() - worked,
        "engine": statistics.cpu,
        "before": before,
        "peak": _peak_mib(),
    }


class _Timed:
    """A function, and the processor's seconds that it took."""

    def __init__(self, work) -> None:
        self.work, self.cpu = work, 0.0

    def __call__(self, *given):
        began = process_time()
        try:
            return self.work(*given)
        finally:
            self.cpu += process_time() - began


def _peak_mib() -> float:
    """Of this process; `ru_maxrss` would begin with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


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
