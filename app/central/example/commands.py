"""`lockwatch central example`: load the example data, take it away, say how far it is."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING

import typer

from app import clock
from app.central.commands import By, Config, database, example_loader, out, settings_of, transaction
from app.central.errors import NotAllowed

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from app.central.example.store import Standing

POLL_S = 0.2
example = typer.Typer(help="Example data, to look at and to take away.", no_args_is_help=True)


@example.command("load")
def example_load(by: By = "console", config: Config = None) -> None:
    """Load example data: a simulated device at three sites, apart from everything real.

    Ended by Ctrl-C, a worker of the service (or this command again) finishes it.
    """
    from app.central.database import session_factory
    from app.central.example import store
    from app.central.example.store import LoadState

    with database(settings_of(config)) as engine:
        sessions, loader = session_factory(engine), example_loader(engine)
        if loader is None:
            raise NotAllowed("example data is simulated: start it with the `lockwatch` command")
        with sessions.begin() as session:
            if store.standing(session).state not in (LoadState.WAITING, LoadState.LOADING):
                store.ask(session, by=by, now=clock.now())
        found = _show(sessions)
        while found.state in (LoadState.WAITING, LoadState.LOADING):
            if not loader.step():
                sleep(POLL_S)  # it is ready, or a worker was faster
            found = _show(sessions)
    if found.state is not LoadState.READY:
        raise typer.Exit(1)


@example.command("remove")
def example_remove(by: By = "console", config: Config = None) -> None:
    """Take all example data away; that it was here stays in the audit trail."""
    from app.central.example import store

    with transaction(config) as (_, session):
        store.remove(session, by=by, now=clock.now())


@example.command("status")
def example_status(config: Config = None) -> None:
    """Print how far the example data is."""
    from app.central.example import store

    with transaction(config) as (_, session):
        out.print(_words(store.standing(session)))


def _show(sessions: sessionmaker[Session]) -> Standing:
    """Print how far it is: over the line before on a terminal, else every tenth step."""
    from app.central.example import store

    with sessions() as session:
        found = store.standing(session)
    is_last = found.state is not store.LoadState.LOADING
    if out.is_terminal:
        out.print(f"\r{_words(found):<70}", end="\n" if is_last else "")
    elif is_last or found.done % 10 == 0:
        out.print(_words(found))
    return found


def _words(found: Standing) -> str:
    share = f"{found.done} of {found.total}" if found.total else ""
    return " ".join(part for part in (found.state.value, share, found.what) if part)
