"""MR magnitude slices against phantoms whose noise, ghosts and coil field are known."""

from __future__ import annotations

import numpy as np
import pytest

from app.device.pixels.mr import UNITS, mr_characteristics
from monitors.schema import FloatArray

SIZE, SIGNAL = 256, 800.0
AXIS = 2 * np.arange(SIZE) / SIZE - 1
Y, X = AXIS[:, None], AXIS[None, :]
DISC = np.hypot(Y, X) < 0.6


def magnitude(true: FloatArray, noise: float, seed: int = 0) -> FloatArray:
    """What a receiver makes of it: the size of a complex number with noise in both parts."""
    rng = np.random.default_rng(seed)
    real, imaginary = rng.normal(0, noise, (2, SIZE, SIZE))
    return np.asarray(np.hypot(true + real, imaginary))


def disc(noise: float = 20.0, seed: int = 0) -> FloatArray:
    return magnitude(SIGNAL * DISC, noise, seed)


def measured(image: FloatArray) -> dict[str, float]:
    return mr_characteristics(image.astype(np.float32))


def test_a_phantom_has_every_characteristic() -> None:
    assert set(measured(disc())) == set(UNITS)


@pytest.mark.parametrize("noise", [5.0, 20.0, 60.0])
def test_both_ratios_of_signal_to_noise_are_those_of_the_receiver(noise: float) -> None:
    found = measured(disc(noise))

    assert found["air_snr"] == pytest.approx(SIGNAL / noise, rel=0.04)
    assert found["tissue_snr"] == pytest.approx(SIGNAL / noise, rel=0.04)


@pytest.mark.parametrize("scale", [0.01, 40.0])
def test_nothing_depends_on_the_scale_of_the_scanner(scale: float) -> None:
    one, other = measured(disc()), measured(scale * disc())

    for name in UNITS:
        assert other[name] == pytest.approx(one[name], rel=0.01, abs=1e-6), name


@pytest.mark.parametrize("share", [0.0, 0.02, 0.08])
@pytest.mark.parametrize("axis", [0, 1])
def test_ghosting_is_the_share_of_the_signal_that_was_folded(share: float, axis: int) -> None:
    """A ghost moved by half the field of view lies above and below, or left and right."""
    true = SIGNAL * (DISC + share * np.roll(DISC, SIZE // 2, axis=axis))

    found = measured(magnitude(true, 0.5))["ghosting"]

    # Of the two pairs of sides the ghost's disc covers the middle of one, whole.
    assert found == pytest.approx(share, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.6])
def test_bias_field_is_the_deviation_of_the_coil_field(slope: float) -> None:
    field = slope * X + 0.5 * slope * Y * Y

    found = measured(magnitude(SIGNAL * DISC * np.exp(field), 10.0))["bias_field"]

    assert found == pytest.approx(float(field[DISC].std()), rel=0.06, abs=4e-3)


def test_bias_field_is_not_other_tissue() -> None:
    """A lesion twice as bright, on one side, pulls at the fit until it is left out."""
    lesion = np.where(np.hypot(Y, X - 0.35) < 0.15, 2.0, 1.0)

    assert measured(magnitude(SIGNAL * DISC * lesion, 10.0))["bias_field"] < 0.01


def test_foreground_is_its_share() -> None:
    assert measured(disc())["foreground_share"] == pytest.approx(float(DISC.mean()), rel=0.01)


def test_entropy_focus_of_n_equally_bright_pixels() -> None:
    """-sum p ln p with p = 1 / sqrt(n), over that of all N: sqrt(n) ln n / (sqrt(N) ln N)."""
    n, pixels = int(DISC.sum()), SIZE * SIZE

    expected = np.sqrt(n / pixels) * np.log(n) / np.log(pixels)

    assert measured(SIGNAL * DISC)["entropy_focus"] == pytest.approx(expected, rel=1e-4)


def test_motion_raises_entropy_focus() -> None:
    moved = sum(np.roll(disc(5.0), shift, axis=0) for shift in range(-24, 25, 6)) / 9

    assert measured(moved)["entropy_focus"] > measured(disc(5.0))["entropy_focus"] * 1.005


def test_air_that_was_filled_in_is_not_measured() -> None:
    found = measured(np.where(DISC, disc(), 0.0))

    assert not {"air_snr", "ghosting"} & set(found)
    assert found["tissue_snr"] == pytest.approx(SIGNAL / 20, rel=0.04)


def test_stored_values_below_zero_are_lifted() -> None:
    assert measured(disc() - 5000)["air_snr"] == pytest.approx(measured(disc())["air_snr"], rel=0.1)


@pytest.mark.parametrize("image", [np.zeros((SIZE, SIZE)), np.full((SIZE, SIZE), 7.0)])
def test_a_constant_slice_costs_no_case(image: FloatArray) -> None:
    assert measured(image) == {}


def test_noise_alone_is_no_image() -> None:
    assert "ghosting" not in measured(magnitude(np.zeros((SIZE, SIZE)), 20.0))
