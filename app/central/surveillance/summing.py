"""Windows into the sums that pages read: by a worker soon after they came, or all anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy.orm import Session, sessionmaker

from app.central.audit import service as audit
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake.arrival import arrival_day
from app.central.surveillance import history, sums_repository
from app.central.surveillance.arrivals import Arrived
from app.central.surveillance.kept_sums import Kept
from app.central.surveillance.sums import Key, Presence, Span, Sums, joined
from app.central.surveillance.sums_repository import Block, Missing, WindowRow
from app.contracts.window import Table, decode

A_BATCH = 2_000  # windows in one transaction: about half a second
BATCHES_A_ROUND = 5  # so that nothing else that is due waits long


def sum_round(sessions: sessionmaker[Session]) -> int:
    """Add what has come since, batch by batch; how many windows were looked at."""
    done = 0
    for _ in range(BATCHES_A_ROUND):
        with sessions.begin() as session:
            some = sum_batch(session)
        done += some
        if some < A_BATCH // 2:
            break
    return done


def sum_batch(session: Session, most: int = A_BATCH) -> int:
    """Add about `most` windows, the oldest of every edge; 0 where another worker is at it."""
    if not sums_repository.is_ours_to_sum(session):
        return 0
    chosen = _oldest(sums_repository.missing(session), most)
    rows = sums_repository.windows(session, chosen, raw=True) if chosen else ()
    by_version = _sums(session, rows)
    if by_version:
        sums_repository.wait_to_change(session)
    for lock_digest, sums in by_version.items():
        sums_repository.add(session, lock_digest, sums)
    sums_repository.mark_summed(session, chosen)
    return sum(m.high - m.low for m in chosen)


def _oldest(missing: Sequence[Missing], most: int) -> list[Missing]:
    """The same number of each edge: edges send day by day, and a block is of one day."""
    first: dict[tuple[str, int], Missing] = {}
    for one in missing:
        first.setdefault((one.edge_id, one.epoch), one)
    each = max(most // max(len(first), 1), 1)
    some = islice(first.values(), most)
    return [Missing(m.edge_id, m.epoch, m.low, min(m.high, m.low + each)) for m in some]


def _sums(session: Session, rows: Iterable[WindowRow]) -> dict[str, Sums]:
    """Sums by device version."""
    rings, made = fleet_repository.key_rings(session), dict[str, Sums]()
    for row in rows:
        window = decode(row.raw, rings[row.edge_id].at(row.epoch, row.sequence))
        if row.lock_digest not in made:
            made[row.lock_digest] = Sums(fleet.layout_of(session, row.lock_digest))
        arrival = arrival_day(row.received_at).toordinal()
        made[row.lock_digest].add(Arrived(row.site_id, arrival, window))
    return made


def sums_of(session: Session, lock_digest: str) -> Kept:
    """What is kept of a device version with the windows that it does not hold: all that arrived.

    Until the transaction ends nobody adds to what is kept.
    """
    sums_repository.hold_still(session)
    missing = sums_repository.missing(session)
    rows = sums_repository.windows(session, missing, raw=False) if missing else ()
    mine = [row for row in rows if row.lock_digest == lock_digest]
    schema = fleet.layout_of(session, lock_digest)
    return Kept(session, lock_digest, Sums.of(schema, _decoded(session, mine)))


def _decoded(session: Session, rows: Sequence[WindowRow]) -> Iterator[Arrived]:
    def read(some: Sequence[WindowRow]) -> dict[str, bytes]:
        names = [Missing(r.edge_id, r.epoch, r.sequence, r.sequence + 1) for r in some]
        return {r.digest: r.raw for r in sums_repository.windows(session, names, raw=True)}

    found = history.DECODED.get(session, rows, read)
    for row in rows:
        yield Arrived(row.site_id, arrival_day(row.received_at).toordinal(), found[row.digest])


@dataclass(frozen=True, slots=True)
class Resum:
    """A device version whose windows were read again, and whether what is kept of them agreed."""

    lock_digest: str
    agrees: bool


def resum(session: Session, *, by: str, now: datetime) -> list[Resum]:
    """Sum every window anew that the sums hold; what differed is put right and audited.

    Meanwhile nobody adds to them; intake goes on, and so do pages until something is put right.
    """
    sums_repository.wait_to_sum(session)
    held = sums_repository.summed(session)
    made = _sums(session, sums_repository.each_window(session, held))
    versions = sorted({v.lock_digest for v in fleet_repository.device_versions(session)})
    return [_compared(session, one, made.get(one), by, now) for one in versions]


def _compared(
    session: Session, lock_digest: str, made: Sums | None, by: str, now: datetime
) -> Resum:
    sums = made or Sums(fleet.layout_of(session, lock_digest))
    if _kept(session, lock_digest) == _comparable(sums):
        return Resum(lock_digest, agrees=True)
    sums_repository.wait_to_change(session)
    sums_repository.forget(session, lock_digest)
    sums_repository.add(session, lock_digest, sums)
    audit.record(session, actor=by, action="surveillance:sums:rebuild", subject=lock_digest, at=now)
    return Resum(lock_digest, agrees=False)


Comparable = tuple[dict[Block, dict[Key, bytes]], dict[str, tuple[list[Span], list[str]]]]


def _kept(session: Session, lock_digest: str) -> Comparable:
    blocks = sums_repository.kept_blocks(session, lock_digest)
    return _plain(blocks), _spans(sums_repository.kept_presence(session, lock_digest))


def _comparable(sums: Sums) -> Comparable:
    return _plain(sums_repository.blocks_of(sums)), _spans(sums.presence)


def _plain(blocks: Mapping[Block, Table]) -> dict[Block, dict[Key, bytes]]:
    return {
        name: {k: row.tobytes() for k, row in zip(table.keys, table.values, strict=True)}
        for name, table in blocks.items()
    }


def _spans(sites: Mapping[str, Presence]) -> dict[str, tuple[list[Span], list[str]]]:
    return {site: (joined(one.days), sorted(one.margins)) for site, one in sites.items()}
