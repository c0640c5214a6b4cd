"""How edges speak to the centre, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import Anyone, Now, Viewer
from app.central.body import limited_body
from app.central.database import DbSession
from app.central.fleet import key_changes
from app.central.fleet import service as fleet
from app.central.fleet.models import Edge
from app.central.fleet.routes import within
from app.central.intake import service
from app.central.intake.authentication import authenticate
from app.central.intake.schemas import (
    DeclareEpoch,
    EnrolmentAnswer,
    EnrolmentRequest,
    KeyAnswer,
    KeyRequest,
    KeySwitch,
)
from app.central.intake.service import ArrivalView, EdgeBalance
from app.central.openapi.media import ENVELOPE, file, takes, takes_model
from app.central.paging import Limit, link_next
from app.central.problems import problems, refusal
from app.central.recalibration import releases
from app.contracts.exchange import parse
from app.contracts.window import BATCH_LIMIT, WINDOW_LIMIT, split_batch
from app.errors import AppError

edge_router = APIRouter(prefix="/edge/v1", tags=["edge"])
router = APIRouter(prefix="/api/v1", tags=["intake"])
OCTETS = file("application/octet-stream")
Counter = Annotated[int, Path(ge=0, lt=1 << 31)]
Before = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}\.[0-9]{1,18}$")]
Content = Annotated[bytes, Depends(limited_body(WINDOW_LIMIT))]
Batch = Annotated[bytes, Depends(limited_body(BATCH_LIMIT))]


def calling_edge(request: Request, content: Content, session: DbSession, now: Now) -> Edge:
    """The edge whose signature the request carries, within its share of requests."""
    return _caller(request, content, session, now)


def batching_edge(request: Request, content: Batch, session: DbSession, now: Now) -> Edge:
    """The same for a request that may be as long as a batch."""
    return _caller(request, content, session, now)


def _caller(request: Request, content: bytes, session: Session, now: datetime) -> Edge:
    state = request.app.state
    edge = authenticate(
        session,
        request.headers,
        method=request.method,
        path=request.url.path,
        audience=state.settings.base_url,
        content=content,
        now=now,
    )
    state.edge_limiter.spend(edge.id)
    return edge


calling_edge.permission = "edge"  # type: ignore[attr-defined]
batching_edge.permission = "edge"  # type: ignore[attr-defined]
CallingEdge = Annotated[Edge, Depends(calling_edge)]
BatchingEdge = Annotated[Edge, Depends(batching_edge)]


@edge_router.post(
    "/enrol",
    response_model=EnrolmentAnswer,
    responses=problems(401, 409, 422, 429),
    openapi_extra=takes_model(EnrolmentRequest),
)
def enrol(
    request: Request, content: Content, session: DbSession, now: Now, _: Anyone
) -> EnrolmentAnswer:
    """Present a key with a one-time code. The same key again gets the same answer."""
    state = request.app.state
    state.enrolment_limiter.spend(request.client.host if request.client else "")
    edge = fleet.enrol(session, parse(EnrolmentRequest, content), now=now)
    return fleet.answer_to(edge, state.key)


@edge_router.get("/state", response_model=EnrolmentAnswer, responses=problems(401, 429))
def own_state(request: Request, edge: CallingEdge) -> EnrolmentAnswer:
    """How the calling edge stands."""
    return fleet.answer_to(edge, request.app.state.key)


@edge_router.post(
    "/epoch",
    response_model=EnrolmentAnswer,
    responses=problems(401, 409, 422, 429),
    openapi_extra=takes_model(DeclareEpoch),
)
def declare_epoch(
    request: Request, content: Content, edge: CallingEdge, session: DbSession, now: Now
) -> EnrolmentAnswer:
    """Begin a new epoch after the journal was lost or rolled back."""
    body = parse(DeclareEpoch, content)
    fleet.declare_epoch(session, edge, body.epoch, body.reason, now=now)
    return fleet.answer_to(edge, request.app.state.key)


@edge_router.post(
    "/key",
    response_model=KeyAnswer,
    responses=problems(401, 409, 422, 429),
    openapi_extra=takes_model(KeyRequest),
)
def ask_for_key(content: Content, edge: CallingEdge, session: DbSession, now: Now) -> KeyAnswer:
    """Ask for another key, or how the wish stands. A person decides by its fingerprint."""
    return key_changes.ask(session, edge, parse(KeyRequest, content), now=now)


@edge_router.post(
    "/key/switch",
    response_class=Response,
    openapi_extra=takes_model(KeySwitch),
    responses={200: {"content": ENVELOPE}, **problems(401, 409, 422, 429)},
)
def switch_key(
    request: Request, content: Content, edge: CallingEdge, session: DbSession, now: Now
) -> Response:
    """Begin to use the approved key after the window that is named; a signed receipt.

    An edge that got no answer asks again, signed with the old key or with the new one.
    """
    key = request.app.state.key
    return _receipt(key_changes.switch(session, edge, parse(KeySwitch, content), key, now=now))


@edge_router.post(
    "/windows",
    response_class=Response,
    responses={200: {"content": ENVELOPE}, **problems(401, 409, 413, 422, 429)},
    openapi_extra=takes(OCTETS),
)
def take_in_window(
    request: Request, content: Content, edge: CallingEdge, session: DbSession, now: Now
) -> Response:
    """Take in one window. Stored, duplicate and quarantined all get a signed receipt."""
    answer = service.acknowledge(session, edge, content, request.app.state.key, now=now)
    if isinstance(answer, AppError):
        return refusal(answer)  # answered, not raised: what was kept aside is committed
    return _receipt(answer)


@edge_router.post(
    "/windows/batch",
    response_class=Response,
    responses={200: {"content": ENVELOPE}, **problems(401, 413, 422, 429)},
    openapi_extra=takes(OCTETS),
)
def take_in_windows(
    request: Request, content: Batch, edge: BatchingEdge, session: DbSession, now: Now
) -> Response:
    """Take in up to 64 windows, each after its length (u32, big endian), in one commit.

    The receipt names those that were taken in. One that it does not name was refused: sent
    alone, it is told why.
    """
    windows = split_batch(content)
    state = request.app.state
    state.edge_limiter.spend(edge.id, len(windows) - 1)  # the request itself has paid for one
    taken = [service.take_in(session, edge, raw, now=now) for raw in windows]
    named = tuple(word for word in taken if not isinstance(word, AppError))
    return _receipt(service.receipt(session, edge, state.key, now=now, windows=named))


@edge_router.get(
    "/receipt",
    response_class=Response,
    responses={200: {"content": ENVELOPE}, **problems(401, 429)},
)
def own_receipt(request: Request, edge: CallingEdge, session: DbSession, now: Now) -> Response:
    """The cursor of the calling edge: what has arrived and what is missing."""
    return _receipt(service.receipt(session, edge, request.app.state.key, now=now))


@edge_router.get(
    "/operating-points/{counter}",
    response_class=Response,
    responses={200: {"content": ENVELOPE}, 204: {"description": "None"}, **problems(401, 429)},
)
def own_operating_point(counter: Counter, edge: CallingEdge, session: DbSession) -> Response:
    """The signed operating point that follows `counter` at the calling edge's site."""
    found = releases.following(session, edge, counter)
    return Response(status_code=204) if found is None else _receipt(found)


@router.get("/balances", response_model=list[EdgeBalance])
def list_balances(session: DbSession, person: Viewer) -> tuple[EdgeBalance, ...]:
    """Of every edge: produced = stored + quarantined + still on the edge."""
    return service.balances(session, scope=person.site_id)


@router.get("/edges/{edge_id}/windows", response_model=list[ArrivalView], responses=problems(404))
def list_windows(
    edge_id: str,
    request: Request,
    response: Response,
    session: DbSession,
    person: Viewer,
    limit: Limit = 200,
    before: Before = None,
) -> tuple[ArrivalView, ...]:
    """The newest windows of an edge and what became of them, a page at a time.

    `before`: epoch and sequence of a window, such as `1.365`.
    """
    within(person, fleet.get_edge(session, edge_id).site_id)
    epoch, _, sequence = (before or "").partition(".")
    number = (int(epoch), int(sequence)) if before else None
    page = service.arrivals(session, edge_id, limit=limit, before=number)
    if page:
        link_next(request, response, page, f"{page[-1].epoch}.{page[-1].sequence}")
    return page


def _receipt(envelope: bytes) -> Response:
    return Response(envelope, media_type="application/json")
