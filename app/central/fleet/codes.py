"""One-time enrolment codes that are still to be redeemed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.central.fleet import repository, service


@dataclass(frozen=True, slots=True)
class CodeView:
    """A code that waits for its edge; the code itself was shown once and is stored nowhere."""

    site_id: str
    device: str
    version: str
    created_by: str
    expires_at: datetime


def waiting(session: Session, now: datetime, *, scope: str | None = None) -> tuple[CodeView, ...]:
    """Codes that can still be redeemed, the next to expire first."""
    return tuple(
        CodeView(
            code.site_id,
            version.device,
            version.version,
            code.created_by,
            code.expires_at,
        )
        for code in repository.waiting_codes(session, now)
        if scope in (None, code.site_id)
        for version in (service.get_device_version(session, code.lock_digest),)
    )
