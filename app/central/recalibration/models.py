"""Change-control plans, proposals, what people decided about them, and what was released."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class ProposalState(StrEnum):
    """Where a proposal stands. Only an approved one can be released."""

    REFUSED = "refused"  # its cause does not allow it, or no threshold does
    FAILED = "failed"  # acceptance criteria not met: recorded, nothing is shipped
    SUBMITTED = "submitted"
    RETURNED = "returned"
    APPROVED = "approved"


class ProposalAction(StrEnum):
    """What a person signs."""

    SUBMIT = "submit"
    APPROVE = "approve"
    RETURN = "return"


class ChangePlan(Base):
    """A predetermined change-control plan; versioned and signed, never edited."""

    __tablename__ = "change_plan"
    __table_args__ = (UniqueConstraint("lock_digest", "version"),)

    digest: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of the document")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), comment="Device version"
    )
    version: Mapped[int] = mapped_column(BigInteger, comment="1, 2, …; the highest is in force")
    document: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON of the plan")
    envelope: Mapped[bytes] = mapped_column(LargeBinary, comment="The same, signed here (DSSE)")
    created_by: Mapped[str] = mapped_column(comment="Account name")
    created_at: Mapped[datetime] = mapped_column(comment="When")


class Proposal(Base):
    """A recalibration proposal: the whole record of one execution of the plan."""

    __tablename__ = "recalibration_proposal"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as RC-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    signal_id: Mapped[str] = mapped_column(ForeignKey("signal.id"), comment="What triggered it")
    plan_digest: Mapped[str] = mapped_column(ForeignKey("change_plan.digest"), comment="Plan")
    state: Mapped[ProposalState] = mapped_column(index=True, comment="Where it stands")
    document: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON, see proposal.py")
    digest: Mapped[str] = mapped_column(comment="SHA-256 of the document: what is signed")
    proposed_by: Mapped[str] = mapped_column(comment="Account name of the author")
    proposed_at: Mapped[datetime] = mapped_column(comment="When")


class ProposalDecision(Base):
    """A signature under a proposal. Never changed and never deleted."""

    __tablename__ = "recalibration_decision"

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    proposal_id: Mapped[str] = mapped_column(
        ForeignKey("recalibration_proposal.id"), index=True, comment="Proposal"
    )
    action: Mapped[ProposalAction] = mapped_column(comment="submit, approve or return")
    reason: Mapped[str] = mapped_column(comment="Why, in the person's words")
    decided_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    meaning: Mapped[str] = mapped_column(comment="Meaning of the signature, 21 CFR 11.50(a)(3)")
    decided_at: Mapped[datetime] = mapped_column(comment="When")
    artefact_digest: Mapped[str] = mapped_column(comment="SHA-256 of what was on the screen")
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")


class PointRelease(Base):
    """A signed operating point released to one site. Never changed and never deleted."""

    __tablename__ = "point_release"
    __table_args__ = (UniqueConstraint("lock_digest", "site_id", "counter"),)

    id: Mapped[str] = mapped_column(primary_key=True, comment="Id of the operating point")
    proposal_id: Mapped[str] = mapped_column(
        ForeignKey("recalibration_proposal.id"), index=True, comment="Proposal it carries out"
    )
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), comment="Device version"
    )
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True, comment="Where")
    counter: Mapped[int] = mapped_column(BigInteger, comment="Rises by one per site and version")
    is_rollback: Mapped[bool] = mapped_column(comment="Whether it undoes the release before")
    point: Mapped[dict[str, Any]] = mapped_column(comment="The operating point that was signed")
    envelope: Mapped[bytes] = mapped_column(LargeBinary, comment="The same as signed (DSSE)")
    effective_from: Mapped[datetime] = mapped_column(comment="Applied at the edge from then on")
    reason: Mapped[str] = mapped_column(comment="Why, in the person's words")
    released_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    released_at: Mapped[datetime] = mapped_column(comment="When")


class PostChangeComparison(Base):
    """The one comparison after a release, at the number of cases set before. Never changed."""

    __tablename__ = "post_change_comparison"

    point_id: Mapped[str] = mapped_column(
        ForeignKey("point_release.id"), primary_key=True, comment="Release that was watched"
    )
    document: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON, see watch.py")
    digest: Mapped[str] = mapped_column(comment="SHA-256 of the document")
    is_as_expected: Mapped[bool] = mapped_column(comment="Whether the intervals meet")
    compared_at: Mapped[datetime] = mapped_column(comment="When")


class HoldoutEvaluation(Base):
    """The locked chain on freshly labelled cases, run elsewhere and signed. Never changed."""

    __tablename__ = "holdout_evaluation"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as HO-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    digest: Mapped[str] = mapped_column(unique=True, comment="SHA-256 of the record")
    document: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON of the record")
    envelope: Mapped[bytes] = mapped_column(LargeBinary, comment="As it was signed (DSSE)")
    verdict: Mapped[str] = mapped_column(comment="Of the record")
    evaluated_at: Mapped[datetime] = mapped_column(comment="When it was run")
    received_by: Mapped[str] = mapped_column(comment="Account name")
    received_at: Mapped[datetime] = mapped_column(comment="When")
