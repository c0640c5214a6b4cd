"""Labels beyond the shift of prevalence, from readers who err."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from monitors.errors import NotAssessable
from monitors.prevalence import Estimate
from monitors.readers import beyond_shift, read_shift
from monitors.schema import FloatArray

RATIO = np.array([-3.0, -1.5, 0.0, 1.5, 3.0])
N = np.full(5, 4000)


def reads(prevalence: float, *, false: float, youden: float) -> tuple[FloatArray, FloatArray]:
    """Expected counts, so that estimates must come out exactly."""
    return N, N * (false + youden * expit(RATIO + logit(prevalence)))


def test_readers_errors_and_the_shift_are_found() -> None:
    before = reads(0.12, false=0.05, youden=0.88)
    since = reads(0.25, false=0.05, youden=0.88)

    found = read_shift(before, since, RATIO, 0.12)

    assert found.false_calls == pytest.approx(0.05, abs=1e-6)
    assert found.youden == pytest.approx(0.88, abs=1e-6)
    assert found.shift == pytest.approx(logit(0.25) - logit(0.12), abs=1e-6)


def test_erring_readers_are_no_change_of_reading_but_another_convention_is() -> None:
    before = reads(0.12, false=0.05, youden=0.88)
    now = Estimate(*(np.array(x) for x in (0.25, 0.01, 0.23, 0.27)))

    same = beyond_shift(before, reads(0.25, false=0.05, youden=0.88), RATIO, 0.12, now)
    stricter = beyond_shift(before, reads(0.25, false=0.15, youden=0.83), RATIO, 0.12, now)

    assert float(same.value) == pytest.approx(0, abs=1e-6)
    assert float(stricter.p_value) < 0.001
    assert float(stricter.value) > 0


def test_the_error_is_that_of_repeated_reading() -> None:
    rng = np.random.default_rng(3)
    n, pairs = np.full(5, 150), []
    for _ in range(400):
        before, since = (
            (n, rng.binomial(n, reads(pi, false=0.05, youden=0.88)[1] / N)) for pi in (0.12, 0.25)
        )
        found = read_shift(before, since, RATIO, 0.12)
        pairs.append((found.shift, found.shift_error))
    shift, error = np.array(pairs).T

    assert shift.mean() == pytest.approx(logit(0.25) - logit(0.12), abs=0.06)
    assert np.median(error) == pytest.approx(shift.std(), rel=0.12)  # 400 runs: 4 % each


def test_labels_that_do_not_follow_the_scores_tell_nothing() -> None:
    flat = (N, np.full(5, 1200.0))

    with pytest.raises(NotAssessable, match="do not follow the scores"):
        read_shift(flat, flat, RATIO, 0.12)
