"""How many cases are positive, from scores alone, and what that would mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.central.references.cohort import cohort_of
from app.central.surveillance import measured as figures
from app.central.surveillance.measured import classes_of
from dashboards import filters, measured
from dashboards import performance as shown
from dashboards import wording_performance as phrases
from dashboards.measured import PrevalenceRow
from dashboards.pages.topics.subject import Content, Subject
from dashboards.pages.views import Grid
from dashboards.performance import between
from monitors.errors import MonitorError
from monitors.prevalence import Classes, Estimate, consequences

ALL_SITES = "all sites"
NEGLIGIBLE = 0.01  # lack of fit per case below which a changed mixture explains the scores


def prevalence(subject: Subject) -> Content:
    """How many cases are positive, from scores alone, and what that would mean."""
    cohort = cohort_of(subject.manifest, subject.pool.schema)
    classes, names = classes_of(cohort), subject.site_names
    everywhere = subject.pool.counts(subject.days).scores
    by_site = subject.pool.counts_by_site(subject.days, subject.paged.shown)
    rows = [
        replace(row, name=names.get(row.name, row.name) or ALL_SITES)
        for row in measured.prevalences(
            classes, {"": everywhere, **{site: counts.scores for site, counts in by_site.items()}}
        )
    ]
    return Content(
        sentences=(
            phrases.prevalence_sentence(rows[0]),
            phrases.prevalence_cohort(cohort.prevalence),
            phrases.PREVALENCE_ASSUMES,
        ),
        charts=(measured.prevalence_forest(rows, cohort.prevalence, subject.days),),
        grids=(_prevalence_grid(rows), *_consequence_grids(subject, classes, rows[0])),
        paged=subject.paged,
    )


def _prevalence_grid(rows: Sequence[PrevalenceRow]) -> Grid:
    return Grid(
        "Estimated prevalence by site, and whether a changed mixture explains the scores",
        ("Where", "Cases", "Prevalence", "95 % interval", "A changed mixture"),
        tuple(
            (
                r.name,
                filters.whole(r.cases),
                filters.rate(float(r.estimate.value)) if r.estimate else filters.MISSING,
                between(float(r.estimate.low), float(r.estimate.high)) if r.estimate else r.reason,
                _explains(r),
            )
            for r in rows
        ),
        numeric=frozenset({1, 2, 3}),
    )


def _explains(row: PrevalenceRow) -> str:
    if row.fit is None:
        return "–"
    if float(row.fit.residual_low) > 0:
        return "does not explain them"
    return "explains them" if float(row.fit.residual_high) < NEGLIGIBLE else "may explain them"


def _consequence_grids(subject: Subject, classes: Classes, row: PrevalenceRow) -> tuple[Grid, ...]:
    """For each score from which cases are flagged at the end of the period."""
    caption = "What that means at the present operating point, with cleared sensitivity"
    present = subject.present_scores
    if row.estimate is None or not present:
        return (Grid(caption, (), (), empty=filters.MISSING),)
    if present == (subject.version.threshold,):
        return (_consequence_grid(subject, classes, row.estimate, caption, present[0]),)
    caption = "What that means where cases are flagged from {:g}, with the sensitivity there"
    return tuple(
        _consequence_grid(subject, classes, row.estimate, caption.format(score), score)
        for score in present
    )


def _consequence_grid(
    subject: Subject, classes: Classes, found_now: Estimate, caption: str, threshold: float
) -> Grid:
    try:
        found_cleared = figures.cleared(subject.pool.schema, classes, threshold)
        sens, spec = (found_cleared[name].value for name in shown.DRAWN)
        values = np.array([classes.prevalence, found_now.low, found_now.high])
        found = consequences(values, sens, spec)
    except MonitorError as error:
        return Grid(caption, (), (), empty=str(error))
    rows = [
        (name, filters.rate(float(v[0])), between(*sorted((float(v[1]), float(v[2])))))
        for name, v in (
            ("Positive predictive value", found.ppv),
            ("Negative predictive value", found.npv),
            ("Flagged share", found.alert_rate),
            ("Missed positives, of all cases", found.missed_rate),
        )
    ]
    return Grid(
        caption,
        ("Measure", "Validation cohort", "Now, over the interval"),
        tuple(rows),
        numeric=frozenset({1, 2}),
    )
