"""Tables to take away."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.central.accounts.permissions import Now, Viewer
from app.central.database import DbSession
from app.central.errors import Unusable
from app.central.exports.formats import MEDIA_TYPE, Format, written
from app.central.exports.tables import Name, Wanted, table
from app.central.openapi.media import file
from app.central.problems import problems

router = APIRouter(prefix="/api/v1", tags=["exports"])
LONGEST = timedelta(days=3660)
DEFAULT = timedelta(days=365)
Day = Annotated[date | None, Query(ge=date(1990, 1, 1), le=date(2200, 1, 1))]


@router.get(
    "/device-versions/{lock_digest}/tables/{name}.{kind}",
    response_class=Response,
    responses={
        200: {"content": file(*MEDIA_TYPE.values())},
        **problems(401, 403, 404, 422),
    },
)
def show_table(
    lock_digest: str,
    name: Name,
    kind: Format,
    session: DbSession,
    person: Viewer,
    now: Now,
    since: Day = None,
    until: Day = None,
) -> Response:
    """A table as CSV or Parquet, of the days from `since` to before `until` (the last year).

    `windows`: what arrived; `counts`: cases, outcomes and means by window and stratum;
    `signals`; `effects`: how far each characteristic of a signal moved, with its interval;
    `traces`: every stream of the newest evaluation against its limit.
    """
    until = until or now.date() + timedelta(days=1)
    since = since or until - DEFAULT
    if not timedelta() < until - since <= LONGEST:
        raise Unusable(f"since before until, at most {LONGEST.days} days apart, expected")
    found = table(session, name, Wanted(lock_digest, person.site_id, since, until))
    attached = {"Content-Disposition": f'attachment; filename="{name.value}.{kind.value}"'}
    return Response(written(found, kind), media_type=MEDIA_TYPE[kind], headers=attached)
