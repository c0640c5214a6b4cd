"""Propose, approve or return: two people, both sign, and what was refused is recorded as well."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.central.accounts.service import Signer
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.numbering import next_number
from app.central.recalibration import holdouts, plans, releases, repository, watch
from app.central.recalibration.cohort import classes_of
from app.central.recalibration.drift import read_drift, require_confirmed
from app.central.recalibration.models import (
    Proposal,
    ProposalAction,
    ProposalDecision,
    ProposalState,
)
from app.central.recalibration.proposal import Basis, Request, document
from app.central.recalibration.releases import ReleaseView
from app.central.recalibration.watch import PostChange
from app.central.surveillance import service as surveillance
from app.central.texts import LONGEST_REASON, check_text
from app.contracts.signing import SigningKey, canonical, sha256
from monitors.errors import NotAssessable

DECISION_DOMAIN = "lockwatch/recalibration-decision/v1"
MEANING = {
    ProposalAction.SUBMIT: "authorship of the proposal",
    ProposalAction.APPROVE: "approval of the proposal",
    ProposalAction.RETURN: "review: the proposal is returned",
}
OUTCOME = {
    ProposalAction.APPROVE: ProposalState.APPROVED,
    ProposalAction.RETURN: ProposalState.RETURNED,
}


@dataclass(frozen=True, slots=True)
class ProposalDecisionView:
    """A signature with all that 21 CFR 11.50 wants shown."""

    action: ProposalAction
    reason: str
    decided_by: str
    printed_name: str
    meaning: str
    decided_at: datetime
    artefact_digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposal as pages, dossier and the API show it. `digest` names what is signed."""

    id: str
    lock_digest: str
    signal_id: str
    state: ProposalState
    document: dict[str, Any]
    digest: str
    proposed_by: str
    proposed_at: datetime
    decisions: tuple[ProposalDecisionView, ...]
    releases: tuple[ReleaseView, ...]
    comparisons: tuple[PostChange, ...] = ()  # those that were made, oldest first

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites it is about."""
        return tuple(self.document["sites"])


def propose(
    session: Session,
    signal_id: str,
    asked: Request,
    *,
    reason: str,
    signer: Signer,
    key: SigningKey,
    scope: str | None = None,
) -> ProposalView:
    """Run the plan on a confirmed signal and record the outcome, signed by its author.

    A refusal by the gate and failed criteria are outcomes: recorded, and nothing can be released.
    """
    _check_reason(reason)
    signal = surveillance.whole(session, signal_id, scope=scope)
    require_confirmed(signal)
    manifest = fleet.manifest_of(fleet.get_device_version(session, signal.lock_digest))
    plan, plan_digest = plans.in_force(session, signal.lock_digest)
    try:
        classes = classes_of(manifest)
        drift = read_drift(session, signal, plan, classes, signer.at.date())
    except NotAssessable as error:
        raise Unusable(f"nothing can be proposed: {error}") from error
    last = {s: releases.in_use(session, manifest, s) for s in drift.sites}
    fresh = holdouts.evaluations(session, signal.lock_digest)
    head = audit.head(session)
    basis = Basis(manifest, classes, plan, plan_digest, drift, last, head, fresh)
    content = document(basis, asked)
    stored = Proposal(
        id=next_number(session, Proposal.id, "RC"),
        lock_digest=signal.lock_digest,
        signal_id=signal.id,
        plan_digest=plan_digest,
        state=ProposalState(content["state"]),
        document=canonical(content),
        digest=sha256(canonical(content)),
        proposed_by=signer.name,
        proposed_at=signer.at,
    )
    session.add(stored)
    session.flush()
    _sign(session, stored, ProposalAction.SUBMIT, reason, signer, key)
    return view(session, stored)


def decide(
    session: Session,
    proposal_id: str,
    action: ProposalAction,
    *,
    reason: str,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
) -> ProposalView:
    """Approve or return a submitted proposal: by another person than its author."""
    _check_reason(reason)
    stored = repository.find_proposal(session, proposal_id, lock=True)
    if stored is None:
        raise NotFound(f"no proposal {proposal_id[:32]}")
    if action not in OUTCOME or stored.state is not ProposalState.SUBMITTED:
        raise NotAllowed(f"{action.value}: proposal {stored.id} is {stored.state.value}")
    if stored.proposed_by == signer.name:
        raise NotAllowed("a proposal is decided by another person than its author")
    if seen_digest != stored.digest:
        raise NotAllowed("that is not the proposal that was shown: look at it again")
    stored.state = OUTCOME[action]
    _sign(session, stored, action, reason, signer, key)
    return view(session, stored)


def _check_reason(reason: str) -> None:
    check_text("reason", reason, LONGEST_REASON)


def _sign(
    session: Session,
    proposal: Proposal,
    action: ProposalAction,
    reason: str,
    signer: Signer,
    key: SigningKey,
) -> None:
    said = {
        "proposal": proposal.id,
        "action": action.value,
        "reason": reason,
        "decided_by": signer.name,
        "printed_name": signer.full_name,
        "meaning": MEANING[action],
        "decided_at": signer.at.isoformat(),
        "artefact_digest": proposal.digest,
    }
    session.add(
        ProposalDecision(
            id=str(uuid.uuid4()),
            proposal_id=proposal.id,
            action=action,
            reason=reason,
            decided_by=signer.name,
            printed_name=signer.full_name,
            meaning=MEANING[action],
            decided_at=signer.at,
            artefact_digest=proposal.digest,
            signature=key.sign(DECISION_DOMAIN, canonical(said)).hex(),
        )
    )
    session.flush()
    audit.record(
        session,
        actor=signer.name,
        action=f"recalibration:proposal:{action.value}",
        subject=proposal.id,
        at=signer.at,
        reason=reason,
        detail={"state": proposal.state.value, "digest": proposal.digest},
    )


def proposals(session: Session, *, scope: str | None = None) -> tuple[ProposalView, ...]:
    """Proposals, newest first; only those about site `scope` alone where a person is bound to one.

    A proposal is one signed document about all its sites: no part of it is shown.
    """
    found = (view(session, p) for p in repository.proposals(session))
    return tuple(p for p in found if scope is None or p.sites == (scope,))


def proposal(session: Session, proposal_id: str, *, scope: str | None = None) -> ProposalView:
    """One proposal, or `NotFound`."""
    stored = repository.find_proposal(session, proposal_id)
    found = view(session, stored) if stored is not None else None
    if found is None or not (scope is None or found.sites == (scope,)):
        raise NotFound(f"no proposal {proposal_id[:32]}")
    return found


def view(session: Session, stored: Proposal) -> ProposalView:
    """A stored proposal with its signatures and releases."""
    if sha256(stored.document) != stored.digest:
        raise NotAllowed(f"proposal {stored.id} is not what was signed")
    made = releases.releases_of(session, stored.id)
    return ProposalView(
        stored.id,
        stored.lock_digest,
        stored.signal_id,
        stored.state,
        json.loads(stored.document),
        stored.digest,
        stored.proposed_by,
        stored.proposed_at,
        tuple(
            ProposalDecisionView(
                d.action,
                d.reason,
                d.decided_by,
                d.printed_name,
                d.meaning,
                d.decided_at,
                d.artefact_digest,
                d.signature,
            )
            for d in repository.decisions(session, stored.id)
        ),
        made,
        tuple(c for r in made if (c := watch.recorded(session, r.id)) is not None),
    )
