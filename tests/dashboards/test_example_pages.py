"""The example's pages: all of them say so, all links stay inside, and nobody can act in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.example.loading import Loader
from app.central.example.store import LoadState
from app.central.jobs.service import recent_runs
from app.central.openapi.doors import doors
from app.central.worker import Worker
from app.lab.example import example
from dashboards.example import pages_of
from dashboards.pages.topics.pages import PAGES
from dashboards.render import renderers
from dashboards.web import install
from tests.conftest import Clock
from tests.support.example_world import ask, load, state
from tests.support.fleet import PASSWORD, World
from tests.support.postgres import Databases

OUTSIDE = re.compile(r'(?:href|action)="(/(?!example/)[^"]*)"')
STAYS = {"/", "/account", "/sign-out"}


@pytest.fixture(scope="module")
def world(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch, databases.copy() as engine:
        patch.setenv(clock.VARIABLE, str(folder / "clock"))
        Clock(folder / "clock")
        made = World(folder, engine)
        made.app.state.renderers = renderers()
        install(made.app)
        for role in Role:
            made.add_person(role.value, role)
        made.add_site("H01")
        made.add_person("bound", Role.ANALYST, "H01")
        load(engine)
        yield made


def signed_in(world: World, name: str = "analyst") -> TestClient:
    browser = TestClient(world.app, raise_server_exceptions=False)
    answer = browser.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.status_code == 200
    return browser


def lock_digest(browser: TestClient) -> str:
    found = re.search(r"/example/devices/([0-9a-f]{64})", browser.get("/example/devices").text)
    assert found is not None
    return found[1]


def pages(browser: TestClient) -> dict[str, str]:
    """Every page of the example as HTML, by address."""
    device = f"/example/devices/{lock_digest(browser)}"
    paths = ("", "signals", "signals?show=all", "signals/S-0001", "sites", "sites/EX2")
    more = ("sites/EX2/scanners", "devices", "balance", "reports", "recalibrations")
    every = [f"/example/{p}" for p in (*paths, *more)]
    every += [device, *(f"{device}/{topic}" for topic in PAGES)]
    answers = {path: browser.get(path) for path in every}
    assert {p: a.status_code for p, a in answers.items() if a.status_code != 200} == {}
    return {path: answer.text for path, answer in answers.items()}


def test_every_page_says_that_it_is_an_example_and_leads_about_within_it(world: World) -> None:
    for path, html in pages(signed_in(world)).items():
        assert html.count('class="example" role="note"') == 1, path
        assert "· Example · Surveillance</title>" in html, path
        left = {link for link in OUTSIDE.findall(html) if not link.startswith("/static/")}
        assert left <= STAYS, path


def test_it_shows_the_signal_and_does_not_grow_old(world: World) -> None:
    home = signed_in(world).get("/example/").text

    assert "1 signal waits for a decision at 1 site" in home
    assert "silent" not in home.split("<main")[1].split("Signals by site")[0]
    assert "EX2" in home


def test_nobody_is_more_than_a_viewer_in_it(world: World) -> None:
    for role in Role:
        html = signed_in(world, role.value).get("/example/signals/S-0001").text

        forms = re.findall(r'<form[^>]*method="post"[^>]*>', html)
        assert forms == ['<form class="inline" method="post" action="/sign-out">'], role


def test_no_door_of_it_lets_anybody_act(world: World) -> None:
    browser = signed_in(world, "administrator")
    found = list(doors(pages_of(world.app, world.app.state.example_sessions)))
    acting = [d for d in found if not {"GET"} & set(d.methods)]
    assert len(acting) > 10
    assert [d for d in found if not d.permissions] == []

    for door in acting:
        path = "/example" + re.sub(r"\{[^}]*\}", "x", door.path)
        answer = browser.request(door.methods[0], path, data={"x": "y"})
        assert answer.status_code == 403, door
        assert "for reading" in answer.text


def test_edges_cannot_reach_it(world: World) -> None:
    edge = world.an_edge("H02")
    for path in ("/example/edge/v1/windows", "/example/edge/v1/enrol"):
        assert world.client.post(path, content=edge.window().raw).status_code == 403
    assert world.client.get("/example/edge/v1/state").status_code == 404
    assert world.client.get("/example/metrics").status_code == 404


def test_who_is_not_signed_in_is_led_to_the_sign_in_and_back(world: World) -> None:
    stranger = TestClient(world.app, raise_server_exceptions=False)

    answer = stranger.get("/example/signals", follow_redirects=False)

    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?then=%2Fexample%2Fsignals"


def test_a_person_bound_to_a_real_site_is_not_shown_it(world: World) -> None:
    browser = signed_in(world, "bound")

    assert browser.get("/example/").status_code == 403
    assert "/example/" not in browser.get("/").text


def test_its_tables_are_to_be_had_and_hold_nothing_real(world: World) -> None:
    browser = signed_in(world)
    at = f"/example/api/v1/device-versions/{lock_digest(browser)}/tables"

    text = browser.get(f"{at}/signals.csv").text

    assert "EX2" in text and "H01" not in text


def test_the_home_page_says_that_it_is_here_and_counts_none_of_it(world: World) -> None:
    home = signed_in(world).get("/").text

    assert "Example data is loaded beside this fleet." in home
    assert 'href="/example/"' in home
    assert "EX1" not in home and "S-0001" not in home


def test_the_page_of_admin_leads_from_the_offer_to_the_removal(
    fresh_database: Engine, tmp_path_factory: pytest.TempPathFactory, simulated_clock: Clock
) -> None:
    made = World(tmp_path_factory.mktemp("life"), fresh_database)
    install(made.app)
    made.add_person("lead", Role.ADMINISTRATOR)
    browser = signed_in(made, "lead")
    assert 'href="/admin/example">Load example data' in browser.get("/").text
    assert browser.get("/example/").status_code == 404

    browser.post("/admin/example", data={"do": "load"})
    waiting = browser.get("/admin/example").text
    loader = Loader(fresh_database, example)
    for _ in range(6):
        assert loader.step()
    underway = browser.get("/admin/example").text
    early = browser.get("/example/")
    again = browser.post("/admin/example", data={"do": "load"})
    while loader.step():
        pass
    done = browser.get("/admin/example").text
    browser.post("/admin/example", data={"do": "remove"})
    gone = browser.get("/admin/example").text

    assert "Waits for a worker, asked for by lead." in waiting and "hx-trigger" in waiting
    assert "step 4 of 135" in underway
    assert early.status_code == 404 and "loading" in early.text
    assert again.status_code == 422 and "here already" in again.text
    assert "It stands at 2025-04-07 08:00 UTC." in done and "hx-trigger" not in done
    assert "No example data is loaded." in gone
    assert browser.get("/example/").status_code == 404
    assert browser.post("/admin/example", data={"do": "burn"}).status_code == 422
    loader.beside.dispose()


def test_a_worker_loads_it_beside_its_rounds_and_mails_nobody(
    fresh_database: Engine, tmp_path: Path, simulated_clock: Clock
) -> None:
    made = World(tmp_path, fresh_database)
    loader = Loader(fresh_database, example)
    worker = Worker(made.settings, made.sessions, renderers(), loader)
    worker.load_example()  # nothing is asked for
    ask(fresh_database)
    turns = 0
    while state(fresh_database).state is not LoadState.READY and turns < 200:
        worker.load_example()
        worker.round()
        turns += 1

    assert turns < 200
    assert list((tmp_path / "mail").rglob("*")) == []
    with made.sessions() as session:
        assert not any(run.job.startswith("surveillance") for run in recent_runs(session))
    loader.beside.dispose()
