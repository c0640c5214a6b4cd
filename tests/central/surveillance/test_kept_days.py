"""Rows kept of each day: an evaluation from them and one from the signed bytes are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from datetime import date, timedelta

import numpy as np
import pytest
import zstandard
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app import clock
from app.central.intake.arrival import evaluation_instant
from app.central.intake.models import StoredWindow
from app.central.surveillance import history, kept_days
from app.central.surveillance.arrivals import Arrived, Part, gather, pack, unpack
from app.central.surveillance.joining import Joined, join
from app.central.surveillance.models import Evaluation, KeptDay, Signal
from app.contracts.signing import sha256
from app.contracts.window import Table
from monitors.observations import Stratum
from monitors.schema import Schema
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.contracts.examples import some_cases
from tests.support.fleet import SCANNER, FakeEdge, World

DAY = date(2026, 3, 2)
OTHER = ("scanner-2", *SCANNER[1:])


def content(joined: Joined) -> list[object]:
    """All that a history holds, as values that can be compared."""
    found = joined.history
    parts = (found.cases, found.moments, found.labels, found.sentinels)
    arrays = [v.tolist() if isinstance(v, np.ndarray) else v for p in parts for v in _fields(p)]
    return [joined.lines, [astuple(s) for s in found.strata], *arrays]


def _fields(rows: object) -> list[object]:
    return [getattr(rows, name) for name in type(rows).__slots__]


def rows(width: int, *keys: tuple[str, ...], seed: int) -> Table:
    values = np.random.default_rng(seed).integers(0, 90, (len(keys), width))
    return Table(keys, values.astype(np.int64))


def every_table(schema: Schema, day: date, seed: int) -> dict[str, Table]:
    span = day.isoformat(), (day + timedelta(days=1)).isoformat()
    week = span[0], (day + timedelta(days=7)).isoformat()
    width = schema.width
    return {
        "strata": rows(width(schema.columns), (*span, *OTHER), (*span, *SCANNER), seed=seed),
        "moments": rows(
            width(schema.moment_columns), (*week, "scanner-9", *SCANNER[1:]), seed=seed + 1
        ),
        "labels": rows(
            width(schema.label_columns),
            (span[0], "random_audit", "r1", "all"),
            (span[0], "follow_up", "r2", "all"),
            seed=seed + 2,
        ),
        "sentinel": rows(width(schema.sentinel_columns), (span[0], ""), (span[0], "r1"), seed=seed),
    }


def some_windows(world: World) -> list[Arrived]:
    """Of two edges over four days, some late, one without rows; in no order."""
    edges = [FakeEdge(world, edge_id=name) for name in ("edge-b", "edge-a")]
    made = []
    for i in range(8):
        edge, day = edges[i % 2], DAY + timedelta(days=i // 2)
        tables = {} if i == 5 else every_table(world.schema, day, seed=i)
        late = 3 if i == 2 else 1
        arrived = (day + timedelta(days=late)).toordinal()
        made.append(Arrived(f"H0{i % 2}", arrived, edge.window(day, tables=tables)))
    return [made[i] for i in (3, 0, 7, 1, 2, 6, 5, 4)]


def by_day(windows: Sequence[Arrived]) -> list[Part]:
    days = sorted({w.day for w in windows})
    return [gather(w for w in windows if w.day == day) for day in days]


def test_a_history_does_not_depend_on_how_its_windows_are_parted(world: World) -> None:
    windows = some_windows(world)
    whole = content(join(world.schema, [gather(windows)]))

    assert content(join(world.schema, by_day(windows))) == whole
    assert content(join(world.schema, by_day(windows)[::-1])) == whole
    assert content(join(world.schema, [gather([w]) for w in windows])) == whole


def test_windows_stand_in_order_of_edge_epoch_and_sequence(world: World) -> None:
    windows = some_windows(world)
    numbered = sorted(windows, key=lambda w: (w.window.header.edge_id, w.window.header.sequence))

    joined = join(world.schema, by_day(windows))

    strata = [w.window.tables["strata"] for w in numbered if "strata" in w.window.tables]
    assert joined.history.cases.rows.tolist() == [
        row for table in strata for row in table.values.tolist()
    ]
    assert joined.history.strata[:2] == (Stratum("H01", *OTHER), Stratum("H01", *SCANNER))
    assert joined.lines == [f'["{w.window.digest}","{w.site}",{w.day}]' for w in numbered]


def test_a_part_is_packed_and_read_without_loss(world: World) -> None:
    parts = by_day(some_windows(world))

    again = [unpack(pack(part)) for part in parts]

    assert content(join(world.schema, again)) == content(join(world.schema, parts))
    assert [pack(part) for part in again] == [pack(part) for part in parts]


def test_nothing_is_a_history_too(world: World) -> None:
    joined = join(world.schema, [unpack(pack(gather([])))])

    assert content(joined)[:2] == [[], []]
    assert joined.history.cases.rows.shape == (0, world.schema.width(world.schema.columns))


def kept(watched: Watched) -> int:
    with watched.world.sessions() as session:
        return session.scalar(select(func.count()).select_from(KeptDay)) or 0


def assembled(session: Session, world: World) -> history.Assembled:
    return history.assemble(session, world.lock_digest, upto=clock.now().date())


def change(watched: Watched, statement: str) -> None:
    with watched.world.sessions.begin() as session:
        session.execute(text(statement))


def test_from_what_is_kept_and_from_the_windows_the_result_is_the_same(watched: Watched) -> None:
    watched.go_on(16, changes_on=MONITORED_FROM + timedelta(days=2))
    late = watched.edge.window(MONITORED_FROM + timedelta(days=3), revision=1)
    watched.edge.send(late)
    day = (watched.clock.advance(days=1)).date()
    from_kept = watched.evaluate(day)
    with watched.world.sessions.begin() as session:
        assert session.scalar(select(func.count()).select_from(Signal)) == 1
        session.execute(update(Signal).values(evaluation=None))
        session.execute(text("DELETE FROM evaluation"))
        session.execute(text("DELETE FROM kept_day"))

    from_windows = watched.evaluate(day)

    for name in ("input_digest", "result_digest", "evidence", "windows", "standing"):
        assert getattr(from_kept, name) == getattr(from_windows, name)
    assert kept(watched) == len({w.day for w in _arrived(watched)})


def _arrived(watched: Watched) -> list[Arrived]:
    with watched.world.sessions() as session:
        return history.arrived_windows(session, watched.world.lock_digest, upto=clock.now().date())


def test_a_kept_day_is_not_decoded_again(watched: Watched) -> None:
    watched.go_on(2)
    with watched.world.sessions() as session:
        before = assembled(session, watched.world)
        session.execute(text("UPDATE stored_window SET raw = ''"))

        again = assembled(session, watched.world)

    assert again.digest == before.digest
    assert again.history.cases.rows.tolist() == before.history.cases.rows.tolist()


ANOTHER = zstandard.compress(b"LWD0 of another version")


@pytest.mark.parametrize(
    ("bytes_", "digest"),
    [(pack(gather([])), "0" * 64), (b"nothing of ours", None), (ANOTHER, None)],
    ids=["altered", "unreadable", "another version"],
)
def test_a_kept_day_that_is_not_what_was_kept_is_put_together_anew(
    watched: Watched, bytes_: bytes, digest: str | None
) -> None:
    watched.go_on(2)
    with watched.world.sessions.begin() as session:
        before = assembled(session, watched.world).digest
        newest = session.scalar(select(func.max(KeptDay.day)))
        spoiled = {"content": bytes_, "digest": digest or sha256(bytes_)}
        session.execute(update(KeptDay).where(KeptDay.day == newest).values(spoiled))

    with watched.world.sessions.begin() as session:
        assert assembled(session, watched.world).digest == before

    with watched.world.sessions() as session:
        again = session.scalar(select(KeptDay.content).where(KeptDay.day == newest))
    assert again is not None and len(unpack(again)) == 1


def test_what_was_committed_after_its_day_was_kept_is_seen(watched: Watched) -> None:
    """A window received a moment before six and committed a moment after."""
    watched.go_on(2)
    day = clock.now().date()
    watched.edge.send(watched.edge.window(day, cases=some_cases()))
    with watched.world.sessions.begin() as session:
        before = assembled(session, watched.world)
        newest = select(func.max(StoredWindow.sequence)).scalar_subquery()
        moment = evaluation_instant(day) - timedelta(seconds=1)
        session.execute(
            update(StoredWindow).where(StoredWindow.sequence == newest).values(received_at=moment)
        )

        after = assembled(session, watched.world)

    assert after.windows == before.windows + 1
    assert after.digest != before.digest


def test_nobody_waits_for_another_who_keeps_days(watched: Watched) -> None:
    watched.go_on(1)
    change(watched, "DELETE FROM kept_day")
    with watched.world.sessions.begin() as first:
        one = assembled(first, watched.world)
        with watched.world.sessions.begin() as second:
            assert assembled(second, watched.world).digest == one.digest

            assert second.scalar(select(func.count()).select_from(KeptDay)) == 0

    assert kept(watched) > 0


def test_what_is_forgotten_is_kept_again(watched: Watched) -> None:
    watched.go_on(1)
    before = kept(watched)
    with watched.world.sessions.begin() as session:
        kept_days.forget(session)
        assert session.scalar(select(func.count()).select_from(KeptDay)) == 0

    with watched.world.sessions.begin() as session:
        assembled(session, watched.world)

    assert kept(watched) == before
    with watched.world.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Evaluation)) == 1
