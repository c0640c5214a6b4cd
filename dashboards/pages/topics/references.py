"""What is compared with, how stable it is, and who approved it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from app.central.references import service as references
from app.central.references.service import ReferenceView
from dashboards import evidence, filters, wording
from dashboards.charts.spec import Chart
from dashboards.evidence import Scope
from dashboards.pages.subjects import reference_words
from dashboards.pages.topics.subject import Content, Subject
from dashboards.pages.views import Grid


def reference_periods(subject: Subject) -> Content:
    """What is compared with, how stable it is, and who approved it."""
    views = references.views(subject.session, lock_digest=subject.version.lock_digest)
    charts: list[Chart | None] = []
    if subject.reference is not None:
        until = subject.reference.until
        period = evidence.Period(until + timedelta(1), until)
        for series in (
            evidence.flagged_series(subject.pool.history, Scope(), until),
            evidence.series_of(subject.pool.history, "score_probability", Scope(), until),
        ):
            if series is not None:
                charts.append(evidence.control_chart(series, Scope(), period))
    return Content(
        sentences=(f"In force: {reference_words(subject.reference)}.", wording.REFERENCES),
        charts=tuple(c for c in charts if c is not None),
        grids=(_reference_grid(views), *(_assessable(v, subject.scope) for v in views[:1])),
    )


def _reference_grid(views: Sequence[ReferenceView]) -> Grid:
    return Grid(
        "Reference periods, newest first",
        ("Number", "Days", "Cases", "Strata", "State", "Proposed", "Approved", "Digest"),
        tuple(
            (
                r.id,
                f"{r.contents['first_day']} to {r.until}",
                filters.whole(int(r.contents["cases"])),
                str(r.contents["strata"]),
                r.state.value,
                f"{filters.instant(r.proposed_at)} by {r.proposed_by}",
                f"{filters.instant(r.approved_at)} by {r.approved_by}" if r.approved_at else "–",
                filters.short(r.digest),
            )
            for r in views
        ),
        numeric=frozenset({2, 3}),
        empty="No reference period has been proposed.",
    )


def _assessable(view: ReferenceView, scope: str | None) -> Grid:
    return Grid(
        f"What {view.id} can assess",
        ("What", "How far"),
        tuple(
            sorted(
                (stream, str(words))
                for stream, words in view.contents["assessability"].items()
                if scope is None or scope in stream.split(":")
            )
        ),
        empty="Nothing is on record.",
    )
