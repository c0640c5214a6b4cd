"""Does every site still run what was cleared, and how do we know?"""

from __future__ import annotations

from collections.abc import Sequence

from app.central.fleet import service as fleet
from app.central.fleet.service import EdgeView, SiteView
from app.central.surveillance.pool import Deviations
from app.contracts.manifest import Manifest
from dashboards import filters, wording
from dashboards.pages.paging import page_of
from dashboards.pages.registers import lock_words
from dashboards.pages.topics.subject import Content, Subject
from dashboards.pages.views import Fact, Grid

EDGES_A_PAGE = 200
NONE = Deviations(None, None)


def lock(subject: Subject) -> Content:
    """Does every site still run what was cleared, and how do we know?"""
    sites = fleet.sites(subject.session, scope=subject.scope)
    digest = subject.version.lock_digest
    edges = [(s, e) for s in sites for e in s.edges if e.expected_lock == digest]
    paged = page_of(edges, subject.page, EDGES_A_PAGE)
    known = subject.manifest.known_answers
    return Content(
        sentences=(
            wording.lock_sentence([lock_words(e) for _, e in edges]),
            wording.LOCKED,
            wording.LOCK_PROOF,
        ),
        facts=(
            Fact("Lock digest", digest, True),
            Fact("Known answers", f"{known.cases} cases, deviation up to {known.tolerance:g}"),
            Fact("Training code", subject.manifest.validation.training_commit, True),
            Fact("Evaluation code", subject.manifest.validation.evaluation_commit, True),
        ),
        grids=(
            _installations(subject, paged.shown),
            _files(subject.manifest),
            _components(subject.manifest),
        ),
        paged=paged,
        one="installation",
    )


def _installations(subject: Subject, edges: Sequence[tuple[SiteView, EdgeView]]) -> Grid:
    worst = subject.pool.deviations(subject.days)
    rows = [
        (
            s.name,
            e.id,
            e.state.value,
            lock_words(e),
            filters.short(e.reported_lock),
            _deviation(worst.get(s.id, NONE).known_answers),
            _deviation(worst.get(s.id, NONE).sentinel),
            filters.instant(e.last_seen_at),
        )
        for s, e in edges
    ]
    return Grid(
        "Every installation",
        (
            *("Site", "Edge", "State", "Lock", "Reported digest"),
            *("Known-answer deviation", "Sentinel deviation", "Last heard"),
        ),
        tuple(rows),
        numeric=frozenset({5, 6}),
        links=tuple(f"/sites/{s.id}" for s, _ in edges),
        empty="Released, not yet installed anywhere.",
    )


def _deviation(value: float | None) -> str:
    return "nothing received" if value is None else f"{value:.2g}"


def _files(manifest: Manifest) -> Grid:
    return Grid(
        "Files of the bundle: hashed at start and daily",
        ("File", "Bytes", "SHA-256"),
        tuple((f.path, filters.whole(f.length), filters.short(f.sha256)) for f in manifest.files),
        numeric=frozenset({1}),
    )


def _components(manifest: Manifest) -> Grid:
    return Grid(
        "Software bill of materials",
        ("Component", "Version", "Package URL"),
        tuple((c.name, c.version, c.purl) for c in manifest.components),
    )
