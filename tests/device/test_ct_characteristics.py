"""CT slices against phantoms whose noise, blur, levels and size are known, in HU and mm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from app.device.pixels.ct import UNITS, ct_characteristics
from monitors.schema import FloatArray

SIZE, SPACING = 256, 1.25
TISSUE, FAT, AIR = 45.0, -105.0, -1000.0
RADIUS_MM, FAT_MM = 110.0, 15.0


def distance(row_mm: float = 0.0, column_mm: float = 0.0, size: int = SIZE) -> FloatArray:
    """From the image's centre, shifted, in mm of a field of view of 320 mm."""
    at = (np.arange(size) - (size - 1) / 2) * SIZE * SPACING / size
    return np.asarray(np.hypot(at[:, None] - row_mm, at - column_mm))


def phantom(
    noise: float = 12.0,
    blur_mm: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    size: int = SIZE,
    smooth_mm: float = 0.0,
    seed: int = 0,
) -> FloatArray:
    """A disc of soft tissue in a ring of fat in air; noise may be made smooth by a kernel."""
    r, pixel = distance(*shift, size=size), SIZE * SPACING / size
    hu = np.where(r < RADIUS_MM, np.where(r < RADIUS_MM - FAT_MM, TISSUE, FAT), AIR)
    fine = np.random.default_rng(seed).normal(size=hu.shape)
    if smooth_mm:
        fine = gaussian_filter(fine, smooth_mm / pixel)
    return np.asarray(gaussian_filter(hu, blur_mm / pixel) + noise * fine / fine.std())


def measured(hu: FloatArray, size: int = SIZE) -> dict[str, float]:
    pixel = SIZE * SPACING / size
    return ct_characteristics(hu.astype(np.float32), (pixel, pixel))


def test_a_phantom_has_every_characteristic() -> None:
    assert set(measured(phantom())) == set(UNITS)


@pytest.mark.parametrize("noise", [3.0, 12.0, 40.0])
def test_noise_of_tissue_and_of_air_is_what_was_added(noise: float) -> None:
    found = measured(phantom(noise))

    assert found["tissue_noise"] == pytest.approx(noise, rel=0.05)
    assert found["air_noise"] == pytest.approx(noise, rel=0.03)


def test_noise_does_not_depend_on_what_else_is_in_the_body() -> None:
    """Vessels, bones and fat make other squares; the commonest are still tissue alone."""
    hu = phantom(12.0)
    rng = np.random.default_rng(1)
    for row, column in rng.integers(90, 166, (12, 2)):
        hu[row : row + 5, column : column + 5] += 250

    assert measured(hu)["tissue_noise"] == pytest.approx(12.0, rel=0.06)


@pytest.mark.parametrize("shift", [-15.0, 0.0, 10.0])
def test_levels_follow_the_calibration(shift: float) -> None:
    found = measured(phantom() + shift)

    assert found["tissue_level"] == pytest.approx(TISSUE + shift, abs=2)
    assert found["fat_level"] == pytest.approx(FAT + shift, abs=4)
    assert found["air_level"] == pytest.approx(AIR + shift, abs=1)


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("blur_mm", [1.0, 1.5, 2.0])
def test_skin_edge_is_the_blur_in_mm_on_any_matrix(blur_mm: float, size: int) -> None:
    hu = phantom(10.0, blur_mm, size=size)

    assert measured(hu, size)["skin_edge"] == pytest.approx(blur_mm, rel=0.1)


def test_white_noise_has_the_texture_one() -> None:
    assert measured(phantom())["noise_texture"] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("smooth_mm", [0.6, 1.0, 2.0])
def test_texture_is_that_of_the_kernel(smooth_mm: float) -> None:
    """Noise smoothed by a Gaussian of s has the correlation exp(-d^2 / 4 s^2) at a distance d."""
    pixel = SIZE * SPACING / 512
    one, two = (1 - np.exp(-((n * pixel / (2 * smooth_mm)) ** 2)) for n in (1, 2))

    found = measured(phantom(12.0, size=512, smooth_mm=smooth_mm), 512)["noise_texture"]

    assert found == pytest.approx(one / two, rel=0.03)


def test_a_sharp_kernel_raises_the_texture() -> None:
    hu = phantom(12.0)
    sharp = hu + (hu - gaussian_filter(hu, 1.0))

    assert measured(sharp)["noise_texture"] > measured(hu)["noise_texture"] * 1.05


def test_water_diameter_is_that_of_the_disc_that_attenuates_as_much() -> None:
    inner = RADIUS_MM - FAT_MM
    water = (1 + TISSUE / 1000) * inner**2 + (1 + FAT / 1000) * (RADIUS_MM**2 - inner**2)

    assert measured(phantom())["water_diameter"] == pytest.approx(2 * np.sqrt(water), rel=0.01)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (20.0, 0.0), (12.0, -16.0)])
def test_off_centre_is_how_far_the_body_was_moved(shift: tuple[float, float]) -> None:
    found = measured(phantom(shift=shift))["off_centre"]

    assert found == pytest.approx(np.hypot(*shift), abs=0.5)


def test_metal_share_is_its_share_of_the_body() -> None:
    hu = phantom()
    hu[distance() < 11.0] = 3071.0

    assert measured(hu)["metal_share"] == pytest.approx((11.0 / RADIUS_MM) ** 2, rel=0.05)


def test_a_body_that_goes_on_beyond_the_image_has_no_size() -> None:
    found = measured(phantom(shift=(0.0, 70.0)))

    assert {"tissue_noise", "tissue_level"} <= set(found)
    assert not {"water_diameter", "off_centre", "skin_edge"} & set(found)


@pytest.mark.parametrize("padding", [-2000.0, -1024.0])
def test_air_that_was_filled_in_is_not_measured(padding: float) -> None:
    """Beyond the reconstruction circle stands a constant: no air, and no body either."""
    hu = phantom()
    hu[distance() > RADIUS_MM + 1] = padding
    found = measured(hu)

    assert not {"air_level", "air_noise"} & set(found)
    assert found["tissue_noise"] == pytest.approx(12.0, rel=0.05)


def test_a_circle_of_air_is_measured_without_what_is_around_it() -> None:
    hu = phantom()
    hu[distance() > 150] = -2000.0

    assert measured(hu)["air_level"] == pytest.approx(AIR, abs=1.5)


@pytest.mark.parametrize("level", [-1000.0, 40.0, 3000.0])
def test_a_constant_slice_costs_no_case(level: float) -> None:
    assert set(measured(np.full((SIZE, SIZE), level))) <= {"metal_share"}


def test_a_table_is_no_part_of_the_body() -> None:
    hu, without = phantom(), measured(phantom())
    hu[230:233, 20:236] = 200.0
    found = measured(hu)

    assert found["water_diameter"] == pytest.approx(without["water_diameter"], rel=1e-6)
    assert found["off_centre"] == pytest.approx(without["off_centre"], abs=1e-6)
