"""What arrived on each day, kept so that a window is decoded once and not for every evaluation.

Kept rows hold nothing that the stored windows do not say. A day is put together anew from them,
signatures verified, where its number of windows is no longer that of the ledger, or where its
bytes are not those that were kept. A window that is no longer what its edge signed is left out, and
its day is kept by nobody; the job that evaluates then says which windows are altered
(`verification`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import structlog
from sqlalchemy.orm import Session

from app.central.fleet import repository as fleet_repository
from app.central.intake import repository as intake_repository
from app.central.intake.arrival import evaluation_instant
from app.central.surveillance import repository
from app.central.surveillance.arrivals import Arrived, Part, gather, pack, unpack
from app.central.surveillance.models import KeptDay
from app.contracts.keyring import KeyRing
from app.contracts.signing import sha256
from app.contracts.window import decode
from app.errors import AppError

log = structlog.get_logger()


def parts(session: Session, lock_digest: str, *, upto: date) -> list[Part]:
    """A part for each day on which anything arrived by the evaluation of `upto`, oldest first."""
    counts = intake_repository.arrivals_by_day(
        session, lock_digest, arrived_before=evaluation_instant(upto)
    )
    kept = repository.kept_days(session, lock_digest, upto=upto)
    found = {k.day: part for k in kept if (part := _read(k, counts.get(k.day, 0))) is not None}
    missing = counts.keys() - found.keys()
    if missing:
        rings = fleet_repository.key_rings(session)
        may_keep = repository.may_keep_days(session, lock_digest)
        for day in sorted(missing):
            part = found[day] = gather(_decoded(session, lock_digest, day, rings))
            if may_keep and len(part) == counts[day]:
                _keep(session, lock_digest, day, part)
    return [found[day] for day in counts]


def forget(session: Session) -> None:
    """Keep nothing of any day: the next evaluation puts all of them together anew."""
    repository.forget_days(session)


def _read(kept: repository.Kept, windows: int) -> Part | None:
    """The part, if it is whole; None where the day has to be put together anew."""
    if kept.windows != windows:
        return None
    if sha256(kept.content) != kept.digest:
        log.warning("arrivals.kept_day_altered", day=kept.day.isoformat())
        return None
    try:
        return unpack(kept.content)
    except ValueError:  # kept by another version
        return None


def _keep(session: Session, lock_digest: str, day: date, part: Part) -> None:
    content = pack(part)
    repository.keep_day(
        session,
        KeptDay(
            lock_digest=lock_digest,
            day=day,
            windows=len(part),
            digest=sha256(content),
            content=content,
        ),
    )


def _decoded(
    session: Session, lock_digest: str, day: date, rings: dict[str, KeyRing]
) -> Iterator[Arrived]:
    since, until = evaluation_instant(day - timedelta(days=1)), evaluation_instant(day)
    for row in intake_repository.arrived_within(session, lock_digest, since, until):
        try:
            window = decode(row.raw, rings[row.edge_id].at(row.epoch, row.sequence))
        except AppError:  # one window that is not what was signed stops no surveillance of others
            log.error("arrivals.window_left_out", day=day.isoformat(), edge=row.edge_id)
            continue
        yield Arrived(row.site_id, day.toordinal(), window)
