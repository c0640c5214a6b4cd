"""One view of each page, with names from outside that try to be markup."""

from __future__ import annotations

from datetime import UTC, date, datetime

from app.central.reports.ports import Remark, SignatureView
from dashboards import wording
from dashboards.charts.spec import State
from dashboards.letters import LetterPage
from dashboards.pages.report_views import ReportPage, ReportsView
from dashboards.pages.requests import TO_FLEET
from dashboards.pages.views import (
    AssessmentForm,
    ChangeRow,
    Choice,
    DecisionView,
    DutyView,
    EffectRow,
    Fact,
    FleetView,
    Grid,
    HistoryRow,
    Link,
    ListView,
    ProblemView,
    QueueRow,
    Shares,
    Shell,
    SignalsView,
    SignalView,
    SignInView,
    Strip,
    SubjectView,
)
from dashboards.reports.views import Section
from tests.dashboards import charts_examples as charts
from tests.dashboards.admin_examples import ADMIN_PAGES

HOSTILE = "BX-2</script><script>alert(1)</script>"
SHELL = Shell(
    "A. Reviewer",
    "Quality",
    (Link("Fleet", "/", True), Link("Signals (3)", "/signals"), Link("Audit", "/audit")),
)
WHEN = datetime(2026, 10, 19, 6, tzinfo=UTC)
DIGEST = "3f9c" + "0" * 56 + "00a1"

QUEUE = (
    QueueRow(
        "S-0147",
        "Mean score has shifted upward",
        "/signals/S-0147",
        f"Site 04 · scanner {HOSTILE}",
        "under assessment",
        True,
        date(2026, 10, 19),
        "6 days",
        "A. Reviewer",
    ),
    QueueRow(
        "S-0139",
        "Noise has shifted downward",
        "/signals/S-0139",
        "Site 09",
        "waiting",
        True,
        date(2026, 9, 24),
        "31 days",
        "nobody",
    ),
)
DECISION = DecisionView(
    "confirmed",
    "scanner",
    "The vendor changed the edge enhancement on 12 October; images were compared <side by side>.",
    "A. Reviewer",
    "assessment",
    WHEN,
    DIGEST,
)
FORM = AssessmentForm(
    "/signals/S-0147/decision",
    (Choice("confirm", "confirmed"), Choice("refute", "refuted")),
    (Choice("scanner", "scanner or image processing"),),
    DIGEST,
    is_first=False,
)
FLEET = FleetView(
    title="LungCAD 2.3.1 · 12 sites · 2026-W43",
    sentences=wording.fleet_sentences(
        3,
        [wording.Standing(f"Site {i:02d}", State.IN_CONTROL) for i in (1, 2, 3, 5, 6, 8, 10, 12)]
        + [wording.Standing("Site 04", State.SIGNAL), wording.Standing("Site 09", State.SIGNAL)]
        + [
            wording.Standing("Site 07", State.SILENT, WHEN),
            wording.Standing("Site 11", State.NOT_ASSESSABLE, reason="9 cases, 30 needed"),
        ],
    ),
    queue=QUEUE,
    empty_queue="",
    versions=(Link("LungCAD 2.3.1", "/?device=a", True), Link("LungCAD 2.2.0", "/?device=b")),
    heat_map=charts.heat_map(),
    funnel=charts.funnel(),
    strips=(
        Strip("Site 04", "/sites/4", "█" * 30, "30 of 30 days received"),
        Strip("Site 07", "/sites/7", "█" * 22 + "·" * 8, "22 of 30 days received"),
    ),
    balance="1 200 windows produced, 1 199 stored, 0 quarantined, 1 still on the edge.",
)
DUTY = DutyView(
    aware=(wording.aware("q", datetime(2026, 10, 19, 6, tzinfo=UTC), HOSTILE),),
    clocks=Grid(
        "Times to report",
        ("Duty", "Applies to", "Assessment", "Due"),
        (("EU MDR 87(3)", "serious incident", HOSTILE, wording.due(None, None, "awareness")),),
    ),
    assessed=(),
    obligations=("EU MDR 87(3)",),
    action="/signals/S-0147",
    digest=DIGEST,
    may_note=True,
    may_sign=True,
    typed={"facts": HOSTILE},
    errors=(HOSTILE,),
)
SIGNAL = SignalView(
    id="S-0147",
    crumb=f"Signal S-0147 · LungCAD 2.3.1 · Site 04 · {HOSTILE}",
    title="Mean score has shifted upward",
    state="under assessment",
    is_open=True,
    claim=(
        "Mean score rose by 0.016 (95 % interval 0.012 to 0.02) against the reference period.",
        "The change most likely began between 2026-02-14 and 2026-02-17.",
    ),
    seen=(charts.control_chart(), charts.path()),
    sure=(wording.budget(1.0),),
    effects=(EffectRow("Mean score", 0.9, (0.7, 1.1), "reference SD"),),
    candidates=(Shares("scanner or image processing", 0.97), Shares("share of positives", 0.02)),
    where=(charts.comparison(),),
    changes=(
        ChangeRow("Scanner software VB20 → VB30", "2026-02-10", "event"),
        ChangeRow("Flagged rate", "", "no signal"),
    ),
    history=(
        HistoryRow("2026-10-19 06:00 UTC", "Detected"),
        HistoryRow("2026-10-19 06:01 UTC", "Alert sent to quality@example.org"),
    ),
    facts=(
        Fact("Monitor", "noise / daily"),
        Fact("Reference", "R-0012"),
        Fact("Evidence", f"sha256 {DIGEST}", True),
    ),
    decisions=(DECISION,),
    form=FORM,
    duty=DUTY,
)
GRID = Grid("Scanners", ("Scanner", "Cases"), ((HOSTILE, "812"), ("Y", "9")), frozenset({1}))
SUBJECT = SubjectView(
    crumb="Site",
    title="Site 04",
    state=State.SIGNAL,
    sentences=("1 signal waits for a decision here.",),
    facts=(Fact("Lock", "equal to the release"), Fact("Digest", DIGEST, True)),
    signals=QUEUE[:1],
    charts=(charts.control_chart(), charts.time_line(), charts.mix()),
    grids=(GRID, Grid("Labels", ("A",), ())),
)
PAGES: dict[str, tuple[str, object]] = {
    "fleet": ("fleet.html", FLEET),
    "signal": ("signal.html", SIGNAL),
    "signals": (
        "signals.html",
        SignalsView("Signals", "3 signals wait.", (Link("open", "/signals", True),), QUEUE),
    ),
    "subject": ("subject.html", SUBJECT),
    "letter": (
        "letter.html",
        LetterPage(
            title=f"Letter to {HOSTILE}, draft",
            signal="S-0147",
            sections=(Section("What we noticed", (HOSTILE,)),),
            facts=(Fact("To", HOSTILE),),
            files=(Link("PDF, to print", "/letters/L-0001/pdf"),),
            action="/signals/S-0147/letters/H04",
            told=f"To: {HOSTILE}.",
            digest=DIGEST,
            addition=HOSTILE,
            sending="Sending asks for your password.",
            errors=(HOSTILE,),
        ),
    ),
    "list": ("list.html", ListView("Audit", ("Chain intact.",), (GRID,), (Link("csv", "/a"),))),
    "reports": (
        "reports.html",
        ReportsView(
            title="Reports",
            sentences=("1 report issued.",),
            grid=GRID,
            schedules=GRID,
            running=("RS-0001",),
            devices=(Choice("a", "LungCAD 2.3.1"),),
            device_names=(f"LungCAD {HOSTILE}",),
            frequencies=("weekly",),
            groups=(Choice("RS-0001", f"Board {HOSTILE}"),),
            others=(Link("LungCAD 2.3.1", "/devices/a/evidently"),),
            start="2026-07-01",
            end="2026-09-30",
            may_draft=True,
            may_schedule=True,
            error="start before end expected",
        ),
    ),
    "report": (
        "report.html",
        ReportPage(
            title="DR-0001 LungCAD 2.3.1",
            number="DR-0001",
            state="draft, waits for review",
            sentence="Draft, waits for review.",
            is_being_drafted=True,
            is_failed=True,
            facts=(Fact("PDF", f"sha256 {DIGEST}", True),),
            files=(Link("PDF", "/reports/DR-0001.pdf"),),
            remarks=(
                Remark(
                    section="Summary",
                    text=f"Seen {HOSTILE}",
                    printed_name="A. Reviewer",
                    written_at=DECISION.decided_at,
                ),
            ),
            signatures=(
                SignatureView(
                    meaning="withdrawal",
                    printed_name="A. Reviewer",
                    signed_by="a",
                    signed_at=DECISION.decided_at,
                    content_digest=DIGEST,
                    reason=f"Why {HOSTILE}",
                ),
            ),
            sections=("Summary",),
            digest=DIGEST,
            meanings=(Choice("review", "review"),),
            may_remark=True,
            may_draft=True,
            may_rebuild=True,
            supersedable=Choice("a", "LungCAD 2.3.1"),
            start="2026-07-01",
            end="2026-09-30",
            typed={"reason": HOSTILE},
            errors=("Meaning: choose one.",),
            notice="DR-0001 was rebuilt.",
        ),
    ),
    "sign_in-provider": (
        "sign_in.html",
        SignInView("/", "Example SSO", "/sign-in/provider?then=%2F", is_password_rare=True),
    ),
    "sign_in": ("sign_in.html", SignInView("/signals/S-0147", error=wording.SIGN_IN_FAILED)),
    "problem": ("problem.html", ProblemView("Not found", "There is no such signal.", TO_FLEET)),
    **ADMIN_PAGES,
}
