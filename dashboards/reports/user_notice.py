"""What the users of one site are told about a change of their operating point: one document."""

from __future__ import annotations

from app.central.plain import plain
from app.central.recalibration.releases import ReleaseView
from app.central.recalibration.service import ProposalView
from app.contracts.signing import canonical
from dashboards import filters
from dashboards.pages.views import Fact, Grid
from dashboards.reports.document import report_html, report_pdf
from dashboards.reports.dossier import FIGURES, interval, notice
from dashboards.reports.views import ReportView, Section

SAME = (
    "The scores are the same: the same image gets the same score. Software, weights and image "
    "processing of the device are the same. Which images the device accepts is the same."
)
CHANGED = "Only the score from which a case is flagged changes, so more or fewer cases are flagged."
TO_DO = (
    "Tell everybody who works with the flags. Nothing is to be installed: the device applies the "
    "operating point between two studies and names it in its results."
)
WRONG = (
    "If flags seem wrong after this date, tell the manufacturer and your department. The "
    "manufacturer can take the change back in one step."
)


def user_notice(view: ProposalView, release: ReleaseView) -> ReportView:
    """The notice of one release, or of one roll-back."""
    d = view.document
    return ReportView(
        number=release.id,
        title="Notice to users",
        status="roll-back" if release.is_rollback else "change of operating point",
        digest=view.digest,
        about_signals=False,
        cover=(
            Fact("Site", release.site_id),
            Fact("Device", f"{d['device']} {d['version']}"),
            Fact("UDI-DI", d["udi_di"]),
            Fact("In force from", filters.instant(release.effective_from)),
            Fact("Operating point", f"{release.previous} → {release.id}"),
            Fact("Released by", release.printed_name),
        ),
        sections=(
            Section("What changes", (notice(view, release), CHANGED)),
            Section(
                "What to expect",
                (d["prevalence"]["statement"],),
                grids=(_expected(view, release),),
            ),
            Section("What stays the same", (SAME,)),
            Section("What you do", (TO_DO, WRONG)),
        ),
    )


def user_notice_pdf(view: ProposalView, release: ReleaseView) -> bytes:
    """The notice as PDF/A with the release embedded; the same release gives the same bytes."""
    report = user_notice(view, release)
    evidence = canonical(plain(release) | {"reported": None})  # grows after the notice was sent
    return report_pdf(report, report_html(report), evidence, release.released_at)


def _expected(view: ProposalView, release: ReleaseView) -> Grid:
    found = view.document["consequences"]
    last = found.get(f"last at {release.site_id}", found["original"])
    before, after = (found["new"], last) if release.is_rollback else (last, found["new"])
    rows = tuple(
        (text, interval(before.get(name)), interval(after.get(name)))
        for name, text in FIGURES.items()
    )
    columns = ("At the present prevalence of your site", "until now", "from then on")
    return Grid("Expected, with 95 % intervals", columns, rows)
