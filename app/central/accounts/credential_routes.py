"""What a person holds besides the password: one-time codes and API tokens."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from app.central.accounts import codes, service, tokens
from app.central.accounts.models import ApiToken
from app.central.accounts.permissions import Administrator, Now, Viewer
from app.central.accounts.schemas import (
    Code,
    CodesBegun,
    NewToken,
    PasswordAgain,
    TokenMade,
    TokenOut,
)
from app.central.database import DbSession
from app.central.problems import problems

router = APIRouter(prefix="/api/v1", tags=["accounts"])


@router.post("/codes", response_model=CodesBegun, responses=problems(401, 403, 409))
def begin_codes(
    body: PasswordAgain, request: Request, session: DbSession, person: Viewer, now: Now
) -> CodesBegun:
    """Begin to set up one-time codes; a first code confirms them."""
    service.sign(request.app.state.sessions, person, body.password.get_secret_value(), now)
    return CodesBegun(address=codes.begin(session, person.name))


@router.post(
    "/codes/confirmation",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 409),
)
def confirm_codes(body: Code, session: DbSession, person: Viewer, now: Now) -> Response:
    """The first code: every log-in asks for one from now on."""
    codes.confirm(session, person.name, body.code.get_secret_value(), now)
    return Response(status_code=204)


@router.delete(
    "/accounts/{name}/codes",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404),
)
def end_codes(name: str, session: DbSession, by: Administrator, now: Now) -> Response:
    """Take a person's one-time codes away, say for a lost telephone; audited."""
    codes.end(session, name, by=by.name, now=now)
    return Response(status_code=204)


@router.get("/tokens", response_model=list[TokenOut], responses=problems(401))
def list_tokens(session: DbSession, person: Viewer) -> Sequence[ApiToken]:
    """One's own API tokens, newest first."""
    return tokens.tokens_of(session, person)


@router.post(
    "/tokens", response_model=TokenMade, status_code=201, responses=problems(401, 403, 409, 422)
)
def create_token(
    body: NewToken, request: Request, session: DbSession, person: Viewer, now: Now
) -> TokenMade:
    """Make a token that reads what its owner may read: `Authorization: Bearer lwt_…`."""
    service.sign(request.app.state.sessions, person, body.password.get_secret_value(), now)
    token, made = tokens.create(session, person, body.purpose, body.days, now)
    return TokenMade(token=token, made=TokenOut.model_validate(made))


@router.delete(
    "/tokens/{token_id}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404),
)
def revoke_token(token_id: str, session: DbSession, person: Viewer, now: Now) -> Response:
    """One of one's own tokens means nothing from now on."""
    tokens.revoke(session, token_id, person, now)
    return Response(status_code=204)
