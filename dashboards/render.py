"""The renderers that the command line hands to the service and its worker."""

from __future__ import annotations

from app.central.renderers import Renderers
from app.central.settings import CentralSettings
from dashboards.mail.renderer import MailRenderer


def renderers(_: CentralSettings | None = None) -> Renderers:
    """Mail and report; WeasyPrint is imported only here, where a report may be needed."""
    from dashboards.reports.renderer import DriftReportRenderer

    return Renderers(mail=MailRenderer(), report=DriftReportRenderer())
