"""Causes from constructed evidence: what names a cause, and what must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from monitors.attribution import (
    INTERCEPTS,
    LOOSE,
    READ_GAIN,
    Labels,
    Reads,
    Verdict,
    attribute,
)
from monitors.moved import Moved

A, G = 4, 5  # acquisition entries, then score and embedding
DIRECTION = np.concatenate([np.zeros(A), [1.6, 1.2, -0.8, 0.6, 0.4]])
ERROR = 0.003  # variance of a mean shift: some 400 cases and the day effect
P = np.array([[0.04, 0.08, 0.2, 0.45, 0.8, 0.95]])
MIX = np.array([[0.4, 0.22, 0.16, 0.1, 0.07, 0.05]])
RATE = float((P * MIX).sum())


def a_shift(x: np.ndarray) -> Moved:
    d = A + G
    return Moved(
        x=x,
        covariance=ERROR * np.eye(d),
        within=np.eye(d),
        acquisition=np.arange(A),
        direction=DIRECTION,
        direction_variance=0.005,
        direction_from_labels=False,
    )


def some_labels(own: float = 0.0, mix: np.ndarray = MIX, size: int = 400) -> Labels:
    n = np.rint(size * mix)
    return Labels(
        labelled=n.astype(np.int64),
        positive=np.rint(n * expit(logit(P) + own)).astype(np.int64),
        probability=P,
        mix=mix,
        before=MIX,
        error=np.array([0.1]),
        rate=np.array([RATE]),
    )


def some_reads(odds: float = 0.0) -> Reads:
    gain = 12.0  # net positive reads per unit of log odds
    expected = gain * READ_GAIN[:, None] * INTERCEPTS
    return Reads(shift=gain * odds, variance=10.0, expected=expected)


def prevalence_shift(odds: float) -> tuple[Moved, Labels]:
    rho = float(expit(logit(RATE) + odds) - RATE)
    mix = MIX * ((1 - P) / (1 - RATE) * (1 - RATE - rho) + P / RATE * (RATE + rho))
    return a_shift(rho * DIRECTION), some_labels(odds, mix / mix.sum())


def judged(moved: Moved | None, labels: Labels | None, reads: Reads | None) -> Verdict:
    return attribute(moved, labels, reads, {}, 0.8)


def test_moved_acquisition_is_the_scanner() -> None:
    x = np.zeros(A + G)
    x[1] = 0.8

    assert judged(a_shift(x), some_labels(), some_reads()).causes == ("scanner",)


def test_a_cause_that_every_likely_set_holds_is_named_whatever_is_beside_it() -> None:
    x = np.zeros(A + G)
    x[1] = 0.8

    verdict = judged(a_shift(x), some_labels(0.45, size=120), some_reads(0.8))

    sets = verdict.candidates
    assert max(sets.values()) < 0.8
    assert {"scanner", "scanner+annotation"} <= set(sets)
    assert verdict.causes == ("scanner",)
    assert verdict.probability == pytest.approx(
        sum(p for name, p in sets.items() if "scanner" in name.split("+")), abs=0.03
    )
    assert verdict.probability <= 1


def test_a_loose_hypothesis_needs_more_to_be_named_but_keeps_a_name() -> None:
    rho = -0.07
    mix = MIX * ((1 - P) / (1 - RATE) * (1 - RATE - rho) + P / RATE * (RATE + rho))
    missed = (a_shift(rho * DIRECTION), some_labels(0.75, mix / mix.sum(), 3000), some_reads())

    verdict = attribute(*missed, {}, 0.6)

    assert 0.6 < verdict.candidates["performance"] < LOOSE[("performance",)]
    assert verdict.causes == ("undetermined",)
    assert attribute(*missed, {}, 0.6, ("performance",)).causes == ("performance",)


def test_moved_acquisition_is_the_scanner_without_any_label() -> None:
    x = np.zeros(A + G)
    x[:A] = [0.6, -0.5, 0.4, 0.3]
    x[A:] = 0.2

    assert judged(a_shift(x), None, None).causes == ("scanner",)


def test_a_scanner_that_changed_a_lot_may_take_the_embedding_along() -> None:
    """Shifts of a retuned image processing, the embedding's across a label shift's."""
    x = np.array([0.9, 0.9, 2.4, 3.4, 1.2, -1.6, 0.0, 0.0, 0.0])

    assert judged(a_shift(x), some_labels(), some_reads()).causes == ("scanner",)


def test_scores_and_labels_that_follow_one_number_are_prevalence() -> None:
    moved, labels = prevalence_shift(1.0)

    verdict = judged(moved, labels, some_reads())

    assert verdict.causes == ("prevalence",)
    assert verdict.missing == ()


def test_the_same_scores_without_labels_are_undetermined() -> None:
    moved, _ = prevalence_shift(1.0)

    verdict = judged(moved, None, some_reads())

    assert verdict.causes == ("undetermined",)
    assert {"prevalence", "performance"} <= set(verdict.candidates)
    assert verdict.missing == ("labels",)


def test_fewer_high_scores_with_an_unmoved_rate_are_not_prevalence() -> None:
    rho = -0.07
    mix = MIX * ((1 - P) / (1 - RATE) * (1 - RATE - rho) + P / RATE * (RATE + rho))
    mix = mix / mix.sum()
    # Missed positives: fewer cases in high bins, and more positives left in the low ones.
    labels = some_labels(0.45, mix)

    verdict = judged(a_shift(rho * DIRECTION), labels, some_reads())

    assert verdict.causes != ("prevalence",)
    assert verdict.candidates["performance"] > verdict.candidates.get("prevalence", 0.0)


def test_moved_labels_and_re_reads_are_annotation() -> None:
    verdict = judged(a_shift(np.zeros(A + G)), some_labels(0.9), some_reads(0.9))

    assert verdict.causes == ("annotation",)


def test_moved_labels_without_re_reads_are_undetermined() -> None:
    verdict = judged(a_shift(np.zeros(A + G)), some_labels(0.9), None)

    assert verdict.causes == ("undetermined",)
    assert verdict.missing == ("sentinel reads",)


def test_moved_labels_with_unmoved_re_reads_are_not_named_annotation() -> None:
    verdict = judged(
        a_shift(np.zeros(A + G)), some_labels(0.9), replace(some_reads(), variance=4.0)
    )

    assert verdict.causes != ("annotation",)


def test_two_causes_at_once_are_both_named() -> None:
    x = np.zeros(A + G)
    x[0] = 0.9

    verdict = judged(a_shift(x), some_labels(1.0), some_reads(1.0))

    assert verdict.causes == ("scanner", "annotation")


def test_a_registered_event_speaks_for_the_scanner() -> None:
    x = np.zeros(A + G)
    x[1] = 0.22
    without = attribute(a_shift(x), None, None, {}, 0.8).candidates["scanner"]

    with_event = attribute(a_shift(x), None, None, {"scanner": np.log(10)}, 0.8)

    assert with_event.candidates["scanner"] > without


def test_no_evidence_names_nothing() -> None:
    assert judged(a_shift(np.zeros(A + G)), some_labels(), some_reads()).causes == ("undetermined",)
    assert judged(None, None, None).causes == ("undetermined",)


def test_candidates_are_probabilities() -> None:
    moved, labels = prevalence_shift(0.5)

    verdict = judged(moved, labels, some_reads())

    assert sum(verdict.candidates.values()) <= 1 + 1e-9
    assert all(0 <= p <= 1 for p in verdict.candidates.values())


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_the_unit_of_a_characteristic_does_not_matter(unit: float) -> None:
    """Shifts reach attribution in standard deviations; a re-expressed basis changes nothing."""
    moved, labels = prevalence_shift(1.0)
    scale = np.ones(A + G)
    scale[A:] = unit
    outer = np.outer(scale, scale)
    again = replace(
        moved,
        x=moved.x * scale,
        covariance=moved.covariance * outer,
        within=moved.within * outer,
        direction=DIRECTION * scale,
    )

    one, other = judged(moved, labels, some_reads()), judged(again, labels, some_reads())

    assert one.causes == other.causes
    assert one.candidates["prevalence"] == pytest.approx(other.candidates["prevalence"], abs=1e-6)
