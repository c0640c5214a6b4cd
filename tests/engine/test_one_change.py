"""One change is told once, of every place it came to, and under one name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.lab.simulate import Drift
from monitors.attribution import attribute
from monitors.engine import Plan, SignalResult, evaluate
from monitors.observations import SentinelRows
from monitors.schema import NUMERIC_UNITS
from tests.engine.fleets import ORDINARY, a_history, a_reference, found
from tests.engine.test_attribution import DIRECTION, MIX, RATE, P, a_shift, some_labels, some_reads

END = ORDINARY.reference_end
BROKEN = Drift(kind="lock", day=12, site="H2", size=1.2)
AT_TWO_SITES = (
    Drift(kind="prevalence", day=12, site="H1", size=3.0),
    Drift(kind="prevalence", day=12, site="H3", size=3.0),
)


def with_rescoring(rounds: SentinelRows, day: int, deviation: float) -> SentinelRows:
    """The same rounds, of which H2's first from `day` on found other scores."""
    rows = rounds.rows.copy()
    late = next(
        i for i in np.argsort(rounds.day) if rounds.day[i] >= day and rounds.site[i] == "H2"
    )
    rows[late, 0] = int(deviation * NUMERIC_UNITS)
    return replace(rounds, rows=rows)


def at(signals: tuple[SignalResult, ...], site: str) -> list[SignalResult]:
    return [s for s in signals if site in s.sites and s.kind == "statistical"]


def test_what_a_broken_lock_moves_is_named_the_lock_and_nothing_else() -> None:
    history = a_history(BROKEN)
    rounds = with_rescoring(history.sentinels, END + 13, 0.05)

    signals = evaluate(Plan(), a_reference(BROKEN), replace(history, sentinels=rounds)).signals

    assert at(signals, "H2")
    assert {s.history[-1].causes for s in signals} == {("lock",)}


def test_one_change_at_two_sites_names_both() -> None:
    signals = found(*AT_TWO_SITES).signals

    assert {s.sites for s in signals} == {("H1", "H3")}
    assert {s.history[-1].causes for s in signals} == {("prevalence",)}


def test_what_a_lock_could_explain_waits_for_the_fixed_images() -> None:
    rho = -0.07
    mix = MIX * ((1 - P) / (1 - RATE) * (1 - RATE - rho) + P / RATE * (RATE + rho))
    missed = (a_shift(rho * DIRECTION), some_labels(0.75, mix / mix.sum(), 3000), some_reads())

    before = attribute(*missed, {}, 0.6, ("performance",), rescored=False)
    after = attribute(*missed, {}, 0.6, ("performance",), rescored=True)

    assert (before.causes, before.missing) == (("undetermined",), ("sentinel scores",))
    assert after.causes == ("performance",)
