"""The plain lists: sites, device versions, the balance, the audit trail."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.fleet import service as fleet
from app.central.fleet.service import DeviceVersionView, EdgeView, SiteView
from app.central.intake import service as intake
from app.central.intake.closing import PARTS, Closing, closings
from app.central.intake.service import EdgeBalance
from dashboards import filters
from dashboards.pages.paging import page_of
from dashboards.pages.views import Grid, Link, ListView
from dashboards.wording import count, instant, listed, sentence_case

AUDIT_LINES = 200
ROWS_A_PAGE = 200
EQUAL = "equal to the release"


def sites_view(session: Session, scope: str | None, page: int = 1) -> ListView:
    """Every site with its edge, its lock and when it was last heard, a page at a time."""
    sites = fleet.sites(session, scope=scope)
    paged = page_of(sites, page, ROWS_A_PAGE)
    rows = [row for site in paged.shown for row in _site_rows(site)]
    grid = Grid(
        "Sites",
        ("Site", "Name", "Device", "Edge", "Lock", "Last heard"),
        tuple(rows),
        links=tuple(f"/sites/{row[0]}" for row in rows),
        empty="No site is enrolled yet.",
    )
    return ListView(
        "Sites",
        (f"{sentence_case(count(len(sites), 'site'))}.",),
        (grid,),
        pages=paged.links("site", "/sites"),
    )


def _site_rows(site: SiteView) -> list[tuple[str, ...]]:
    if not site.edges:
        return [(site.id, site.name, "–", "none enrolled", "–", "–")]
    return [
        (
            site.id,
            site.name,
            f"{edge.device} {edge.version}",
            edge.state.value,
            lock_words(edge),
            filters.instant(edge.last_seen_at),
        )
        for edge in site.edges
    ]


def lock_words(edge: EdgeView) -> str:
    """Whether the installed chain is the cleared one, in words."""
    if edge.lock_state == "broken" or edge.expected_lock != edge.reported_lock:
        return "not equal to the release"
    if edge.lock_state == "not_checked":
        return "not checked yet"
    return EQUAL


def devices_view(session: Session) -> ListView:
    """Every registered device version."""
    versions = fleet.device_versions(session)
    grid = Grid(
        "Device versions",
        ("Device", "Version", "UDI-DI", "Release", "Edges", "Lock digest", "Registered"),
        tuple(_device_row(v) for v in versions),
        numeric=frozenset({3, 4}),
        links=tuple(f"/devices/{v.lock_digest}" for v in versions),
        empty="No device is under surveillance yet.",
    )
    return ListView(
        "Devices", (f"{sentence_case(count(len(versions), 'device version'))}.",), (grid,)
    )


def _device_row(version: DeviceVersionView) -> tuple[str, ...]:
    return (
        version.device,
        version.version,
        version.udi_di,
        str(version.release_counter),
        str(version.edges),
        filters.short(version.lock_digest),
        filters.day(version.registered_at.date()),
    )


def balance_view(session: Session, scope: str | None, page: int = 1) -> ListView:
    """produced = stored + quarantined + still on the edge; received = what became of it.

    Balances that do not close come first.
    """
    balances = closings(session, scope=scope)
    ordered = sorted(balances, key=lambda b: b.closes and b.cases_close)
    paged = page_of(ordered, page, ROWS_A_PAGE)
    shown = intake.balances_of(session, [b.edge_id for b in paged.shown])
    return ListView(
        "Balance: nothing is missing" if is_closed(balances) else "Balance: something is missing",
        balance_sentences(balances),
        (_windows(shown), _cases(shown), _reasons(shown)),
        pages=paged.links("edge", "/balance"),
    )


def balance_sentences(balances: Sequence[EdgeBalance | Closing]) -> tuple[str, ...]:
    """Whether every balance closes; where one does not, which."""
    if not balances:
        return ("No edge is enrolled yet.",)
    stored, produced = sum(b.stored for b in balances), sum(b.produced for b in balances)
    aside, waiting = sum(b.quarantined for b in balances), sum(b.on_edge for b in balances)
    open_ones = sorted({b.site_id for b in balances if not (b.closes and b.cases_close)})
    verdict = (
        "Every balance closes."
        if not open_ones
        else f"The balance does not close at {listed(open_ones, 20)}."
    )
    return (
        f"{sentence_case(count(produced, 'window'))} produced, {stored} stored, "
        f"{aside} quarantined, {waiting} still on the edge.",
        verdict,
    )


def is_closed(balances: Sequence[EdgeBalance | Closing]) -> bool:
    """Every window and every case is accounted for, at every edge."""
    return all(b.closes and b.cases_close for b in balances)


def _windows(balances: Sequence[EdgeBalance]) -> Grid:
    return Grid(
        "Windows by edge: produced = stored + quarantined + still on the edge",
        ("Site", "Edge", "Produced", "Stored", "Quarantined", "On the edge", "Gaps", "Closes"),
        tuple(
            (
                b.site_id,
                b.edge_id,
                *map(filters.whole, (b.produced, b.stored, b.quarantined, b.on_edge)),
                ", ".join(f"{low}–{high}" for low, high in b.gaps) or "none",
                "yes" if b.closes else "no",
            )
            for b in balances
        ),
        numeric=frozenset({2, 3, 4, 5}),
        links=tuple(f"/sites/{b.site_id}" for b in balances),
    )


def _cases(balances: Sequence[EdgeBalance]) -> Grid:
    known = [b for b in balances if b.cases]
    return Grid(
        "Cases by edge, as the edge reports them: received = the sum of the others",
        (
            "Site",
            "Received",
            *(sentence_case(p.replace("_", " ")) for p in PARTS),
            "Refused objects",
            "Closes",
        ),
        tuple(
            (
                b.site_id,
                filters.whole(b.cases["received"]),
                *(filters.whole(b.cases[part]) for part in PARTS),
                filters.whole(b.cases["refused_objects"]),
                "yes" if b.cases_close else "no",
            )
            for b in known
        ),
        numeric=frozenset(range(1, 3 + len(PARTS))),
    )


def _reasons(balances: Sequence[EdgeBalance]) -> Grid:
    rows = [
        (b.site_id, kind, reason.replace("_", " "), filters.whole(n))
        for b in balances
        for kind, reasons in (
            ("quarantined", b.quarantined_by_reason),
            ("refused", b.refused_by_reason),
        )
        for reason, n in sorted(reasons.items())
    ]
    return Grid(
        "Quarantined and refused, with the reason",
        ("Site", "What", "Reason", "Windows"),
        tuple(rows),
        numeric=frozenset({3}),
        empty="Nothing was quarantined or refused.",
    )


def audit_view(session: Session, before: int | None) -> ListView:
    """The newest entries of the audit trail."""
    lines = audit.lines(session, limit=AUDIT_LINES, before=before)
    last = lines[-1].sequence if lines else 1
    links = (Link("Older entries", f"/audit?before={last}"),) if last > 1 else ()
    grid = Grid(
        "Audit trail, newest first",
        ("No.", "Time", "Who", "Action", "Subject", "Reason", "Hash"),
        tuple(
            (
                str(line.sequence),
                instant(line.at),
                line.actor,
                line.action,
                filters.short(line.subject),
                line.reason,
                filters.short(line.hash),
            )
            for line in lines
        ),
        numeric=frozenset({0}),
    )
    newest = lines[0].sequence if lines else 0
    sentences = (
        f"{filters.whole(newest)} entries up to here, each bound to the one before it by its hash.",
        "Nobody can change or delete an entry.",
    )
    return ListView("Audit", sentences, (grid,), links)
