"""The command `lockwatch demo`; mounted by `app/cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Without a dashboard: exit 0 only if all was found as planted."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Other patients, noise, dates and sites.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the summary here as JSON.")
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(help="Where everything is kept; cleared by the next demonstration.")
    ] = Path("demo"),
    days_reference: Annotated[int, typer.Option(min=5, help="Days before surveillance.")] = 60,
    days_monitored: Annotated[int, typer.Option(min=4, help="Days under surveillance.")] = 60,
    port: Annotated[int, typer.Option(help="Of the dashboard; 0 takes a free one.")] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the dashboard in the browser.")
    ] = False,
) -> None:
    """Play a whole deployment on this machine, with drifts planted, and say what was found.

    Exit code 0 when every planted drift was found with its cause, nothing else was signalled
    and every balance closes; 1 otherwise. Without --once it stays up until Ctrl-C.
    """
    from app.lab.demo import DemoOptions, run_demo

    options = DemoOptions(
        seed=seed,
        once=once,
        json_file=json_file,
        data_dir=data_dir,
        days_reference=days_reference,
        days_monitored=days_monitored,
        port=port,
        open_browser=open_browser,
    )
    raise typer.Exit(run_demo(options))
