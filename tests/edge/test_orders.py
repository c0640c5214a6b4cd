"""What an administrator tells an edge, and what it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from app.edge import page, template
from app.edge.settings import EdgeSettings, SettingsRefused, load
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, an_edge_runs
from tests.edge.sender import a_chest, association, send
from tests.support.chest_bundle import ROOT
from tests.support.ports import a_free_port

DAY = START.replace(tzinfo=None)


def command(edge: RunningEdge, *words: str) -> str:
    line = [sys.executable, "-m", "app.cli", "edge", *words]
    line += ["--config", str(edge.folder / "edge.toml")]
    return subprocess.run(line, cwd=ROOT, capture_output=True, check=True, text=True).stdout


def test_a_paused_edge_keeps_what_comes_and_goes_on_when_told(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    port = a_free_port()
    with an_edge_runs(tmp_path, bundle, centre, status_port=port) as edge:
        edge.ready()
        assert "Paused" in command(edge, "pause")
        edge.until(lambda s: s["paused"])
        send(edge.port, a_chest(1, DAY))
        status = edge.until(lambda s: s["balance"]["received"] == 1)

        assert status["balance"]["waiting"] == 1
        shown = _get(f"http://127.0.0.1:{port}/")
        assert "Paused" in shown and "<script" not in shown
        assert json.loads(_get(f"http://127.0.0.1:{port}/status.json"))["paused"] is True

        command(edge, "pause", "--off")
        assert edge.settled(1)["waiting"] == 0


def test_a_retired_edge_takes_nothing_new_finishes_and_stops(edge: RunningEdge) -> None:
    send(edge.port, a_chest(1, DAY))
    edge.settled(1)

    command(edge, "retire", "--yes")

    assert edge.process is not None and edge.process.wait(60) == 0
    with association(edge.port) as made:
        assert not made.is_established
    again = subprocess.run(
        [sys.executable, "-m", "app.cli", "edge", "run", "--config", edge.folder / "edge.toml"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert again.returncode == 0
    assert b"Retired" not in again.stderr


def test_the_page_escapes_what_it_shows() -> None:
    shown = page.page({"lock": "holds", "edge_id": "<script>", "balance": {"received": 3}})

    assert "&lt;script&gt;" in shown and "<script>" not in shown
    assert "The lock holds" in shown


def test_the_template_names_every_option_and_is_read_once_it_is_filled_in(tmp_path: Path) -> None:
    options = set(re.findall(r"^(?:# )?(\w+) = ", template.TEMPLATE, re.MULTILINE))
    assert options == set(EdgeSettings.model_fields)

    everything = re.sub(r"^# (\w+ = )", r"\1", template.TEMPLATE, flags=re.MULTILINE)
    values = tomllib.loads(everything) | {
        "trusted_keys": ["ab" * 32],
        "central_keys": ["cd" * 32],
        "allowed_ae_titles": ["CT1"],
    }
    del values["storescp_port"]  # it stands alone
    found = EdgeSettings.model_validate(values)
    for name in ("k", "minimum_n", "workers", "query_minutes", "largest_object_mb"):
        assert getattr(found, name) == EdgeSettings.model_fields[name].default


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("port = 11112", "port = 99999"), r"line 15: port: .*less than or equal to 65535"),
        (("allowed_ae_titles = []", "allowed_ae_titles = []\ncolour = 1"), r"line 17: colour"),
        (('"https://lockwatch.example"', '"ftp://x"'), r"line \d+: central_url: .*https expected"),
        (("# tls_key", "tls_key"), r"line \d+: settings: .*tls_key: expected"),
        (("# k = 11", "k = 5"), r"line \d+: k: .*greater than or equal to 11"),
        (("ae_title =", "ae_title"), r"at line 13"),
        (
            ('# results_hl7 = { host = "10.1.2.8", port', 'results_hl7 = { host = "h", prt'),
            r"line \d+: results_hl7.port",
        ),
    ],
)
def test_messages_name_the_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = template.TEMPLATE.replace("trusted_keys = []", f'trusted_keys = ["{"ab" * 32}"]')
    text = text.replace("allowed_ae_titles = []", 'allowed_ae_titles = ["CT1"]')
    change = (change[0].replace("allowed_ae_titles = []", 'allowed_ae_titles = ["CT1"]'), change[1])
    assert change[0] in text
    path = tmp_path / "edge.toml"
    path.write_text(text.replace(*change, 1))

    with pytest.raises(SettingsRefused) as refused:
        load(path)
    assert re.search(message, str(refused.value)), refused.value
    line = re.search(r"line (\d+): (\w+)", str(refused.value))
    if line and line[2] != "settings":
        assert line[2] in path.read_text().splitlines()[int(line[1]) - 1]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
