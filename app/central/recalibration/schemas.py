"""What the routes of recalibration take."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.central.recalibration.models import ProposalAction
from monitors.policies import Held

Digest = Field(pattern=r"^[0-9a-f]{64}$")


class Signed(BaseModel):
    """A reason, and the password given again."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    reason: str = Field(min_length=1, max_length=10_000)
    password: SecretStr = Field(max_length=1024)


class NewProposal(Signed):
    """Run the plan on a confirmed signal; with a scanner class, for its equivalent threshold."""

    signal_id: str = Field(max_length=32)
    modification: str = Field(default="M1", max_length=8)
    held: Held
    target: float = Field(gt=0, lt=1)
    floor: float = Field(default=0.0, ge=0, lt=1)
    scanner_class: str = Field(default="", max_length=130)
    method: Literal["labels", "alignment"] = "labels"


class ProposalDecisionIn(Signed):
    """Approve or return what was shown."""

    action: ProposalAction
    seen_digest: str = Digest


class NewRelease(Signed):
    """Release an approved proposal to one site."""

    site_id: str = Field(max_length=32)
    effective_from: datetime
    seen_digest: str = Digest


class RollBack(Signed):
    """Undo a site's newest release."""
