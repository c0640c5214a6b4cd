"""The page of the characteristics names every one that there is, with its unit, and no other."""

from __future__ import annotations

import re

from app.device.pixels import ct, mr
from app.device.pixels.attributes import CATEGORICAL, CODES, NUMERIC, WORDS
from app.device.pixels.characteristics import UNITS
from app.device.pixels.modality import COLOUR_UNITS, ULTRASOUND_UNITS
from tests.support.chest_bundle import ROOT

MEASURED = {**UNITS, **ct.UNITS, **mr.UNITS, **ULTRASOUND_UNITS, **COLOUR_UNITS}
PAGE = (ROOT / "docs" / "characteristics.md").read_text()


def rows() -> dict[str, list[str]]:
    """The other cells of every row, by the characteristic's name."""
    found = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    names = [name for name, _ in found]
    assert len(set(names)) == len(names)
    return {name: cells.split(" | ") for name, cells in found}


def test_the_page_has_every_characteristic_and_no_other() -> None:
    assert set(rows()) == {*MEASURED, *NUMERIC, *CATEGORICAL}


def test_what_is_measured_has_its_unit() -> None:
    for name, unit in MEASURED.items():
        of, said, missing, phantom = rows()[name]
        assert said.startswith(f"{unit}, "), name
        assert all((of, missing, phantom)), name


def test_what_is_read_has_its_attribute_and_unit() -> None:
    for name, (attribute, unit) in NUMERIC.items():
        assert rows()[name][0] == attribute, name
        assert rows()[name][2] == unit, name
    for name, attribute in {**WORDS, **CODES}.items():
        assert rows()[name][0].split(",")[0] == attribute, name
