"""Look an installation over: database, keys, mail, identity provider, audit trail, balances."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from app import clock
from app.central.accounts import repository as accounts
from app.central.accounts.identity_provider import IdentityProvider
from app.central.alerts.transport import open_transport
from app.central.audit import service as audit
from app.central.audit.verifier import verify
from app.central.database import alembic_config, session_factory
from app.central.intake import service as intake
from app.central.settings import CentralSettings
from app.errors import AppError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    is_fine: bool
    detail: str


def examine(settings: CentralSettings, engine: Engine) -> list[Finding]:
    """Everything worth a look."""
    return [
        _database(engine),
        _migrations(engine),
        _trusted_keys(settings),
        _mail(settings),
        *_provider(settings, engine),
        _audit(settings, engine),
        *_balances(engine),
    ]


def _database(engine: Engine) -> Finding:
    with engine.connect() as connection:
        version = connection.scalar(text("SHOW server_version_num"))
    return Finding("database", int(version or 0) >= 150_000, f"PostgreSQL {version}")


def _migrations(engine: Engine) -> Finding:
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    return Finding("migrations", found == newest, f"at {found}, newest {newest}")


def _trusted_keys(settings: CentralSettings) -> Finding:
    n = len(settings.trusted_keys)
    return Finding("manufacturer keys", n >= settings.signature_threshold, f"{n} trusted")


def _mail(settings: CentralSettings) -> Finding:
    try:
        open_transport(settings.transport)
    except AppError as error:
        return Finding("mail", False, str(error))
    return Finding("mail", True, settings.transport)


def _provider(settings: CentralSettings, engine: Engine) -> list[Finding]:
    if not settings.oidc_issuer:
        return []
    provider = IdentityProvider(settings)
    try:
        provider.secret()
        keys = len(provider.document().keys.keys)
    except AppError as error:
        return [Finding("identity provider", False, str(error)), *_break_glass(settings, engine)]
    said = f"{settings.oidc_issuer}, {keys} keys; register {provider.redirect_uri} there"
    return [Finding("identity provider", True, said), *_break_glass(settings, engine)]


def _break_glass(settings: CentralSettings, engine: Engine) -> list[Finding]:
    if not settings.break_glass:
        return []
    with session_factory(engine).begin() as session:
        can = settings.break_glass in accounts.lock_administrators(session)
    expected = "an administrator who is not disabled and has a password of their own"
    name = settings.break_glass
    return [Finding("break-glass account", can, name if can else f"{name}: expected {expected}")]


def _audit(settings: CentralSettings, engine: Engine) -> Finding:
    with session_factory(engine)() as session:
        try:
            said = verify(audit.export(session, settings.receipt_key(), clock.now()))
        except ValueError as error:
            return Finding("audit trail", False, str(error))
    return Finding("audit trail", True, said)


def _balances(engine: Engine) -> list[Finding]:
    with session_factory(engine)() as session:
        return [
            Finding(
                f"balance {b.edge_id}",
                b.closes and b.cases_close,
                f"{b.produced} produced = {b.stored} stored + {b.quarantined} quarantined "
                f"+ {b.on_edge} on the edge",
            )
            for b in intake.balances(session)
        ]
