"""What the laboratory's commands share: options, dates, and refusals that say what to change."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.errors import AppError

ColumnsOption = Annotated[Path, typer.Option("--columns", help="The columns map, TOML.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where the JSON goes.")]
PlanOption = Annotated[
    Path | None, typer.Option("--plan", help="A plan, JSON; default: the plan of the house.")
]


class NotPossible(AppError):
    """What was asked for cannot be done with what was given."""


@contextmanager
def refusals() -> Iterator[None]:
    """A statistic that refuses its input is a refusal of the command."""
    from monitors.errors import MonitorError

    try:
        yield
    except MonitorError as error:
        raise NotPossible(str(error)) from error


def as_date(text: str) -> datetime.date:
    """A date from the command line."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise NotPossible(f"a date like 2026-03-31 expected, got {text!r}") from error
