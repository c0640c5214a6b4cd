"""Performance and sub-groups in words and tables, and the report's section from frozen figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from app import clock
from app.central.reports import drafting, service
from app.central.reports.assembling import read
from app.central.reports.ports import DriftReport
from app.central.surveillance.measured import Measured, Rate
from app.central.surveillance.performance import PerformanceView
from app.central.surveillance.subgroups import Level, Subgroups
from dashboards import performance, wording
from dashboards import wording_performance as phrases
from dashboards.render import renderers
from dashboards.reports.content import report_view
from dashboards.reports.views import Section
from tests.dashboards.conftest import Scene

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
SOME = Rate(0.8, 0.7, 0.9)
READ = Measured(
    cases=(300, 100),
    labelled=(80, 60),
    positive=(4, 30),
    rates=dict.fromkeys(phrases.MEASURES, SOME),
)
FEW = Measured(cases=(300, 100), labelled=(20, 17), positive=(1, 9))
BOUNDED = replace(READ, labelled=(0, 140), rates={}, bounds={"sensitivity": (0.42, 0.97)})
VIEW = PerformanceView(
    threshold=0.25,
    overall=READ,
    sites={"H01": READ, "H02": FEW, "H03": BOUNDED},
    may_estimate=True,
    estimated={"sensitivity": Rate(0.75, 0.71, 0.79)},
    subgroups=Subgroups(
        levels=(
            Level(margin="sex", name="F", cases=400, flagged=40, reads=50, positive=10),
            Level(margin="sex", name="M", cases=29, flagged=4, reads=0),
            Level(margin="sex", name="O", cases=None),
        ),
        coverage=(),
    ),
    cleared={"sensitivity": Rate(0.85, 0.8, 0.89), "auc": Rate(0.91, 0.88, 0.94)},
    cleared_cases=1200,
    cleared_prevalence=0.2,
)


@pytest.fixture(scope="module")
def drafted(scene: Scene) -> DriftReport:
    """A drafted report on the monitored days of the scene, as its evidence holds it."""
    start, end = date(2026, 3, 1), date(2026, 3, 18)
    with scene.world.sessions.begin() as session:
        digest = scene.world.lock_digest
        made = drafting.request(session, digest, start, end, by="ann", now=clock.now())
        drafting.draft(session, made, renderer=renderers().report, now=clock.now())
        return read(service.issued(session, made.number).evidence)


def section(report: DriftReport) -> Section:
    [found] = [
        s for s in report_view(report, "0" * 64).sections if s.title == "Performance and sub-groups"
    ]
    return found


def test_figures_stand_beside_the_cleared_ones_and_estimates_are_kept_apart() -> None:
    [grid] = performance.compared_grids(VIEW)

    assert grid.caption == (
        "Measured on 140 audited reads, beside the validation cohort of 1\u202f200 cases"
    )
    assert grid.rows[0] == (
        "Sensitivity",
        "85.0 % (80.0 to 89.0 %)",
        "80.0 % (70.0 to 90.0 %)",
        "75.0 % (71.0 to 79.0 %)",
    )
    assert grid.rows[4][1:3] == ("0.910 (0.880 to 0.940)", "0.800 (0.700 to 0.900)")
    assert grid.rows[2][1] == "not assessable"


def test_a_site_without_figures_says_what_it_lacks() -> None:
    [grid] = performance.sites_grids(VIEW, {"H01": "Hospital <b>"})

    measured, few, bounded = grid.rows
    assert measured[:4] == ("Hospital <b>", "400", "140", "80.0 (70.0\u00a0to\u00a090.0)")
    assert (measured[7], measured[8]) == ("0.800 (0.700\u00a0to\u00a00.900)", "–")
    assert few[3:] == (*"–" * 5, "needs reference reads: 37 of 100")
    assert bounded[3] == "42.0\u00a0to\u00a097.0" and bounded[8] == phrases.ONLY_BOUNDS


def test_a_level_that_is_too_small_says_how_many_cases_it_needs() -> None:
    grid = performance.subgroup_grid(VIEW)

    assert [row[4] for row in grid.rows[1:]] == [
        "not assessable: 29 cases, 30 needed",
        "not assessable: needs 30 cases",
    ]
    assert grid.rows[1][6] == phrases.NO_READS and grid.rows[2][2] == phrases.SUPPRESSED


def test_without_a_threshold_nothing_is_measured_and_it_is_said_why() -> None:
    view = replace(VIEW, threshold=None, overall=None, sites={}, cleared={}, estimated={})

    assert performance.sentences(view, "") == (phrases.NO_THRESHOLD,)
    assert performance.site_forests(view, {}) == ()
    for grid in (*performance.compared_grids(view), *performance.sites_grids(view, {})):
        assert grid.rows == () and grid.empty == phrases.NO_THRESHOLD


def test_no_chart_is_drawn_of_sites_that_all_lack_reads() -> None:
    view = replace(VIEW, overall=FEW, sites={"H02": FEW}, estimated={})

    assert performance.site_forests(view, {}) == ()
    assert [c.title for c in performance.site_forests(VIEW, {})] == [
        "Sensitivity, measured and estimated"
    ]


def test_the_report_prints_what_its_evidence_holds(drafted: DriftReport) -> None:
    found, kept = section(drafted), drafted.performance
    assert kept is not None and kept.overall is not None

    said = found.sentences[0]
    assert said.startswith(f"Sensitivity {kept.overall.rates['sensitivity'].value:.2f} (")
    assert said.endswith("measured on 760 reads, 2026-03-01 to 2026-03-17.")
    assert wording.READS_COMPARED not in found.sentences
    assert wording.NO_SUBGROUPS not in found.sentences
    compared, sites, groups, _ = found.grids
    assert len(compared.rows) == 5 and [row[0] for row in sites.rows] == [
        "Hospital H01",
        "Hospital H02",
        "Hospital H03",
    ]
    assert [row[:2] for row in groups.rows[:2]] == [("Sex", "female"), ("Sex", "male")]
    moved = replace(kept, overall=replace(kept.overall, rates=VIEW.overall.rates))  # type: ignore[union-attr]
    assert section(replace(drafted, performance=moved)).grids[0].rows[0][2].startswith("80.0 %")


def test_a_report_of_before_says_what_it_said(drafted: DriftReport) -> None:
    found = section(replace(drafted, performance=None))

    assert found.sentences == (wording.READS_COMPARED, wording.NO_SUBGROUPS)
    assert not found.grids and not found.charts and not found.facts
