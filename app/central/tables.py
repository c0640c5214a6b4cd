"""Every table, in one import: for migrations and for the check that they are complete."""

from __future__ import annotations

from app.central.accounts import models as accounts
from app.central.alerts import models as alerts
from app.central.audit import models as audit
from app.central.database import Base
from app.central.events import models as events
from app.central.fleet import models as fleet
from app.central.intake import models as intake
from app.central.jobs import models as jobs
from app.central.recalibration import models as recalibration
from app.central.references import models as references
from app.central.reports import models as reports
from app.central.surveillance import models as surveillance
from app.central.surveillance import sum_models as sums

metadata = Base.metadata
DOMAINS = (
    *(accounts, alerts, audit, events, fleet, intake, jobs),
    *(recalibration, references, reports, surveillance, sums),
)
