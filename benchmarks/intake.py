"""Windows taken in a second: verified, judged, durable; against a bare insert of the same bytes.

    python -m benchmarks.intake [--windows 400] [--edges 10]

Both sides write to the same embedded PostgreSQL with its own durability (fsync and
synchronous_commit on), one commit a window, on one connection, in turns of 50. The bare side is
psycopg inserting the exact bytes under their key; ours verifies the signature, checks order and
plausibility, stores, updates the cursor and signs a receipt. HTTP is on neither side.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import psycopg
import structlog

TURN = 50
BAR = 0.5


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--windows", type=int, default=400)
    given.add_argument("--edges", type=int, default=10)
    options = given.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _run(folder, options.windows, options.edges)


def _run(folder: Path, windows: int, edges: int) -> None:
    from app import clock
    from app.central.database import migrate, open_engine
    from app.central.embedded_postgres import open_embedded
    from tests.support.fleet import World

    with open_embedded(folder / "pg") as server:
        engine = open_engine(server.url)
        migrate(engine)
        world = World(folder, engine)
        senders = [world.an_edge(f"H{i:04d}") for i in range(edges)]
        made = [
            (sender.edge_id, sender.window(clock.now().date() - timedelta(days=i + 1)).raw)
            for i in range(windows // edges)
            for sender in senders
        ]
        url = server.url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url, autocommit=True) as bare:
            bare.execute(
                "CREATE TABLE bare (edge_id text, n int, raw bytea, PRIMARY KEY (edge_id, n))"
            )
            ratios = list(_turns(world, bare, made))
        engine.dispose()
    ours, theirs, ratio = (median(column) for column in zip(*ratios, strict=True))
    size = sum(len(raw) for _, raw in made) / len(made)
    print(f"{len(made)} windows of {size:.0f} bytes from {edges} edges")
    print(f"bare insert {theirs:.0f}/s, intake {ours:.0f}/s, ratio {ratio:.2f} (bar {BAR})")


def _turns(world, bare, made) -> Iterator[tuple[float, float, float]]:
    for start in range(0, len(made), TURN):
        turn = made[start : start + TURN]
        theirs = len(turn) / _timed(lambda turn=turn, start=start: _insert(bare, turn, start))
        ours = len(turn) / _timed(lambda turn=turn: _take_in(world, turn))
        yield ours, theirs, ours / theirs


def _timed(work) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def _insert(bare, turn, start: int) -> None:
    for i, (edge_id, raw) in enumerate(turn):
        bare.execute("INSERT INTO bare VALUES (%s, %s, %s)", (edge_id, start + i, raw))


def _take_in(world, turn) -> None:
    from app import clock
    from app.central.fleet.repository import find_edge
    from app.central.intake import service

    for edge_id, raw in turn:
        with world.sessions.begin() as session:
            edge = find_edge(session, edge_id)
            taken = service.take_in(session, edge, raw, now=clock.now())
            assert taken.outcome == "stored", taken
            service.receipt(session, edge, world.key, now=clock.now(), windows=(taken,))


if __name__ == "__main__":
    main()
