"""Do readers label as they did, at equal scores?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.central.surveillance.sums import AUDITED
from dashboards import evidence, filters, measured
from dashboards import wording_performance as phrases
from dashboards.evidence import Scope
from dashboards.pages.topics.subject import Content, Subject
from dashboards.pages.views import Grid
from monitors.schema import NUMERIC_UNITS

ROUNDS_SHOWN = 20


def annotation(subject: Subject) -> Content:
    """Do readers label as they did, at equal scores?"""
    pool, labels = subject.pool, subject.pool.history.labels
    read = zip(labels.reader_group, labels.source, strict=True)
    groups = sorted({group for group, source in read if source == AUDITED})
    rows = [
        measured.readers(group, *(pool.reads(d, group) for d in (subject.before, subject.days)))
        for group in groups
    ]
    period = evidence.Period(subject.first, subject.last)
    series = evidence.label_series(pool.history, Scope(), subject.last)
    control = evidence.control_chart(series, Scope(), period, least=evidence.LEAST_WEEKS)
    forest = measured.readers_forest(rows) if rows else None
    return Content(
        sentences=(phrases.annotation_sentence(rows), phrases.ANNOTATION),
        charts=tuple(c for c in (forest, control) if c is not None),
        grids=(_readers_grid(rows), _sources_grid(subject), _sentinel_grid(subject)),
    )


def _readers_grid(rows: Sequence[measured.Readers]) -> Grid:
    return Grid(
        "Audited reads by reader group",
        ("Group", "Reference", "Now", "Odds ratio", "95 % interval", "p", "Finding"),
        tuple(
            (
                r.group,
                _share(*r.reference),
                _share(*r.current),
                filters.effect(r.ratio[0]) if r.ratio else "–",
                filters.interval(r.ratio[1:], r.ratio[0]) if r.ratio else "–",
                filters.significant(r.p_value) if r.p_value is not None else "–",
                r.reason or phrases.readers_finding(r),
            )
            for r in rows
        ),
        numeric=frozenset({3, 4, 5}),
        empty="No audited read has arrived.",
    )


def _share(n: int, positive: int) -> str:
    return f"{positive} of {n} positive ({filters.rate(positive / n)})" if n else phrases.NO_READS


def _sources_grid(subject: Subject) -> Grid:
    labels, columns = subject.pool.history.labels, subject.pool.schema.label_columns
    inside = subject.days.holds(labels.week)
    rows = []
    keys = sorted(set(zip(labels.source, labels.reader_group, strict=True)))
    for source, group in keys:
        mine = inside & np.array(
            [
                s == source and g == group
                for s, g in zip(labels.source, labels.reader_group, strict=True)
            ],
            dtype=bool,
        )
        total = labels.rows[mine].sum(axis=0)
        n, y = (int(total[columns[part]].sum()) for part in ("labelled", "positive"))
        rows.append((source.replace("_", " "), group, filters.whole(n), _share(n, y)))
    return Grid(
        "Reads by source: only random audit is a sample of all cases",
        ("Source", "Group", "Reads", "Read as positive"),
        tuple(rows),
        numeric=frozenset({2}),
        empty="No read has arrived.",
    )


def _sentinel_grid(subject: Subject) -> Grid:
    columns = subject.pool.schema.sentinel_columns
    rows = []
    for one in subject.pool.rounds(ROUNDS_SHOWN):
        n, y = (int(one.row[columns[part]].sum()) for part in ("reads", "positive"))
        if one.reader_group:
            what = f"re-read by {one.reader_group}: {_share(n, y)}"
        else:
            what = f"re-scored, largest change {one.row[0] / NUMERIC_UNITS:.2g}"
        rows.append((one.day.isoformat(), one.site, what))
    return Grid(
        "Sentinel set: fixed images, re-scored and re-read",
        ("Day", "Site", "What"),
        tuple(rows),
        empty="No round of the sentinel set has arrived.",
    )
