"""At which operating points sites flagged: those that were released, from when windows name them.

A release says from when it holds; an edge that was away takes it later. What counts is what the
site's windows say. The day on which it changes is of the operating point before: a new one holds
from the first window that began under it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

from sqlalchemy.orm import Session

from app.central.recalibration import repository
from app.central.recalibration.models import PointRelease
from app.central.surveillance.measured import Days
from app.central.surveillance.operating import Use
from app.contracts.change_control import cleared, thresholds_for
from app.contracts.exchange import OperatingPoint
from app.contracts.manifest import Manifest, Threshold
from app.contracts.window import read_header


def in_force(
    session: Session, manifest: Manifest, days: Days, *, site: str | None = None
) -> tuple[Use, ...]:
    """Days of `days` on which a site, or `site`, flagged from another score than the cleared one.

    A site that went back to the cleared score, under whatever name, is at the cleared one.
    """
    usual = cleared(manifest).thresholds
    if not usual:
        return ()
    found = repository.releases_of_version(session, manifest.lock_digest)
    mine = (r for r in found if site is None or r.site_id == site)
    return tuple(
        use
        for _, releases in groupby(mine, key=lambda r: r.site_id)
        for use in _of_site(session, list(releases), days, usual)
    )


def _of_site(
    session: Session, releases: Sequence[PointRelease], days: Days, usual: Sequence[Threshold]
) -> Iterator[Use]:
    """Of one site's releases, oldest first; one that no window names was never in force."""
    began = [(first, r) for r in releases if (first := _began(session, r, days)) is not None]
    ends = [first.toordinal() for first, _ in began]
    for (first, release), end in zip(began, [*ends[1:], days.end], strict=False):
        start = max(first.toordinal(), days.start)
        thresholds = OperatingPoint.model_validate(release.point).thresholds
        threshold = _one(thresholds, usual[0].stage)
        if start < end and threshold != usual[0].value:
            yield Use(
                site=release.site_id,
                point=release.id,
                threshold=threshold,
                days=Days(start, min(end, days.end)),
            )


def _one(thresholds: Sequence[Threshold], stage: str) -> float | None:
    """The score from which a stage flags; None where that depends on the class of scanners."""
    classes = {t.scanner_class for t in thresholds} | {""}
    found = {thresholds_for(thresholds, name).get(stage) for name in classes}
    return found.pop() if len(found) == 1 else None


def _began(session: Session, release: PointRelease, days: Days) -> date | None:
    """The day of the first window that began under a release, up to the end of `days`."""
    until = date.fromordinal(days.end)
    with repository.windows_after(session, release, until) as windows:
        starts = (w for w, raw in windows if read_header(raw).operating_point == release.id)
        first = next(starts, None)
    return None if first is None else first.date()
