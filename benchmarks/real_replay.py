"""Real tables replayed as fleets: patients, scores and readers are real, the calendar is ours.

    python -m benchmarks.real_replay ../shared/data/real/tabular --seeds 0:6

Rows are drawn with replacement into sites and days; a change draws from another part of the table
(other hospital, other class mix, other readers) from its date on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from app.contracts.case_table import ColumnsMap
from app.lab.backtest import as_run, walk_forward
from app.lab.case_tables import table_history
from monitors.engine import Plan
from monitors.errors import NotAssessable

START = pd.Timestamp("2025-01-06")
REFERENCE, MONITORED, CHANGE = 90, 120, 25
SITES = ("H1", "H2", "H3")
CHANGED = "H1"


def endoscopy(folder: Path) -> pd.DataFrame:
    name = "endoscopy_logits_hyperkvasir_therapeutic-interventions_test.csv.gz"
    f = pd.read_csv(folder / name)
    margin = (f["logit_1"] - f["logit_0"]) / 3
    return pd.DataFrame({"score": 1 / (1 + np.exp(-margin)), "y": (f["target"] > 0) * 1.0})


def operations(folder: Path) -> pd.DataFrame:
    """Frames of operations: several of one operation fall on one day."""
    f = pd.read_csv(folder / "endoscopy_logits_lapgyn4_anatomical_actions_test.csv.gz")
    logits = f[[c for c in f if c.startswith("logit_")]].to_numpy() / 2
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    case = f["sample_id"].str.extract(r"c_(\d+)_v")[0].fillna("0")
    return pd.DataFrame(
        {"score": p[:, 1], "y": (f["target"] == 1) * 1.0, "cluster": case}
        | {f"e{i}": logits[:, i] for i in range(logits.shape[1])}
    )


def heart(folder: Path, hospital: str) -> pd.DataFrame:
    f = pd.read_csv(folder / f"heart_uci_{hospital}.csv")
    columns = ["trestbps", "chol", "thalach", "oldpeak", "ca"]
    risk = (
        0.9 * (f["cp"] == 4)
        + 0.7 * f["exang"].fillna(0)
        + 0.5 * f["oldpeak"].fillna(0)
        - 0.02 * (f["thalach"].fillna(150) - 150)
        - 1.0
    )
    return pd.DataFrame(
        {"score": 1 / (1 + np.exp(-risk)), "y": f["disease"].astype(float)}
        | {c: f[c] for c in columns}
    )


def chest_metadata(folder: Path) -> pd.DataFrame:
    f = pd.read_csv(folder / "nih_cxr14_metadata.csv.gz")
    f = f[f["Patient Age"] < 100]
    rng = np.random.default_rng(5)
    ill = (f["Finding Labels"] != "No Finding").to_numpy()
    seen = 1.5 * ill + rng.normal(size=len(f)) + 0.3 * (f["View Position"] == "AP")
    return pd.DataFrame(
        {
            "score": 1 / (1 + np.exp(-1.5 * (seen - 1.2))),
            "y": ill * 1.0,
            "cluster": f["Patient ID"].astype(str),
            "width": f["orig_w"],
            "height": f["orig_h"],
            "spacing": f["px_x"],
            "age": f["Patient Age"],
            "ap": (f["View Position"] == "AP") * 1.0,
        }
    )


def readers(folder: Path, finding: str = "Cardiomegaly") -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a study with its score; and every reader's label of it."""
    scores = pd.read_csv(folder / "chexpert500_10models_scores.csv")
    mean = scores.groupby("Study")[finding].mean()
    read = pd.read_csv(folder / "chexpert500_8readers.csv")
    table = read.pivot_table(index="Study", columns="reader", values=finding).loc[mean.index]
    return pd.DataFrame({"score": mean.to_numpy()}), table.reset_index(drop=True)


def draw(rng, pool: pd.DataFrame, days: np.ndarray, volume: float) -> pd.DataFrame:
    """Rows of `pool` for each of `days`; whole clusters where it has them."""
    parts = []
    groups = list(pool.groupby("cluster").indices.values()) if "cluster" in pool else None
    for day in days:
        if groups is None:
            rows = rng.integers(0, len(pool), rng.poisson(volume))
        else:
            rows = np.zeros(0, dtype=int)
            wanted = rng.poisson(volume)
            while rows.size < wanted:
                rows = np.concatenate([rows, groups[rng.integers(len(groups))][:8]])
        parts.append(pool.iloc[rows].assign(day=day))
    return pd.concat(parts, ignore_index=True)


def fleet(rng, before: pd.DataFrame, after: pd.DataFrame, volume: float) -> pd.DataFrame:
    """All sites draw from `before`; `CHANGED` from `after` once the change has come."""
    days, first = np.arange(REFERENCE + MONITORED), REFERENCE + CHANGE
    parts = []
    for site in SITES:
        if site == CHANGED:
            parts += [
                draw(rng, before, days[:first], volume).assign(site=site),
                draw(rng, after, days[first:], volume).assign(site=site),
            ]
        else:
            parts.append(draw(rng, before, days, volume).assign(site=site))
    return pd.concat(parts, ignore_index=True)


def odds_changed(pool: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """`pool` resampled so that the odds of a positive are `ratio` times as high."""
    y = pool["y"].to_numpy() > 0
    copies = np.where(y, round(ratio * 4), 4)
    return pool.loc[pool.index.repeat(copies)].reset_index(drop=True)


def with_labels(rng, table: pd.DataFrame, audit: float) -> pd.DataFrame:
    """A share of the rows keeps its label, read one to three weeks later."""
    audited = rng.random(len(table)) < audit
    read = table["day"] + 1 + rng.integers(3, 18, len(table))
    audited &= read < REFERENCE + MONITORED
    return table.assign(
        y=table["y"].where(audited), read_on=(START + pd.to_timedelta(read, "D")).where(audited)
    )


def reader_fleet(rng, folder: Path, liberal: bool, audit: float) -> pd.DataFrame:
    """Chest studies read by random readers; from the change on one site by its most liberal."""
    studies, read = readers(folder)
    rate = read.mean().sort_values()
    usual, most = list(rate.index[2:6]), list(rate.index[-2:])
    studies = studies.assign(study=np.arange(len(studies)))
    sentinel = rng.choice(len(studies), 60, replace=False)
    table = fleet(rng, studies, studies, 40.0)
    late = table["day"] + 5
    changed = (table["site"] == CHANGED) & (late >= REFERENCE + CHANGE) & liberal
    who = np.where(changed, rng.choice(most, len(table)), rng.choice(usual, len(table)))
    at = read.columns.get_indexer(who)
    table = table.assign(y=read.to_numpy()[table["study"], at])
    table = with_labels(rng, table, audit).assign(sentinel="")
    rows = []
    for day in range(4, REFERENCE + MONITORED, 21):
        for site in SITES:
            moved = liberal and site == CHANGED and day >= REFERENCE + CHANGE
            for name in rng.choice(most if moved else usual, 2, replace=False):
                rows.append(
                    pd.DataFrame(
                        {
                            "day": day,
                            "site": site,
                            "score": np.nan,
                            "y": read[name].to_numpy()[sentinel],
                            "read_on": START + pd.Timedelta(days=day),
                            "sentinel": [f"s{i}" for i in sentinel],
                        }
                    )
                )
    return pd.concat([table, *rows], ignore_index=True)


def replays(folder: Path, seed: int) -> list[tuple[str, set[str], pd.DataFrame, list[str]]]:
    """Name, acceptable causes ("" for in control), table and acquisition columns."""
    rng = np.random.default_rng([seed, 77])
    scope, lap = endoscopy(folder), operations(folder)
    cleveland, hungarian = heart(folder, "cleveland"), heart(folder, "hungarian")
    chest = chest_metadata(folder)
    ap = chest[chest["ap"] == 1]
    wide = chest[chest["width"] < chest["width"].median()]
    heart_columns = ["trestbps", "chol", "thalach", "oldpeak", "ca"]
    chest_columns = ["width", "height", "spacing", "age"]
    audit = 0.09 if seed % 2 else 0.2
    made = [
        ("endoscopy", set(), fleet(rng, scope, scope, 40), []),
        (
            "endoscopy odds x2.5",
            {"prevalence", "population"},
            fleet(rng, scope, odds_changed(scope, 2.5), 40),
            [],
        ),
        ("operations", set(), fleet(rng, lap, lap, 60), []),
        (
            "operations odds x2.5",
            {"prevalence", "population"},
            fleet(rng, lap, odds_changed(lap, 2.5), 60),
            [],
        ),
        ("heart", set(), fleet(rng, cleveland, cleveland, 40), heart_columns),
        (
            "heart odds x2.5",
            {"prevalence", "population"},
            fleet(rng, cleveland, odds_changed(cleveland, 2.5), 40),
            heart_columns,
        ),
        (
            "heart other hospital",
            {"scanner", "prevalence", "population"},
            fleet(rng, cleveland, hungarian, 40),
            heart_columns,
        ),
        ("chest", set(), fleet(rng, chest, chest, 50), chest_columns),
        (
            "chest bedside",
            {"scanner", "prevalence", "population"},
            fleet(rng, chest, ap, 50),
            chest_columns,
        ),
        ("chest detector", {"scanner", "prevalence"}, fleet(rng, chest, wide, 50), chest_columns),
    ]
    found = [(n, c, with_labels(rng, t, audit), a) for n, c, t, a in made]
    found += [
        ("readers", set(), reader_fleet(rng, folder, False, audit), []),
        ("readers liberal", {"annotation"}, reader_fleet(rng, folder, True, audit), []),
    ]
    return found


def walk(table: pd.DataFrame, acquisition: list[str]) -> list[dict]:
    """The signals of one replay."""
    table = table.assign(acquired=START + pd.to_timedelta(table["day"], "D"))
    roles = {
        "window_date": "acquired",
        "site": "site",
        "score": "score",
        "label": "y",
        "label_date": "read_on",
        "acquisition": acquisition,
        "embedding": [c for c in table if c[0] == "e" and c[1:].isdigit()],
    }
    if "sentinel" in table:
        roles["sentinel_id"] = "sentinel"
    columns = ColumnsMap.model_validate({"columns": roles, "operating_point": {"threshold": 0.5}})
    end = (START + pd.Timedelta(days=REFERENCE - 1)).toordinal()
    history, _ = table_history(table, columns, end)
    run = as_run("replay", walk_forward(Plan(), history, end + 1))
    return [s.model_dump(mode="json") for s in run.signals]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="0:4")
    options = parser.parse_args()
    ends: dict[str, Counter[str]] = {}
    changed_on = (START + pd.Timedelta(days=REFERENCE + CHANGE)).date()
    for seed in range(*(int(x) for x in options.seeds.split(":"))):
        for name, causes, table, acquisition in replays(options.folder, seed):
            count = ends.setdefault(name, Counter())
            try:
                signals = walk(table, acquisition)
            except NotAssessable as error:
                count[f"not assessable: {error}"] += 1
                continue
            for s in signals:
                named = set(s["history"][-1]["causes"])
                day = datetime.date.fromisoformat(s["date"])
                hit = causes and day >= changed_on and CHANGED in s["sites"]
                end = (
                    "false"
                    if not hit
                    else "undetermined"
                    if "undetermined" in named
                    else "right"
                    if named <= causes
                    else "wrong"
                )
                count[end] += 1
                if end != "right":
                    sys.stderr.write(
                        f"{seed} {name}: {end} {s['date']} {s['stream']} "
                        f"{s['sites']} {s['history'][-1]}\n"
                    )
            if causes and not any(CHANGED in s["sites"] for s in signals):
                count["missed"] += 1
            count["tables"] += 1
    sys.stdout.write(json.dumps(ends, indent=1) + "\n")


if __name__ == "__main__":
    main()
