"""How recalibration tells people: the worker knows the letters, this part knows what to say."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy.orm import Session

from app.central.alerts.models import Severity
from app.central.alerts.ports import Notice

Tell = Callable[[Session, str, Notice, Severity, Collection[str], str], None]
"""Queues mails, in the same transaction: cause, what, how soon, sites and device version."""
