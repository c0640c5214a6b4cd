from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "methods").glob("*.md"))
UNDESCRIBED = {"__init__.py", "errors.py"}


def test_every_module_of_the_statistics_is_on_a_page_of_methods() -> None:
    named = {
        name
        for page in PAGES
        for line in page.read_text().split("\n\n")
        if line.startswith("Module")
        for name in line.replace("monitors/", "").split("`")[1::2]
    }

    modules = {path.name for path in (ROOT / "monitors").glob("*.py")} - UNDESCRIBED

    assert named == modules


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.parametrize(
    "heading",
    [
        "**What it assumes.**",
        "**What it cannot see.**",
        "**Its price",
        "**Its delay.**",
        "**Sources.**",
    ],
)
def test_a_page_says_what_its_monitor_assumes_misses_and_costs(page: Path, heading: str) -> None:
    assert heading in page.read_text()
