"""One chart of each form, with values that make every mark appear."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from dashboards.charts.spec import (
    Calibration,
    CalibrationBin,
    Cell,
    Chart,
    Comparison,
    ControlChart,
    Forest,
    Funnel,
    FunnelLimit,
    FunnelPoint,
    Group,
    HeatMap,
    Lane,
    Mark,
    Mix,
    MixDay,
    Panel,
    PathChart,
    PathPoint,
    Reading,
    Span,
    Stage,
    State,
    TimeLine,
)

START = date(2026, 1, 5)


def control_chart(n: int = 60) -> ControlChart:
    values = 0.31 + 0.008 * np.random.default_rng(7).standard_normal(n)
    values[40:] += 0.02
    readings = []
    for i, value in enumerate(values):
        half = 0.021 if i % 9 else 0.028  # fewer cases: wider limits
        outside = abs(value - 0.31) > half
        missing = i in (25, 26)
        readings.append(
            Reading(
                START + timedelta(i),
                None if missing else float(value),
                9 if missing else 36 if i % 9 else 20,
                0.31 - half,
                0.31,
                0.31 + half,
                "outside" if outside else "2" if i == 47 else "",
            )
        )
    return ControlChart(
        title="Daily mean score, Site 04, with control limits",
        caption="Daily mean score, 20 to 36 cases a day. Triangles: outside the control limits.",
        unit="mean score",
        readings=tuple(readings),
        reference=Span(START, START + timedelta(29)),
        acceptance=(0.355,),
        stages=(Stage(START + timedelta(33), "service visit"),),
    )


def path() -> PathChart:
    rises = [1.0] * 40 + [10 ** (0.25 * i) for i in range(1, 21)]
    return PathChart(
        title="Evidence against the reference, Site 04, mean score",
        caption="E-detector path, limit 1 000.",
        unit="evidence",
        points=tuple(PathPoint(START + timedelta(i), v) for i, v in enumerate(rises)),
        limit=1000.0,
        onset=Span(START + timedelta(38), START + timedelta(41)),
        signal=START + timedelta(51),
        log=True,
    )


def cusum() -> PathChart:
    upper = [max(0.0, 0.4 * (i - 35)) for i in range(60)]
    lower = [1.2 if 10 < i < 30 else 0.0 for i in range(60)]
    return PathChart(
        title="CUSUM path, Site 04, mean score",
        caption="CUSUM path, k = 0.5, h = 5. Blue: upward; purple dashed: downward.",
        unit="sum, in sigma",
        points=tuple(
            PathPoint(START + timedelta(i), u, low)
            for i, (u, low) in enumerate(zip(upper, lower, strict=True))
        ),
        limit=5.0,
        onset=Span(START + timedelta(35), START + timedelta(37)),
        signal=START + timedelta(48),
    )


def comparison() -> Comparison:
    edges = tuple(float(e) for e in np.linspace(0, 1, 17))
    reference = (20, 60, 110, 140, 130, 100, 80, 60, 40, 30, 20, 10, 8, 4, 2, 1)
    moved = (5, 10, 20, 40, 60, 80, 90, 85, 60, 40, 25, 14, 8, 5, 3, 1)
    return Comparison(
        title="Score, reference against current, by scanner",
        caption="Grey: reference period. Blue: since 2026-02-14.",
        unit="score",
        bins=tuple(f"{a:.2f}–{a + 1 / 16:.2f}" for a in edges[:-1]),
        edges=edges,
        panels=(
            Panel("Scanner A", reference, reference),
            Panel("Scanner B </script>", reference, moved),
            Panel("Scanner C with a name that is far too long", reference, reference[::-1]),
            Panel("Scanner D", reference, (), "not assessable: 9 cases"),
            Panel("Scanner E", reference, moved),
        ),
    )


def categories() -> Comparison:
    return Comparison(
        title="View mix, reference against current",
        caption="Grey: reference period. Blue: now.",
        unit="view",
        bins=("PA", "AP", "LL", "OTHER", "missing"),
        panels=(Panel("Site 04", (700, 200, 80, 10, 10), (300, 400, 90, 5, 20)),),
    )


def funnel() -> Funnel:
    centre = 0.118
    limits = tuple(
        FunnelLimit(
            n,
            (max(0.0, centre - 0.63 / n**0.5), centre + 0.63 / n**0.5),
            (max(0.0, centre - 1.0 / n**0.5), centre + 1.0 / n**0.5),
        )
        for n in range(40, 2500, 60)
    )
    return Funnel(
        title="Positive rate by site",
        caption="Limits 95 % and 99.8 % around the reference rate, 11.8 %. Sites are not ranked.",
        unit="flagged",
        count="cases in the quarter",
        centre=centre,
        points=(
            FunnelPoint("Site 01", 10, 120),
            FunnelPoint("Site 02", 26, 310, href="/sites/2"),
            FunnelPoint("Site 04", 150, 900, outside=True, href="/sites/4"),
            FunnelPoint("Site 05", 280, 2300),
            FunnelPoint("Site 07", 0, 0),
        ),
        limits=limits,
    )


def heat_map() -> HeatMap:
    sites = tuple(f"{i:02d}" for i in range(1, 13))
    rows = ("Score mean", "Positive rate", "View mix", "kVp", "Missing tags")
    special = {(0, 3): State.SIGNAL, (2, 3): State.SIGNAL, (1, 10): State.NOT_ASSESSABLE}

    def state(i: int, j: int) -> State:
        return State.SILENT if j == 6 else special.get((i, j), State.IN_CONTROL)

    return HeatMap(
        title="Signals by site and characteristic",
        caption="▲ signal · grey: in control · dashed –: not assessable · dashed ○: silent",
        rows=rows,
        columns=sites,
        cells=tuple(
            tuple(
                Cell(state(i, j), f"Site {site}, {row}, {state(i, j)}", f"/sites/{site}")
                for j, site in enumerate(sites)
            )
            for i, row in enumerate(rows)
        ),
    )


def time_line() -> TimeLine:
    day = START
    return TimeLine(
        title="What happened, by site",
        caption="Triangles: signals. Squares: decisions. Bars: changes.",
        period=Span(day, day + timedelta(119)),
        shaded=Span(day, day + timedelta(59)),
        lanes=(
            Lane(
                "Site 04",
                (
                    Mark(day + timedelta(70), "change", "scanner software VB20 → VB30"),
                    Mark(day + timedelta(78), "signal", "S-0147 noise shifted upward"),
                    Mark(day + timedelta(110), "decision", "S-0147 confirmed"),
                ),
            ),
            Lane("Site 07", (Mark(day + timedelta(90), "outage", "not heard from"),)),
            Lane("Site 09", ()),
        ),
    )


def forest() -> Forest:
    return Forest(
        title="Flagged rate by sub-group",
        caption="95 % intervals, adjusted after Holm. In the plan's order.",
        unit="flagged",
        groups=(
            Group("Female", 812, 0.12, 0.10, 0.14),
            Group("Male", 901, 0.11, 0.09, 0.13),
            Group("Age under 40", 9, None, note="not assessable: fewer than 11"),
            Group("Age 40 to 64", 700, 0.16, 0.13, 0.19),
        ),
        overall=0.118,
        acceptance=(0.09, 0.15),
    )


def calibration() -> Calibration:
    edges = tuple(i / 10 for i in range(11))
    return Calibration(
        title="Calibration, Site 04",
        caption="Observed share of positives with 95 % intervals; scores below.",
        bins=tuple(
            CalibrationBin(p, 0.9 * p, max(0.0, 0.9 * p - 0.06), min(1.0, 0.9 * p + 0.06), 80)
            for p in (0.05, 0.15, 0.3, 0.5, 0.75)
        ),
        edges=edges,
        counts=(300, 220, 150, 90, 60, 40, 30, 25, 12, 5),
    )


def mix() -> Mix:
    return Mix(
        title="View mix over time, Site 04",
        caption="Shares of views; cases a day below.",
        levels=("PA", "AP", "other"),
        days=tuple(
            MixDay(START + timedelta(7 * i), (60 - 3 * i, 20 + 2 * i, 3 + i % 3)) for i in range(12)
        ),
    )


EXAMPLES: dict[str, Chart] = {
    "control_chart": control_chart(),
    "path": path(),
    "cusum": cusum(),
    "comparison": comparison(),
    "categories": categories(),
    "funnel": funnel(),
    "heat_map": heat_map(),
    "time_line": time_line(),
    "forest": forest(),
    "calibration": calibration(),
    "mix": mix(),
}
