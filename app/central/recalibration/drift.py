"""What the windows say about one drift: counts before and since the change, labels, the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from sqlalchemy.orm import Session

from app.central.errors import NotAllowed, Unusable
from app.central.fleet import repository as fleet_repository
from app.central.recalibration.plans import PlanDocument
from app.central.references import repository as references_repository
from app.central.surveillance import service as surveillance
from app.central.surveillance.history import assemble
from app.central.surveillance.models import SignalState
from app.central.surveillance.service import SignalView
from monitors.gate import NEGLIGIBLE, Evidence, Verdict, evidence_of, gate
from monitors.observations import History, Stratum
from monitors.prevalence import Classes, mlls
from monitors.schema import IntArray
from monitors.summaries import score_counts

AUDIT = "random_audit"


@dataclass(frozen=True, slots=True)
class Drift:
    """One drift with everything that its gate and its proposal rest on."""

    signal: SignalView
    since: date
    sites: tuple[str, ...]
    before: IntArray  # (B,) scores of these sites in the reference period
    current: IntArray  # (B,) scores of these sites since the change
    by_scanner: dict[Stratum, IntArray]
    labels: tuple[IntArray, IntArray] | None
    windows_digest: str
    reference_digest: str
    evidence: Evidence
    verdict: Verdict


def require_confirmed(signal: SignalView) -> None:
    """Only what a person has confirmed is answered with a change."""
    if signal.state is not SignalState.CONFIRMED:
        raise NotAllowed(f"signal {signal.id} is {signal.state.value}: confirm it first")


def read_drift(
    session: Session, signal: SignalView, plan: PlanDocument, classes: Classes, today: date
) -> Drift:
    """The drift behind a signal, as of `today`."""
    reference = references_repository.in_force(session, signal.lock_digest)
    if reference is None:
        raise NotAllowed("an approved reference period is needed")
    arrived = assemble(session, signal.lock_digest, upto=today)
    history, since = arrived.history, signal.signal.change_date or signal.signal.date
    sites = signal.signal.sites
    scores = _scores(history)
    at = _at(history, lambda s: s.site in sites)
    ended = history.cases.end <= reference.until.toordinal() + 1
    now = at & (history.cases.start >= since.toordinal())
    if (history.cases.is_noisy & ((at & ended) | now)).any():
        raise Unusable(
            "not assessable under noise: an edge of these sites adds noise to its score counts, "
            "and what a recalibration rests on would not be valid"
        )
    before, current = scores[at & ended].sum(axis=0), scores[now].sum(axis=0)
    if not before.sum() or not current.sum():
        raise Unusable("scores of these sites before and since the change are needed")
    labels = _labels(history, sites, since)
    known = _labels(history, sites, date.min, reference.until)
    evidence = evidence_of(
        classes,
        current,
        labels,
        history.schema.label_bins,
        named=tuple(signal.signal.history[-1].causes),
        candidates=signal.signal.history[-1].candidates,
        before=float(mlls(classes, before).value),
        labels_before=known,
        design_effect=plan.design_effect,
        acquisition=_moved(signal, history),
        sentinel=not _open_annotation(session, signal),
        lock=_lock_holds(session, signal),
    )
    return Drift(
        signal,
        since,
        sites,
        before,
        current,
        _by_scanner(history, scores, now),
        labels,
        arrived.digest,
        reference.digest,
        evidence,
        gate(evidence, plan.gate),
    )


def counts_between(history: History, site: str, first: date, last: date | None = None) -> IntArray:
    """Scores (B,) of one site from day `first` on, up to but without `last`."""
    inside = _at(history, lambda s: s.site == site) & (history.cases.start >= first.toordinal())
    if last is not None:
        inside &= history.cases.end <= last.toordinal()
    found: IntArray = _scores(history)[inside].sum(axis=0)
    return found


def _scores(history: History) -> IntArray:
    """Counts (W, B) of the first score stage, without the missing ones."""
    return score_counts(history.schema, history.cases.rows)[:, 0, :-1]


def _at(history: History, wanted: Callable[[Stratum], bool]) -> np.ndarray:
    chosen = np.array([wanted(s) for s in history.strata], dtype=bool)
    mask: np.ndarray = chosen[history.cases.stratum]
    return mask


def _by_scanner(history: History, scores: IntArray, now: np.ndarray) -> dict[Stratum, IntArray]:
    return {
        stratum: scores[now & (history.cases.stratum == i)].sum(axis=0)
        for i, stratum in enumerate(history.strata)
        if (now & (history.cases.stratum == i)).any()
    }


def _labels(
    history: History, sites: tuple[str, ...], since: date, until: date = date.max
) -> tuple[IntArray, IntArray] | None:
    """Random audit reads of these sites in labelling weeks that begin from `since` to `until`."""
    rows = history.labels
    mine = np.array(
        [s in sites and source == AUDIT for s, source in zip(rows.site, rows.source, strict=True)],
        dtype=bool,
    )
    mine &= (rows.week >= since.toordinal()) & (rows.week <= until.toordinal())
    if not mine.any():
        return None
    columns, total = history.schema.label_columns, rows.rows[mine].sum(axis=0)
    return total[columns["labelled"]], total[columns["positive"]]


def _moved(signal: SignalView, history: History) -> tuple[str, ...]:
    names = {f.name for f in history.schema.numeric} | {c.name for c in history.schema.categorical}
    return tuple(
        c.name
        for c in signal.signal.characteristics
        if c.name in names and (c.interval[0] > NEGLIGIBLE or c.interval[1] < -NEGLIGIBLE)
    )


def _open_annotation(session: Session, signal: SignalView) -> bool:
    """Whether another signal of these sites that is not refuted says that reads changed."""
    others = surveillance.signals(session, lock_digest=signal.lock_digest)
    return any(
        "annotation" in o.signal.history[-1].causes
        and o.state is not SignalState.REFUTED
        and set(o.signal.sites) & set(signal.signal.sites)
        for o in others
        if o.id != signal.id and o.signal.history
    )


def _lock_holds(session: Session, signal: SignalView) -> bool:
    edges = fleet_repository.edges(session, lock_digest=signal.lock_digest)
    mine = [e for e in edges if e.site_id in signal.signal.sites]
    return all(e.lock_state != "broken" and e.reported_lock == e.lock_digest for e in mine)
