"""Small real things that edge tests start from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import Manifest
from app.device.result import CaseResult, Outcome
from app.edge.cases import Finished, arrive, finish, version_of
from app.edge.journal import Journal
from app.edge.measure import STATES, pack
from app.edge.pseudonyms import Stratum
from app.edge.settings import EdgeSettings
from tests.contracts.examples import a_manifest, a_schema

SCANNER: Stratum = ("scanner-1", "ACME", "BX-2", "4.1", "chest_pa")
TODAY = date(2026, 3, 10)


def an_edge(folder: Path, **changes: Any) -> EdgeSettings:
    """Settings of an edge that talks to nobody until told otherwise."""
    fields: dict[str, Any] = {
        "data_dir": folder / "data",
        "bundle": folder / "bundle",
        "trusted_keys": ("ab" * 32,),
        "site_timezone": "Europe/Berlin",
        "ae_title": "EDGE",
        "port": 0,
        "allowed_ae_titles": ("SCANNER", "STORESCU"),
        "central_url": "http://127.0.0.1:9",
        "free_disk_mb": 0,
    }
    return EdgeSettings.model_validate(fields | changes)


def a_device(**changes: Any) -> Manifest:
    """A manifest whose schema lists the scanner above in clear."""
    schema = CharacteristicSchema.of(
        a_schema(),
        manufacturers=("ACME",),
        models=("BX-2",),
        software_versions=(r"4\.\d",),
        protocols=("chest_pa",),
    )
    return a_manifest(schema_=schema, **changes)


def a_result(rng: np.random.Generator, **changes: Any) -> CaseResult:
    """What a chain could say of one case of `a_schema`."""
    score = float(rng.uniform())
    fields: dict[str, Any] = {
        "outcome": Outcome.FLAGGED if score >= 0.5 else Outcome.NOT_FLAGGED,
        "scores": {"classifier": score},
        "numeric": {"noise": float(rng.gamma(4.0, 0.3)), "kvp": float(rng.normal(95, 15))},
        "categorical": {"view": str(rng.choice(["PA", "AP"])), "sex": str(rng.choice(["F", "M"]))},
        "embedding": tuple(rng.normal(size=2).tolist()),
    }
    return CaseResult(**(fields | changes))


def put_cases(
    journal: Journal,
    days: Sequence[date],
    *,
    stratum: Stratum = SCANNER,
    seed: int = 0,
    first: int = 0,
    manifest: Manifest | None = None,
    **changes: Any,
) -> list[bytes]:
    """Journal one finished case for each day; their keys."""
    rng = np.random.default_rng(seed)
    made = [
        (f"{seed}/{i}/{stratum}".encode(), day, a_result(rng, **changes))
        for i, day in enumerate(days, start=first)
    ]
    put_results(journal, made, stratum=stratum, manifest=manifest)
    return [key for key, _, _ in made]


def put_results(
    journal: Journal,
    results: Sequence[tuple[bytes, date, CaseResult]],
    *,
    stratum: Stratum = SCANNER,
    manifest: Manifest | None = None,
) -> None:
    """Journal finished cases: key, day and what the chain said of each."""
    device = manifest or a_device()
    schema = device.schema_.layout()
    version = journal.do(lambda db: version_of(db, device))
    journal.do(lambda db: db.execute(_CURRENT, (device.lock_digest,)))
    made = []
    for key, day, result in results:
        done = Finished(
            state=STATES[result.outcome],
            reason=result.reason,
            version=version,
            stratum=stratum,
            day=day.toordinal(),
            measures=pack(schema, result),
            seconds=0.4,
        )
        made.append((key, done))
    journal.do(lambda db: _put(db, made))


def _put(db: sqlite3.Connection, made: list[tuple[bytes, Finished]]) -> None:
    for key, done in made:
        arrive(db, key, b"content", done.day)
        finish(db, key, done)


_CURRENT = "INSERT OR REPLACE INTO meta VALUES ('lock_digest', ?)"


def at(day: date, hour: int = 12) -> datetime:
    """An instant of that day."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
