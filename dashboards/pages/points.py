"""At which operating points sites flag now, in a sentence."""

from __future__ import annotations

from datetime import date

from sqlalchemy.orm import Session

from app.central.fleet import service as fleet
from app.central.recalibration.in_force import in_force
from app.central.surveillance.measured import Days
from dashboards import wording_performance as phrases


def points_in_use(
    session: Session, lock_digest: str, scope: str | None, today: date
) -> tuple[str, ...]:
    """Which sites flag from another score than the cleared one; nothing where none does."""
    manifest = fleet.manifest_of(fleet.get_device_version(session, lock_digest))
    days = Days(1, today.toordinal() + 1)
    uses = in_force(session, manifest, days, site=scope)
    return phrases.other_points([use for use in uses if use.days.end == days.end])
