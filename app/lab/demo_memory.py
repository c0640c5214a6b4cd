"""How much memory the demonstration and everything it started use together.

Proportional set size (proc(5), smaps_rollup): a page shared by several processes is counted
once, in parts, which the sum of resident sizes would not do for forked workers and for the
shared buffers of PostgreSQL.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def family(root: int) -> set[int]:
    """The process `root` and all its living descendants."""
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    members = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in members} - members
        if not more:
            return members
        members |= more


def megabytes(root: int | None = None) -> float:
    """Proportional set size of `root` (default: this process) and its descendants, in MB."""
    return sum(_pss_kb(pid) for pid in family(root or os.getpid())) / 1024


def _pids() -> list[int]:
    return [int(p.name) for p in _PROC.iterdir() if p.name.isdigit()] if _PROC.exists() else []


def _parent(pid: int) -> int | None:
    try:
        # The command name in brackets may hold spaces and brackets of its own.
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # it has ended since


def _pss_kb(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
