"""The command line: it composes the parts and decides nothing."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from app.errors import AppError

cli = typer.Typer(
    name="lockwatch",
    help="Post-market drift surveillance for locked medical-imaging AI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _mount() -> None:
    """Add the parts that are installed: an edge-only machine has no `central`, and the reverse."""
    from importlib import import_module

    for module, names in (
        ("app.device.commands", ("bundle", "device")),
        ("app.edge.commands", ("edge",)),
        ("app.central.commands", ("central", "audit")),
        ("app.lab.commands", ("lab",)),
    ):
        try:
            part = import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in {"app", "dashboards", "monitors"}:
                raise
            continue
        for name in names:
            cli.add_typer(getattr(part, name), name=name)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 refused with a message, 2 wrong usage."""
    _mount()
    try:
        cli()
    except AppError as error:
        Console(stderr=True).print(f"{error.title}: {error}", style="bold", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
