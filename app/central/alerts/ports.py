"""What alerts need from whoever writes the words: the arrow to the pages stays one-way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

from sqlalchemy.orm import Session

from app.central.alerts.models import Severity
from app.contracts.signals import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What an alert may say. `promised`: false signals per year; `others`: who else is told."""

    identifier: str
    signal: Signal
    device: str
    severity: Severity
    base_url: str
    promised: float | None
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One signal of a digest."""

    identifier: str
    signal: Signal
    device: str
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What was raised on one day and was not worth a mail of its own to this person."""

    day: date
    lines: tuple[DigestLine, ...]
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A signal that nobody has acknowledged for `waited`."""

    alert: Alert
    waited: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to know that is no signal. `facts`: name and value; `path`: of the page."""

    subject: str
    heading: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    to_do: tuple[str, ...]
    path: str


Tell = Callable[[Session, str, Notice, Severity, Collection[str], str], None]
"""Queues mails in the same transaction: cause, what, how soon, sites and device version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An issued report, told to one group. `end` is exclusive; `supersedes` may be empty."""

    number: str
    device: str
    start: date
    end: date
    signals: int
    group: str
    frequency: str
    supersedes: str
    pdf_digest: str
    base_url: str


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail in words: one subject line, and the same body as text and as HTML."""

    subject: str
    text: str
    html: str


class Renderer(Protocol):
    """Writes mails."""

    def alert_mail(self, alert: Alert) -> RenderedMail:
        """The mail about one signal."""
        ...

    def digest_mail(self, digest: Digest) -> RenderedMail:
        """The mail about a day's lesser signals."""
        ...

    def escalation_mail(self, escalation: Escalation) -> RenderedMail:
        """The mail about a signal that waits for somebody."""
        ...

    def notice_mail(self, notice: Notice, base_url: str) -> RenderedMail:
        """The mail about something that is no signal."""

    def report_mail(self, delivery: Delivery) -> RenderedMail:
        """The mail that says a report was issued, and where it lies."""
        ...
