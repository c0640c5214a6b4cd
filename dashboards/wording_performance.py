"""Sentences on performance, sub-groups, prevalence and readers; see `wording.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from dashboards.wording import characteristic, count, listed, needs_cases, sentence_case

if TYPE_CHECKING:
    from app.central.surveillance.measured import Measured
    from app.central.surveillance.operating import Use
    from app.central.surveillance.performance import AtPoint
    from app.central.surveillance.subgroups import Level
    from dashboards.measured import PrevalenceRow, Readers

ESTIMATED = (
    "Estimated values rest on scores alone and on the cleared calibration; they are not "
    "measurements."
)
NOT_ESTIMATED = (
    "No values are estimated from scores: an open signal has another cause than the share of "
    "positive cases, and an estimate would then hide a loss."
)
MEASURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "auc": "Area under the ROC curve",
}
MEASURES_SHORT = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "auc": "AUC",
}
READS_WEIGHTED = (
    "Only reads of the random audit count. Each stands for all cases of its bin of scores, so that "
    "reading more of the flagged cases biases no figure. The area under the ROC curve is that of "
    "these bins, measured and cleared alike."
)
ONLY_BOUNDS = "only bounds: some scores have cases and no read"
SUBGROUPS_UNMEASURED = (
    "Sensitivity and specificity by sub-group are not assessable from windows: a sub-group's reads "
    "leave a site by quarter of the score, without the cases of each quarter, and cannot be "
    "weighted. A freshly labelled holdout measures them."
)
NOT_TOLD_APART = "not told apart"
NO_THRESHOLD = "Not assessable: the operating point of this device version has no threshold."
NOT_POOLED = (
    "More than one operating point was in force in this period. Figures at different scores are "
    "not pooled: each is shown apart, over the days and sites at which it flagged."
)
SITES_AT_POINTS = 4  # named in a sentence
CLASSES_NOT_TOLD_APART = (
    "Not assessable: this operating point flags classes of scanners from different scores, which "
    "counts by site do not tell apart."
)
SUPPRESSED = "not sent, or fewer than 11"
NO_READS = "no reads"
NO_COMPARISON = "not assessable: too few reads of both kinds"
SUBGROUPS = (
    "Sites send each sub-group once a month, as margins, never crossed. Cells under 11 cases "
    "do not leave a site, and neither do others that would give them back."
)
PREVALENCE_ASSUMES = (
    "The estimate assumes that positive and negative cases score as they did in the validation "
    "cohort. Missed positives look like fewer positives: a fall is not good news without reads."
)
ANNOTATION = (
    "Groups are compared with themselves, at equal scores, so that a changed mix of cases does "
    "not look like changed reading. An odds ratio of 1 is no change."
)


def needs_reads(got: int, needed: int) -> str:
    """Too few reads, in numbers."""
    return f"needs reference reads: {got} of {needed}"


def needs_level(level: Level) -> str:
    """Why a level has no rate: how many of its cases came, and how many it needs."""
    if level.cases is None:
        return f"not assessable: needs {level.needed} cases"
    return needs_cases(level.cases, level.needed)


def bins_left_out(n: int, least: int) -> str:
    """Bins of a curve that held too few reads to be drawn."""
    if not n:
        return ""
    verb = "is" if n == 1 else "are"
    return f"{sentence_case(count(n, 'bin'))} with fewer than {least} reads {verb} left out. "


def with_error(value: float, error: float) -> str:
    """A coefficient with its 95 % interval."""
    return f"{value:.2f} ({value - 1.96 * error:.2f} to {value + 1.96 * error:.2f})"


def measured_sentence(found: Measured, days: str) -> str:
    """Sensitivity and specificity with intervals, n and `days`; or why there are none."""
    if found.rates:
        shown = [
            f"{name} {v.value:.2f} ({v.low:.2f}–{v.high:.2f})"
            for name, v in (
                ("Sensitivity", found.rates["sensitivity"]),
                ("specificity", found.rates["specificity"]),
            )
        ]
        return f"{' and '.join(shown)}, measured on {found.reads} reads, {days}."
    if found.bounds:
        low, high = found.bounds["sensitivity"]
        return (
            f"Sensitivity lies between {low:.2f} and {high:.2f}: some scores have cases but no "
            f"read, so that {found.reads} reads give bounds and no estimate."
        )
    return f"Performance was not measured, {days}: {unmeasured(found)}."


def flagged_from(at: AtPoint) -> str:
    """From which score cases were flagged."""
    if at.threshold is None:
        return "flagged from a score of the class of scanners"
    return f"flagged from {at.threshold:g}" + ("" if at.uses else ", as cleared")


def in_force(at: AtPoint, cleared: str = "the cleared operating point") -> str:
    """An operating point, from which score it flags, and where and when it was in force."""
    if not at.uses:
        return f"{cleared}, {flagged_from(at)}"
    names = listed(dict.fromkeys(use.point for use in at.uses))
    places = listed(f"{use.site} {use.days.words}" for use in at.uses)
    return f"{names}, {flagged_from(at)}: {places}"


def other_points(uses: Sequence[Use]) -> tuple[str, ...]:
    """Which sites flag from another score than the cleared one, and since when."""
    if not uses:
        return ()
    verb = "flags" if len(uses) == 1 else "flag"
    each = (
        f"{use.site}, {_score_of(use)} since {date.fromordinal(use.days.start)}" for use in uses
    )
    return (
        f"{count(len(uses), 'site')} {verb} from another score than the cleared one "
        f"({'; '.join(list(each)[:SITES_AT_POINTS])}"
        f"{'; …' if len(uses) > SITES_AT_POINTS else ''}): flagged rates from before are of "
        "another operating point.",
    )


def _score_of(use: Use) -> str:
    return "by class of scanners" if use.threshold is None else f"from {use.threshold:g}"


def at_point(at: AtPoint) -> str:
    """Of which operating point the sentences that follow speak."""
    if at.overall is None and at.uses:
        return f"At {in_force(at)}. {CLASSES_NOT_TOLD_APART}"
    return f"At {in_force(at)}."


def unmeasured(found: Measured) -> str:
    """Why reads give no estimate; "" where they do."""
    if found.rates:
        return ""
    if found.reads < found.needed:
        return needs_reads(found.reads, found.needed)
    return ONLY_BOUNDS if found.bounds else found.refused


def would_change(found: Measured) -> tuple[str, ...]:
    """What would turn a refusal into an estimate."""
    if found.rates:
        return ()
    if found.reads < found.needed:
        return (
            f"{found.needed - found.reads} more reads of the random audit in this period, some "
            "at every score at which there are cases, would allow an estimate.",
        )
    if found.bounds:
        pairs = zip(found.cases, found.labelled, strict=True)
        bins = count(sum(n > 0 and not read for n, read in pairs), "bin")
        return (f"Audited reads in {bins} of scores without any would make these an estimate.",)
    return ("A longer period, or an operating point on an edge of these bins, may change that.",)


def prevalence_sentence(row: PrevalenceRow) -> str:
    """The fleet's prevalence in a sentence."""
    if row.estimate is None:
        return f"Prevalence is not assessable: {row.reason.removeprefix('not assessable: ')}."
    e = row.estimate
    return (
        f"About {100 * float(e.value):.0f} % of cases are estimated to be positive (95 % interval "
        f"{100 * float(e.low):.1f} to {100 * float(e.high):.1f} %, {row.cases} cases)."
    )


def prevalence_cohort(share: float) -> str:
    """What the present prevalence may not be compared with blindly."""
    return (
        f"In the validation cohort {100 * share:.1f} % were positive. The prevalence at a site may "
        "differ from that of the validation cohort, and with it the predictive values, while "
        "sensitivity and specificity stay as they were."
    )


def coverage(margin: str, silent: int, sites: int, cases: int) -> str:
    """How much of the fleet a margin covers."""
    name = sentence_case(characteristic(margin))
    if not silent:
        return (
            f"{name}: sent by {'all ' if sites > 1 else ''}{count(sites, 'site')}, {cases} cases."
        )
    verb = "is" if cases == 1 else "are"
    return (
        f"{name} is not sent by {silent} of {count(sites, 'site')} (their choice, or groups too "
        f"small); {count(cases, 'case')} {verb} covered."
    )


def annotation_sentence(rows: Sequence[Readers]) -> str:
    """Whether any group reads differently, and how many were looked at."""
    if not rows:
        return "No audited read has arrived; changes of labelling cannot be seen."
    moved = [r.group for r in rows if readers_finding(r) != "no change seen"]
    compared = f"{count(len(rows), 'reader group')} {'was' if len(rows) == 1 else 'were'} compared"
    if not moved:
        return f"{compared} with the reference period; no change of labelling was seen."
    return f"{compared} with the reference period; looked at singly, {listed(moved)} moved."


def readers_finding(row: Readers) -> str:
    """One group in words; a single look, without the budget of signals."""
    if row.ratio is None:
        return NO_COMPARISON
    if row.ratio[1] <= 1 <= row.ratio[2]:
        return "no change seen"
    return f"calls positive {'more' if row.ratio[0] > 1 else 'less'} often"
