"""Which threshold a policy asks for at the current prevalence. A proposal; nothing is changed.

The same gate, policies and expected figures as in the service, on the merged bins of two tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.errors import ContractError
from app.lab.comparing import Comparison, compare
from app.lab.mixing import Figures, Scores, audit_row, consequence_rows, scores_of
from app.lab.two_tables import TwoTables
from monitors.errors import MonitorError, NotAssessable
from monitors.expected import Expectation
from monitors.gate import NEGLIGIBLE, Evidence, Reason, evidence_of, gate
from monitors.policies import Policy, choose


@dataclass(frozen=True, slots=True)
class Proposal:
    """before : share of positives of the reference; prevalence, low, high : of the current table.
    refused : reasons and what would change them; () for a proposal. Thresholds lie on edges of
    merged score bins."""

    policy: Policy
    before: float
    prevalence: float
    low: float
    high: float
    refused: tuple[Reason, ...]
    old_threshold: float
    new_threshold: float | None
    old: Figures
    new: Figures


def propose(tables: TwoTables, held: str, target: float, floor: float) -> Proposal:
    """The threshold that holds `held` at `target`, unless the cause forbids one.

    floor : sensitivity that must stay guaranteed at the new threshold; 0 for no such floor.
    """
    try:
        policy = Policy(held, target, floor)  # type: ignore[arg-type]
    except MonitorError as error:
        raise ContractError("policy", str(error)) from error
    if tables.threshold is None:
        raise ContractError("policy", "policy: the columns map needs an [operating_point]")
    s = scores_of(tables)
    if s.threshold_bin is None:
        raise ContractError("policy", "policy: a threshold above 0 expected")
    evidence = _evidence(tables, s, compare(tables))
    pool, found = Expectation(s.classes, s.current, s.effect), evidence.prevalence
    at, reasons = _chosen(policy, s, evidence)
    return Proposal(
        policy,
        evidence.before,
        float(found.value),
        float(found.low),
        float(found.high),
        reasons,
        tables.threshold,
        None if at is None else float(s.edges[at]),
        consequence_rows(pool.at(s.threshold_bin)),
        () if at is None else consequence_rows(pool.at(at)),
    )


def _chosen(policy: Policy, s: Scores, evidence: Evidence) -> tuple[int | None, tuple[Reason, ...]]:
    verdict = gate(evidence)
    if verdict.route != "prevalence":
        return None, verdict.reasons or (NO_REMAPPING,)
    try:
        return choose(policy, s.classes, float(evidence.prevalence.value)), ()
    except NotAssessable as error:
        return None, (Reason("no_threshold", str(error), "another target, or more labels"),)


NO_REMAPPING = Reason(
    "scanner",
    "a scanner shift: scores are never remapped",
    "an equivalent threshold from a freshly labelled holdout of that scanner",
)


def _evidence(tables: TwoTables, s: Scores, whole: Comparison) -> Evidence:
    verdict, columns = whole.verdict, tables.schema.label_columns
    audit = audit_row(tables)
    return evidence_of(
        s.classes,
        s.current,
        (audit[columns["labelled"]], audit[columns["positive"]]),
        np.arange(s.current.size),
        named=() if verdict is None else tuple(verdict.causes),
        candidates={} if verdict is None else verdict.candidates,
        before=s.rate,
        design_effect=max(s.effect, 1.0),
        acquisition=_moved(whole),
    )


def _moved(whole: Comparison) -> tuple[str, ...]:
    """Acquisition characteristics whose whole interval lies beyond what is negligible."""
    return tuple(
        r.name
        for r in whole.rows
        if r.kind == "numeric"
        and r.interval is not None
        and (r.interval[0] > NEGLIGIBLE or r.interval[1] < -NEGLIGIBLE)
    )
