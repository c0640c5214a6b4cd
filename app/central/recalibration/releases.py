"""Release an approved operating point to one site after another, and take it back in one step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy.orm import Session

from app.central.accounts.service import Signer
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.fleet.models import Edge
from app.central.recalibration import repository
from app.central.recalibration.models import PointRelease, Proposal, ProposalState
from app.central.texts import LONGEST_REASON, check_text
from app.contracts.change_control import InUse, check, cleared
from app.contracts.exchange import OPERATING_POINT_TYPE, OperatingPoint
from app.contracts.manifest import Manifest, Threshold
from app.contracts.signing import SigningKey, seal
from app.contracts.window import read_header

LAST_AT = "last at "  # before the site, among the consequences of a proposal


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release as pages show it. `reported`: a window of the site has named it."""

    id: str
    proposal_id: str
    site_id: str
    counter: int
    is_rollback: bool
    previous: str
    rollback_to: str
    thresholds: tuple[Threshold, ...]
    effective_from: datetime
    reason: str
    released_by: str
    printed_name: str
    released_at: datetime
    reported: bool

    @property
    def kind(self) -> str:
        """What it does, in a word for people."""
        return "roll-back" if self.is_rollback else "release"


def release(
    session: Session,
    proposal_id: str,
    site_id: str,
    *,
    effective_from: datetime,
    reason: str,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
) -> ReleaseView:
    """Sign the approved operating point for one site; its edge pulls it with its next receipt."""
    proposal = _approved(session, proposal_id, seen_digest)
    document = json.loads(proposal.document)
    if site_id not in document["sites"]:
        raise NotAllowed(f"proposal {proposal.id} is about {', '.join(document['sites'])}")
    if effective_from.tzinfo is None or effective_from < signer.at:
        raise Unusable("effective from: an instant with its zone, not in the past, expected")
    _check_stage(session, proposal)
    manifest = fleet.manifest_of(fleet.get_device_version(session, proposal.lock_digest))
    before = in_use(session, manifest, site_id)
    new = Threshold.model_validate(document["thresholds"]["new"])
    mine = new.stage, new.scanner_class
    others = [t for t in before.thresholds if (t.stage, t.scanner_class) != mine]
    return _issue(
        session,
        proposal,
        manifest,
        site_id,
        (new, *others),
        before,
        effective_from=effective_from,
        reason=reason,
        signer=signer,
        key=key,
    )


def roll_back(
    session: Session, point_id: str, *, reason: str, signer: Signer, key: SigningKey
) -> ReleaseView:
    """Undo a release that is still a site's newest: one signature, effective at once."""
    found = repository.find_release(session, point_id)
    if found is None:
        raise NotFound(f"no release {point_id[:64]}")
    newest = repository.newest_release(session, found.lock_digest, found.site_id)
    if found.is_rollback or newest is None or newest.id != found.id:
        raise NotAllowed(f"{found.id} is not what {found.site_id} changed to last")
    proposal = repository.find_proposal(session, found.proposal_id, lock=True)
    assert proposal is not None
    manifest = fleet.manifest_of(fleet.get_device_version(session, found.lock_digest))
    before = in_use(session, manifest, found.site_id)
    return _issue(
        session,
        proposal,
        manifest,
        found.site_id,
        before.rollback,
        before,
        effective_from=max(signer.at, found.effective_from),
        reason=reason,
        signer=signer,
        key=key,
        is_rollback=True,
    )


def _approved(session: Session, proposal_id: str, seen_digest: str) -> Proposal:
    proposal = repository.find_proposal(session, proposal_id, lock=True)
    if proposal is None:
        raise NotFound(f"no proposal {proposal_id[:32]}")
    if proposal.state is not ProposalState.APPROVED:
        raise NotAllowed(f"proposal {proposal.id} is {proposal.state.value}: nothing is released")
    if seen_digest != proposal.digest:
        raise NotAllowed("that is not the proposal that was shown: look at it again")
    return proposal


def _check_stage(session: Session, proposal: Proposal) -> None:
    """Site by site: the next one waits until the one before reports what it uses."""
    for one in releases_of(session, proposal.id):
        if one.is_rollback:
            raise NotAllowed(f"{one.site_id} was rolled back: this proposal goes no further")
        if not one.reported:
            raise NotAllowed(f"{one.site_id} does not report {one.id} yet: the next site waits")


def _issue(
    session: Session,
    proposal: Proposal,
    manifest: Manifest,
    site_id: str,
    thresholds: tuple[Threshold, ...],
    before: InUse,
    *,
    effective_from: datetime,
    reason: str,
    signer: Signer,
    key: SigningKey,
    is_rollback: bool = False,
) -> ReleaseView:
    check_text("reason", reason, LONGEST_REASON)
    counter = before.counter + 1
    point = OperatingPoint(
        id=f"{site_id}-{manifest.lock_digest[:6]}-{counter}",
        lock_digest=manifest.lock_digest,
        sites=(site_id,),
        thresholds=thresholds,
        effective_from=effective_from,
        counter=counter,
        previous=before.id,
        rollback_to=before.id,
        reason="roll-back" if is_rollback else f"proposal {proposal.id}",
        proposal_digest=proposal.digest,
    )
    check(point, manifest, site_id, before)  # the edge will ask the same
    content = point.model_dump(mode="json")
    stored = PointRelease(
        id=point.id,
        proposal_id=proposal.id,
        lock_digest=manifest.lock_digest,
        site_id=site_id,
        counter=counter,
        is_rollback=is_rollback,
        point=content,
        envelope=seal(OPERATING_POINT_TYPE, content, [key]),
        effective_from=effective_from,
        reason=reason,
        released_by=signer.name,
        printed_name=signer.full_name,
        released_at=signer.at,
    )
    session.add(stored)
    session.flush()
    _record(session, stored, signer)
    return _view(session, stored)


def _record(session: Session, stored: PointRelease, signer: Signer) -> None:
    verb = "roll_back" if stored.is_rollback else "release"
    audit.record(
        session,
        actor=signer.name,
        action=f"recalibration:point:{verb}",
        subject=stored.id,
        at=signer.at,
        reason=stored.reason,
        detail={"proposal": stored.proposal_id, "site": stored.site_id},
    )


def in_use(session: Session, manifest: Manifest, site_id: str) -> InUse:
    """The newest operating point of a site: the one last released there, or the cleared one."""
    found = repository.releases(session, manifest.lock_digest, site_id)
    if not found:
        return cleared(manifest)
    thresholds = {cleared(manifest).id: cleared(manifest).thresholds}
    points = [_point(r) for r in found]
    thresholds |= {p.id: p.thresholds for p in points}
    last = points[-1]
    return InUse(
        last.id, last.thresholds, last.counter, last.effective_from, thresholds[last.rollback_to]
    )


def following(session: Session, edge: Edge, counter: int) -> bytes | None:
    """The signed operating point that follows `counter` at an edge's site, if there is one."""
    found = repository.releases(session, edge.lock_digest, edge.site_id)
    return next((r.envelope for r in found if r.counter > counter), None)


def get(session: Session, point_id: str) -> ReleaseView:
    """One release, or `NotFound`."""
    found = repository.find_release(session, point_id)
    if found is None:
        raise NotFound(f"no release {point_id[:64]}")
    return _view(session, found)


def releases_of(session: Session, proposal_id: str) -> tuple[ReleaseView, ...]:
    """Every release of one proposal, oldest first."""
    return tuple(_view(session, r) for r in repository.releases_of(session, proposal_id))


def effective_between(
    session: Session, lock_digest: str, start: date, end: date
) -> tuple[ReleaseView, ...]:
    """What a device version was changed to, at any site, in [start, end), oldest first."""
    first, last = (datetime.combine(day, time(0), tzinfo=UTC) for day in (start, end))
    found = repository.effective_between(session, lock_digest, first, last)
    return tuple(_view(session, r) for r in found)


def expected_figures(
    document: dict[str, Any], site_id: str, *, is_rollback: bool
) -> dict[str, Any]:
    """What a proposal expects of its new operating point, or of the one that a site goes back to:
    its last where that is not the cleared one."""
    consequences: dict[str, dict[str, Any]] = document["consequences"]
    if not is_rollback:
        return consequences["new"]
    return consequences.get(f"{LAST_AT}{site_id}", consequences["original"])


def reported_points(session: Session, lock_digest: str, site_id: str) -> tuple[str, ...]:
    """Operating points that a site's newest windows name, newest first."""
    raw = repository.newest_windows(session, lock_digest, site_id)
    return tuple(read_header(r).operating_point for r in raw)


def _point(stored: PointRelease) -> OperatingPoint:
    return OperatingPoint.model_validate(stored.point)


def _view(session: Session, stored: PointRelease) -> ReleaseView:
    point = _point(stored)
    return ReleaseView(
        stored.id,
        stored.proposal_id,
        stored.site_id,
        stored.counter,
        stored.is_rollback,
        point.previous,
        point.rollback_to,
        point.thresholds,
        stored.effective_from,
        stored.reason,
        stored.released_by,
        stored.printed_name,
        stored.released_at,
        stored.id in reported_points(session, stored.lock_digest, stored.site_id),
    )
