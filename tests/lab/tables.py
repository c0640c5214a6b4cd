"""Simulated fleets written as the case tables a data scientist would have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from app.lab.simulate import EMBEDDING, NUMERIC, Fleet, simulate_cases

COLUMNS = f"""
[columns]
window_date = "acquired"
arrival_date = "uploaded"
site = "hospital"
scanner = "scanner"
scanner_model = "model"
software_version = "sw"
score = "score"
label = "y"
label_date = "read_on"
label_source = "source"
reader = "reader"
sentinel_id = "sentinel"
acquisition = {list(NUMERIC)}
embedding = {[f"e{i}" for i in range(EMBEDDING)]}
[label_sources]
random_audit = ["audit"]
sentinel = ["sentinel"]
[operating_point]
threshold = 0.15
""".replace("'", '"')


def a_table(fleet: Fleet, seed: int) -> pd.DataFrame:
    """The cases and the sentinel reads of a fleet, one row each."""
    table, reads, _ = simulate_cases(fleet, seed)
    strata = [table.strata[i] for i in table.stratum]
    labelled = table.label >= 0
    frame = pd.DataFrame(
        {
            "acquired": _dates(table.day),
            "uploaded": _dates(table.arrival),
            "hospital": [s.site for s in strata],
            "scanner": [s.scanner for s in strata],
            "model": [s.model for s in strata],
            "sw": [s.software_version for s in strata],
            "score": table.cases.scores[:, 0],
            "y": np.where(labelled, table.label, np.nan),
            "read_on": np.where(labelled, _dates(table.label_day), None),
            "source": np.where(labelled, "audit", None),
            "reader": np.array(table.readers)[table.reader],
        }
        | {name: table.cases.numeric[:, i] for i, name in enumerate(NUMERIC)}
        | {f"e{i}": table.cases.embedding[:, i] for i in range(EMBEDDING)}
    )
    sentinels = pd.DataFrame(
        {
            "acquired": _dates(reads.day),
            "uploaded": _dates(reads.day),
            "hospital": np.array(reads.sites)[reads.site],
            "y": reads.label,
            "read_on": _dates(reads.day),
            "source": "sentinel",
            "reader": np.array(reads.readers)[reads.reader],
            "sentinel": [f"image-{i}" for i in reads.image],
        }
    )
    return pd.concat([frame, sentinels], ignore_index=True)


def write(folder: Path, fleet: Fleet, seed: int, name: str = "cases.csv") -> tuple[Path, Path]:
    """The table and its columns map in `folder`."""
    path, columns = folder / name, folder / "columns.toml"
    frame = a_table(fleet, seed)
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    columns.write_text(COLUMNS)
    return path, columns


def _dates(days: np.ndarray) -> np.ndarray:
    epoch = pd.Timestamp("1970-01-01")
    return np.asarray(
        [(epoch + pd.Timedelta(days=int(d) - epoch.toordinal())).date().isoformat() for d in days],
        dtype=object,
    )
