"""What an edge says of itself to people on its own machine: `status.json`, written whole."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from app import clock
from app.contracts.noise import DELTA
from app.edge import journal
from app.edge.cases import balance, counted, reasons
from app.edge.destinations import DESTINATIONS
from app.edge.journal import meta
from app.edge.labels import joined
from app.edge.noise import spent

AT_MOST: Final = timedelta(minutes=10)  # between rounds; proving a large bundle takes minutes


def figures(db: sqlite3.Connection) -> dict[str, Any]:
    """The part of the status that the journal knows."""
    known = balance(db)
    states = dict(db.execute("SELECT state, count(*) FROM windows GROUP BY state"))
    outcomes = dict(
        db.execute("SELECT outcome, count(*) FROM windows WHERE outcome <> '' GROUP BY outcome")
    )
    matched, unmatched = joined(db)
    return {
        "balance": known,
        "reasons": _nested(reasons(db)),
        "windows": {
            "produced": known["windows_produced"],
            "acknowledged": states.get("acknowledged", 0),
            "unsent": states.get("unsent", 0),
            "dead": states.get("dead", 0),
            "outcomes": outcomes,
        },
        "labels": {
            "joined": matched,
            "unmatched": unmatched,
            "held_back": known["labels_held_back"],
            "refused": _refused_labels(db),
        },
        "results": {name: _delivery(db, name) for name in DESTINATIONS},
        "closed_through": meta(db, "closed_through"),
        **_noise(db),
    }


def write(path: Path, status: Mapping[str, Any]) -> None:
    """Put `status` in place in one step, so that no reader sees half of it.

    Not synced: after a crash the journal knows better, and a new one is due within a second.
    """
    half = path.with_name(f".half-{path.name}.{os.getpid()}")
    half.write_text(json.dumps(status, indent=1, sort_keys=True))
    half.replace(path)


def _noise(db: sqlite3.Connection) -> dict[str, Any]:
    """The ledger in short, where there ever was noise."""
    found = spent(db)
    if not found.windows:
        return {}
    loss = {"epsilon": round(found.epsilon, 2), "delta": DELTA, "rho": round(found.rho, 4)}
    return {"noise": {"windows": found.windows, "cases": found.cases, "most_of_a_case": loss}}


def trouble(data: Path) -> str:
    """Why the agent of this folder is not at work, in words; "" if it is."""
    if not journal.is_taken(data):
        return "no agent runs on this data_dir"
    with suppress(FileNotFoundError):
        known = json.loads((data / "status.json").read_text())
        if known["data_dir"] != "writable":
            return "data_dir cannot be written"
        if known["as_of"] and clock.now() - datetime.fromisoformat(known["as_of"]) > AT_MOST:
            return f"the last round was at {known['as_of']}"
    return ""


def _nested(found: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (kind, reason), n in sorted(found.items()):
        nested.setdefault(kind, {})[reason] = n
    return nested


def _refused_labels(db: sqlite3.Connection) -> dict[str, int]:
    welcome = {"taken", "corrected", "withdrawn", "repeated"}
    return {
        reason: n
        for (kind, reason), n in counted(db).items()
        if kind in ("label", "label_file") and reason not in welcome
    }


def _delivery(db: sqlite3.Connection, destination: str) -> dict[str, int]:
    return dict(
        db.execute(
            "SELECT state, count(*) FROM deliveries WHERE destination = ? GROUP BY state",
            (destination,),
        )
    )
