"""What a window adds to the counts that pages read, and those counts made anew from the windows.

`case_count` holds nothing that the stored windows do not say: intake adds to it in the statement
that stores a window, and `recount` compares the two and puts right what differs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.fleet.models import Edge
from app.central.intake import case_counts, repository
from app.central.intake.arrival import arrival_day
from app.contracts.window import Window, decode
from monitors.schema import TALLIES

ANALYSED, FLAGGED = TALLIES.index("analysed"), TALLIES.index("flagged")
Days = tuple[date, date]


@dataclass(frozen=True, slots=True)
class Counted:
    """Cases acquired on the days from `start` to before `end`."""

    start: date
    end: date
    analysed: int
    flagged: int


def counted(window: Window) -> list[Counted]:
    """The cases of a window by the days of its strata, scanners together."""
    strata = window.tables.get("strata")
    analysed: Counter[Days] = Counter()
    flagged: Counter[Days] = Counter()
    for key, row in zip(strata.keys, strata.values, strict=True) if strata else ():
        days = date.fromisoformat(key[0]), date.fromisoformat(key[1])
        analysed[days] += int(row[ANALYSED])
        flagged[days] += int(row[FLAGGED])
    return [Counted(*days, analysed[days], flagged[days]) for days in sorted(analysed)]


@dataclass(frozen=True, slots=True)
class Recount:
    """Windows of an edge that were read, and whether what was kept of them agreed."""

    windows: int
    agrees: bool


def recount(session: Session, edge: Edge, *, by: str, now: datetime) -> Recount:
    """Make the counts of an edge anew; what differed is put right and audited.

    Intake of this edge waits until the transaction ends: nothing is missed or added twice.
    """
    case_counts.lock_cursors(session, edge.id)
    windows, made = _counts_of(session, edge)
    agrees = made == case_counts.counts_of(session, edge.id)
    if not agrees:
        case_counts.replace_counts(session, edge.id, made)
    agrees = case_counts.settle_cursors(session, edge.id) == 0 and agrees
    if not agrees:
        audit.record(session, actor=by, action="intake:counts:rebuild", subject=edge.id, at=now)
    return Recount(windows, agrees)


def _counts_of(session: Session, edge: Edge) -> tuple[int, case_counts.Counts]:
    ring, windows = edge.ring, 0
    counts: case_counts.Counts = {}
    for stored in repository.windows_of(session, edge.id):
        windows += 1
        arrival = arrival_day(stored.received_at)
        for c in counted(decode(stored.raw, ring.at(stored.epoch, stored.sequence))):
            name = stored.lock_digest, stored.site_id, c.start, c.end, arrival
            analysed, flagged = counts.get(name, (0, 0))
            counts[name] = analysed + c.analysed, flagged + c.flagged
    return windows, counts
