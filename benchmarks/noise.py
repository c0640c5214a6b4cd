"""What noise at the edge costs: days until a planted drift is signalled, by epsilon and volume.

    python -m benchmarks.noise --volume 60 400 --epsilon 20 8 4 2 --runs 10 --minimum-n 20

Simulated fleets of two sites with two scanners each; every edge adds noise, in the reference
period too. Prints one row a volume and drift; docs/operations/noise.md has such a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from app.contracts.disclosure import Limits
from app.contracts.noise import rho_of
from app.lab.fitting import Names, fit_schema
from app.lab.simulate import (
    NUMERIC,
    THRESHOLD,
    UNITS,
    Drift,
    Fleet,
    simulate_cases,
    simulate_cohort,
)
from app.lab.windows import to_history
from monitors.engine import Plan, build_reference, evaluate
from monitors.observations import History
from monitors.summaries import Cases
from tests.support.noisy import with_noise

DRIFTS = {
    "scanner, 1 SD": Drift(kind="scanner", day=10, site="H1", scanner="S1", size=1.0),
    "prevalence, odds x 2.5": Drift(kind="prevalence", day=10, site="H1", size=2.5),
}
WATCHED_DAYS = 110
SEED = 5000


def main() -> None:
    asked = _asked()
    print("| cases a day and site | drift | no noise |", end="")
    print("".join(f" epsilon {e:g} (rho {rho_of(e):.2f}) |" for e in asked.epsilon))
    for volume in asked.volume:
        for name, drift in DRIFTS.items():
            cells = [_cell(r) for r in _delays(asked, volume, drift)]
            print(f"| {volume:g} | {name} | " + " | ".join(cells) + " |", flush=True)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--volume", type=float, nargs="+", default=[60.0, 400.0])
    parser.add_argument("--epsilon", type=float, nargs="+", default=[20.0, 8.0, 4.0, 2.0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--minimum-n", type=int, default=20)
    return parser.parse_args()


def _delays(asked: argparse.Namespace, volume: float, drift: Drift) -> list[list[float]]:
    """Days to the signal by epsilon, without noise first; infinite where there was none."""
    found: list[list[float]] = [[] for _ in (None, *asked.epsilon)]
    for run in range(asked.runs):
        fleet = Fleet(
            sites=2,
            volume=volume,
            reference_days=90,
            monitored_days=WATCHED_DAYS,
            drifts=(drift,),
        )
        for i, days in enumerate(_one(fleet, drift, SEED + run, asked)):
            found[i].append(days)
    return found


def _one(fleet: Fleet, drift: Drift, seed: int, asked: argparse.Namespace) -> Iterator[float]:
    plain = _windows(fleet, seed, Limits(minimum_n=asked.minimum_n))
    cohort = simulate_cohort(fleet, plain.schema, seed)
    for epsilon in (None, *asked.epsilon):
        history = plain if epsilon is None else with_noise(plain, epsilon, seed)
        reference = build_reference(Plan(), history, fleet.reference_end, cohort)
        begun = fleet.reference_end + drift.day
        days = [
            s.day - begun
            for s in evaluate(Plan(), reference, history).signals
            if s.kind == "statistical" and drift.site in s.sites and s.day >= begun
        ]
        yield min(days, default=np.inf)


def _windows(fleet: Fleet, seed: int, limits: Limits) -> History:
    """As `simulate`, under the hospital's own limits."""
    table, reads, events = simulate_cases(fleet, seed)
    inside = table.day < fleet.reference_end
    c = table.cases
    reference = Cases(
        c.numeric[inside],
        c.categorical[inside],
        c.scores[inside],
        c.embedding[inside],
        c.outcome[inside],
    )
    schema = fit_schema(Names(NUMERIC, UNITS), reference, (THRESHOLD,), fleet.sentinels)
    return to_history(schema, table, reads, events, limits)


def _cell(days: list[float]) -> str:
    seen = sum(np.isfinite(days))
    middle = float(np.median(days))
    words = f"{middle:.0f} d" if np.isfinite(middle) else "-"
    return words if seen == len(days) else f"{words} ({seen} of {len(days)})"


if __name__ == "__main__":
    main()
