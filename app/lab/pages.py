"""What the laboratory found, as JSON for machines and as one self-contained page for people."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from app.lab.comparing import Comparison, Row
from app.lab.mixing import Estimated, Mixing
from app.lab.proposing import Proposal
from app.lab.two_tables import SITE, TwoTables
from app.lab.visible import Power
from dashboards import evidence, filters, wording
from dashboards.charts.spec import Chart
from dashboards.evidence import Period
from dashboards.pages.views import Fact, Grid
from dashboards.reports.views import ReportView, Section

PICTURES = 4  # characteristics drawn: those that moved most, and the score
FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "alerts_per_1000": "Flagged of 1000 cases",
    "missed_per_1000": "Missed positives of 1000 cases",
}
POOLED = (
    "Both tables were summarised into windows as an edge would, pooled over sites and scanners; "
    "nothing here has seen a case. A changed mix of scanners is part of what differs."
)


def document(result: Any) -> dict[str, Any]:
    """A result as JSON values; an infinite number of days is null."""
    return dict(_plain(dataclasses.asdict(result)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(result: Any, view: ReportView | None, out: Path, html: Path | None) -> None:
    """The JSON, and the page if one is asked for."""
    out.write_text(json.dumps(document(result), indent=1, allow_nan=False) + "\n")
    if html is not None and view is not None:
        from dashboards.reports.document import report_html  # WeasyPrint takes seconds to load

        html.write_text(report_html(view))


def _view(
    title: str, cover: Iterable[Fact], sections: Sequence[Section], result: Any
) -> ReportView:
    digest = hashlib.sha256(json.dumps(document(result), sort_keys=True).encode()).hexdigest()
    return ReportView("", title, "laboratory", digest, tuple(cover), tuple(sections))


def _grid(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
    numeric = frozenset(range(1, len(columns)))
    return Grid(caption, tuple(columns), tuple(tuple(row) for row in rows), numeric)


def _p(value: float) -> str:
    return "<\u202f0.0001" if value < 1e-4 else f"{value:.2g}"


# Compare -------------------------------------------------------------------------------------


def comparison_view(c: Comparison, tables: TwoTables) -> ReportView:
    """The verdict first, then the evidence for it."""
    cover = (
        Fact(
            "Reference", f"{filters.whole(c.reference_cases)} cases, {c.reference_windows} windows"
        ),
        Fact("Current", f"{filters.whole(c.current_cases)} cases, {c.current_windows} windows"),
    )
    sections = [
        Section("Verdict", (*_verdict(c), POOLED), grids=_causes(c)),
        Section("How far each characteristic moved", grids=(_rows(c), _tests(c))),
        Section("Distributions", charts=tuple(_pictures(c, tables))),
    ]
    if c.not_assessable:
        sections.append(Section("Not assessable", tuple(f"{w}." for w in c.not_assessable)))
    return _view("Comparison of two case tables", cover, sections, c)


def _verdict(c: Comparison) -> tuple[str, ...]:
    if not c.differs:
        return (
            "No difference was shown, at 5 % over all characteristics and tests together. That is "
            "no proof of sameness: `lockwatch lab power` says what this volume could show.",
        )
    moved = [r.name for r in c.rows if r.adjusted <= 0.05]
    names = wording.listed([wording.characteristic(name) for name in moved])
    first = f"The tables differ: {names}." if moved else "The tables differ in several small ways."
    if c.verdict is None:
        return (first, "The cause could not be looked for; see what is not assessable.")
    causes = [wording.CAUSE_SENTENCES[cause] for cause in c.verdict.causes]
    missing = wording.missing_sentence(c.verdict.missing)
    return (first, *causes, f"Probability {wording.percent(c.verdict.probability)}.", *missing)


def _causes(c: Comparison) -> tuple[Grid, ...]:
    if c.verdict is None:
        return ()
    rows = [
        (wording.sentence_case(wording.causes(name)), wording.percent(p))
        for name, p in c.verdict.candidates.items()
    ]
    return (_grid("Causes considered", ("Cause", "Probability"), rows),)


def _rows(c: Comparison) -> Grid:
    columns = (
        "Name", "Effect, SD", "95 % interval", "PSI of the population",
        "95 % interval", "Distance (W1)", "Adjusted p",
    )  # fmt: skip
    ordered = sorted(c.rows, key=lambda r: (r.adjusted, -abs(r.effect or 0.0)))
    return _grid("Each characteristic against the reference", columns, (_cells(r) for r in ordered))


def _cells(r: Row) -> tuple[str, ...]:
    return (
        wording.sentence_case(wording.characteristic(r.name)),
        "–" if r.effect is None else filters.effect(r.effect),
        filters.interval(r.interval, r.effect or 0.0),
        filters.effect(r.psi),
        filters.interval(r.psi_interval, r.psi),
        "–" if r.distance is None else filters.significant(r.distance[0]),
        _p(r.adjusted),
    )


def _tests(c: Comparison) -> Grid:
    rows = [(t.name, filters.significant(t.statistic), _p(t.p)) for t in c.tests]
    return _grid("Several characteristics at once, and labels", ("Test", "Statistic", "p"), rows)


def _pictures(c: Comparison, tables: TwoTables) -> Iterable[Chart]:
    ordered = sorted((r for r in c.rows if r.kind != "categorical"), key=lambda r: r.adjusted)
    ends = tables.history.cases.end
    since, last = date.fromordinal(tables.until), date.fromordinal(int(ends.max()))
    for row in ordered[:PICTURES]:
        name = "score_probability" if row.kind == "score" else row.name
        chart = evidence.comparison(tables.history, name, (SITE,), Period(since, last), since)
        if chart is not None:
            words = wording.sentence_case(wording.characteristic(row.name))
            yield dataclasses.replace(
                chart,
                title=f"{words}, reference and current table",
                caption="Grey: reference. Blue: current.",
                panels=tuple(dataclasses.replace(p, title="both tables") for p in chart.panels),
            )


# Prevalence and thresholds -------------------------------------------------------------------


def prevalence_view(m: Mixing) -> ReportView:
    """The estimate first, then whether it may be believed."""
    best = m.estimates[0]
    fits = (
        "The scores mix the reference's classes, and what could have been missed is negligible."
        if m.supported
        else "The scores are not shown to mix the reference's classes: not prevalence alone."
    )
    sentences = (
        f"{_rate(best)} of the current cases are positive, against {filters.rate(m.reference)} in "
        "the reference, as far as scores can tell.",
        fits,
        "Missed positives look exactly like fewer positives: never call a fall prevalence without "
        "labels.",
    )
    rows = [(e.method, filters.rate(e.value), _interval(e)) for e in _all(m)]
    grid = _grid("Share of positive cases", ("Method", "Estimate", "95 % interval"), rows)
    facts = (
        Fact("Fit of a mixture, p", _p(m.fit_p)),
        Fact("Lack of fit per case, upper limit", filters.significant(m.residual_high)),
        Fact(
            "Labels given the score, p",
            "no current labels" if m.labels_p is None else _p(m.labels_p),
        ),
    )
    sections = (
        Section("Estimate", sentences, grids=(grid,)),
        Section("May it be believed?", facts=facts),
        Section("At the operating point", grids=(_figures("At this prevalence", m.consequences),)),
    )
    return _view(
        "Prevalence from scores", (Fact("Method", "binned scores, label shift"),), sections, m
    )


def _all(m: Mixing) -> tuple[Estimated, ...]:
    return m.estimates if m.measured is None else (*m.estimates, m.measured)


def _rate(e: Estimated) -> str:
    return f"{filters.rate(e.value)} ({_interval(e)})"


def _interval(e: Estimated) -> str:
    return f"{100 * e.low:.1f} to {100 * e.high:.1f} %"


def _figures(caption: str, figures: Iterable[tuple[str, float, float, float]]) -> Grid:
    rows = [
        (FIGURES[name], filters.effect(value), filters.interval((low, high), value))
        for name, value, low, high in figures
    ]
    return _grid(caption, ("Figure", "Value", "95 % interval"), rows)


def proposal_view(p: Proposal) -> ReportView:
    """The threshold or the refusal first."""
    held = p.policy.held.replace("_", " ")
    answer = (
        f"To hold {held} at {p.policy.target:g} the threshold would move from "
        f"{p.old_threshold:g} to {p.new_threshold:.3f}."
        if p.new_threshold is not None
        else "No threshold is proposed."
    )
    used = Estimated("scores", p.prevalence, p.low, p.high)
    rests = f"Share of positives by scores: {_rate(used)}; {filters.rate(p.before)} before."
    why = ((r.found, r.would_change) for r in p.refused)
    refused = Grid("Refused because", ("Found", "What would change it"), tuple(why))
    figures = [_figures(f"At the present threshold, {p.old_threshold:g}", p.old)]
    if p.new_threshold is not None:
        figures.append(_figures(f"At {p.new_threshold:.3f}", p.new))
    sections = (
        Section("Proposal", (answer, rests, wording.LOCKED), grids=(refused,) if p.refused else ()),
        Section("Consequences", grids=tuple(figures)),
    )
    cover = (Fact("Held", held), Fact("Target", f"{p.policy.target:g}"))
    return _view("Proposed operating point", cover, sections, p)


# Power ---------------------------------------------------------------------------------------


def power_view(p: Power) -> ReportView:
    """Days to a signal for each stratum."""
    names = list(dict.fromkeys(name for v in p.strata for name, _ in v.days))
    rows = [
        (v.stratum, f"{v.cases_a_day:.1f}", *(_days(dict(v.days).get(name)) for name in names))
        for v in p.strata
    ]
    columns = ("Stratum", "Cases a day", *(wording.sentence_case(name) for name in names))
    months = [(v.stratum, filters.significant(v.month), v.state) for v in p.strata]
    sections = [
        Section(
            "Median days until a signal",
            (
                f"{p.streams} streams share {p.false_signals_per_year:g} false signals a year, so "
                f"each must reach {p.limit:,.0f}. Changes of one stratum alone, from a cold start; "
                "a change at several scanners or in several characteristics is seen sooner.",
            ),
            grids=(_grid("Days, by what changed", columns, rows),),
        ),
        Section(
            "Smallest shift that 30 days show",
            ("Of one characteristic, in standard deviations of a case; at 5 %, power 80 %.",),
            grids=(
                _grid("One comparison of 30 days", ("Stratum", "Shift, SD", "Reference"), months),
            ),
        ),
    ]
    if p.not_assessable:
        sections.append(Section("Not assessable", tuple(f"{w}." for w in p.not_assessable)))
    return _view("What this volume can show", (Fact("Streams", str(p.streams)),), sections, p)


def _days(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if math.isfinite(value) else "not within reach"
