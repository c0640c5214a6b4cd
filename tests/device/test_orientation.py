"""A radiograph that was stored another way round is read the same, and marked where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from app.contracts.manifest import Preprocessing
from app.device.pixels.geometry import Grid
from app.device.pixels.orientation import Turn, turn
from app.device.study import examine
from tests.device.test_pixels import an_image

TO = Preprocessing(
    spacing_mm=2.0, rows=48, columns=48, intensity="percentile", parameters={"low": 1, "high": 99}
)
UPRIGHT = np.add.outer(np.arange(60) * 9, np.arange(50) * 5).astype(np.uint16) + 700
UPRIGHT[10:16, 30:40] = 3000  # something that lies up and to the patient's left
# As each way round stores what is upright: patient's left to the right, feet down.
STORED = {
    "L\\F": UPRIGHT,
    "R\\F": UPRIGHT[:, ::-1],
    "L\\H": UPRIGHT[::-1],
    "R\\H": UPRIGHT[::-1, ::-1],
    "F\\L": UPRIGHT.T,
    "F\\R": UPRIGHT[:, ::-1].T,
    "H\\L": UPRIGHT[::-1].T,
    "H\\R": UPRIGHT[::-1, ::-1].T,
}
ALL = st.builds(Turn, st.booleans(), st.booleans(), st.booleans())


def a_radiograph(orientation: str, modality: str = "DX") -> Dataset:
    pixels = np.ascontiguousarray(STORED.get(orientation, UPRIGHT))
    spacing = [2.1, 1.9] if orientation[:1] in "LR" else [1.9, 2.1]
    image = an_image(pixels, Modality=modality, PixelSpacing=spacing)
    if orientation:
        image.PatientOrientation = orientation.split("\\")
    return image


@pytest.mark.parametrize("orientation", STORED)
def test_every_way_round_comes_out_upright(orientation: str) -> None:
    wanted, found = examine(a_radiograph("L\\F"), TO), examine(a_radiograph(orientation), TO)

    assert np.array_equal(found.pixels, wanted.pixels)
    assert found.numeric == wanted.numeric


@pytest.mark.parametrize("orientation", STORED)
def test_a_mark_comes_back_to_where_it_was_stored(orientation: str) -> None:
    grid = examine(a_radiograph(orientation), TO).grid
    place = grid.canonical(np.argwhere(STORED[orientation] == 3000).mean(axis=0)[::-1])
    upright = examine(a_radiograph("L\\F"), TO).grid.canonical(np.array([34.5, 12.5]))

    np.testing.assert_allclose(place, upright, atol=1e-9)
    np.testing.assert_allclose(
        grid.stored(place), np.argwhere(STORED[orientation] == 3000).mean(axis=0)[::-1]
    )


@pytest.mark.parametrize(
    "orientation", ["", "A\\F", "P\\F", "L", "L\\F\\A", "X\\Y", "L\\R", "FR\\A"]
)
def test_what_does_not_say_left_and_feet_is_taken_as_stored(orientation: str) -> None:
    assert turn(a_radiograph(orientation)) == Turn()


def test_compound_directions_count_by_their_first_letter() -> None:
    assert turn(a_radiograph("RF\\FL")) == Turn(mirrored=True)


def test_only_radiographs_are_turned() -> None:
    """An ultrasound probe has no left; what its header says is about the patient, not the fan."""
    assert turn(a_radiograph("R\\F", "US")) == Turn()


@given(ALL, st.integers(20, 90), st.integers(20, 90), st.floats(-20, 120), st.floats(-20, 120))
def test_a_place_survives_any_turn(
    turned: Turn, rows: int, columns: int, x: float, y: float
) -> None:
    grid = Grid((rows, columns), (0.7, 1.3), TO, turned)
    point = np.array([[x, y]])

    np.testing.assert_allclose(grid.stored(grid.canonical(point)), point, atol=1e-9)
