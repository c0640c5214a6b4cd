"""Data for a correction or removal: each element of 21 CFR 806.10(c) and 806.20(b), by number.

What only a person knows is left open and says so. Which of the two applies, a person decides.
"""

from __future__ import annotations

from app.central.plain import plain
from app.central.recalibration.models import ProposalAction
from app.central.recalibration.service import ProposalView
from app.contracts.signing import canonical
from dashboards import filters
from dashboards.pages.views import Grid
from dashboards.reports.document import report_html, report_pdf
from dashboards.reports.dossier import CORRECTION, cover, notice, release_grid
from dashboards.reports.views import ReportView, Section

OPEN = "to be given by a person"
Rows = tuple[tuple[str, str, str], ...]


def elements(view: ProposalView) -> dict[str, Rows]:
    """Number, element and content, by section of the regulation."""
    d = view.document
    device = f"{d['device']}, version {d['version']}"
    event = (
        f"Signal {view.signal_id} of {', '.join(view.sites)} since {d['since']}. "
        f"{d['prevalence']['statement']}"
    )
    action = "; ".join(
        f"{r.site_id}: {'roll-back to' if r.is_rollback else 'change to'} "
        f"{', '.join(f'{t.stage} ≥ {t.value:.4g}' for t in r.thresholds)} ({r.id}) from "
        f"{filters.instant(r.effective_from)}"
        for r in view.releases
    )
    consignees = ", ".join(sorted({r.site_id for r in view.releases})) or "none yet"
    notices = f"{len(view.releases)} notices to users, attached below" if view.releases else "none"
    reviewed = _reviewed(view)
    return {
        "21 CFR 806.10(c): report": (
            ("1", "Registration number, date, sequence number, C or R", OPEN),
            ("2", "Manufacturer or importer, and who reports", OPEN),
            ("3", "Brand and common name, classification, intended use", f"{device}; else {OPEN}"),
            ("4", "Marketing submission number", OPEN),
            ("5", "Unique device identifier", d["udi_di"]),
            ("6", "Manufacturer, if another than who reports", OPEN),
            ("7", "Event and corrective action taken", f"{event} {action or 'No release yet.'}"),
            ("8", "Illness or injuries with the use of the device", OPEN),
            ("9", "Number of devices subject to it", f"those of {len(view.sites)} site(s)"),
            ("10", "Date of distribution, expiry", f"lock digest {d['lock_digest']}; {OPEN}"),
            ("11", "Consignees", f"{consignees}; addresses {OPEN}"),
            ("12", "Communications", notices),
            ("13", "What is not available yet, and when it will be", OPEN),
        ),
        "21 CFR 806.20(b): record where no report is required": (
            ("1", "Brand and common name, classification, intended use", f"{device}; else {OPEN}"),
            ("2", "Unique device identifier, lot, serial", f"{d['udi_di']}, {d['lock_digest']}"),
            ("3", "Event and action", f"{event} {action or 'No release yet.'}"),
            ("4", "Justification for not reporting; who reviewed it", f"{OPEN}; {reviewed}"),
            ("5", "Communications", notices),
        ),
    }


def _reviewed(view: ProposalView) -> str:
    found = [s for s in view.decisions if s.action is ProposalAction.APPROVE]
    if not found:
        return "the change itself is not approved"
    one = found[0]
    return (
        f"the change itself was approved by {one.printed_name} on "
        f"{filters.instant(one.decided_at)}: {one.reason}"
    )


def correction_report(view: ProposalView) -> ReportView:
    """The pack as a report."""
    grids = tuple(
        Grid(title, ("No", "Element", "Content"), rows) for title, rows in elements(view).items()
    )
    return ReportView(
        number=view.id,
        title="Correction and removal: data",
        status=view.state.value,
        digest=view.digest,
        about_signals=False,
        cover=cover(view),
        sections=(
            Section("What this is", (CORRECTION,)),
            Section("Elements", grids=grids),
            Section("Actions", grids=(release_grid(view.releases),)),
            Section("Notices to users", tuple(notice(view, r) for r in view.releases)),
        ),
    )


def correction_json(view: ProposalView) -> bytes:
    """The elements as canonical JSON, with the record they come from."""
    named = {
        title: [{"item": n, "element": e, "content": c} for n, e, c in rows]
        for title, rows in elements(view).items()
    }
    return canonical({"elements": named, "record": plain(view)})


def correction_pdf(view: ProposalView) -> bytes:
    """The pack as PDF/A with its JSON embedded."""
    report = correction_report(view)
    return report_pdf(report, report_html(report), correction_json(view), view.proposed_at)
