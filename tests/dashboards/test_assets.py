"""Static files: vendored unchanged, named by their digest, and none of Plotly's ways out."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboards import assets
from dashboards.charts import palette

VENDORED = "Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"


@pytest.fixture(name="client")
def _client() -> TestClient:
    app = FastAPI()
    app.include_router(assets.router)
    return TestClient(app)


def test_htmx_is_the_file_that_its_maker_published() -> None:
    digest = hashlib.sha384(assets.FILES["htmx.min.js"].read_bytes()).digest()

    assert base64.b64encode(digest).decode() == VENDORED
    assert VENDORED in (assets.FOLDER / "vendor" / "README.md").read_text()
    assert "Zero-Clause BSD" in (assets.FOLDER / "vendor" / "htmx.LICENSE").read_text()


@pytest.mark.parametrize("name", assets.FILES)
def test_a_file_is_served_under_its_digest_and_kept_for_a_year(
    client: TestClient, name: str
) -> None:
    answer = client.get(assets.url(name))

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == assets.KEPT
    assert answer.content == assets.FILES[name].read_bytes()
    assert answer.headers["content-type"].startswith(("text/css", "text/javascript"))


@pytest.mark.parametrize(
    "path", ["/static/0000000000000000/app.css", "/static/x/..%2Fpages", "/static/x/nothing.js"]
)
def test_no_other_file_and_no_other_version_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_plotly_cannot_hand_a_figure_to_anybody() -> None:
    script = assets.FILES["charts.js"].read_text()

    assert "showSendToCloud: false" in script
    assert 'plotlyServerURL: ""' in script
    assert "displayModeBar: false" in script
    assert script.count("newPlot(") == 1
    assert "newPlot(plot, drawing.data, drawing.layout, CONFIG)" in script


def test_the_style_sheet_uses_the_palettes_own_text_colours() -> None:
    sheet = assets.FILES["app.css"].read_text()

    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", sheet))
    assert colours["ink"].upper() == palette.INK
    assert colours["muted"].upper() == palette.MUTED
    assert colours["signal"].upper() == palette.SIGNAL_TEXT
    assert palette.contrast(colours["link"]) >= 4.5
