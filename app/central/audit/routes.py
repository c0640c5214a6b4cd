"""Read and export the audit trail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.central.accounts.permissions import Auditor, Now
from app.central.audit import service
from app.central.audit.schemas import AuditLineOut
from app.central.audit.service import AuditLine
from app.central.database import DbSession
from app.central.openapi.media import file

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


@router.get("", response_model=list[AuditLineOut])
def list_entries(
    session: DbSession,
    _: Auditor,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
) -> tuple[AuditLine, ...]:
    """Entries, newest first."""
    return service.lines(session, limit=limit, before=before)


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": file("application/jsonl")}},
)
def export_trail(request: Request, session: DbSession, now: Now, by: Auditor) -> Response:
    """The whole trail as JSON lines with a signed checkpoint; the export itself is recorded."""
    service.record(session, actor=by.name, action="audit:trail:export", subject="audit", at=now)
    content = b"".join(service.export(session, request.app.state.key, now))
    name = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return Response(content, media_type="application/jsonl", headers=name)
