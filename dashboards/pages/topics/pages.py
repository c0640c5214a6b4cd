"""The topics of a device version, and the page of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

from sqlalchemy.orm import Session

from dashboards.pages.frame import TOPICS, topic_links
from dashboards.pages.topics.annotation import annotation
from dashboards.pages.topics.lock import lock
from dashboards.pages.topics.performance import performance, subgroups
from dashboards.pages.topics.prevalence import prevalence
from dashboards.pages.topics.references import reference_periods
from dashboards.pages.topics.subject import Content, Period, Subject, subject_of
from dashboards.pages.topics.timeline import timeline
from dashboards.pages.views import PeriodForm, SubjectView

PAGES: dict[str, Callable[[Subject], Content]] = {
    "performance": performance,
    "subgroups": subgroups,
    "prevalence": prevalence,
    "annotation": annotation,
    "lock": lock,
    "timeline": timeline,
    "references": reference_periods,
}


def topic_view(
    session: Session,
    lock_digest: str,
    topic: str,
    scope: str | None,
    now: datetime,
    period: Period = (None, None),
    page: int = 1,
) -> SubjectView:
    """The page `topic` of a device version; `page` is that of its list of sites."""
    subject = subject_of(session, lock_digest, scope, now, period, page)
    made = PAGES[topic](subject)
    here = _address(lock_digest, topic, period)
    return SubjectView(
        crumb=f"{subject.version.device} {subject.version.version}",
        title=TOPICS[topic],
        state=None,
        sentences=made.sentences,
        facts=made.facts,
        signals=(),
        charts=made.charts,
        grids=made.grids,
        topics=topic_links(lock_digest, topic),
        period=_period_form(subject, topic),
        pages=made.paged.links(made.one, here) if made.paged else None,
    )


def _address(lock_digest: str, topic: str, period: tuple[date | None, date | None]) -> str:
    """The page itself, with the days that were asked for."""
    days = zip(("first", "last"), period, strict=True)
    asked = "&".join(f"{name}={day.isoformat()}" for name, day in days if day)
    return f"/devices/{lock_digest}/{topic}{'?' if asked else ''}{asked}"


def _period_form(subject: Subject, topic: str) -> PeriodForm | None:
    if topic == "references":
        return None
    here = f"/devices/{subject.version.lock_digest}/{topic}"
    return PeriodForm(here, subject.first.isoformat(), subject.last.isoformat())
