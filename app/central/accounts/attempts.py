"""Tell people of accounts that somebody tries to get into: 21 CFR 11.300(d), urgently."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy.orm import Session

from app.central.accounts import repository
from app.central.accounts.service import LOCKED
from app.central.alerts import service as alerts
from app.central.alerts.models import Severity
from app.central.alerts.ports import Notice, Renderer
from app.central.audit import repository as audit_repository

LOOK_BACK = timedelta(hours=1)  # of a worker that was away; what was told is not told again


def tell_of_locked(
    session: Session, *, renderer: Renderer, mail_from: str, base_url: str, now: datetime
) -> None:
    """Queue one mail a day for each account that wrong passwords have locked."""
    for name in audit_repository.subjects_of(session, LOCKED, now - LOOK_BACK):
        account = repository.find_account(session, name)
        alerts.tell(
            session,
            f"locked:{name}:{now.date()}",
            _notice(name, now),
            Severity.URGENT,
            sites=() if account is None or account.site_id is None else (account.site_id,),
            device="",
            renderer=renderer,
            mail_from=mail_from,
            base_url=base_url,
            now=now,
        )


def _notice(name: str, now: datetime) -> Notice:
    return Notice(
        subject=f"Account {name} is locked after wrong passwords",
        heading=f"Somebody gave wrong passwords for the account {name}",
        sentences=(
            "The account waits for a growing while after each further one. This is told once a "
            "day; every attempt that counted is in the audit trail.",
        ),
        facts=(("Account", name), ("Noticed", f"{now:%Y-%m-%d %H:%M} UTC")),
        to_do=(
            "Ask the person. If it was somebody else, read the audit trail of the account and "
            "consider a new password and one-time codes; if it was a slip, unlock the account.",
        ),
        path=f"/admin/accounts/person?name={quote(name, safe='')}",
    )
