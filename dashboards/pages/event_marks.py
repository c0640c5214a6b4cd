"""Planned events on charts: rules, marks on time lines, and stages that restart limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from app.central.events.service import EventView
from dashboards import wording
from dashboards.charts.spec import Mark, Stage


def event_label(event: EventView) -> str:
    """The event in a few words, such as "E-0001 service"."""
    return f"{event.id} {wording.PLANNED[event.kind.value].lower()}"


def event_stages(planned: Sequence[EventView]) -> tuple[Stage, ...]:
    """A rule on the first day of each event, and one that restarts limits where a stage begins."""
    found = [Stage(e.first_day, event_label(e)) for e in planned]
    found += [
        Stage(e.last_day + timedelta(1), f"new stage {e.id}", restarts=True)
        for e in planned
        if e.opens_stage
    ]
    return tuple(sorted(found, key=lambda s: (s.day, s.label)))


def event_marks(planned: Sequence[EventView]) -> tuple[Mark, ...]:
    """Events, and the stages that they opened, as marks on a time line."""
    return tuple(Mark(s.day, "change", s.label) for s in event_stages(planned))
