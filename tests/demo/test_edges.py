"""An edge's settings are what the agent reads; settled means that nothing is left to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.edge.settings import load
from app.lab.demo_edges import DemoEdge, free_ports
from app.lab.demo_scenario import SITES

NOW = datetime(2026, 2, 3, 5, tzinfo=UTC)
KEY = bytes(range(32))


def an_edge(folder: Path) -> DemoEdge:
    edge = DemoEdge(SITES[1], folder / "H02", 11112)
    edge.write_settings(
        bundle=folder / "bundle", trusted=[KEY], central_url="http://127.0.0.1:8080"
    )
    return edge


def with_status(edge: DemoEdge, **balance: int) -> DemoEdge:
    status: dict[str, Any] = {
        "as_of": NOW.isoformat(),
        "balance": {"received": 9, "refused_objects": 1, "waiting": 0} | balance,
        "windows": {"unsent": 0},
    }
    (edge.folder / "data").mkdir(exist_ok=True)
    (edge.folder / "data" / "status.json").write_text(json.dumps(status))
    return edge


def test_the_agent_reads_the_settings_that_are_written(tmp_path: Path) -> None:
    edge = an_edge(tmp_path)

    settings = load(edge.settings_file)

    assert settings.site_timezone == "Europe/Madrid"
    assert settings.ae_title == edge.door.peer.ae_title
    assert edge.door.calling in settings.allowed_ae_titles
    assert settings.trusted_keys == (KEY.hex(),)
    assert settings.label_inbox == edge.inbox.resolve()
    assert settings.reader_groups == {r.code: r.group for r in SITES[1].readers}
    assert settings.watermark_hours == 24


def test_an_edge_that_has_said_nothing_is_not_settled(tmp_path: Path) -> None:
    assert not an_edge(tmp_path).is_settled(NOW, sent=0)


def test_an_edge_is_settled_when_nothing_is_left(tmp_path: Path) -> None:
    assert with_status(an_edge(tmp_path)).is_settled(NOW, sent=10)


@pytest.mark.parametrize("balance", [{"waiting": 1}, {"received": 8}])
def test_an_edge_with_open_cases_is_not_settled(tmp_path: Path, balance: dict[str, int]) -> None:
    assert not with_status(an_edge(tmp_path), **balance).is_settled(NOW, sent=10)


def test_an_edge_that_lives_at_an_earlier_instant_is_not_settled(tmp_path: Path) -> None:
    edge = with_status(an_edge(tmp_path))

    assert not edge.is_settled(NOW + timedelta(hours=1), sent=10)


def test_an_edge_with_a_label_file_to_read_is_not_settled(tmp_path: Path) -> None:
    edge = with_status(an_edge(tmp_path))

    (edge.inbox / "reads.csv").write_text("")

    assert not edge.is_settled(NOW, sent=10)


def test_an_edge_with_a_window_to_send_is_not_settled(tmp_path: Path) -> None:
    edge = with_status(an_edge(tmp_path))
    path = edge.folder / "data" / "status.json"

    path.write_text(path.read_text().replace('"unsent": 0', '"unsent": 1'))

    assert not edge.is_settled(NOW, sent=10)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5
