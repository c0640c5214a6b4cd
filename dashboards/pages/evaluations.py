"""The evaluation of a device version: how far it is, and the button that asks for one now."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Permission
from app.central.accounts.service import Person
from app.central.jobs.models import RunState
from app.central.references import repository as references
from app.central.surveillance import on_demand
from app.central.surveillance import service as surveillance
from dashboards import filters, wording
from dashboards.pages.views import EvaluationView


def evaluation_view(session: Session, lock_digest: str, person: Person) -> EvaluationView:
    """What the device page says of evaluations."""
    found = surveillance.newest_evaluation(session, lock_digest)
    run = on_demand.last_run(session, lock_digest)
    sentences = [wording.NO_EVALUATION]
    if found is not None:
        when = filters.instant(found.evaluated_at)
        sentences = [wording.evaluated(found.upto.isoformat(), found.windows, when)]
    if run is not None and run.state is not RunState.DONE:
        sentences.append(wording.RUN_STATES[run.state.value].format(filters.instant(run.due_at)))
    is_possible = references.in_force(session, lock_digest) is not None
    return EvaluationView(
        action=f"/devices/{lock_digest}/evaluations",
        sentences=tuple(sentences),
        may_ask=is_possible and Permission.ASSESS in GRANTS[person.role],
    )
