"""What people write down about a signal beside decisions: a site's answer, and the number of the
manufacturer's CAPA or complaint file. Signed, never changed; a later note stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.central.accounts.service import Signer
from app.central.audit import service as audit
from app.central.errors import Unusable
from app.central.numbering import next_number
from app.central.surveillance import service
from app.central.surveillance.models import SignalNote
from app.central.texts import check_text
from app.contracts.signing import SigningKey, canonical

DOMAIN = "lockwatch/signal-note/v1"
MEANING = "responsibility for the record"
LONGEST = {"answer": 4000, "file": 64}


class NoteKind(StrEnum):
    """What is written down."""

    ANSWER = "answer"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class NoteView:
    """A note as pages show it. `site_id`: whose answer it is; "" for a file number."""

    id: str
    kind: NoteKind
    site_id: str
    text: str
    printed_name: str
    noted_at: datetime


def write(
    session: Session,
    signal_id: str,
    kind: NoteKind,
    text: str,
    *,
    site_id: str,
    signer: Signer,
    key: SigningKey,
) -> NoteView:
    """Keep a signed note. An answer is of a site that the signal concerns."""
    signal = service.signal(session, signal_id)
    words = text.strip()
    check_text("text", words, LONGEST[kind.value])
    if kind is NoteKind.ANSWER and site_id not in signal.signal.sites:
        raise Unusable(f"site: one that signal {signal.id} concerns expected, got {site_id[:32]}")
    made = SignalNote(
        id=next_number(session, SignalNote.id, "N"),
        signal_id=signal.id,
        kind=kind.value,
        site_id=site_id if kind is NoteKind.ANSWER else None,
        text=words,
        noted_by=signer.name,
        printed_name=signer.full_name,
        noted_at=signer.at,
        signature="",
    )
    made.signature = key.sign(DOMAIN, signed_content(made)).hex()
    session.add(made)
    session.flush()
    audit.record(
        session,
        actor=signer.name,
        action=f"surveillance:note:{kind.value}",
        subject=signal.id,
        at=signer.at,
        detail={"note": made.id, "site": made.site_id or ""},
    )
    return _view(made)


def of_signal(session: Session, signal_id: str, *, scope: str | None) -> tuple[NoteView, ...]:
    """Notes on a signal, oldest first; a person bound to a site sees its own answers alone."""
    wanted = select(SignalNote).where(SignalNote.signal_id == signal_id)
    if scope is not None:
        wanted = wanted.where(SignalNote.site_id == scope)
    return tuple(_view(n) for n in session.scalars(wanted.order_by(SignalNote.noted_at)))


def signed_content(made: SignalNote) -> bytes:
    """What the signature of a note is over."""
    return canonical(
        {
            "id": made.id,
            "signal": made.signal_id,
            "kind": made.kind,
            "site": made.site_id or "",
            "text": made.text,
            "noted_by": made.noted_by,
            "printed_name": made.printed_name,
            "meaning": MEANING,
            "noted_at": made.noted_at.isoformat(),
        }
    )


def _view(note: SignalNote) -> NoteView:
    return NoteView(
        note.id,
        NoteKind(note.kind),
        note.site_id or "",
        note.text,
        note.printed_name,
        note.noted_at,
    )
