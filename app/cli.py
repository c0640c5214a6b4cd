"""The command line: it composes the parts and decides nothing."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from app.errors import AppError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.central.example.loading import Example
    from app.central.renderers import Renderers
    from app.central.settings import CentralSettings

cli = typer.Typer(
    name="lockwatch",
    help="Post-market drift surveillance for locked medical-imaging AI.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


PARTS = (
    ("app.device.commands", ("bundle", "device")),
    ("app.edge.commands", ("edge",)),
    ("app.central.commands", ("central", "audit")),
    ("app.lab.commands", ("lab",)),
)
OURS = {"app", "dashboards", "monitors", "migrations"}


def _mount() -> None:
    """Add the parts that are installed: an edge-only machine has no `central`, and the reverse."""
    for module, names in PARTS:
        part = _part(module)
        for name in names if part is not None else ():
            cli.add_typer(getattr(part, name), name=name)
    demo = _part("app.lab.demo_command")
    if demo is not None:
        cli.command()(demo.demo)
    _compose()


def _part(module: str) -> ModuleType | None:
    """The module, or None when something that it needs is not installed here."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OURS:
            raise
        return None


def _compose() -> None:
    """Give the service its words and pages; the arrow between them stays one-way."""
    central: Any = _part("app.central.commands")
    if central is None:
        return

    def install_pages(app: FastAPI) -> None:
        from dashboards.web import install

        install(app)

    def renderers(settings: CentralSettings) -> Renderers:
        from dashboards.render import renderers as made

        return made(settings)

    def example_play() -> Example:
        from app.lab.example import example

        return example()

    central.install_pages = install_pages
    central.renderers = renderers
    central.example_play = example_play
    central.central.add_typer(import_module("app.central.example.commands").example, name="example")


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
