"""What people order a running agent: small files beside its journal, so that they survive it."""

from __future__ import annotations

from pathlib import Path

from app.edge import spool
from app.errors import AppError

PAUSED, RETIRED = "paused", "retired"


class NoEdge(AppError):
    """There is no edge to give an order to."""

    title = "No edge here"
    status = 404


def pause(data: Path, *, off: bool = False) -> None:
    """Order a pause, or its end. Nothing happens if it is ordered already."""
    if off:
        (data / PAUSED).unlink(missing_ok=True)
    else:
        _order(data, PAUSED)


def retire(data: Path) -> None:
    """Order the end."""
    _order(data, RETIRED)


def is_paused(data: Path) -> bool:
    """Whether a pause is ordered."""
    return (data / PAUSED).exists()


def is_retired(data: Path) -> bool:
    """Whether the end is ordered."""
    return (data / RETIRED).exists()


def _order(data: Path, word: str) -> None:
    if not data.is_dir():
        raise NoEdge(f"data_dir: an edge expected in {data.name}, got none")
    spool.replace(data / word, (b"",))
