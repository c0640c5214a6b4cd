"""What the mail templates receive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from app.central.alerts.ports import Delivery, Digest, Notice
from app.contracts.signals import Signal
from dashboards import wording
from dashboards.pages.views import Fact

HAS_LABELS = {"annotation", "performance"}  # causes that only reads can show


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert mail."""

    subject: str
    heading: str
    claim: tuple[str, ...]
    facts: tuple[Fact, ...]
    not_meant: tuple[str, ...]
    to_do: tuple[str, ...]
    link: str
    footer: tuple[str, ...]


def alert_view(
    identifier: str,
    signal: Signal,
    *,
    device: str,
    severity: str,
    base_url: str,
    promised: float | None,
    others: tuple[str, ...] = (),
) -> AlertView:
    """The words of one alert."""
    return AlertView(
        subject=wording.subject(identifier, signal, device),
        heading=f"Signal {identifier}: {wording.title(signal)}",
        claim=wording.claim(signal),
        facts=_facts(signal, device, severity, promised),
        not_meant=_not_meant(signal),
        to_do=wording.MAIL_TO_DO,
        link=f"{base_url.rstrip('/')}/signals/{identifier}",
        footer=(wording.MAIL_CLOCKS, wording.told(others), wording.MAIL_WHY),
    )


def waiting_view(view: AlertView, waited: timedelta) -> AlertView:
    """The same letter once more, because nobody has acknowledged it."""
    hours = f"{waited // timedelta(hours=1)} hours"
    subject = view.subject.replace("[Surveillance]", "[Surveillance] Nobody has answered:", 1)
    return replace(
        view,
        subject=subject,
        heading=f"{view.heading}: nobody has answered for {hours}",
        to_do=(f"Nobody has acknowledged this signal for {hours}.", *view.to_do),
    )


def notice_view(notice: Notice, base_url: str) -> AlertView:
    """Something to know that is no signal, in the form of an alert."""
    return AlertView(
        subject=f"[Surveillance] {notice.subject}",
        heading=notice.heading,
        claim=notice.sentences,
        facts=tuple(Fact(name, value) for name, value in notice.facts),
        not_meant=(),
        to_do=notice.to_do,
        link=f"{base_url.rstrip('/')}{notice.path}",
        footer=(wording.MAIL_WHY,),
    )


def delivery_view(delivery: Delivery) -> AlertView:
    """The words of the mail that tells of an issued report."""
    last = delivery.end - timedelta(1)
    facts = [
        Fact("Device", delivery.device),
        Fact("Period", f"{delivery.start} to {last}"),
        Fact("Signals in this period", str(delivery.signals)),
        Fact("PDF, SHA-256", delivery.pdf_digest),
    ]
    if delivery.supersedes:
        facts.append(Fact("Takes the place of", delivery.supersedes))
    return AlertView(
        subject=f"[Surveillance] Report {delivery.number}: {delivery.device}, "
        f"{delivery.start} to {last}",
        heading=f"Drift report {delivery.number} was issued",
        claim=(wording.MAIL_REPORT.format(number=delivery.number, frequency=delivery.frequency),),
        facts=tuple(facts),
        not_meant=(wording.LIMITS,),
        to_do=wording.MAIL_REPORT_TO_DO,
        link=f"{delivery.base_url.rstrip('/')}/reports/{delivery.number}",
        footer=(wording.MAIL_REPORT_WHY.format(group=delivery.group),),
    )


@dataclass(frozen=True, slots=True)
class DigestRow:
    """A signal in one line."""

    identifier: str
    title: str
    where: str
    device: str
    severity: str
    link: str


@dataclass(frozen=True, slots=True)
class DigestMailView:
    """The mail about a day's lesser signals."""

    subject: str
    heading: str
    rows: tuple[DigestRow, ...]
    footer: tuple[str, ...]


def digest_view(digest: Digest) -> DigestMailView:
    """The words of one digest."""
    count = len(digest.lines)
    what = "1 further signal" if count == 1 else f"{count} further signals"
    base_url = digest.base_url.rstrip("/")
    return DigestMailView(
        subject=f"[Surveillance] {what}, {digest.day.isoformat()}",
        heading=f"{what} in the day to {digest.day.isoformat()}",
        rows=tuple(
            DigestRow(
                line.identifier,
                wording.title(line.signal),
                wording.place(line.signal),
                line.device,
                line.severity.value,
                f"{base_url}/signals/{line.identifier}",
            )
            for line in digest.lines
        ),
        footer=(wording.CAUTION, wording.MAIL_CLOCKS, wording.MAIL_DIGEST_WHY),
    )


def _facts(signal: Signal, device: str, severity: str, promised: float | None) -> tuple[Fact, ...]:
    facts = [
        Fact("Where", wording.place(signal)),
        Fact("Device", device),
        Fact("Raised on", signal.date.isoformat()),
        Fact("Severity", severity),
    ]
    if signal.kind == "statistical" and promised is not None:
        facts.append(Fact("How often by chance", wording.chance(promised)))
    return tuple(facts)


def _not_meant(signal: Signal) -> tuple[str, ...]:
    causes = signal.history[-1].causes if signal.history else ()
    unmeasured = not HAS_LABELS & set(causes)
    return (*wording.MAIL_NOT_MEANT, *((wording.MAIL_UNMEASURED,) if unmeasured else ()))
