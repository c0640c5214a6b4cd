"""A renderer in a few words, where a test is not about the words."""

from __future__ import annotations

from collections.abc import Sequence

from app.central.alerts.ports import Alert, Delivery, Digest, Escalation, Notice, RenderedMail
from app.central.renderers import Renderers
from app.central.reports.ports import DriftReport, RenderedReport
from app.central.surveillance.evidence import Comparison


class InAFewWords:
    def alert_mail(self, alert: Alert) -> RenderedMail:
        words = f"{alert.identifier} {alert.signal.event or alert.signal.stream}"
        return RenderedMail(words, words, f"<p>{words}</p>")

    def digest_mail(self, digest: Digest) -> RenderedMail:
        words = f"digest {','.join(line.identifier for line in digest.lines)}"
        return RenderedMail(words, words, f"<p>{words}</p>")

    def escalation_mail(self, escalation: Escalation) -> RenderedMail:
        words = f"{escalation.alert.identifier} waits for {escalation.waited}"
        return RenderedMail(words, words, f"<p>{words}</p>")

    def notice_mail(self, notice: Notice, base_url: str) -> RenderedMail:
        words = f"{notice.subject} {base_url}{notice.path}"
        return RenderedMail(words, words, f"<p>{words}</p>")

    def report_mail(self, delivery: Delivery) -> RenderedMail:
        words = f"{delivery.number} for {delivery.group}"
        return RenderedMail(words, words, f"<p>{words}</p>")

    def evidently_report(self, comparisons: Sequence[Comparison]) -> bytes:
        return f"<p>{len(comparisons)} compared</p>".encode()

    def drift_report(
        self, report: DriftReport, evidence: bytes, input_digest: str
    ) -> RenderedReport:
        words = f"{report.number} {report.status} {input_digest} {len(report.signals)}".encode()
        return RenderedReport(b"<p>" + words + b"</p>", b"%PDF-1.7 " + words)


RENDERERS = Renderers(mail=InAFewWords(), report=InAFewWords())
