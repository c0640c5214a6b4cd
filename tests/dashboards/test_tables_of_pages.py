"""Every table of a page as CSV: what the page shows, to whom it shows it."""

from __future__ import annotations

import csv
import html
import io
import re

import pytest
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.surveillance.service import SignalView
from dashboards.charts.spec import Cell, HeatMap, State
from dashboards.pages.taking import shown, written
from dashboards.pages.views import Grid
from tests.dashboards.conftest import MOVED_SITE, Scene, scene
from tests.dashboards.page_examples import PAGES
from tests.dashboards.pages_examples import draft_a_report, paths
from tests.dashboards.test_one_sites_part import FOREIGN, MINE, fleet, wide
from tests.support.fleet import World

__all__ = ["fleet", "scene", "wide"]
LINK = re.compile(r'<li><a href="(\?[^"]*csv=\d+)" download>([^<]*)</a></li>')
pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")


def tables_of(browser: TestClient, path: str) -> dict[str, list[list[str]]]:
    """Every table of a page by its name, as the links of the page give it."""
    page = browser.get(path)
    found = {}
    for href, name in LINK.findall(page.text):
        answer = browser.get(path.partition("?")[0] + html.unescape(href))
        assert answer.status_code == 200, (path, href)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        rows = list(csv.reader(io.StringIO(answer.text, newline="")))
        assert len({len(row) for row in rows}) == 1, (path, name)
        found[html.unescape(name)] = rows
    return found


def test_every_page_with_figures_offers_each_of_them(scene: Scene) -> None:
    draft_a_report(scene)
    without = {"enrolment", "account", "password", "report", "letter-draft", "note"}
    for name, path in paths(scene).items():
        found = tables_of(scene.client, path)
        assert found or name in without | {"reports", "recalibrations"}, name


@pytest.mark.parametrize(
    ("path", "table", "column", "cell"),
    [
        ("/signals?show=all", "Signals", "Signal", "S-0001"),
        ("/sites", "Sites", "Site", MOVED_SITE),
        ("/", "Signals by site and what is watched", "", ""),
        ("/signals/S-0001", "How far each characteristic moved", "Unit", "reference SD"),
        (
            "/balance",
            "Windows by edge: produced = stored + quarantined + still on the edge",
            "Closes",
            "yes",
        ),
    ],
)
def test_what_is_written_is_what_the_page_shows(
    scene: Scene, path: str, table: str, column: str, cell: str
) -> None:
    head, *rows = tables_of(scene.client, path)[table]

    assert rows
    if column:
        assert cell in {row[head.index(column)] for row in rows}


def test_the_choices_of_the_address_hold_for_the_table(scene: Scene) -> None:
    path = f"/devices/{scene.world.lock_digest}/performance?first=2026-03-02&last=2026-03-10"
    page = scene.client.get(path).text

    hrefs = [html.unescape(href) for href, _ in LINK.findall(page)]

    assert hrefs
    assert all(h.startswith("?first=2026-03-02&last=2026-03-10&csv=") for h in hrefs)


@pytest.mark.parametrize("wrong", ["99", "x", "-1", "1000", "²"])
def test_a_table_that_is_not_there_is_refused(scene: Scene, wrong: str) -> None:
    assert scene.client.get(f"/sites?csv={wrong}").status_code == 404


def test_a_table_needs_the_permission_of_its_page(scene: Scene) -> None:
    stranger = TestClient(scene.world.app, raise_server_exceptions=False)

    assert stranger.get("/signals?csv=1", follow_redirects=False).status_code == 303
    assert scene.browser(Role.VIEWER).get("/audit?csv=1").status_code == 403


def test_no_table_of_somebody_bound_to_a_site_names_another(fleet: World, wide: SignalView) -> None:
    person = fleet.browser("bound tables", Role.QUALITY_APPROVER, MINE)
    device = f"/devices/{fleet.lock_digest}"
    pages = ["/", "/signals?show=all", f"/signals/{wide.id}", "/sites", f"/sites/{MINE}"]
    pages += [f"/sites/{MINE}/scanners", "/balance", "/recalibrations", device]
    pages += [f"{device}/{topic}" for topic in ("performance", "timeline", "lock", "references")]
    read = 0
    for path in pages:
        for name, rows in tables_of(person, path).items():
            text = "\n".join(",".join(row) for row in rows)
            assert FOREIGN.search(f"{name}\n{text}") is None, (path, name)
            read += 1

    assert read > 15


def test_a_cell_cannot_become_a_formula_and_numbers_stay_numbers() -> None:
    rows = (("=cmd()", "-0.76"), ("@x", "+12 %"), ("-a", "1 618"), ("+1+cmd()", "–"))

    text = written(Grid("T", ("=name", "Value"), rows))

    assert list(csv.reader(io.StringIO(text))) == [
        ["'=name", "Value"],
        ["'=cmd()", "-0.76"],
        ["'@x", "+12 %"],
        ["'-a", "1 618"],
        ["'+1+cmd()", "–"],
    ]


def test_every_table_of_every_example_is_found() -> None:
    _, view = PAGES["subject"]

    names = [getattr(one, "caption", "") or getattr(one, "title", "") for one in shown(view)]

    assert "Signals" in names
    assert len(names) == 1 + 3 + 1  # signals, charts, and the one grid that holds rows


def test_a_figure_is_written_as_its_table_of_values() -> None:
    cell = Cell(State.SIGNAL, "H1, lock, signal")
    chart = HeatMap(title="T", caption="c", rows=("Lock",), columns=("H1",), cells=((cell,),))

    assert "signal" in written(chart)
