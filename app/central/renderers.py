"""What the command line hands in: whoever writes mails and reports."""

from __future__ import annotations

from dataclasses import dataclass

from app.central.alerts.ports import Renderer
from app.central.reports.ports import ReportRenderer


@dataclass(frozen=True, slots=True)
class Renderers:
    """The two ports that the pages' side implements."""

    mail: Renderer
    report: ReportRenderer
