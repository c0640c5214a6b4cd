"""A re-evaluation as one self-contained page: the verdict first, then every sub-group."""

from __future__ import annotations

from collections.abc import Iterator

from app.contracts.holdout import HoldoutCriterion, HoldoutRate, HoldoutRecord, SharedCases
from app.contracts.manifest import Proportion
from app.contracts.signing import canonical, sha256
from dashboards import wording
from dashboards.pages.views import Fact, Grid
from dashboards.reports.views import ReportView, Section

VERDICTS = {
    "as cleared": "Every criterion is met: on fresh labels the device performs as cleared.",
    "not shown": "Not every criterion is met, and no loss of the whole is shown either: more "
    "freshly labelled cases would decide it.",
    "worse than cleared": "The interval of the whole lies below what was cleared.",
}


def holdout_view(record: HoldoutRecord) -> ReportView:
    """The record as a report."""
    shared = (shared_section(record.shared),) if record.shared else ()
    return ReportView(
        number=record.holdout,
        title="Re-evaluation on a freshly labelled holdout",
        status=record.verdict,
        about_signals=False,
        digest=sha256(canonical(record.model_dump(mode="json"))),
        cover=(
            Fact("Device", f"{record.device} {record.version}"),
            Fact("Lock digest", record.lock_digest, True),
            Fact("Known answers, largest deviation", f"{record.known_answer_deviation:.2g}"),
            Fact("Threshold", f"{record.stage} ≥ {record.threshold:.4g}, as cleared"),
            Fact("Evaluated", record.evaluated_at.isoformat(timespec="minutes")),
            Fact("Labels", f"sha256 {record.labels_digest}", True),
            Fact("Files", f"sha256 {record.files_digest}", True),
        ),
        sections=(
            Section("Verdict", (VERDICTS[record.verdict], outcomes(record))),
            Section("Criteria", grids=(criteria_grid(record.criteria),)),
            Section("By sub-group", grids=(group_grid(record),)),
            *shared,
        ),
    )


def outcomes(record: HoldoutRecord) -> str:
    """What became of the files, in one sentence."""
    counted = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in record.outcomes.items())
    return f"{record.cases} files: {counted}."


def criteria_grid(criteria: tuple[HoldoutCriterion, ...]) -> Grid:
    """Each criterion with its figure and its limit."""
    rows = tuple(
        (_spelled(c.name), f"{c.found:.3f}", f"{c.limit:.3f}", "met" if c.met else "NOT MET")
        for c in criteria
    )
    return Grid("Criteria", ("Criterion", "Found", "Limit", "Result"), rows, frozenset({1, 2}))


def _spelled(name: str) -> str:
    """A criterion's name with its sub-group in words."""
    return ", ".join(wording.spelled(part) for part in name.split(", "))


def group_grid(record: HoldoutRecord) -> Grid:
    """Every sub-group beside the cleared table."""
    columns = (
        *("Sub-group", "Cases", "Positives"),
        *("Sensitivity", "as cleared", "change"),
        *("Specificity", "as cleared", "change"),
    )
    rows = tuple(
        (
            wording.subgroup(row.margin, row.level),
            str(row.cases),
            str(row.positives),
            *_cells(row.sensitivity),
            *_cells(row.specificity),
        )
        for row in record.rows
    )
    return Grid("Fresh labels against the cleared table, 95 % intervals", columns, rows)


def shared_section(shared: SharedCases) -> Section:
    """What reading the same cases anew changed."""
    change = shared.agreement_change
    return Section(
        "Cases of the cleared cohort, read anew",
        (
            f"{shared.cases} cases were in the cleared cohort: {shared.now_positive} that were "
            f"negative are read as positive now, {shared.now_negative} the other way round (exact "
            f"p {shared.p_value:.2g} for no direction).",
            f"Agreement of device and label changed by {change.value:+.3f} ({change.low:+.3f} to "
            f"{change.high:+.3f}, paired). Scores are the same: only labels can have moved.",
        ),
    )


def _cells(rate: HoldoutRate | None) -> Iterator[str]:
    if rate is None:
        yield from ("no case", "–", "–")
        return
    yield _share(rate.found)
    yield _share(rate.cleared) if rate.cleared else "–"
    c = rate.change
    yield f"{c.value:+.3f} ({c.low:+.3f} to {c.high:+.3f})" if c else "–"


def _share(p: Proportion) -> str:
    return f"{p.successes}/{p.n} = {p.successes / p.n:.3f} ({p.low:.3f} to {p.high:.3f})"
