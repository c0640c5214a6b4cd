"""`lockwatch edge`: init, install, run, check, status, health, sent, pause, rotate-key, retire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

edge = typer.Typer(
    help="The agent in the hospital: runs the cleared device, sends counts and sums only.",
    no_args_is_help=True,
)
Config = Annotated[Path, typer.Option("--config", help="The edge's TOML file.")]
_DEFAULT = Path("edge.toml")


@edge.command()
def init(config: Config = _DEFAULT) -> None:
    """Write a settings file to fill in; an existing one is left alone."""
    from app.edge.settings import SettingsRefused
    from app.edge.template import TEMPLATE

    if config.exists():
        raise SettingsRefused(f"{config.name} is there already; nothing was changed")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(TEMPLATE)
    typer.echo(f"Wrote {config}. Fill in the keys and titles, then: lockwatch edge check")


@edge.command()
def install(
    bundle: Annotated[Path, typer.Argument(help="Folder with the release, as delivered.")],
    config: Config = _DEFAULT,
) -> None:
    """Install a release: verified, whole or not at all, and never an older one. The agent uses it
    from its next start on."""
    from app import clock
    from app.edge import installation
    from app.edge.journal import last_release
    from app.edge.settings import load

    settings = load(config)
    today = clock.now().astimezone(settings.zone).date()
    found = installation.install(settings, bundle, last_release(settings.data_dir), today).manifest
    typer.echo(f"Installed {found.device} {found.version}, release {found.release_counter}.")
    typer.echo(f"lock digest {found.lock_digest}\nRestart the agent to use it.")


@edge.command()
def run(config: Config = _DEFAULT) -> None:
    """Run the agent until it is stopped with SIGTERM or Ctrl-C."""
    from app.edge import agent
    from app.edge.settings import load

    agent.run(load(config))


@edge.command()
def check(config: Config = _DEFAULT) -> None:
    """Try everything the agent will need, without starting it. Exit code 1 if something fails."""
    from app.edge.checks import checks
    from app.edge.noise import promise
    from app.edge.settings import load

    settings, failed = load(config), 0
    for name, trouble in checks(settings):
        failed += bool(trouble)
        typer.echo(f"{'FAILED' if trouble else 'ok':8}{name}{': ' + trouble if trouble else ''}")
    if settings.noise_epsilon is not None:
        typer.echo(f"noise   {promise(settings.noise_epsilon)}")
    if failed:
        raise typer.Exit(1)


@edge.command()
def status(config: Config = _DEFAULT) -> None:
    """Print the last status of the agent, as JSON: lock, cases, results, windows, labels."""
    from app.edge.settings import SettingsRefused, load

    path = load(config).data_dir / "status.json"
    if not path.exists():
        raise SettingsRefused(f"no status in {path.parent.name}: the agent has not run here yet")
    typer.echo(json.dumps(json.loads(path.read_text()), indent=2))


@edge.command()
def health(config: Config = _DEFAULT) -> None:
    """Exit code 1 unless the agent runs and has looked after everything in the last ten minutes;
    for containers and watchdogs."""
    from app.edge import status
    from app.edge.settings import load

    trouble = status.trouble(load(config).data_dir)
    typer.echo(trouble or "at work")
    if trouble:
        raise typer.Exit(1)


@edge.command()
def sent(
    config: Config = _DEFAULT,
    first: Annotated[int, typer.Option(help="Number of the first window to print.")] = 1,
    last: Annotated[
        int, typer.Option(help="Number of the last window to print.", show_default="the newest")
    ] = 2**62,
) -> None:
    """Print every window that left or waits to leave: each key and each number in it."""
    from app.contracts.signing import SigningKey
    from app.edge.journal import open_for_reading
    from app.edge.sent import windows
    from app.edge.settings import load

    data = load(config).data_dir
    db = open_for_reading(data)
    try:
        for text in windows(db, SigningKey.load_or_create(data / "edge.key").public, first, last):
            typer.echo(text)
    finally:
        db.close()


@edge.command()
def receipt(
    target: Annotated[Path, typer.Argument(help="File to write.")], config: Config = _DEFAULT
) -> None:
    """Write the centre's newest signed receipt: proof of how its audit trail stood then."""
    from app.edge.journal import open_for_reading
    from app.edge.sent import newest_receipt
    from app.edge.settings import SettingsRefused, load

    db = open_for_reading(load(config).data_dir)
    try:
        found = newest_receipt(db)
    finally:
        db.close()
    if found is None:
        raise SettingsRefused("no receipt yet: the centre has acknowledged no window of this edge")
    target.write_bytes(found)


@edge.command()
def pause(
    config: Config = _DEFAULT,
    off: Annotated[bool, typer.Option("--off", help="End the pause.")] = False,
) -> None:
    """Hold back analysis, so also new results, and sending; images are still received and kept."""
    from app.edge import orders
    from app.edge.settings import load

    orders.pause(load(config).data_dir, off=off)
    typer.echo("Goes on." if off else "Paused. Go on with: lockwatch edge pause --off")


@edge.command("rotate-key")
def rotate_key(config: Config = _DEFAULT) -> None:
    """Make a new key for this edge. The agent asks the centre for it, and uses it once a person
    there has approved its fingerprint; until then the old one stays."""
    from app.edge import key_rotation
    from app.edge.settings import load

    found = key_rotation.order(load(config).data_dir)
    typer.echo(f"New key made. Its fingerprint, for the manufacturer to compare:\n{found}")
    typer.echo("Follow it with: lockwatch edge status (new_key)")


@edge.command()
def retire(
    config: Config = _DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """End this edge for good: take nothing new, finish and send what is here, then stop."""
    from app.edge import orders
    from app.edge.settings import load

    data = load(config).data_dir
    if not yes:
        typer.confirm("This cannot be taken back. Retire this edge?", abort=True)
    orders.retire(data)
    typer.echo("Retired. A running agent finishes what it has and stops; none starts again.")
