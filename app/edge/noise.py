"""Noise on what leaves, drawn once, and the ledger of what it promises (docs/decisions 0124).

All of it runs inside the transaction that seals a window and marks its cases as counted: noise
that was drawn for a window that was not remembered has not left either.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.contracts.discrete_gaussian import discrete_gaussian
from app.contracts.noise import DELTA, epsilon_of, mechanism, noised, rho_of
from app.contracts.window import Table
from app.edge.journal import meta, set_meta
from app.edge.sealing import NOISE_THROUGH, Closing
from monitors.schema import Schema

SHOWN_STUDIES = 4  # of one patient, for which a loss is told


@dataclass(frozen=True, slots=True)
class Spent:
    """What the ledger holds: windows with noise, cases in them, and the most that a case lost."""

    windows: int
    cases: int
    rho: float

    @property
    def epsilon(self) -> float:
        """The same loss as an epsilon at `DELTA`."""
        return epsilon_of(self.rho)


def noise_tables(schema: Schema, strata: Table, epsilon: float) -> dict[str, Table]:
    """The case rows with noise, and the table that says how much."""
    scales = mechanism(schema, epsilon).scales
    rows = [noised(schema, row, scales, discrete_gaussian) for row in strata.values]
    values = np.array(rows, dtype=np.int64).reshape(strata.values.shape)
    return {
        "strata": Table(strata.keys, values),
        "noise": Table((("strata",),), scales[None]),
    }


def charge(
    db: sqlite3.Connection, closing: Closing, sequence: int, cases: int, schema: Schema
) -> None:
    """Enter a window into the ledger."""
    if closing.noise_epsilon is not None:
        rho = mechanism(schema, closing.noise_epsilon).rho
        row = (closing.epoch, sequence, cases, rho)
        db.execute("INSERT INTO noise_ledger VALUES (?, ?, ?, ?)", row)


def spent(db: sqlite3.Connection) -> Spent:
    """The ledger in short. A case is in one window, so losses of windows do not add up."""
    windows, cases, rho = db.execute(
        "SELECT count(*), coalesce(sum(cases), 0), coalesce(max(rho), 0) FROM noise_ledger"
    ).fetchone()
    return Spent(int(windows), int(cases), float(rho))


def loss_of(db: sqlite3.Connection, epoch: int, sequence: int) -> Iterator[str]:
    """What the ledger says of a window, if it has noise."""
    found = db.execute(
        "SELECT cases, rho FROM noise_ledger WHERE epoch = ? AND sequence = ?", (epoch, sequence)
    )
    for cases, rho in found:
        yield f"on {cases} cases: epsilon {epsilon_of(rho):.2f} at delta {DELTA:g} of each, once"


def hold_protected(db: sqlite3.Connection, as_of: int, *, is_on: bool) -> None:
    """Hold back for good what may not leave of cases of days that were closed with noise on.

    That is everything but their case row; and that too, once the noise is off again.
    """
    if is_on:
        set_meta(db, NOISE_THROUGH, max(as_of, int(meta(db, NOISE_THROUGH) or 0)))
    through = meta(db, NOISE_THROUGH)
    if through is None:
        return
    streams = ("moments_window", "subgroups_window") + (() if is_on else ("cases_window",))
    for column in streams:
        db.execute(
            f"UPDATE cases SET {column} = 0 WHERE {column} IS NULL AND day < ?",  # noqa: S608
            (int(through),),
        )
    db.execute(
        "UPDATE labels SET window = 0 WHERE window IS NULL AND sentinel < 0"
        " AND key IN (SELECT key FROM cases WHERE day < ?)",
        (int(through),),
    )


def promise(epsilon: float) -> str:
    """What the setting promises, in words for the hospital."""
    rho = rho_of(epsilon)
    studies = ", ".join(
        f"{m} studies {epsilon_of(m * m * rho):.1f}" for m in range(2, SHOWN_STUDIES + 1)
    )
    return (
        f"what was measured on one case: epsilon {epsilon_of(rho):.1f} at delta {DELTA:g}, once "
        f"and for good (rho {rho:.2f}); of a patient with {studies}. That a case was there, when, "
        "at which scanner and how it ended is not hidden. Labels, second moments, sub-groups and "
        "distributions of characteristics do not leave."
    )
