"""The mails that the alerts port asks for."""

from __future__ import annotations

from app.central.alerts.ports import Alert, Delivery, Digest, Escalation, Notice, RenderedMail
from dashboards.mail.views import (
    AlertView,
    alert_view,
    delivery_view,
    digest_view,
    notice_view,
    waiting_view,
)
from dashboards.templating import render


class MailRenderer:
    """Implements `app.central.alerts.ports.Renderer`."""

    def alert_mail(self, alert: Alert) -> RenderedMail:
        """The mail about one signal, as text and as HTML with the same words."""
        return _letter(_view(alert))

    def escalation_mail(self, escalation: Escalation) -> RenderedMail:
        """The same, once more, because nobody has acknowledged it."""
        return _letter(waiting_view(_view(escalation.alert), escalation.waited))

    def digest_mail(self, digest: Digest) -> RenderedMail:
        """A day's lesser signals, a line each."""
        view = digest_view(digest)
        return RenderedMail(
            subject=view.subject,
            text=render("mail/digest.txt", view=view),
            html=render("mail/digest.html", view=view),
        )

    def notice_mail(self, notice: Notice, base_url: str) -> RenderedMail:
        """Something to know that is no signal, in the same form."""
        return _letter(notice_view(notice, base_url))

    def report_mail(self, delivery: Delivery) -> RenderedMail:
        """An issued report: where it lies and what its bytes are; nothing is attached."""
        return _letter(delivery_view(delivery))


def _view(alert: Alert) -> AlertView:
    return alert_view(
        alert.identifier,
        alert.signal,
        device=alert.device,
        severity=alert.severity.value,
        base_url=alert.base_url,
        promised=alert.promised,
        others=alert.others,
    )


def _letter(view: AlertView) -> RenderedMail:
    return RenderedMail(
        subject=view.subject,
        text=render("mail/alert.txt", view=view),
        html=render("mail/alert.html", view=view),
    )
