"""What the fleet's routes take and give."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.central.fleet.models import EdgeAction

DIGEST = r"^[0-9a-f]{64}$"


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewSite(_In):
    """A hospital to add."""

    id: str
    name: str
    timezone: str = "UTC"


class NewCode(_In):
    """Which device version the edge will run."""

    lock_digest: str = Field(pattern=DIGEST)


class CodeOut(BaseModel):
    """A one-time enrolment code; shown here and nowhere else."""

    code: str


class EdgeActionIn(_In):
    """What to do to an edge. To approve, name the fingerprint that was compared.

    Everything else needs a reason.
    """

    action: EdgeAction
    fingerprint: str = Field(default="", max_length=64)
    reason: str = Field(default="", max_length=1000)


class KeyDecisionIn(_In):
    """A word on the key that an edge asks for, named by the fingerprint that was compared."""

    approve: bool
    fingerprint: str = Field(pattern=DIGEST)
    reason: str = Field(default="", max_length=1000)


class Registered(BaseModel):
    """A registered device version."""

    lock_digest: str
