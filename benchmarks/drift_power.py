"""False signals, power, delay and named causes through `lockwatch lab backtest`'s own path.

    python -m benchmarks.drift_power --suite control --seeds 1000:1100

Seeds below 5000 are for development, from 5000 for verification.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from app.contracts.case_table import read_columns_map
from app.lab.backtest import Job, run_job
from benchmarks.case_worlds import case_table
from benchmarks.drift_scenarios import Scenario, columns_map, in_control, planted
from monitors.engine import Plan


def one(suite: str, seed: int) -> dict:
    """Write one table, walk through it, and say what became of what was planted."""
    scenario = in_control(seed) if suite == "control" else planted(suite, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extension = "parquet" if seed % 2 else "csv"
        table = case_table(scenario.world, seed)
        path, columns = folder / f"cases.{extension}", folder / "columns.toml"
        table.to_parquet(path) if seed % 2 else table.to_csv(path, index=False)
        columns.write_text(columns_map(scenario))
        end = datetime.date.fromisoformat(scenario.world.reference_end)
        run = run_job(Job("run", path, end), read_columns_map(columns), Plan())
    return score(scenario, seed, run.model_dump(mode="json"))


def score(scenario: Scenario, seed: int, run: dict) -> dict:
    """One line of result."""
    world = scenario.world
    changes = [
        (world.date_of(c).date(), set(c.sites) or set(world.layout), c) for c in world.changes
    ]
    found, false = [], []
    for signal in run["signals"]:
        day = datetime.date.fromisoformat(signal["date"])
        hit = [c for c in changes if day >= c[0] and set(signal["sites"]) & c[1]]
        (found if hit else false).append(signal)
    line = {
        "scenario": scenario.name,
        "seed": seed,
        "years": world.monitored / 365.25,
        "false": [_brief(s) for s in false],
        "signals": [_brief(s) for s in found],
    }
    if not changes:
        return line
    first, sites = min(c[0] for c in changes), set.union(*(c[1] for c in changes))
    line["years"] = (first - datetime.date.fromisoformat(world.reference_end)).days / 365.25
    if not found:
        return line | {"found": False, "end": "missed"}
    lead = min(found, key=lambda s: s["date"])
    named = set().union(*(set(s["history"][-1]["causes"]) for s in found)) - {"undetermined"}
    line["found"] = True
    line["delay"] = (datetime.date.fromisoformat(lead["date"]) - first).days
    truth = scenario.causes
    wrong = named - truth - ({"population"} if "prevalence" in truth else set())
    line["end"] = (
        "wrong"
        if wrong
        else "undetermined"
        if not named
        else "right"
        if len(named) >= len(truth)
        else "partial"
    )
    seen = set().union(*(set(s["sites"]) for s in found))
    line["jaccard"] = len(seen & sites) / len(seen | sites)
    if lead["change_date"] and len(changes) == 1 and not changes[0][2].ramp:
        line["date_error"] = abs((datetime.date.fromisoformat(lead["change_date"]) - first).days)
        low, high = lead["change_interval"]
        line["covered"] = low <= first.isoformat() <= high
    return line


def _brief(s: dict) -> str:
    last = s["history"][-1]
    top = sorted(last["candidates"].items(), key=lambda x: -x[1])[:3]
    return (
        f"{s['date']} {s['stream']} {'/'.join(s['sites'])} -> {'+'.join(last['causes'])} "
        f"{last['probability']:.2f} since {s['change_date']} "
        + ",".join(f"{k}={v:.2f}" for k, v in top)
    )


def report(lines: list[dict]) -> dict:
    """The bars' figures."""
    years, false = sum(x["years"] for x in lines), sum(len(x["false"]) for x in lines)
    out = {
        "runs": len(lines),
        "fleet_years": round(years, 1),
        "false": false,
        "false_upper95": round(chi2.ppf(0.975, 2 * (false + 1)) / 2 / max(years, 1e-9), 3),
    }
    planted_lines = [x for x in lines if "end" in x]
    if planted_lines:
        out["found"] = sum(x["found"] for x in planted_lines)
        out["ends"] = dict(Counter(x["end"] for x in planted_lines))
        out["jaccard"] = round(
            float(np.mean([x["jaccard"] for x in planted_lines if "jaccard" in x])), 3
        )
        errors = [x["date_error"] for x in planted_lines if "date_error" in x]
        if errors:
            covered = sum(x["covered"] for x in planted_lines if "covered" in x)
            out["date_error_median"], out["covered"] = (
                float(np.median(errors)),
                f"{covered}/{len(errors)}",
            )
        by: dict[str, list] = {}
        for x in planted_lines:
            by.setdefault(x["scenario"].split("/")[0], []).append(x)
        out["by"] = {
            k: {
                "n": len(v),
                "found": sum(x["found"] for x in v),
                "delay": float(np.median([x["delay"] if x["found"] else 999 for x in v])),
                **Counter(x["end"] for x in v),
            }
            for k, v in sorted(by.items())
        }
    else:
        out["by"] = dict(Counter(x["scenario"] for x in lines if x["false"]))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="medium")
    parser.add_argument("--seeds", default="0:20", help="first:last, last not included")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seeds = range(*(int(x) for x in options.seeds.split(":")))
    if options.workers > 1:
        with ProcessPoolExecutor(options.workers) as pool:
            lines = list(pool.map(one, [options.suite] * len(seeds), seeds))
    else:
        lines = [one(options.suite, seed) for seed in seeds]
    if options.out:
        options.out.write_text("\n".join(json.dumps(x) for x in lines) + "\n")
    sys.stdout.write(json.dumps(report(lines), indent=1) + "\n")


if __name__ == "__main__":
    main()
