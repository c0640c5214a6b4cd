"""Sentences of the pages of the area *Admin*; see `wording.py`."""

from __future__ import annotations

from collections.abc import Sequence

from app.central.fleet.models import EdgeAction, EdgeState
from dashboards.wording import count, listed, sentence_case

EDGE_STATES = {
    EdgeState.PENDING: "The edge has presented its key. A person compares and approves it.",
    EdgeState.ACTIVE: "The edge is active: its windows count.",
    EdgeState.SUSPENDED: "The edge is suspended: its windows are quarantined until it is resumed.",
    EdgeState.REVOKED: "The edge is revoked: nothing from its key is taken in any more.",
    EdgeState.RETIRED: "The edge is retired: what it still held is taken in, and nothing is due.",
}
EDGE_ACTIONS = {
    EdgeAction.SUSPEND: "suspend: its windows are quarantined until it is resumed",
    EdgeAction.RESUME: "resume: its windows count again",
    EdgeAction.REVOKE: "revoke, for good: nothing from this key is taken in any more",
    EdgeAction.RETIRE: "retire, for good: the installation has ended",
}
ENROLMENT_STEPS = (
    "One-time code given to the hospital",
    "Key presented by the edge",
    "Fingerprint compared and approved by a person",
    "First window received",
)
CHOOSE_ACTION = "Action: choose one."
CODE_SHOWN = (
    "This code is shown once. It is good for one edge and for 24 hours.",
    "Give it to the hospital on a way that nobody else reads; they run the agent with it.",
)


def enrolment_sentences(states: Sequence[EdgeState], codes: int) -> tuple[str, ...]:
    """How many edges there are, by state, and how many codes still wait."""
    if not states:
        edges = "No edge is enrolled yet."
    else:
        parts = [f"{states.count(s)} {s.value}" for s in EdgeState if s in states]
        edges = f"{sentence_case(count(len(states), 'edge'))}: {listed(parts, most=5)}."
    waiting = f"{sentence_case(count(codes, 'code'))} not redeemed yet." if codes else ""
    return (edges, waiting) if waiting else (edges,)
