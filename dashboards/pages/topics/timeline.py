"""One narrative: releases, reference periods, signals, decisions, outages, by site."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from app.central.events import service as events
from app.central.recalibration import releases
from app.central.recalibration.releases import ReleaseView
from app.central.references import service as references
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from dashboards import wording
from dashboards.charts.spec import Lane, Mark, Span, TimeLine
from dashboards.pages.event_marks import event_marks
from dashboards.pages.subjects import marks_of
from dashboards.pages.topics.subject import Content, Subject

LONGEST_QUIET = 3  # days without a window before it is called a gap


def timeline(subject: Subject) -> Content:
    """One narrative: releases, reference periods, signals, decisions, outages, by site."""
    signals = [
        s
        for s in surveillance.signals(
            subject.session, lock_digest=subject.version.lock_digest, scope=subject.scope
        )
        if subject.first <= s.signal.date <= subject.last
    ]
    released = releases.effective_between(
        subject.session,
        subject.version.lock_digest,
        subject.first,
        subject.last + timedelta(1),
    )
    device = Lane("device", _device_marks(subject))
    lanes = _site_lanes(subject, signals, released)
    inside = set(subject.paged.shown)
    chart = TimeLine(
        title=f"What happened, {subject.days.words}",
        caption="Triangles: signals. Squares: decisions. Bars: changes, releases. "
        "Circles: gaps of data.",
        lanes=(device, *(lane for lane in lanes if lane.name in inside)),
        period=Span(subject.first, subject.last),
    )
    n = sum(len(lane.marks) for lane in (device, *lanes))
    sentence = wording.timeline_sentence(n, len(subject.pool.sites))
    return Content((sentence,), charts=(chart,), paged=subject.paged)


def _site_lanes(
    subject: Subject, signals: Sequence[SignalView], released: Sequence[ReleaseView]
) -> list[Lane]:
    """A lane for every site that has sent cases, by name."""
    raised, planned = _by_site(signals), _planned(subject)
    received = subject.pool.received(subject.days)
    lanes = []
    for site in subject.pool.sites:
        changed = (r for r in released if r.site_id == site)
        marks = (*marks_of(tuple(raised.get(site, ())), changed), *planned.get(site, ()))
        lanes.append(Lane(site, (*marks, *_outages(received.get(site, ()), subject))))
    return lanes


def _by_site(signals: Sequence[SignalView]) -> dict[str, list[SignalView]]:
    found: dict[str, list[SignalView]] = {}
    for one in signals:
        for site in one.signal.sites:
            found.setdefault(site, []).append(one)
    return found


def _planned(subject: Subject) -> dict[str, list[Mark]]:
    """Marks of registered events by site."""
    lock_digest = subject.version.lock_digest
    found: dict[str, list[Mark]] = {}
    for one in events.events(subject.session, lock_digest=lock_digest, site_id=subject.scope):
        mine = (m for m in event_marks([one]) if subject.first <= m.day <= subject.last)
        found.setdefault(one.site_id, []).extend(mine)
    return found


def _device_marks(subject: Subject) -> tuple[Mark, ...]:
    found = [(subject.version.registered_at.date(), "release", "registered")]
    for one in references.views(subject.session, lock_digest=subject.version.lock_digest):
        if one.approved_at is not None:
            found.append((one.approved_at.date(), "change", f"{one.id} approved"))
    return tuple(Mark(*m) for m in found if subject.first <= m[0] <= subject.last)


def _outages(received: Sequence[tuple[date, date]], subject: Subject) -> tuple[Mark, ...]:
    """Gaps between the spans of days that were received, up to the end of the page's period."""
    marks, reached = [], subject.first
    quiet = timedelta(LONGEST_QUIET)
    end = subject.last + timedelta(1)
    for start, until in [*received, (end - quiet, end)]:
        if start - reached > quiet:
            marks.append(Mark(reached, "outage", f"no data for {(start - reached).days} days"))
        reached = max(reached, until)
    return tuple(marks)
