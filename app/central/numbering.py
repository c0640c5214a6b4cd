"""Numbers that people say aloud: S-0001, R-0002, without gaps."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

NUMBER_LOCK = 8_012_026  # any number, the same in every process


def next_number(session: Session, column: InstrumentedAttribute[Any], letter: str) -> str:
    """The next free number; the table's numbering is ours to the end of the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": NUMBER_LOCK})
    taken = session.scalar(select(func.count()).select_from(column.class_)) or 0
    return f"{letter}-{taken + 1:04d}"
