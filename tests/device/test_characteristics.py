"""Image-derived characteristics against phantoms whose noise, blur, contrast and texture are known.

Where there is a closed form, it is the expected value; the tolerance is that of the estimate.
"""

from __future__ import annotations

import numpy as np
import pytest

from app.device.pixels.canonical import Image
from app.device.pixels.characteristics import measure
from app.device.pixels.modality import colour_characteristics, ultrasound_characteristics

SIZE = 256
HIGHEST = 4000.0


def collimated(image: Image) -> Image:
    """The image with a dark edge, beside which everything is in the field."""
    framed = image.copy()
    framed[0] = 0.0
    return framed


def measured(unit: Image, spacing_mm: float = 1.0) -> dict[str, float]:
    """Characteristics of an image given on a scale from 0 to 1."""
    found = measure((unit * HIGHEST).astype(np.float32), 0.0, HIGHEST, spacing_mm)
    assert not found.is_constant
    return found.values


def ramp(low: float = 0.2, high: float = 0.8) -> Image:
    return np.tile(np.linspace(low, high, SIZE), (SIZE, 1))


def waves(per_pixel: float, amplitude: float = 0.3) -> Image:
    return np.tile(0.5 + amplitude * np.sin(2 * np.pi * per_pixel * np.arange(SIZE)), (SIZE, 1))


# Radiographs


@pytest.mark.parametrize("sigma", [0.002, 0.01, 0.05])
def test_noise_is_the_standard_deviation_that_was_added(sigma: float) -> None:
    rng = np.random.default_rng(0)

    noisy = ramp() + rng.normal(0, sigma, (SIZE, SIZE))

    assert measured(noisy)["noise"] == pytest.approx(sigma, rel=0.03)


def test_noise_does_not_see_structure() -> None:
    """Immerkaer's operator takes out whatever is locally a plane."""
    assert measured(ramp())["noise"] < 1e-6
    assert measured(waves(0.01))["noise"] < 2e-4


def test_noise_of_a_fine_detector_is_that_of_its_millimetres() -> None:
    """Four pixels of 0.5 mm are averaged: half the standard deviation."""
    rng = np.random.default_rng(0)
    noisy = 0.5 + rng.normal(0, 0.02, (2 * SIZE, 2 * SIZE))

    assert measured(noisy, spacing_mm=0.5)["noise"] == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("per_pixel", [0.01, 0.05, 0.1, 0.15])
def test_sharpness_of_waves_is_the_ratio_of_their_differences(per_pixel: float) -> None:
    """Differences over 1 and 3 pixels of a wave of frequency f go as sin(pi f) and sin(3 pi f)."""
    f = np.pi * per_pixel

    expected = 3 * np.sin(f) / np.sin(3 * f)

    assert measured(waves(per_pixel))["sharpness"] == pytest.approx(expected, rel=0.04)


def test_blur_lowers_sharpness_and_edge_step_by_step() -> None:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(1)
    texture = 0.5 + 0.3 * rng.choice([-1.0, 1.0], (SIZE, SIZE))
    blurred = [measured(gaussian_filter(texture, sigma)) for sigma in (0.5, 1.0, 2.0, 4.0)]

    for name in ("sharpness", "edge", "noise"):
        values = [found[name] for found in blurred]
        assert values == sorted(values, reverse=True), name
        assert len(set(values)) == len(values)


def test_edge_is_the_steepest_gradient() -> None:
    per_pixel, amplitude = 0.05, 0.3

    steepest = 2 * amplitude * np.sin(np.pi * per_pixel)

    assert measured(waves(per_pixel, amplitude))["edge"] == pytest.approx(steepest, rel=0.02)


@pytest.mark.parametrize("height", [0.05, 0.3, 0.6])
def test_contrast_is_the_height_of_a_step(height: float) -> None:
    step = np.full((SIZE, SIZE), 0.2)
    step[:, SIZE // 2 :] += height

    assert measured(collimated(step))["contrast"] == pytest.approx(height, abs=1e-6)


@pytest.mark.parametrize("rows", [0, 32, 128])
def test_clipped_is_the_share_of_the_field_at_the_ends(rows: int) -> None:
    image = ramp()
    image[SIZE - rows :] = 1.0

    assert measured(collimated(image))["clipped"] == pytest.approx(rows / (SIZE - 1))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_field_fill_is_the_share_inside_the_collimator(share: float) -> None:
    image = ramp()
    image[:, int(share * SIZE) :] = 0.0
    found = measured(image)

    assert found["field_fill"] == pytest.approx(share)
    assert found["mean_level"] == pytest.approx(float(image[:, : int(share * SIZE)].mean()))


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_entropy_of_equally_frequent_levels_is_their_bits(bits: int) -> None:
    levels = (np.arange(2**bits) + 0.5) / 2**bits
    image = np.tile(levels, (SIZE, SIZE // 2**bits))

    assert measured(collimated(image))["entropy"] == pytest.approx(bits, abs=1e-9)


def test_a_gain_of_the_whole_chain_moves_what_it_must_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    image = ramp(0.2, 0.4) + rng.normal(0, 0.005, (SIZE, SIZE))
    one, two = measured(image), measured(2 * image)

    for name in ("noise", "edge", "contrast", "mean_level"):
        assert two[name] == pytest.approx(2 * one[name], rel=0.02), name
    assert two["sharpness"] == pytest.approx(one["sharpness"], rel=0.02)
    assert two["field_fill"] == pytest.approx(one["field_fill"], rel=0.02)


# Ultrasound


@pytest.mark.parametrize("looks", [1, 4, 9])
def test_speckle_has_the_ratio_of_rayleigh_statistics(looks: int) -> None:
    """sqrt(pi / (4 - pi)) = 1.91 for fully developed speckle, times the root of averaged looks
    (Burckhardt 1978, IEEE Trans Sonics Ultrason 25(1))."""
    rng = np.random.default_rng(3)
    speckle = rng.rayleigh(0.2, (looks, 512, 512)).mean(axis=0)

    found = ultrasound_characteristics(speckle.astype(np.float32))["speckle_snr"]

    assert found == pytest.approx(np.sqrt(np.pi / (4 - np.pi)) * np.sqrt(looks), rel=0.03)


@pytest.mark.parametrize("slope", [-0.4, 0.0, 0.3])
def test_depth_slope_is_the_change_from_top_to_bottom(slope: float) -> None:
    depth = np.linspace(0, 1, 512)[:, None]
    image = np.broadcast_to(0.5 + slope * (depth - 0.5), (512, 512)).astype(np.float32)

    found = ultrasound_characteristics(image)["depth_slope"]

    assert found == pytest.approx(slope, abs=0.01)


# Photographs


def test_colour_balance_is_that_of_the_light() -> None:
    rng = np.random.default_rng(4)
    grey = rng.uniform(0.2, 0.5, (128, 128, 1)).astype(np.float32)
    found = colour_characteristics(grey * np.array([1.6, 1.0, 0.5], dtype=np.float32))

    assert found["red_ratio"] == pytest.approx(1.6, rel=1e-4)
    assert found["blue_ratio"] == pytest.approx(0.5, rel=1e-4)
    assert found["saturation"] == pytest.approx(1 - 0.5 / 1.6, rel=1e-4)


def test_uniformity_is_the_darkest_over_the_brightest_quarter() -> None:
    image = np.full((128, 128, 3), 0.8, dtype=np.float32)
    image[64:, 64:] = 0.2

    assert colour_characteristics(image)["uniformity"] == pytest.approx(0.25, rel=1e-4)
