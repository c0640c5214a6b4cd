"""Tables to take away, pages of lists, and the client that a notebook uses."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Iterator
from datetime import date

import pandas as pd
import pytest
import uvicorn
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.exports.formats import as_csv, as_parquet
from app.central.exports.tables import Table
from app.central.surveillance.service import raise_event
from app.lab.client import Client, Refused
from tests.conftest import Clock
from tests.contracts.examples import some_cases
from tests.support.fleet import PASSWORD, World
from tests.support.ports import a_free_port


def events(world: World, count: int, site: str = "H01") -> None:
    with world.sessions.begin() as session:
        for i in range(count):
            raise_event(
                session,
                world.lock_digest,
                source=f"{site}:{i}",
                event="silence",
                cause="data_quality",
                site=site,
                announce=lambda *_: None,
                now=clock.now(),
            )


def export(browser: TestClient, world: World, file: str, **asked: str) -> list[dict[str, str]]:
    path = f"/api/v1/device-versions/{world.lock_digest}/tables/{file}"
    answer = browser.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_counts_are_those_of_the_windows(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 1)))
    browser = world.browser("ann", Role.VIEWER)
    cases = some_cases()

    [row] = export(browser, world, "counts.csv", since="2026-03-01", until="2026-03-02")
    [window] = export(browser, world, "windows.csv")

    assert (row["site"], row["start"], row["scanner"]) == ("H01", "2026-03-01", "scanner-1")
    assert int(row["analysed"]) == int(window["cases"]) > 0
    outcomes = ("analysed", "abstained", "quality_rejected", "outside_limits", "failed")
    assert sum(int(row[o]) for o in outcomes) == len(cases)
    assert export(browser, world, "counts.csv", since="2026-03-02") == []


def test_an_export_keeps_to_the_site_of_the_person(world: World) -> None:
    for site in ("H01", "H02"):
        edge = world.an_edge(site)
        edge.send(edge.window())
        events(world, 1, site)
    browser = world.browser("ann", Role.SITE_ADMIN, "H01")

    for name in ("windows", "counts", "signals"):
        [row] = export(browser, world, f"{name}.csv")
        assert "H02" not in row.values()


@pytest.mark.parametrize("name", ["windows", "counts", "signals", "effects", "traces"])
def test_an_empty_table_has_its_columns_in_both_formats(world: World, name: str) -> None:
    browser = world.browser("ann", Role.VIEWER)
    path = f"/api/v1/device-versions/{world.lock_digest}/tables/{name}"

    heading = browser.get(f"{path}.csv").text.strip().split(",")
    frame = pd.read_parquet(io.BytesIO(browser.get(f"{path}.parquet").content))

    assert list(frame.columns) == heading
    assert len(frame) == 0


def test_parquet_keeps_types_that_text_would_lose() -> None:
    table = Table(
        {"who": "text", "n": "whole", "x": "real", "on": "day", "at": "instant"},
        [("a", 1 << 60, 0.1 + 0.2, date(2026, 3, 1), None), (None, -1, None, None, None)],
    )

    frame = pd.read_parquet(io.BytesIO(as_parquet(table)))

    assert frame["n"].tolist() == [1 << 60, -1]
    assert frame["x"][0] == 0.1 + 0.2
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", '=HYPERLINK("a")'])
def test_a10_a_text_that_a_spreadsheet_would_calculate_is_inert(text: str) -> None:
    written = as_csv(Table({"name": "text", "x": "real"}, [(text, -1.5)])).decode()

    [row] = csv.DictReader(io.StringIO(written, newline=""))

    assert row == {"name": f"'{text}", "x": "-1.5"}


@pytest.mark.parametrize(
    "asked",
    [
        {"since": "2026-03-02", "until": "2026-03-02"},
        {"since": "1990-01-01"},
        {"since": "1800-01-01"},
        {"until": "tomorrow"},
    ],
)
def test_days_that_are_no_span_are_refused(world: World, asked: dict[str, str]) -> None:
    browser = world.browser("ann", Role.VIEWER)
    path = f"/api/v1/device-versions/{world.lock_digest}/tables/windows.csv"

    assert browser.get(path, params=asked).status_code == 422


def test_pages_of_a_list_join_without_gap_or_repeat(world: World) -> None:
    events(world, 5)
    edge = world.an_edge()
    for day in range(1, 6):
        edge.send(edge.window(date(2026, 3, day)))
    browser = world.browser("ann", Role.VIEWER)

    for path, key in (
        ("/api/v1/signals", "id"),
        (f"/api/v1/edges/{edge.edge_id}/windows", "sequence"),
    ):
        whole = [row[key] for row in browser.get(path).json()]
        pages: list[list[object]] = []
        answer = browser.get(path, params={"limit": 2})
        while True:
            pages.append([row[key] for row in answer.json()])
            if "next" not in answer.links:
                break
            answer = browser.get(answer.links["next"]["url"])
        assert [len(p) for p in pages] == [2, 2, 1]
        assert [item for p in pages for item in p] == whole


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """The service on the loopback."""
    port = a_free_port()
    server = uvicorn.Server(uvicorn.Config(world.app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


def test_a_notebook_reads_the_centre_with_a_token(
    world: World, served: str, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 1)))
    events(world, 3)
    browser = world.browser("ann", Role.ANALYST)
    body = {"password": PASSWORD, "purpose": "notebook", "days": 1}
    token = browser.post("/api/v1/tokens", json=body).json()["token"]

    centre = Client(served, token)

    assert [s.id for s in centre.sites()] == ["H01"]
    assert [v.lock_digest for v in centre.device_versions()] == [world.lock_digest]
    assert [r.id for r in centre.signals(page=2)] == ["S-0003", "S-0002", "S-0001"]
    counts = centre.table(world.lock_digest, "counts", since=date(2026, 3, 1))
    assert counts["analysed"].tolist() == [int(counts["analysed"].iloc[0])]
    assert token not in repr(centre)
    with pytest.raises(Refused, match="not evaluated yet") as refused:
        centre.signals_file(world.lock_digest)
    assert refused.value.status == 404
    with pytest.raises(Refused, match="log in first"):
        Client(served, "lwt_other").sites()
    with pytest.raises(Refused, match="is not reached"):
        Client("http://127.0.0.1:9", token).sites()
    with pytest.raises(Refused, match="https"):
        Client("file:///etc", token).sites()
