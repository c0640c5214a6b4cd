"""What every topic is made from, and what it adds to the common frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from app.central.fleet import service as fleet
from app.central.fleet.service import DeviceVersionView
from app.central.recalibration.in_force import in_force
from app.central.references.service import ReferenceView
from app.central.surveillance import service as surveillance
from app.central.surveillance.measured import Days
from app.central.surveillance.operating import Use
from app.central.surveillance.performance import PerformanceView
from app.central.surveillance.performance import performance as measured_performance
from app.central.surveillance.pool import Pool, pool_within
from app.contracts.manifest import Manifest
from dashboards.charts.spec import Chart
from dashboards.pages.paging import Paged, page_of
from dashboards.pages.subjects import reference_in_force
from dashboards.pages.views import Fact, Grid

SITES_A_PAGE = 50
Period = tuple[date | None, date | None]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What every topic is made from. `pool` is only of the person's own site, where bound to one.

    page : of the list of sites, where the topic has one.
    """

    session: Session
    version: DeviceVersionView
    manifest: Manifest
    pool: Pool
    reference: ReferenceView | None
    first: date
    last: date
    scope: str | None
    page: int

    @property
    def days(self) -> Days:
        """The period of the page."""
        return Days.of(self.first, self.last)

    @property
    def before(self) -> Days:
        """The reference period; empty where none is approved."""
        return Days(0, self.reference.until.toordinal() + 1 if self.reference else 0)

    def performance(self, sites: Sequence[str] = ()) -> PerformanceView:
        """What reads, scores and sub-groups show over the page's period, at `sites` and at all."""
        digest = self.version.lock_digest
        return measured_performance(
            self.pool,
            self.days,
            manifest=self.manifest,
            threshold=self.version.threshold,
            uses=self.uses,
            sites=sites,
            signals=surveillance.signals(self.session, only_open=True, lock_digest=digest),
        )

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """Where and when in the period another score flagged than the cleared one."""
        return in_force(self.session, self.manifest, self.days, site=self.scope)

    @property
    def present_scores(self) -> tuple[float, ...]:
        """From which scores cases are flagged on the last day of the period, the cleared first."""
        now = [use for use in self.uses if use.days.end == self.days.end]
        is_cleared = not now or {*self.pool.sites} - {use.site for use in now}
        mine = [self.version.threshold] if is_cleared else []
        found = dict.fromkeys([*mine, *(use.threshold for use in now)])
        return tuple(score for score in found if score is not None)

    @cached_property
    def paged(self) -> Paged[str]:
        """Sites that have sent cases, by name, a page at a time."""
        return page_of(self.pool.sites, self.page, SITES_A_PAGE)

    @property
    def site_names(self) -> dict[str, str]:
        """Names of sites by their number."""
        return fleet.site_names(self.session)


@dataclass(frozen=True, slots=True)
class Content:
    """What a topic adds to the common frame. paged : what its list of sites, or of `one`, is a page
    of."""

    sentences: tuple[str, ...]
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()
    paged: Paged[Any] | None = None
    one: str = "site"


def subject_of(
    session: Session, lock_digest: str, scope: str | None, now: datetime, period: Period, page: int
) -> Subject:
    """A device version over `period`, or since its reference."""
    version = fleet.device_version(session, lock_digest)
    reference = reference_in_force(session, lock_digest)
    last = period[1] or now.date() - timedelta(1)
    usual = reference.until + timedelta(1) if reference else last - timedelta(27)
    return Subject(
        session=session,
        version=version,
        manifest=fleet.manifest_of(fleet.get_device_version(session, lock_digest)),
        pool=pool_within(session, lock_digest, upto=now.date() + timedelta(1), scope=scope),
        reference=reference,
        first=min(period[0] or usual, last),
        last=last,
        scope=scope,
        page=page,
    )
