"""People, for administrators."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from app.central.accounts import identities, people, repository, service
from app.central.accounts.models import Account, Identity
from app.central.accounts.permissions import Administrator, Now
from app.central.accounts.schemas import (
    AccountOut,
    IdentityOut,
    NewAccount,
    NewIdentity,
    NewRole,
    OneTimePassword,
    PersonOut,
)
from app.central.database import DbSession
from app.central.problems import problems

router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"])
REFUSED = problems(403, 404, 409)


@router.get("", response_model=list[AccountOut], responses=problems(401, 403))
def list_accounts(session: DbSession, _: Administrator) -> Sequence[Account]:
    """Everybody."""
    return repository.accounts(session)


@router.post("", response_model=PersonOut, status_code=201, responses=problems(403, 409, 422))
def add_account(body: NewAccount, session: DbSession, now: Now, by: Administrator) -> Account:
    """Add a person."""
    return service.create_account(
        session,
        name=body.name,
        full_name=body.full_name,
        role=body.role,
        password=body.password.get_secret_value(),
        site_id=body.site_id,
        by=by.name,
        now=now,
    )


@router.put("/{name}/role", response_model=AccountOut, responses=problems(403, 404, 409, 422))
def change_role(
    name: str, body: NewRole, session: DbSession, now: Now, by: Administrator
) -> Account:
    """Another role or site; the person's sessions end. One administrator is always left."""
    return people.change(session, name, body.role, body.site_id, by=by.name, now=now)


@router.post("/{name}/disablement", status_code=204, response_class=Response, responses=REFUSED)
def disable_account(name: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """No more log-ins; sessions end at once. One administrator is always left."""
    people.disable(session, name, by=by.name, now=now)
    return Response(status_code=204)


@router.delete("/{name}/disablement", status_code=204, response_class=Response, responses=REFUSED)
def enable_account(name: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """The person may log in again."""
    people.enable(session, name, by=by.name, now=now)
    return Response(status_code=204)


@router.delete("/{name}/lock", status_code=204, response_class=Response, responses=REFUSED)
def unlock_account(name: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """Wrong guesses are forgotten; the person need not wait."""
    people.unlock(session, name, by=by.name, now=now)
    return Response(status_code=204)


@router.post("/{name}/password-reset", response_model=OneTimePassword, responses=REFUSED)
def reset_password(name: str, session: DbSession, now: Now, by: Administrator) -> OneTimePassword:
    """A one-time password in place of a forgotten one; shown here and nowhere else."""
    return OneTimePassword(password=people.reset_password(session, name, by=by.name, now=now))


@router.get("/{name}/identity", response_model=IdentityOut, responses=problems(401, 403, 404))
def get_identity(name: str, session: DbSession, _: Administrator) -> Identity:
    """The identity at the provider with which a person signs in."""
    return identities.identity_of(session, name)


@router.put(
    "/{name}/identity", response_model=IdentityOut, responses=problems(401, 403, 404, 409, 422)
)
def link_identity(
    name: str, body: NewIdentity, request: Request, session: DbSession, now: Now, by: Administrator
) -> Identity:
    """Let a subject at the identity provider sign in as this person."""
    issuer = identities.issuer_of(request.app.state.settings)
    return identities.link(session, name, issuer, body.subject, by=by.name, now=now)


@router.delete("/{name}/identity", status_code=204, response_class=Response, responses=REFUSED)
def unlink_identity(name: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """The subject signs in as nobody from now on; the person's sessions end."""
    identities.unlink(session, name, by=by.name, now=now)
    return Response(status_code=204)
