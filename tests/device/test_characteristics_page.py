"""The page of the characteristics names every one that there is, with its unit, and no other."""

from __future__ import annotations

import re

from app.device.measurable import AREAS, image_units
from app.device.pixels.attributes import (
    CATEGORICAL,
    CODES,
    ENUMERATED,
    MODALITIES,
    MOVIES,
    NUMERIC,
    PHOTOGRAPHS,
    RADIOGRAPHS,
    ULTRASOUNDS,
    WORDS,
)
from tests.support.chest_bundle import ROOT

MEASURED = (
    image_units(frozenset(), "percentile")
    | image_units(frozenset(), "colour")
    | dict.fromkeys(AREAS.values(), "1")
)
# The page's short names for kinds of objects.
KINDS = {
    "CR, DX": RADIOGRAPHS,
    "X-ray, CT": RADIOGRAPHS | {"CT"},
    "CT": {"CT"},
    "CT, MR": {"CT", "MR"},
    "MR": {"MR"},
    "US": ULTRASOUNDS,
    "US, XA": MOVIES,
    "OP, VL": PHOTOGRAPHS,
    "OP": {"OP"},
}
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


def test_what_is_read_stands_with_the_objects_that_have_it() -> None:
    for name in (*NUMERIC, *CATEGORICAL):
        of = rows()[name][1]
        assert (MODALITIES.get(name) is None) == (of == "any"), name
        if of != "any":
            assert MODALITIES[name] == KINDS[of], name


def test_the_page_gives_every_value_that_is_enumerated() -> None:
    for name, values in ENUMERATED.items():
        said = rows()[name][2]
        assert said == ("bands of adults" if name == "age_band" else ", ".join(values)), name
