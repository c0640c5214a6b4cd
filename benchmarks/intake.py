"""Windows taken in a second: verified, judged, durable; against a bare insert of the same bytes.

    python -m benchmarks.intake [--windows 400] [--edges 10]

Both sides write to the same embedded PostgreSQL with its own durability (fsync and
synchronous_commit on), one commit a window, on one connection, in turns of ten. The bare side is
psycopg inserting the exact bytes under their key. Ours, from the bytes of an authenticated edge to
a signed receipt: verify the signature, check order and plausibility, store, count, move the
cursor, sign, commit. The last line adds what a request does before: take a connection from the
pool, check it, begin, and read the edge. HTTP is on neither side.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import numpy as np
import psycopg
import structlog
from numpy import median

TURN = 10
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
            times = list(_turns(world, bare, made))
        engine.dispose()
    size = sum(len(raw) for _, raw in made) / len(made)
    print(f"{len(made)} windows of {size:.0f} bytes from {edges} edges")
    theirs, ours, whole = (np.array(column) for column in zip(*times, strict=True))
    print(f"bare insert {1 / median(theirs):.0f}/s; ratio to it, median of turns of {TURN}:")
    for name, mine in (("bytes to signed receipt", ours), ("with connection and edge", whole)):
        print(f"  {name} {1 / median(mine):.0f}/s, ratio {median(theirs / mine):.2f} (bar {BAR})")


def _turns(world, bare, made) -> Iterator[tuple[float, float, float]]:
    """Seconds a window of every turn: the bare insert's, intake's, and the whole transaction's."""
    key = world.key
    for start in range(0, len(made), TURN):
        turn = made[start : start + TURN]
        began = perf_counter()
        _insert(bare, turn, start)
        theirs = perf_counter() - began
        parts = [_take_in(world, key, *one) for one in turn]
        ours, whole = (sum(column) for column in zip(*parts, strict=True))
        yield theirs / len(turn), ours / len(turn), whole / len(turn)


def _insert(bare, turn, start: int) -> None:
    for i, (edge_id, raw) in enumerate(turn):
        bare.execute("INSERT INTO bare VALUES (%s, %s, %s)", (edge_id, start + i, raw))


def _take_in(world, key, edge_id: str, raw: bytes) -> tuple[float, float]:
    """Seconds from the bytes to the receipt, committed; and from nothing at all."""
    from app import clock
    from app.central.fleet.repository import find_edge
    from app.central.intake import service

    began = perf_counter()
    with world.sessions() as session:
        edge = find_edge(session, edge_id)
        received = perf_counter()
        receipt = service.acknowledge(session, edge, raw, key, now=clock.now())
        session.commit()
        done = perf_counter()
    assert isinstance(receipt, bytes), receipt
    return done - received, perf_counter() - began


if __name__ == "__main__":
    main()
