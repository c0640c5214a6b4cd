"""The change-control record of one proposal in sections and tables: page, dossier and notices.

Everything comes from the frozen document, its signatures and its releases; nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.central.plain import plain
from app.central.recalibration.releases import ReleaseView, expected_figures
from app.central.recalibration.service import ProposalView
from app.central.recalibration.watch import PostChange
from app.contracts.signing import canonical
from dashboards import filters, wording
from dashboards.pages.views import Fact, Grid
from dashboards.reports.document import report_html, report_pdf
from dashboards.reports.views import ReportView, Section

FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "alerts_per_1000": "Alerts per 1,000",
    "missed_per_1000": "Missed positives per 1,000",
}
COMPONENTS = (
    "modification",
    "data_management",
    "retraining",
    "performance_evaluation",
    "update_procedures",
    "impact",
)
CORRECTION = (
    "A change of the operating point at a site may be a correction. A person decides which of the "
    "two applies and completes what is left open; lockwatch does not decide reportability."
)


def dossier(view: ProposalView) -> ReportView:
    """The whole story: trigger, data, protocol run, acceptance, signatures, release, notice."""
    d = view.document
    sections = (
        Section("Outcome", (_outcome(view), d["statement"]), grids=reasons_grids(view)),
        Section("Trigger and data", (d["prevalence"]["statement"],), facts=evidence_facts(view)),
        Section("Change", grids=(consequence_grid(view), scanner_grid(view), subgroup_grid(view))),
        Section("Acceptance criteria", grids=(acceptance_grid(view),)),
        Section("Traceability", grids=(traceability_grid(view),)),
        Section("Signatures", grids=(signature_grid(view),)),
        Section("Releases", grids=(release_grid(view.releases),)),
        Section("Comparison after the change", grids=(watch_grid(view.comparisons),)),
        Section("User notice", tuple(notice(view, r) for r in view.releases)),
        Section("Correction and removal", (CORRECTION, "Its data are a document of their own.")),
    )
    return ReportView(
        number=view.id,
        title="Recalibration record",
        status=view.state.value,
        digest=view.digest,
        cover=cover(view),
        sections=sections,
    )


def dossier_pdf(view: ProposalView) -> bytes:
    """The dossier as PDF/A with the record embedded; the same record gives the same bytes."""
    report = dossier(view)
    evidence = canonical(plain(view))
    return report_pdf(report, report_html(report), evidence, view.proposed_at)


def _outcome(view: ProposalView) -> str:
    plan = view.document["plan"]
    return (
        f"{view.id} under {plan['title']} version {plan['version']} ({plan['authorisation']}) is "
        f"{view.state.value}."
    )


def cover(view: ProposalView) -> tuple[Fact, ...]:
    """What the record is about."""
    d = view.document
    return (
        Fact("Device", f"{d['device']} {d['version']}"),
        Fact("UDI-DI", d["udi_di"]),
        Fact("Lock digest", d["lock_digest"], True),
        Fact("Weights before", d["weights"]["before"], True),
        Fact("Weights after", d["weights"]["after"], True),
        Fact("Sites", ", ".join(view.sites)),
        Fact("Signal", view.signal_id, href=f"/signals/{view.signal_id}"),
        Fact("Policy", policy(d["policy"])),
        *(_equivalence(d) if d.get("equivalence") else ()),
        Fact("Plan", f"sha256 {d['plan']['digest']}", True),
        Fact("Record", f"sha256 {view.digest}", True),
    )


def _equivalence(document: Mapping[str, Any]) -> Iterator[Fact]:
    """For which class of scanners, and what the equivalent threshold rests on."""
    wanted, found = document["equivalence"], document.get("equivalent", {})
    yield Fact("Equivalent threshold for", f"{wanted['scanner_class']}, by {wanted['method']}")
    if "holdout" in found:
        yield Fact("Fresh labels", f"{found['holdout']}, sha256 {found['holdout_digest']}", True)
    if "equivalent" in found:
        yield Fact("Equivalent threshold", interval(found["equivalent"]))
        yield Fact("Prevalence by", f"{found['prevalence_from']}: {interval(found['prevalence'])}")


def policy(asked: Mapping[str, Any]) -> str:
    """A policy in words."""
    floor = f", sensitivity at least {asked['floor']:.0%}" if asked["floor"] else ""
    return f"hold {asked['held'].replace('_', ' ')} at {asked['target']:.3g}{floor}"


def evidence_facts(view: ProposalView) -> tuple[Fact, ...]:
    """Evidence by digest, and the gate's figures."""
    e, g = view.document["evidence"], view.document["gate"]
    return (
        Fact("Since", view.document["since"]),
        Fact("Cases before, since", f"{e['cases_before']}, {e['cases_since']}"),
        Fact("Audit labels", str(g["labels"])),
        Fact("Lack of fit to a mixture", f"p {g['mixture_p']:.3g}, {g['mixture_residual']:.3g}"),
        Fact("Evaluation", e["evaluation"] or "none", True),
        Fact("Windows", e["windows"], True),
        Fact("Reference", e["reference"], True),
        Fact("Audit head", e["audit_head"], True),
    )


def reasons_grids(view: ProposalView) -> tuple[Grid, ...]:
    """Why it was refused, and what would change that; nothing where it was not."""
    rows = tuple((r["found"], r["would_change"]) for r in view.document["reasons"])
    return (Grid("Refused because", ("Found", "What would change it"), rows),) if rows else ()


def consequence_grid(view: ProposalView) -> Grid:
    """Every figure at the original, the last and the new operating point."""
    unordered = view.document.get("consequences", {})
    last = sorted(name for name in unordered if name.startswith("last"))
    found = {n: unordered[n] for n in ("original", *last, "new") if n in unordered}
    rows = tuple(
        (text, *(interval(c.get(name)) for c in found.values())) for name, text in FIGURES.items()
    )
    columns = ("Expected at the present prevalence", *found)
    return Grid("Before and after, with 95 % intervals", columns, rows if found else ())


def scanner_grid(view: ProposalView) -> Grid:
    """Each scanner by its own scores."""
    rows = tuple(
        (
            f"{r['site']} {r['scanner']}",
            str(r["cases"]),
            f"{r['old']:.4g} → {r['new']:.4g}",
            *(interval(r[when]["ppv"]) if when in r else "too few cases" for when in BOTH),
            *(interval(r[w]["alerts_per_1000"]) if w in r else "–" for w in BOTH),
        )
        for r in view.document.get("scanners", ())
    )
    columns = ("Scanner", "Cases", "Threshold", "PPV before", "PPV after", "Alerts", "Alerts after")
    return Grid("By scanner", columns, rows)


BOTH = ("before", "after")


def subgroup_grid(view: ProposalView) -> Grid:
    """Each sub-group of the cohort, before and after."""
    rows = tuple(
        (
            wording.spelled(r["name"]),
            str(r["positives"]),
            *(interval(r[when].get("sensitivity")) for when in BOTH),
            *(interval(r[when].get("specificity")) for when in BOTH),
        )
        for r in view.document.get("subgroups", ())
    )
    columns = ("Sub-group", "Positives", "Sensitivity", "after", "Specificity", "after")
    return Grid("By sub-group, against the original version", columns, rows)


def acceptance_grid(view: ProposalView) -> Grid:
    """Every criterion with its figure and its limit."""
    rows = tuple(
        (
            o["criterion"],
            wording.spelled(o["against"]),
            f"{o['figure']:.4g}",
            f"{o['limit']:.4g}",
            "met" if o["met"] else "NOT MET",
        )
        for o in view.document.get("acceptance", ())
    )
    return Grid("Acceptance criteria", ("Criterion", "Against", "Figure", "Limit", "Result"), rows)


def traceability_grid(view: ProposalView) -> Grid:
    """Modification by the components of the modification protocol."""
    rows = tuple(tuple(t[name] for name in COMPONENTS) for t in view.document["traceability"])
    return Grid("Traceability", tuple(n.replace("_", " ").capitalize() for n in COMPONENTS), rows)


def signature_grid(view: ProposalView) -> Grid:
    """Signatures with name, time and meaning."""
    rows = tuple(
        (d.printed_name, filters.instant(d.decided_at), d.meaning, d.reason) for d in view.decisions
    )
    return Grid("Signatures", ("Signed by", "At", "Meaning", "Reason"), rows)


def release_grid(releases: Iterable[ReleaseView], caption: str = "Releases") -> Grid:
    """Operating points as they were released to sites, and taken back."""
    rows = tuple(
        (
            r.id,
            r.site_id,
            r.kind,
            ", ".join(
                f"{t.stage} {t.scanner_class} ≥ {t.value:.4g}".replace("  ", " ")
                for t in r.thresholds
            ),
            filters.instant(r.effective_from),
            r.rollback_to,
            r.printed_name,
            "named in a window" if r.reported else "not reported yet",
        )
        for r in releases
    )
    columns = ("Operating point", "Site", "Kind", "Threshold", "Effective from", "Back to")
    return Grid(caption, (*columns, "Signed by", "Edge"), rows, empty="Nothing is released.")


def watch_grid(comparisons: Sequence[PostChange]) -> Grid:
    """The comparison of each release at the number of cases that was set before."""
    rows = tuple(
        (
            c.point_id,
            f"{c.cases} of {c.planned}",
            "–" if c.alerts is None else f"{c.alerts:.0f} ({c.low:.0f} to {c.high:.0f})",
            f"{c.expected_low:.0f} to {c.expected_high:.0f}",
            c.state,
        )
        for c in comparisons
    )
    columns = ("Operating point", "Cases, planned", "Alerts per 1,000", "Expected", "Result")
    return Grid("Comparison after the change", columns, rows, empty="None was due yet.")


def notice(view: ProposalView, release: ReleaseView) -> str:
    """What the users of one site are told."""
    d = view.document
    figures = expected_figures(d, release.site_id, is_rollback=release.is_rollback)
    threshold = ", ".join(
        f"{t.value:.4g}{f' ({t.scanner_class})' if t.scanner_class else ''}"
        for t in release.thresholds
    )
    return (
        f"{release.site_id}, from {filters.instant(release.effective_from)}: {d['plan']['notice']} "
        f"{d['device']} {d['version']} flags from {threshold} on (operating point {release.id}). "
        f"Expected at your prevalence: sensitivity {interval(figures.get('sensitivity'))}, PPV "
        f"{interval(figures.get('ppv'))}, {interval(figures['alerts_per_1000'])} alerts per 1,000 "
        f"cases. To go back: operating point {release.rollback_to}."
    )


def interval(x: Mapping[str, float] | None) -> str:
    """Value and interval with three significant digits; numbers above 1 are counts per 1,000."""
    if x is None:
        return "not estimable"
    return f"{x['value']:.3g} ({x['low']:.3g} to {x['high']:.3g})"
