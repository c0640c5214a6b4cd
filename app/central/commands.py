"""`lockwatch central` and `lockwatch audit`: set up, run and look after the service.

`renderers`, `install_pages` and `example_play` are filled in by whoever composes the parts
(`app/cli.py`).
"""

from __future__ import annotations

import gc
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app import clock
from app.central.errors import NotAllowed, NotFound
from app.central.settings import CentralSettings, read_settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from app.central.example.loading import Example, Loader
    from app.central.renderers import Renderers

renderers: Callable[[CentralSettings], Renderers] | None = None
install_pages: Callable[[FastAPI], None] | None = None
example_play: Callable[[], Example] | None = None

central = typer.Typer(help="The central service.", no_args_is_help=True)
site = typer.Typer(help="Hospitals.", no_args_is_help=True)
device = typer.Typer(help="Device versions.", no_args_is_help=True)
user = typer.Typer(help="People.", no_args_is_help=True)
reference = typer.Typer(help="Reference periods.", no_args_is_help=True)
change_plan = typer.Typer(help="Change-control plans.", no_args_is_help=True)
recipient = typer.Typer(help="Who is told about signals.", no_args_is_help=True)
audit = typer.Typer(help="The audit trail.", no_args_is_help=True)
for name, part in (
    ("site", site),
    ("device", device),
    ("user", user),
    ("reference", reference),
    ("change-plan", change_plan),
    ("recipient", recipient),
):
    central.add_typer(part, name=name)

out = Console(highlight=False, markup=False, soft_wrap=True)
DEFAULT_CONFIG = Path("central.toml")
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file; central.toml here if there is one.")
]
By = Annotated[str, typer.Option("--by", help="Who does this, for the audit trail.")]


def settings_of(config: Path | None) -> CentralSettings:
    """The settings in force."""
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    return read_settings(config)


@contextmanager
def database(settings: CentralSettings) -> Iterator[Engine]:
    """The database: the one named in the settings, or the embedded one, started or joined."""
    import app.central.tables  # noqa: F401 - foreign keys must find every table
    from app.central.database import open_engine
    from app.central.embedded_postgres import open_embedded

    if settings.database_url:
        engine = open_engine(settings.database_url)
        try:
            yield engine
        finally:
            engine.dispose()
        return
    with open_embedded(settings.database_dir) as server:
        engine = open_engine(server.url)
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def transaction(config: Path | None) -> Iterator[tuple[CentralSettings, Session]]:
    """Settings and one transaction."""
    from app.central.database import session_factory

    settings = settings_of(config)
    with database(settings) as engine, session_factory(engine).begin() as session:
        yield settings, session


@central.command()
def init(config: Config = None) -> None:
    """Make keys and database, migrate, and print the key that edges may pin."""
    settings = settings_of(config)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    key = settings.receipt_key()
    with database(settings) as engine:
        _bring_up(engine)
    out.print(f"receipt key {key.public.hex()}")


@central.command()
def migrate(config: Config = None) -> None:
    """Bring the database to the schema of this version."""
    with database(settings_of(config)) as engine:
        _bring_up(engine)


def _bring_up(engine: Engine) -> None:
    """Bring the tables, and those of example data, to the schema of this version."""
    from app.central.database import migrate as migrate_database
    from app.central.example.store import bring_up

    migrate_database(engine)
    bring_up(engine)


@central.command()
def serve(
    config: Config = None,
    with_worker: Annotated[
        bool, typer.Option("--with-worker", help="Run a worker in this process too.")
    ] = False,
) -> None:
    """Serve the API, the edges and the pages until SIGTERM or Ctrl-C."""
    import uvicorn

    from app.central.logs import configure
    from app.central.web import create_app
    from app.central.worker import run

    configure()
    signal.signal(signal.SIGTERM, _leave)  # uvicorn raises the signal again when it is done
    settings = settings_of(config)
    with database(settings) as engine:
        _bring_up(engine)
        rendering = renderers(settings) if renderers else None
        app = create_app(settings, engine, rendering)
        if install_pages is not None:
            install_pages(app)
        gc.freeze()  # what is loaded by now stays: never looked through again while a page waits
        stop = _background_worker(run, settings, engine, rendering, with_worker)
        try:
            uvicorn.run(
                app,
                host=settings.host,
                port=settings.port,
                log_level="warning",
                access_log=False,
                server_header=False,
            )
        finally:
            stop()


def _background_worker(
    run: Callable[..., Callable[[], None]],
    settings: CentralSettings,
    engine: Engine,
    rendering: Renderers | None,
    wanted: bool,
) -> Callable[[], None]:
    from app.central.database import session_factory

    if not wanted:
        return lambda: None
    sessions, loader = session_factory(engine), example_loader(engine)
    return run(settings, sessions, _present(rendering), loader, in_background=True)


def example_loader(engine: Engine) -> Loader | None:
    """What loads example data on this database, where the parts are composed."""
    from app.central.example.loading import Loader

    return Loader(engine, example_play) if example_play is not None else None


def _present(rendering: Renderers | None) -> Renderers:
    if rendering is None:
        raise NotAllowed("a worker writes mails: start it with the `lockwatch` command")
    return rendering


@central.command()
def worker(config: Config = None) -> None:
    """Run scheduled work and send mail until SIGTERM or Ctrl-C."""
    from app.central.database import session_factory
    from app.central.logs import configure
    from app.central.worker import run

    configure()
    signal.signal(signal.SIGTERM, _leave)
    settings = settings_of(config)
    rendering = _present(renderers(settings) if renderers else None)
    with database(settings) as engine:
        run(settings, session_factory(engine), rendering, example_loader(engine))


def _leave(*_: object) -> None:
    raise SystemExit(0)


@site.command("add")
def site_add(
    site_id: str,
    name: str,
    timezone: Annotated[str, typer.Option(help="IANA time zone.")] = "UTC",
    by: By = "console",
    config: Config = None,
) -> None:
    """Add a hospital."""
    from app.central.fleet.service import add_site

    with transaction(config) as (_, session):
        add_site(session, site_id, name, timezone, by=by, now=clock.now())


@device.command("register")
def device_register(bundle: Path, by: By = "console", config: Config = None) -> None:
    """Register the device version of a bundle (a folder, or its manifest.sig), with a plan."""
    from app.central.fleet.service import register_device
    from app.central.surveillance.plans import ensure

    envelope = bundle / "manifest.sig" if bundle.is_dir() else bundle
    if not envelope.exists():
        raise NotFound(f"no signed manifest at {envelope}")
    with transaction(config) as (settings, session):
        version = register_device(
            session,
            envelope.read_bytes(),
            trusted=settings.manufacturer_keys,
            threshold=settings.signature_threshold,
            by=by,
            now=clock.now(),
        )
        ensure(session, version.lock_digest, settings.receipt_key(), by=by, now=clock.now())
        out.print(version.lock_digest)


@central.command()
def enrol(
    site_id: str,
    lock_digest: str,
    by: By = "console",
    config: Config = None,
) -> None:
    """Print a one-time code with which an edge enrols at a site."""
    from app.central.fleet.service import create_code

    with transaction(config) as (_, session):
        out.print(create_code(session, site_id, lock_digest, by=by, now=clock.now()))


@central.command()
def edges(config: Config = None) -> None:
    """List the edges: id, site, state, the fingerprint to compare, and a new key asked for."""
    from app.central.fleet.service import sites

    with transaction(config) as (_, session):
        for one in (edge for site in sites(session) for edge in site.edges):
            wish = f" new key {one.new_key_state} {one.new_key}" if one.new_key else ""
            out.print(f"{one.id} {one.site_id} {one.state.value} {one.fingerprint}{wish}")


@central.command()
def approve(
    edge_id: str,
    fingerprint: Annotated[str, typer.Option(help="The fingerprint that the hospital sees.")],
    by: By = "console",
    config: Config = None,
) -> None:
    """Let an edge in, having compared the fingerprint of its key with the hospital's."""
    from app.central.fleet.models import EdgeAction
    from app.central.fleet.service import act

    with transaction(config) as (_, session):
        act(
            session,
            edge_id,
            EdgeAction.APPROVE,
            by=by,
            now=clock.now(),
            seen_fingerprint=fingerprint,
        )


@central.command("approve-key")
def approve_key(
    edge_id: str,
    fingerprint: Annotated[str, typer.Option(help="Of the new key, as the hospital sees it.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead.")] = False,
    reason: Annotated[str, typer.Option(help="Kept in the audit trail.")] = "",
    by: By = "console",
    config: Config = None,
) -> None:
    """Let an edge change to a new key, having compared its fingerprint with the hospital's."""
    from app.central.fleet.key_changes import decide

    with transaction(config) as (_, session):
        decide(
            session,
            edge_id,
            approve=not refuse,
            seen_fingerprint=fingerprint,
            by=by,
            now=clock.now(),
            reason=reason,
        )


@user.command("add")
def user_add(
    name: str,
    role: str,
    full_name: Annotated[str, typer.Option(help="Name as printed beside signatures.")] = "",
    password_file: Annotated[
        Path | None, typer.Option(help="Read the password from here; else one is made.")
    ] = None,
    at_site: Annotated[str | None, typer.Option("--site", help="Only this site.")] = None,
    by: By = "console",
    config: Config = None,
) -> None:
    """Add a person; prints the password if it was made here."""
    from app.central.accounts.models import Role
    from app.central.accounts.service import create_account

    if role not in set(Role):
        raise typer.BadParameter(f"one of {', '.join(Role)} expected")
    password = password_file.read_text().strip() if password_file else secrets.token_urlsafe(12)
    with transaction(config) as (_, session):
        create_account(
            session,
            name=name,
            full_name=full_name or name,
            role=Role(role),
            password=password,
            site_id=at_site,
            by=by,
            now=clock.now(),
        )
    if password_file is None:
        out.print(password)


@change_plan.command("draft")
def change_plan_draft(lock_digest: str, config: Config = None) -> None:
    """Print a plan to edit, with the bounds of the cleared envelope and claims of its cohort."""
    from app.central.recalibration.plans import draft

    with transaction(config) as (_, session):
        out.print(draft(session, lock_digest).model_dump_json(indent=2))


@change_plan.command("put")
def change_plan_put(plan: Path, by: By = "console", config: Config = None) -> None:
    """Put a plan in force, as the next version; proposals use it from now on."""
    from app.central.recalibration.plans import PlanDocument, put_in_force
    from app.contracts.exchange import parse

    document = parse(PlanDocument, plan.read_bytes())
    with transaction(config) as (settings, session):
        key = settings.receipt_key()
        made = put_in_force(session, document, key, by=by, now=clock.now())
        out.print(f"version {made.version}, sha256 {made.digest}")


@recipient.command("add")
def recipient_add(
    address: str,
    least_severity: Annotated[
        str, typer.Option(help="info, notice, warning or urgent.")
    ] = "notice",
    by: By = "console",
    config: Config = None,
) -> None:
    """Tell somebody about signals by mail."""
    from app.central.alerts.models import Severity
    from app.central.alerts.service import add_recipient

    with transaction(config) as (_, session):
        add_recipient(session, address, Severity(least_severity), by=by, now=clock.now())


@reference.command("propose")
def reference_propose(
    lock_digest: str,
    until: Annotated[str, typer.Option(help="Last day of the period, YYYY-MM-DD.")],
    by: By = "console",
    config: Config = None,
) -> None:
    """Freeze a candidate from everything up to a day; prints its number."""
    from datetime import date

    from app.central.references.service import propose

    with transaction(config) as (_, session):
        day = date.fromisoformat(until)
        out.print(propose(session, lock_digest, day, by=by, now=clock.now()).id)


@reference.command("approve")
def reference_approve(reference_id: str, by: By = "console", config: Config = None) -> None:
    """Put a candidate in force; by another person than proposed it."""
    from app.central.references.service import approve as approve_reference

    with transaction(config) as (_, session):
        approve_reference(session, reference_id, by=by, now=clock.now())


@central.command()
def report(
    lock_digest: str,
    start: Annotated[str, typer.Option(help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option(help="Day after the last, YYYY-MM-DD.")],
    folder: Annotated[Path, typer.Option(help="Where to write the PDF and the HTML.")],
    by: By = "console",
    config: Config = None,
) -> None:
    """Draft a drift report and write a copy of its PDF and HTML; people sign it on the pages."""
    from datetime import date

    from app.central.database import see_one_moment
    from app.central.reports.drafting import draft, request

    with transaction(config) as (settings, session):
        see_one_moment(session)
        rendering = _present(renderers(settings) if renderers else None)
        first, last = date.fromisoformat(start), date.fromisoformat(end)
        made = request(session, lock_digest, first, last, by=by, now=clock.now())
        draft(session, made, renderer=rendering.report, now=clock.now())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{made.number}.pdf").write_bytes(made.pdf)
        (folder / f"{made.number}.html").write_bytes(made.html)
    out.print(made.number)


@central.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder to write.")],
    by: By = "console",
    config: Config = None,
) -> None:
    """Copy the database and its audit trail; keys are kept apart and are not copied."""
    from app.central import upkeep
    from app.central.backup import backup as write_copy
    from app.central.database import session_factory

    settings = settings_of(config)
    with database(settings) as engine:
        out.print(write_copy(settings, engine, folder))
        with session_factory(engine).begin() as session:
            upkeep.note_copy(session, folder, by=by, now=clock.now())


@central.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    config: Config = None,
) -> None:
    """Bring a copy into an empty database; edges then refill what is newer than it."""
    from app.central.backup import restore as bring_back

    settings = settings_of(config)
    with database(settings) as engine:
        out.print(bring_back(settings, engine, folder))


@central.command()
def recount(by: By = "console", config: Config = None) -> None:
    """Count every stored window anew and put right what pages read; exit 1 if anything differed.

    Pages read counts that intake keeps by edge, and sums over all sites that the worker keeps by
    device version. The windows stay as they are; what differed is named, here and in the audit
    trail. Needed after an upgrade during which the version before went on taking in windows.
    What evaluations keep of each day is forgotten: the next one puts it together anew from the
    signed windows.
    """
    from app.central.database import session_factory
    from app.central.fleet import repository as fleet_repository
    from app.central.fleet import service as fleet
    from app.central.intake import counting
    from app.central.surveillance import kept_days, summing

    with database(settings_of(config)) as engine:
        sessions = session_factory(engine)
        with sessions.begin() as session:
            kept_days.forget(session)
            ids = [e.id for e in fleet_repository.edges(session)]
        windows, differed = 0, []
        for edge_id in ids:  # a transaction each: only one edge waits at a time
            with sessions.begin() as session:
                edge = fleet.get_edge(session, edge_id)
                found = counting.recount(session, edge, by=by, now=clock.now())
            windows += found.windows
            differed += [] if found.agrees else [edge_id]
        with sessions.begin() as session:
            sums = summing.resum(session, by=by, now=clock.now())
        differed += [f"device version {s.lock_digest}" for s in sums if not s.agrees]
    for name in differed:
        out.print(f"{name}: counts differed and were put right")
    versions = f"{len(sums)} device versions"
    out.print(f"{len(ids)} edges, {versions}, {windows} windows, {len(differed)} differed")
    if differed:
        raise typer.Exit(1)


@central.command()
def doctor(config: Config = None) -> None:
    """Check the installation; exit code 1 when something is wrong."""
    from app.central.doctor import examine

    settings = settings_of(config)
    with database(settings) as engine:
        findings = examine(settings, engine)
    for finding in findings:
        out.print(f"{'ok  ' if finding.is_fine else 'BAD '} {finding.what}: {finding.detail}")
    if not all(finding.is_fine for finding in findings):
        raise typer.Exit(1)


@audit.command("export")
def audit_export(
    target: Annotated[Path, typer.Argument(help="File to write.")],
    by: By = "console",
    config: Config = None,
) -> None:
    """Write the whole trail, and beside it the verifier that needs nothing of ours."""
    from app.central.audit import service

    with transaction(config) as (settings, session):
        service.record(
            session, actor=by, action="audit:trail:export", subject="audit", at=clock.now()
        )
        with target.open("wb") as file:
            file.writelines(service.export(session, settings.receipt_key(), clock.now()))
    (target.parent / "verifier.py").write_bytes(service.VERIFIER.read_bytes())


@audit.command("verify")
def audit_verify(
    trail: Path,
    head: Annotated[str | None, typer.Option(help="A hash that must be in the trail.")] = None,
    key: Annotated[
        str | None, typer.Option(help="The centre's public key, hex, as edges pin it.")
    ] = None,
    held: Annotated[
        list[Path] | None,
        typer.Option(help="A receipt, an issued report's evidence or an older export; repeatable."),
    ] = None,
) -> None:
    """Verify an exported trail, also against what was carried away; exit code 1 says why not."""
    from app.central.audit.verifier import verify

    try:
        with trail.open("rb") as file:
            kept = [(str(path), path.read_bytes()) for path in held or ()]
            out.print(verify(file, head, key=key, held=kept))
    except ValueError as error:
        Console(stderr=True).print(f"NOT INTACT: {error}")
        sys.exit(1)
