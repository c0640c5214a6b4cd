"""Evidently's drift report over the same counts as ours, for people who know it.

Its verdicts are labelled for what they do not control: false signals.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape
from itertools import pairwise

from app.central.surveillance.evidence import Comparison
from app.errors import AppError
from dashboards.wording import EVIDENTLY_NOTE

LONGEST_SECONDS = 180


@dataclass(frozen=True, slots=True)
class BinnedColumn:
    """Counts of one characteristic over the same bins. `edges` (len(bins) + 1,) or none."""

    name: str
    bins: tuple[str, ...]
    edges: tuple[float, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]

    @property
    def is_comparable(self) -> bool:
        """Whether both sides hold cases."""
        return sum(self.reference) > 0 and sum(self.current) > 0


def binned(compared: Comparison) -> BinnedColumn:
    """One compared characteristic as a column."""
    return BinnedColumn(
        compared.name,
        compared.levels or tuple(f"{a:.4g} to {b:.4g}" for a, b in pairwise(compared.edges)),
        compared.edges,
        compared.reference,
        compared.current,
    )


class EvidentlyFailed(AppError):
    """Evidently gave no report."""

    status = 503
    title = "No report by Evidently"


def evidently_html(columns: Iterable[BinnedColumn]) -> bytes:
    """One self-contained HTML file of several megabytes; takes seconds, in a process of its own."""
    usable = [asdict(column) for column in columns if column.is_comparable]
    if not usable:
        raise EvidentlyFailed("Evidently: at least one characteristic with cases expected, got 0")
    answer = subprocess.run(
        [sys.executable, "-m", "dashboards.reports.evidently_child"],
        input=json.dumps({"columns": usable, "note": escape(EVIDENTLY_NOTE)}).encode(),
        capture_output=True,
        env={"DO_NOT_TRACK": "1", "PYTHONPATH": ":".join(p for p in sys.path if p)},
        timeout=LONGEST_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        last = answer.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise EvidentlyFailed(f"Evidently ended with {answer.returncode}: {''.join(last)}")
    return answer.stdout
