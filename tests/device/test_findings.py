"""Boxes, outlines, canonical places and ventricular volumes against values known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contracts.manifest import Preprocessing
from app.device import ventricle
from app.device.findings import outline, overlap, separate
from app.device.pixels.canonical import resampled
from app.device.pixels.geometry import Grid, working_spacing

GREY = Preprocessing(
    spacing_mm=0.4, rows=96, columns=80, intensity="percentile", parameters={"low": 1, "high": 99}
)
COLOUR = Preprocessing(spacing_mm=1.0, rows=96, columns=96, intensity="colour")


def test_overlap_is_intersection_over_union() -> None:
    one = np.array([0.0, 0.0, 10.0, 10.0])
    others = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    np.testing.assert_allclose(overlap(one, others), [1.0, 1 / 3, 0.0])


def test_the_better_of_two_overlapping_boxes_stays() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [30.0, 30, 40, 40], [50.0, 50, 60, 60]])
    kept = separate(boxes, np.array([0.6, 0.9, 0.5, 0.01]), lowest=0.02)
    assert kept.tolist() == [1, 2]


def test_outline_of_a_square_is_its_border() -> None:
    mask = np.zeros((12, 12), dtype=np.bool_)
    mask[3:8, 4:9] = True
    found = {(int(column), int(row)) for column, row in outline(mask)}
    wanted = {(c, r) for c in range(4, 9) for r in range(3, 8) if c in (4, 8) or r in (3, 7)}
    assert found == wanted


def test_outline_of_nothing_is_empty() -> None:
    assert outline(np.zeros((5, 5), dtype=np.bool_)).shape == (0, 2)


@given(st.integers(20, 300), st.integers(20, 300), st.floats(0.05, 2.0), st.floats(-50, 200))
def test_a_place_comes_back_from_canonical_pixels(
    rows: int, columns: int, spacing: float, at: float
) -> None:
    grid = Grid((rows, columns), (spacing, spacing * 1.1), GREY)
    points = np.array([[at, -at], [0.0, 1.0]])
    np.testing.assert_allclose(grid.stored(grid.canonical(points)), points, atol=1e-6)


def test_a_bright_spot_lies_where_the_grid_says() -> None:
    image = np.zeros((120, 100), dtype=np.float32)
    image[30:33, 70:73] = 1.0
    seen = resampled(image, (0.3, 0.3), GREY.spacing_mm, GREY.rows, GREY.columns)
    row, column = np.unravel_index(seen.argmax(), seen.shape)
    place = Grid((120, 100), (0.3, 0.3), GREY).canonical(np.array([71.0, 31.0]))
    np.testing.assert_allclose(place, [column, row], atol=0.75)


def test_photographs_fit_or_fill_the_canonical_size() -> None:
    fitted = working_spacing((100, 200), None, COLOUR)
    filled = working_spacing(
        (100, 200), None, COLOUR.model_copy(update={"parameters": {"fill": 1.0}})
    )
    assert fitted == pytest.approx((0.48, 0.48))
    assert filled == pytest.approx((0.96, 0.96))
    assert working_spacing((100, 200), None, GREY) is None


def test_area_length_volume_of_an_ellipsoid() -> None:
    """Lang 2015: half an ellipsoid of length L and base radius b has 2/3 pi b^2 L."""
    length, radius = np.array([80.0]), 25.0
    area = np.array([np.pi * radius * 80.0 / 2])
    volume = ventricle.volume_ml(area, length)
    np.testing.assert_allclose(volume, 2 / 3 * np.pi * radius**2 * 80.0 / 1000)


def test_ejection_fraction_of_known_volumes() -> None:
    shares = np.array([1.0, 1.0, 1.0, 0.4, 0.4, 0.4, 1.0])
    found = ventricle.cycle_of(1500 * np.sqrt(shares), np.full(7, 80.0))
    assert found.ejection_fraction == pytest.approx(60.0)
    assert found.systole == 4


def test_no_cavity_has_no_ejection_fraction() -> None:
    assert np.isnan(ventricle.cycle_of(np.zeros(5), np.full(5, 80.0)).ejection_fraction)
