"""The mails that the alerts port asks for."""

from __future__ import annotations

from app.central.alerts.ports import Alert, RenderedMail
from dashboards.mail.views import alert_view
from dashboards.templating import render


class MailRenderer:
    """Implements `app.central.alerts.ports.Renderer`."""

    def alert_mail(self, alert: Alert) -> RenderedMail:
        """The mail about one signal, as text and as HTML with the same words."""
        view = alert_view(
            alert.identifier,
            alert.signal,
            device=alert.device,
            severity=alert.severity.value,
            base_url=alert.base_url,
            promised=alert.promised,
            others=alert.others,
        )
        return RenderedMail(
            subject=view.subject,
            text=render("mail/alert.txt", view=view),
            html=render("mail/alert.html", view=view),
        )
